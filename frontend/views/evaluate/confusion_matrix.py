"""The confusion matrix on the page, and the pictures of one of its cells; both in the address."""

from functools import partial

import streamlit as st

from evaluation.types import Record
from frontend.datasets.confusions import MOST_SHOWN, Confusions
from frontend.datasets.dataset import Labelled
from frontend.state import url_state
from frontend.ui import image_grid
from frontend.ui.charts.matrix import SELECTION, confusion_frame, matrix_chart
from frontend.ui.formatting import count, percent, plain
from frontend.ui.image_grid import Tile

TRUE, PREDICTED, DIAGONAL, PAGE = "true", "predicted", "diagonal", "page"
STATE = (TRUE, PREDICTED, DIAGONAL, PAGE)
HIDDEN = "hidden"
_FIRST = "confusion first"  # the cell that the chart began with
_ROUND = "confusion round"  # a new round gives the chart a new key, which empties its selection


def show(token: str, data: Labelled, confusions: Confusions) -> None:
    """Show it; `token` tells one measurement from another."""
    st.subheader("Confusion matrix", anchor=False)
    hidden = url_state.get(DIAGONAL) == HIDDEN
    st.session_state[DIAGONAL] = hidden
    st.toggle("Hide what is right", key=DIAGONAL, on_change=_hide)
    if len(confusions.shown) < len(confusions.labels):
        st.caption(
            f"The {MOST_SHOWN} most confused of {len(confusions.labels):,} classes. "
            "All can be chosen below."
        )
    true, predicted = _chosen(confusions)
    number = st.session_state.setdefault(_ROUND, 0)
    key = f"confusion {token} {hidden} {number}"
    # The chart must not change while it is clicked: it starts with what was chosen before.
    if key not in st.session_state:
        st.session_state[_FIRST] = (true, predicted)
    first = st.session_state[_FIRST]
    frame = confusion_frame(confusions.shown, confusions.count, diagonal=not hidden)
    st.altair_chart(
        matrix_chart(frame, first if all(first) else None, selectable=True),
        key=key,
        on_select=partial(_take_cell, key, confusions.shown),
        selection_mode=SELECTION,
        alt=f"Confusion matrix. {_summary(confusions)}",
    )
    st.caption(f"{plain(_summary(confusions))} Click a cell to see its pictures, or choose it:")
    left, right = st.columns(2)
    with left:
        _choice("True class", TRUE, confusions, true)
    with right:
        _choice("Predicted as", PREDICTED, confusions, predicted)
    if true is not None or predicted is not None:
        _pictures(data, confusions, true, predicted)


def _pictures(
    data: Labelled, confusions: Confusions, true: str | None, predicted: str | None
) -> None:
    records = confusions.records(true, predicted)
    which = [count(len(records), "picture", "pictures")]
    which += [f"of {true}"] if true is not None else []
    which += [f"predicted {predicted}"] if predicted is not None else []
    st.markdown(f"**{plain(' '.join(which))}**")
    image_grid.show(PAGE, len(records), lambda index: tile(data, records[index]))
    st.button("Close these pictures", icon=":material/close:", on_click=_choose, args=(None, None))


def _choice(label: str, name: str, confusions: Confusions, chosen: str | None) -> None:
    st.session_state[f"{name} choice"] = chosen
    st.selectbox(
        label,
        confusions.labels,
        index=None,
        key=f"{name} choice",
        placeholder="Choose a class",
        on_change=_take_choice,
        args=(name, confusions),
    )


def _take_choice(name: str, confusions: Confusions) -> None:
    chosen = {one: url_state.get(one) for one in (TRUE, PREDICTED)}
    chosen[name] = st.session_state[f"{name} choice"]
    _choose(chosen[TRUE], chosen[PREDICTED])


def _take_cell(key: str, labels: tuple[str, ...]) -> None:
    """Follow a click; that nothing is selected is no click, the chart says so when it is new."""
    points = st.session_state[key]["selection"].get(SELECTION) or []
    for point in points[:1]:
        row, column = point.get("row"), point.get("column")
        if isinstance(row, int) and isinstance(column, int):
            url_state.put(TRUE, labels[row])
            url_state.put(PREDICTED, labels[column])
            url_state.put(PAGE, None)


def _choose(true: str | None, predicted: str | None) -> None:
    url_state.put(TRUE, true)
    url_state.put(PREDICTED, predicted)
    url_state.put(PAGE, None)
    st.session_state[_ROUND] += 1


def _hide() -> None:
    url_state.put(DIAGONAL, HIDDEN if st.session_state[DIAGONAL] else None)


def _chosen(confusions: Confusions) -> tuple[str | None, str | None]:
    """Return what the address says, as far as there are such classes."""
    known = set(confusions.labels)
    true, predicted = url_state.get(TRUE), url_state.get(PREDICTED)
    return true if true in known else None, predicted if predicted in known else None


def _summary(confusions: Confusions) -> str:
    """Say what a confusion matrix shows."""
    if not (worst := confusions.worst(3)):
        return "Nothing was confused."
    named = ", ".join(f"{true} for {predicted} ({n:,} times)" for (true, predicted), n in worst)
    return f"Most often taken for another: {named}.".replace("(1 times)", "(once)")


def tile(data: Labelled, record: Record) -> Tile:
    """Show what became of one picture."""
    sure = percent(record.confidence or 0.0)
    return Tile(
        picture=data.small(record.name),
        words=f"{record.label} → {record.prediction}, {sure}",
        says=f"{record.name}: labelled {record.label}, predicted {record.prediction} with {sure}",
    )
