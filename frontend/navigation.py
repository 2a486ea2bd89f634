"""The script of every page: navigation, sidebar and the page itself."""

import logging
from pathlib import Path

import streamlit as st

from frontend import sidebar
from frontend.service import access, errors, session, tracing
from frontend.service.model_choice import ModelScope
from frontend.ui import alerts, sign_in
from frontend.ui.alerts import Problem
from frontend.views.draw import pad_drawings

FOLDER = Path(__file__).parent
SCOPES = {  # of pages that do not offer the automatic choice
    "Draw": ModelScope.DIGITS,
    "Compare": ModelScope.NAMED,
    "Evaluate": ModelScope.NAMED,
    "Video": ModelScope.PHOTOS,
}
MANAGED_PAGES = (
    "History",
    "Monitor",
    "Teach",
)  # for users who may see the history and change models
PAGES_OF_ONE_MODEL = ("Classify", "Draw", "Evaluate", "Video")
log = logging.getLogger("prism.page")


@st.cache_resource(show_spinner=False)
def _loaded_pages() -> set[str]:
    """Return the titles of the pages that have been shown since the start."""
    return set()


# Before the navigation: the browser would load the icon of the page from another host.
st.set_page_config(page_icon=str(FOLDER / "assets" / "icon.svg"))
st.logo(str(FOLDER / "assets" / "logo.svg"), size="large")
if not access.may_open():
    sign_in.show_denied(
        "Prism", has_sign_in=access.has_sign_in(), is_signed_in=access.is_signed_in()
    )
    if access.is_signed_in():
        sign_in.show_account(is_signed_in=True)
    st.stop()
page = st.navigation(
    [
        st.Page(
            "views/classify/page.py",
            url_path="classify",
            title="Classify",
            icon=":material/image_search:",
            default=True,
        ),
        st.Page("views/draw/page.py", url_path="draw", title="Draw", icon=":material/draw:"),
        st.Page(
            "views/teach/page.py",
            url_path="teach",
            title="Teach",
            icon=":material/school:",
            visibility="visible" if access.may_manage() else "hidden",
        ),
        st.Page(
            "views/compare/page.py", url_path="compare", title="Compare", icon=":material/compare:"
        ),
        st.Page(
            "views/evaluate/page.py",
            url_path="evaluate",
            title="Evaluate",
            icon=":material/fact_check:",
        ),
        st.Page("views/video/page.py", url_path="video", title="Video", icon=":material/movie:"),
        st.Page(
            "views/history/page.py",
            url_path="history",
            title="History",
            icon=":material/history:",
            visibility="visible" if access.may_manage() else "hidden",
        ),
        st.Page(
            "views/monitor/page.py",
            url_path="monitor",
            title="Monitor",
            icon=":material/monitoring:",
            visibility="visible" if access.may_manage() else "hidden",
        ),
        st.Page(
            "views/models/page.py",
            url_path="models",
            title="Models",
            icon=":material/deployed_code:",
        ),
    ]
)
st.set_page_config(page_title=f"{page.title} · Prism")
st.html(FOLDER / "assets" / "page.css")
if page.title in MANAGED_PAGES and not access.may_manage():
    sign_in.show_denied(
        page.title, has_sign_in=access.has_sign_in(), is_signed_in=access.is_signed_in()
    )
    sidebar.show_account()
    st.stop()
if page.title != "Draw":
    pad_drawings.leave()
with tracing.page_span(page.title):
    with st.spinner("Connecting to the backend…", show_time=False):  # shown after half a second
        session.refresh()
    session.offer(SCOPES.get(page.title, ModelScope.AUTOMATIC))
    sidebar.show()
    sidebar.show_account()
    if page.title in PAGES_OF_ONE_MODEL:
        sidebar.show_model_name()
    service = session.current()
    notice = st.empty()
    if isinstance(service, Problem) and page.title not in _loaded_pages():
        # The first run of a page imports libraries, which can take seconds.
        with notice.container():
            st.title(page.title, anchor=False)
            alerts.show_message(service)
    try:
        page.run()
        _loaded_pages().add(page.title)
        notice.empty()
    except Exception:
        log.exception("the page %s failed", page.title)
        alerts.show(errors.unexpected_error())
