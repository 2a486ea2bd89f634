"""The comparison of two models on a labeled dataset."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import streamlit as st

from evaluation.compare import Comparison
from evaluation.types import Record
from frontend.datasets.evaluation_job import MAX_MATRIX_LABELS, as_sentence, precise_percent
from frontend.state import url_state
from frontend.ui import image_grid
from frontend.ui.charts.matrix import difference_frame, matrix_chart, signed
from frontend.ui.formatting import count, escape, percent
from frontend.ui.image_grid import Tile
from frontend.views.compare.comparison_job import ComparisonResult

SIGNIFICANCE: Final = 0.05
URL_PARAMS: Final = ("page_a", "page_b")  # pages of the images that only A, only B gets right

CountChange = Callable[[str, str], int]  # true label, predicted label -> count of B minus A


def show(result: ComparisonResult, comparison: Comparison) -> None:
    """Show the metrics, the changed confusions, and the images that only one model gets right."""
    if result.stopped:
        st.warning(
            f"Partial result: {_count_images(comparison.image_count)}. "
            + escape(as_sentence(result.stopped)),
            icon=":material/incomplete_circle:",
        )
    with st.container(horizontal=True, gap="medium"):
        st.metric("Accuracy of A", precise_percent(comparison.accuracy_a), width="content")
        st.metric("Accuracy of B", precise_percent(comparison.accuracy_b), width="content")
        difference = _points(comparison.accuracy_b - comparison.accuracy_a)
        st.metric("B minus A", f"{difference} points", width="content")
        st.metric("Same prediction", precise_percent(comparison.agreement), width="content")
        st.metric("Both correct", f"{comparison.both_right:,}", width="content")
        st.metric("Both wrong", f"{comparison.both_wrong:,}", width="content")
    interval = comparison.accuracy_difference
    st.caption(
        f"95% interval of B minus A: {_points(interval.low)} to {_points(interval.high)} points, "
        f"from {_count_images(comparison.image_count)}."
    )
    st.markdown(escape(summarize(comparison)))
    if comparison.left_out:
        excluded = _count_images(comparison.left_out)
        st.caption(f"Excluded, because at least one model could not classify them: {excluded}.")
    _show_matrix(result, comparison)
    sides = (("A", comparison.only_a), ("B", comparison.only_b))
    for (name, images), param in zip(sides, URL_PARAMS, strict=True):
        st.subheader(f"Only {name} is correct", anchor=False)
        if images:
            st.caption(_count_images(len(images)))
            image_grid.show(
                param,
                len(images),
                partial(_to_tile, result, images),
                page=url_state.get(param),
                on_page_change=url_state.put,
            )
        else:
            st.markdown("No images.")


def summarize(comparison: Comparison) -> str:
    """Return which model is better, and whether the difference is significant."""
    a, b = len(comparison.only_a), len(comparison.only_b)
    if a == b == 0:
        return "Both models are correct on the same images."
    counts = f"Only A is correct on {_count_images(a)}, only B on {_count_images(b)}. "
    test = f"(McNemar's test, p = {comparison.p_value:.2g})"
    if comparison.p_value >= SIGNIFICANCE:
        return f"{counts}This does not show that either model is better {test}."
    better = "A" if a > b else "B"
    return (
        f"{counts}{better} is better on images like these: equally good models would differ this "
        f"much in {percent(comparison.p_value)} of cases {test}."
    )


def _points(share: float) -> str:
    """Format a difference of two shares in percentage points, with its sign."""
    return f"{100 * share:+.2f}".replace("-", "−")


def _count_images(number: int) -> str:
    return count(number, "image", "images")


def _show_matrix(result: ComparisonResult, comparison: Comparison) -> None:
    st.subheader("Changes from A to B", anchor=False)
    if not result.changed_labels:
        st.markdown("No changes: the confusion matrices are identical.")
        return
    if len(result.changed_labels) == MAX_MATRIX_LABELS < len(comparison.labels):
        st.caption(f"The {MAX_MATRIX_LABELS} classes with the most changes.")
    index = {label: position for position, label in enumerate(comparison.labels)}

    def change(true: str, predicted: str) -> int:
        return int(comparison.difference[index[true], index[predicted]])

    frame = difference_frame(result.changed_labels, change)
    summary = _describe_largest_changes(result.changed_labels, change)
    st.altair_chart(matrix_chart(frame), alt=f"Confusion matrix of B minus A. {summary}")
    st.caption(
        f"{escape(summary)} Each number is the count of B minus the count of A. Blue: B is better "
        "(more on the diagonal, fewer elsewhere). Brown: B is worse."
    )


def _describe_largest_changes(labels: Sequence[str], change: CountChange) -> str:
    pairs = [(true, predicted) for true in labels for predicted in labels]
    largest = sorted(pairs, key=lambda pair: -abs(change(*pair)))[:3]
    changes = ", ".join(
        f"{true} predicted as {predicted} {signed(change(true, predicted))}"
        for true, predicted in largest
        if change(true, predicted)
    )
    return f"Largest changes: {changes}."


def _to_tile(result: ComparisonResult, names: Sequence[str], index: int) -> Tile:
    name = names[index]
    a, b = (_prediction(records, name) for records in result.records)
    label = result.records[0][name].label
    return Tile(
        image=result.data.thumbnail(name),
        caption=f"{label}: A {a}, B {b}",
        alt=f"{name}: labeled {label}, A predicted {a}, B predicted {b}",
    )


def _prediction(records: Mapping[str, Record], name: str) -> str:
    return records[name].prediction or ""
