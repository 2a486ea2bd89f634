"""What a comparison on labelled pictures found out, on the page."""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from evaluation.compare import Comparison
from evaluation.types import Record
from frontend.datasets.confusions import MOST_SHOWN
from frontend.datasets.evaluation_job import sentence, share
from frontend.ui import image_grid
from frontend.ui.charts.matrix import difference_frame, matrix_chart, signed
from frontend.ui.formatting import count, plain
from frontend.ui.image_grid import Tile
from frontend.views.compare import comparison_job
from frontend.views.compare.comparison_job import Compared

PAGES = ("page_a", "page_b")  # of the pictures that one alone gets right, in the address
STATE = PAGES


def show(found: Compared, comparison: Comparison) -> None:
    """Show who is right where the other is not."""
    if found.stopped:
        st.warning(
            f"This is a part only, {count(comparison.pictures, 'picture', 'pictures')}. "
            + plain(sentence(found.stopped)),
            icon=":material/incomplete_circle:",
        )
    with st.container(horizontal=True, gap="medium"):
        st.metric("Accuracy of A", share(comparison.accuracy_a), width="content")
        st.metric("Accuracy of B", share(comparison.accuracy_b), width="content")
        st.metric("Same answer", share(comparison.agreement), width="content")
        st.metric("Both right", f"{comparison.both_right:,}", width="content")
        st.metric("Both wrong", f"{comparison.both_wrong:,}", width="content")
    st.markdown(plain(comparison_job.verdict(comparison)))
    if comparison.left_out:
        left_out = count(comparison.left_out, "picture", "pictures")
        st.caption(f"Left out, because not both have an answer: {left_out}.")
    _matrix(found, comparison)
    sides = (("A", comparison.only_a), ("B", comparison.only_b))
    for (name, only), page in zip(sides, PAGES, strict=True):
        st.subheader(f"Only {name} is right", anchor=False)
        if only:
            st.caption(count(len(only), "picture", "pictures"))
            image_grid.show(page, len(only), partial(_tile, found, only))
        else:
            st.markdown("On no picture.")


def _matrix(found: Compared, comparison: Comparison) -> None:
    st.subheader("What changes from A to B", anchor=False)
    if not found.changed:
        st.markdown("Nothing: their confusion matrices are the same.")
        return
    if len(found.changed) == MOST_SHOWN:
        st.caption(f"The {MOST_SHOWN} classes that change most.")
    place = {label: index for index, label in enumerate(comparison.labels)}

    def change(true: str, predicted: str) -> int:
        return int(comparison.difference[place[true], place[predicted]])

    frame = difference_frame(found.changed, change)
    said = _largest(found.changed, change)
    st.altair_chart(matrix_chart(frame), alt=f"Confusion matrix of B less that of A. {said}")
    st.caption(
        f"{plain(said)} Each number is what B has more or less than A. Blue is better with B: "
        "more on the diagonal, less beside it; brown is worse."
    )


def _largest(labels: Sequence[str], change: comparison_job.Change) -> str:
    pairs = [(true, predicted) for true in labels for predicted in labels]
    most = sorted(pairs, key=lambda pair: -abs(change(*pair)))[:3]
    named = ", ".join(f"{true} as {predicted} {signed(change(true, predicted))}"
                      for true, predicted in most if change(true, predicted))  # fmt: skip
    return f"The largest changes: {named}."


def _tile(found: Compared, names: Sequence[str], index: int) -> Tile:
    name = names[index]
    a, b = (_answer(records, name) for records in found.records)
    label = found.records[0][name].label
    return Tile(
        picture=found.data.small(name),
        words=f"{label}: A {a}, B {b}",
        says=f"{name}: labelled {label}, A says {a}, B says {b}",
    )


def _answer(records: Mapping[str, Record], name: str) -> str:
    return records[name].prediction or ""
