"""Selection and deletion of classifications, each deletion after a confirmation."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from client import BackendError, Client, ClientError, HistoryFilters, StoredClassification
from client.history import NO_FILTERS
from frontend.service import errors, feedback
from frontend.ui.formatting import count, escape

_MESSAGE = "history message"
_SELECT_ALL = "select all"


def show_message() -> None:
    """Show the outcome of the last deletion once."""
    if message := st.session_state.pop(_MESSAGE, None):
        st.toast(message)


def show_checkbox(stored: StoredClassification) -> None:
    """Show the checkbox that selects a classification."""
    name = stored.filename or stored.prediction
    st.checkbox(f"Select {escape(name)}", key=_key(stored.id), label_visibility="collapsed")


def show_selection(client: Client, items: Sequence[StoredClassification]) -> None:
    """Show the checkbox that selects the whole page, and a button to delete the selection."""
    if not items:
        return
    ids = [stored.id for stored in items]
    selected = [one for one in ids if st.session_state.get(_key(one))]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.session_state[_SELECT_ALL] = len(selected) == len(ids)
        st.checkbox("Select all on this page", key=_SELECT_ALL, on_change=_select, args=(ids,))
        if selected:
            with st.popover(f"Delete selected ({len(selected)})", icon=":material/delete:"):
                st.markdown("This deletes the selected classifications with feedback and images.")
                st.button(
                    f"Delete {_count(len(selected))}",
                    key="delete selected",
                    type="primary",
                    on_click=_delete_selected,
                    args=(client, selected),
                )


def show_delete_one(client: Client, classification_id: str) -> None:
    """Show the button that deletes one classification."""
    with st.popover("Delete", icon=":material/delete:", key=f"open delete {classification_id}"):
        st.markdown("This deletes the classification, its feedback and its image.")
        st.button(
            "Delete this classification",
            key=f"delete {classification_id}",
            type="primary",
            on_click=_delete_one,
            args=(client, classification_id),
        )


def show_delete_matching(
    client: Client, filters: HistoryFilters, total: int | None, on_deleted: Callable[[], None]
) -> None:
    """Show the button that deletes all `total` classifications that match the filters."""
    is_filtered = filters != NO_FILTERS
    name = "Delete all matching" if is_filtered else "Delete all"
    with st.popover(name, icon=":material/delete_forever:", disabled=total == 0):
        number = "all classifications" if total is None else _count(total)
        scope = "on all pages, that match the filters" if is_filtered else "of all users"
        st.markdown(f"This deletes {number} {scope}, with feedback and images.")
        st.button(
            f"Delete {number}",
            key="delete matching",
            type="primary",
            on_click=_delete_matching,
            args=(client, filters, on_deleted),
        )


def _delete_one(client: Client, classification_id: str) -> None:
    if _run(partial(client.history.delete, classification_id)):
        st.session_state[_MESSAGE] = "Classification deleted."
        feedback.rerun_page()


def _delete_selected(client: Client, ids: Sequence[str]) -> None:
    deleted = 0
    for classification_id in ids:
        if not _run(partial(_delete_if_stored, client, classification_id)):
            return
        deleted += 1
    st.session_state[_MESSAGE] = f"{_count(deleted)} deleted."


def _delete_matching(
    client: Client, filters: HistoryFilters, on_deleted: Callable[[], None]
) -> None:
    def delete() -> None:
        st.session_state[_MESSAGE] = f"{_count(client.history.clear(filters))} deleted."

    if _run(delete):
        on_deleted()


def _delete_if_stored(client: Client, classification_id: str) -> None:
    try:
        client.history.delete(classification_id)
    except BackendError as error:
        if error.code != "unknown_answer":
            raise


def _run(delete: Callable[[], None]) -> bool:
    """Return whether the deletion succeeded; otherwise keep the message."""
    try:
        delete()
    except ClientError as error:
        st.session_state[_MESSAGE] = errors.describe_history_error(error).message
        return False
    return True


def _select(ids: Sequence[str]) -> None:
    for classification_id in ids:
        st.session_state[_key(classification_id)] = st.session_state[_SELECT_ALL]


def _count(number: int) -> str:
    return count(number, "classification", "classifications")


def _key(classification_id: str) -> str:
    return f"select {classification_id}"
