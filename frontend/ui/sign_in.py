"""Sign-in and sign-out buttons, and the message in place of a page that needs a sign-in."""

import streamlit as st

from frontend.ui.formatting import escape_copyable


def show_account(*, is_signed_in: bool) -> None:
    """Show the name of the user and the sign-out button, or the sign-in button."""
    if not is_signed_in:
        st.button("Sign in", icon=":material/login:", on_click=st.login, key="sign in")
        return
    name = st.user.get("email") or st.user.get("name") or "unknown"
    st.caption(escape_copyable(f"Signed in as {name}"))
    st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign out")


def show_denied(title: str, *, has_sign_in: bool, is_signed_in: bool) -> None:
    """Show why the user cannot open the page `title`, and what to do."""
    st.title(title, anchor=False)
    if is_signed_in:
        st.error(
            "Your account does not have access to this page. Sign in with another account, or ask "
            "the operator to add your verified e-mail address to PRISM_PAGE_USERS.",
            icon=":material/lock:",
        )
    elif has_sign_in:
        st.info("Sign in to open this page.", icon=":material/lock:")
        st.button("Sign in", icon=":material/login:", on_click=st.login, key="sign in here")
    else:
        st.info(
            "This page is available to signed-in users only, and this service has no sign-in. Its "
            "operator can set one up, or open the page to everyone: see 'Sign-in' in "
            "docs/deploy.md.",
            icon=":material/lock:",
        )
