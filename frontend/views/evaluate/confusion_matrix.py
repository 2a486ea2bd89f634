"""The confusion matrix, and the images of a selected cell, which is stored in the URL."""

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final

import streamlit as st

from evaluation.escaping import escape_formula
from evaluation.types import Record
from frontend.datasets.dataset import Dataset
from frontend.datasets.evaluation_job import MAX_MATRIX_LABELS, Confusions, Pair
from frontend.state import url_state
from frontend.ui import image_grid
from frontend.ui.charts.matrix import SELECTION, confusion_frame, matrix_chart
from frontend.ui.components import notifications
from frontend.ui.formatting import count, escape, percent
from frontend.ui.image_grid import Tile

TRUE, PREDICTED, DIAGONAL, PAGE = URL_PARAMS = ("true", "predicted", "diagonal", "page")
HIDDEN: Final = "hidden"
MAX_PAIRS: Final = 20  # in the table of the most frequent confusions
_INITIAL_CELL = "confusion first"  # the cell that is selected when the chart is created
_ROUND = "confusion round"  # a new round gives the chart a new key, which clears its selection
_CHOICE = "confusion choice"  # a token of the user's last choice, whose images scroll into view
_SELECTORS_HEIGHT = "12rem"  # of the page header and the selectors, which stay visible


def show(token: str, data: Dataset, confusions: Confusions) -> None:
    """Show the matrix; `token` identifies the evaluation."""
    st.subheader("Confusion matrix", anchor=False)
    if DIAGONAL not in st.session_state:  # the page has just been opened: do not scroll
        st.session_state.pop(_CHOICE, None)
    is_hidden = url_state.get(DIAGONAL) == HIDDEN
    st.session_state[DIAGONAL] = is_hidden
    st.toggle("Show mistakes only", key=DIAGONAL, on_change=_save_diagonal)
    if len(confusions.displayed_labels) < len(confusions.labels):
        st.caption(
            f"The {MAX_MATRIX_LABELS} most confused of {len(confusions.labels):,} classes. "
            "All classes can be selected below."
        )
    true, predicted = _selected_cell(confusions)
    number = st.session_state.setdefault(_ROUND, 0)
    key = f"confusion {token} {is_hidden} {number}"
    # A chart that changes loses the click: it keeps the cell with which it was created.
    if key not in st.session_state:
        st.session_state[_INITIAL_CELL] = (true, predicted)
    initial = st.session_state[_INITIAL_CELL]
    frame = confusion_frame(confusions.displayed_labels, confusions.count, diagonal=not is_hidden)
    summary = _summarize(confusions)
    st.altair_chart(
        matrix_chart(frame, initial if all(initial) else None, selectable=True),
        key=key,
        on_select=partial(_handle_click, key, confusions.displayed_labels),
        selection_mode=SELECTION,
        alt=f"Confusion matrix. {summary}",
    )
    st.caption(f"{escape(summary)} Click a cell to show its images, or select the classes:")
    left, right = st.columns(2)
    with left:
        _show_selector("True class", TRUE, confusions, true)
    with right:
        _show_selector("Predicted class", PREDICTED, confusions, predicted)
    if len(confusions.displayed_labels) < len(confusions.labels):
        _show_pairs(key, confusions)
    if true is not None or predicted is not None:
        _show_images(data, confusions, true, predicted)


def to_tile(data: Dataset, record: Record) -> Tile:
    """Return an image with its label, prediction and confidence."""
    confidence = percent(record.confidence or 0.0)
    return Tile(
        image=data.thumbnail(record.name),
        caption=f"{record.label} → {record.prediction}, {confidence}",
        alt=f"{record.name}: labeled {record.label}, predicted {record.prediction} ({confidence})",
    )


def _show_images(
    data: Dataset, confusions: Confusions, true: str | None, predicted: str | None
) -> None:
    records = confusions.records(true, predicted)
    title = [count(len(records), "image", "images")]
    title += [f"of {true}"] if true is not None else []
    title += [f"predicted as {predicted}"] if predicted is not None else []
    if choice := st.session_state.get(_CHOICE):
        notifications.announce(
            " ".join(title), token=choice, key="cell images", margin=_SELECTORS_HEIGHT
        )
    st.markdown(f"#### {escape(' '.join(title))}")
    image_grid.show(
        PAGE,
        len(records),
        lambda index: to_tile(data, records[index]),
        page=url_state.get(PAGE),
        on_page_change=url_state.put,
    )
    st.button("Close images", icon=":material/close:", on_click=_select, args=(None, None))


def _show_pairs(matrix: str, confusions: Confusions) -> None:
    """Show the most frequent confusions as a table; a click on a row selects the cell."""
    pairs = confusions.most_frequent(MAX_PAIRS)
    st.markdown("Most common mistakes. Select a row to show its images:")
    key = f"pairs {matrix}"
    st.dataframe(
        {
            "True class": [escape_formula(true) for (true, _), _ in pairs],
            "Predicted class": [escape_formula(predicted) for (_, predicted), _ in pairs],
            "Images": [number for _, number in pairs],
        },
        hide_index=True,
        key=key,
        on_select=partial(_handle_row, key, [pair for pair, _ in pairs]),
        selection_mode="single-row",
    )


def _handle_row(key: str, pairs: Sequence[Pair]) -> None:
    for row in st.session_state[key]["selection"]["rows"][:1]:
        _put_cell(*pairs[row])


def _show_selector(label: str, param: str, confusions: Confusions, selected: str | None) -> None:
    st.session_state[f"{param} choice"] = selected
    st.selectbox(
        label,
        confusions.labels,
        index=None,
        key=f"{param} choice",
        placeholder="Select a class",
        on_change=_handle_selector,
        args=(param,),
    )


def _handle_selector(param: str) -> None:
    cell = {name: url_state.get(name) for name in (TRUE, PREDICTED)}
    cell[param] = st.session_state[f"{param} choice"]
    _select(cell[TRUE], cell[PREDICTED])


def _handle_click(key: str, labels: tuple[str, ...]) -> None:
    """Select the clicked cell; an empty selection is ignored, because every new chart sends one."""
    points = st.session_state[key]["selection"].get(SELECTION) or []
    for point in points[:1]:
        row, column = point.get("row"), point.get("column")
        if isinstance(row, int) and isinstance(column, int):
            _put_cell(labels[row], labels[column])


def _select(true: str | None, predicted: str | None) -> None:
    _put_cell(true, predicted)
    st.session_state[_ROUND] += 1


def _put_cell(true: str | None, predicted: str | None) -> None:
    url_state.put(TRUE, true)
    url_state.put(PREDICTED, predicted)
    url_state.put(PAGE, None)
    st.session_state[_CHOICE] = secrets.token_hex(4)


def _save_diagonal() -> None:
    url_state.put(DIAGONAL, HIDDEN if st.session_state[DIAGONAL] else None)


def _selected_cell(confusions: Confusions) -> tuple[str | None, str | None]:
    """Return the classes in the URL that exist."""
    labels = set(confusions.labels)
    true, predicted = url_state.get(TRUE), url_state.get(PREDICTED)
    return true if true in labels else None, predicted if predicted in labels else None


def _summarize(confusions: Confusions) -> str:
    """Return the most frequent confusions."""
    if not (frequent := confusions.most_frequent(3)):
        return "No mistakes."
    mistakes = ", ".join(
        f"{true} predicted as {predicted} ({'once' if number == 1 else f'{number:,} times'})"
        for (true, predicted), number in frequent
    )
    return f"Most common mistake{'s' if len(frequent) > 1 else ''}: {mistakes}."
