"""Many results on the page: a table, files to take along, and cards to page through."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from client import ModelInfo
from frontend.ui import classification, formatting
from frontend.views.classify import results_table
from frontend.views.classify.results_table import Result

CARDS = 12  # on one page
ROWS = 8  # of the table that are seen at once
FILTERS = {
    "all": "All",
    "unsure": "Unsure",
    "unlike": "Unlike what it knows",
    "bad": "Could not be read",
}

_HEADER, _ROW = 38, 35  # pixels


def show(
    found: Sequence[Result],
    model: ModelInfo,
    *,
    offer_correction: Callable[[Result, str], None],
    offer_more: Callable[[], None],
) -> None:
    """Show the results; `offer_correction(result, key)` belongs to each, `offer_more` to all."""
    st.markdown(f"**{summary(found)}**")
    shown = _filtered(found)
    _show_table(shown)
    with st.container(horizontal=True):
        offer_files(found)
        offer_more()
    first = _page(shown)
    for index, result in enumerate(shown[first : first + CARDS]):
        key = f"card {index}"
        below = partial(offer_correction, result, key)
        classification.show_row(result.picture, result.outcome, model, key=key, below=below)


def summary(found: Sequence[Result]) -> str:
    """Say how many pictures were read."""
    bad = sum(result.verdict == "bad" for result in found)
    read = formatting.count(len(found) - bad, "picture", "pictures") + " read"
    return f"{read}, {bad:,} could not be." if bad else f"{read}."


def offer_files(found: Sequence[Result]) -> None:
    """Offer the results as files, which are made once someone wants them."""
    for name, media_type, make in (
        ("CSV", "text/csv", results_table.as_csv),
        ("JSON", "application/json", results_table.as_json),
    ):
        st.download_button(
            f"Download {name}",
            partial(make, found),
            file_name=f"results.{name.lower()}",
            mime=media_type,
            icon=":material/download:",
            on_click="ignore",
        )


def _filtered(found: Sequence[Result]) -> Sequence[Result]:
    """Offer to see only some of the results; return those."""
    counts = {name: sum(result.verdict == name for result in found) for name in FILTERS}
    counts["all"] = len(found)
    offered = [name for name, many in counts.items() if name == "all" or 0 < many < len(found)]
    if len(offered) == 1:
        return found
    name = st.segmented_control(
        "Show",
        offered,
        default="all",
        required=True,
        format_func=lambda name: f"{FILTERS[name]} ({counts[name]:,})",
        key="filter",
    )
    return found if name == "all" else [result for result in found if result.verdict == name]


def _show_table(shown: Sequence[Result]) -> None:
    st.dataframe(
        results_table.rows(shown),
        hide_index=True,
        height=_HEADER + _ROW * min(len(shown), ROWS),
        column_order=results_table.shown_columns(shown),
        column_config={
            "name": "Name",
            "prediction": "Prediction",
            "confidence": st.column_config.ProgressColumn(
                "Confidence", min_value=0, max_value=1, format="percent", color="primary"
            ),
            "how sure": "How sure",
            "corrected to": "Corrected to",
            "problem": "Problem",
        },
        alt="The results as a table",
        placeholder="",
    )


def _page(shown: Sequence[Result]) -> int:
    """Offer the pages of cards where there are several; return the first card of the chosen one."""
    total = len(shown)
    pages = -(-total // CARDS)
    if pages < 2:
        return 0
    begins = shown[0].picture.digest[:8]  # other pictures begin at their first page
    first = CARDS * (st.pagination(pages, key=f"cards {begins} {total}") - 1)
    last = min(first + CARDS, total)
    st.caption(f"Pictures {first + 1:,} to {last:,} of {total:,}")
    return first
