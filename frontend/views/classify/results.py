"""The results of many images on the page: filters, table, downloads, and pages of cards."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from client import ModelInfo
from frontend.service import errors
from frontend.ui import classification, formatting
from frontend.views.classify import results_table
from frontend.views.classify.results_table import Result

PAGE_SIZE = 12  # cards
MAX_TABLE_ROWS = 8  # visible without scrolling
FILTERS = {
    "all": "All",
    "uncertain": "Uncertain",
    "out_of_distribution": "Not one of its classes",
    "failed": "Failed",
}

_HEADER_HEIGHT, _ROW_HEIGHT = 38, 35  # px


def show(
    results: Sequence[Result],
    model: ModelInfo,
    *,
    show_feedback: Callable[[Result, str], None],
    extra_actions: Callable[[], None],
) -> None:
    """Show the results.

    `show_feedback(result, key)` adds content to each card, `extra_actions` to the downloads.
    """
    st.markdown(f"**{summary(results)}**")
    filtered = _filter(results)
    _show_table(filtered)
    with st.container(horizontal=True):
        show_downloads(results)
        extra_actions()
    first = _show_pagination(filtered)
    for index, result in enumerate(filtered[first : first + PAGE_SIZE]):
        key = f"card {index}"
        classification.show_row(
            result.image.name,
            result.image.preview,
            errors.describe_outcome(result.outcome),
            model,
            key=key,
            below=partial(show_feedback, result, key),
        )


def summary(results: Sequence[Result]) -> str:
    """Return how many images were classified and how many failed."""
    failed = sum(result.category == "failed" for result in results)
    classified = formatting.count(len(results) - failed, "image", "images") + " classified"
    return f"{classified}, {failed:,} failed." if failed else f"{classified}."


def show_downloads(results: Sequence[Result]) -> None:
    """Show download buttons; a file is created when its button is clicked."""
    for name, media_type, create in (
        ("CSV", "text/csv", results_table.as_csv),
        ("JSON", "application/json", results_table.as_json),
    ):
        st.download_button(
            f"Download {name}",
            partial(create, results),
            file_name=f"results.{name.lower()}",
            mime=media_type,
            icon=":material/download:",
            on_click="ignore",
        )


def _filter(results: Sequence[Result]) -> Sequence[Result]:
    """Show the filters that match some but not all results; return the filtered results."""
    counts = {name: sum(result.category == name for result in results) for name in FILTERS}
    counts["all"] = len(results)
    options = [name for name, count in counts.items() if name == "all" or 0 < count < len(results)]
    if len(options) == 1:
        return results
    chosen = st.segmented_control(
        "Show",
        options,
        default="all",
        required=True,
        format_func=lambda name: f"{FILTERS[name]} ({counts[name]:,})",
        key="filter",
    )
    return results if chosen == "all" else [one for one in results if one.category == chosen]


def _show_table(results: Sequence[Result]) -> None:
    st.dataframe(
        results_table.rows(results),
        hide_index=True,
        height=_HEADER_HEIGHT + _ROW_HEIGHT * min(len(results), MAX_TABLE_ROWS),
        column_order=results_table.nonempty_columns(results),
        column_config={
            "name": "Name",
            "prediction": "Prediction",
            "confidence": st.column_config.ProgressColumn(
                "Confidence", min_value=0, max_value=1, format="percent", color="primary"
            ),
            "confidence level": "Confidence level",
            "correction": "Correction",
            "error": "Error",
        },
        alt="Results",
        placeholder="",
    )


def _show_pagination(results: Sequence[Result]) -> int:
    """Show the pagination if there are several pages; return the index of the first card."""
    total = len(results)
    pages = -(-total // PAGE_SIZE)
    if pages < 2:
        return 0
    digest = results[0].image.digest[:8]  # other images start at their first page
    first = PAGE_SIZE * (st.pagination(pages, key=f"cards {digest} {total}") - 1)
    last = min(first + PAGE_SIZE, total)
    st.caption(f"Images {first + 1:,} to {last:,} of {total:,}")
    return first
