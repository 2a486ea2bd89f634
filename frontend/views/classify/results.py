"""The results of many images on the page: summary, filters, grid, list, table and downloads."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import streamlit as st

from client import ClientError
from evaluation.thumbnails import create_thumbnail
from frontend.datasets.selections import ImageSelection
from frontend.service import errors, feedback
from frontend.service.predictions import PREVIEW_BACKGROUND, ImageFile, PredictionRequest
from frontend.service.session import Service
from frontend.ui import classification, formatting, image_grid
from frontend.ui.alerts import Problem
from frontend.ui.formatting import escape, percent, shorten
from frontend.ui.image_grid import Tile
from frontend.views.classify import next_steps, ordering, results_table, single_result
from frontend.views.classify.results_table import Result

GRID, LIST, TABLE = VIEWS = ("Grid", "List", "Table")
LIST_PAGE_SIZE: Final = 12
MAX_TABLE_ROWS: Final = 14  # visible without scrolling
FILTERS: Final = {
    "all": "All",
    "uncertain": "Uncertain",
    "out_of_distribution": "Not one of its classes",
    "failed": "Failed",
}
THUMBNAIL_SIDE: Final = 140  # px
MAX_THUMBNAILS: Final = 1000  # of all sessions, about 30 kB each
MAX_CAPTION: Final = 30  # characters of a label or a name below a thumbnail

_HEADER_HEIGHT, _ROW_HEIGHT = 38, 35  # px


def show(
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    results: Sequence[Result],
    *,
    extra_actions: Callable[[], None],
) -> None:
    """Show the results; `extra_actions` adds buttons to the summary.

    Only the chosen view is created, and only one page of its images.
    """
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.markdown(f"**{results_table.summary(results)}**", width="content")
        extra_actions()
    if any(result.category == "out_of_distribution" for result in results):
        next_steps.show(service, request, is_batch=True)
    filtered = _filter(results)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        default = LIST if len(results) <= LIST_PAGE_SIZE else GRID
        view = st.segmented_control(
            "View", VIEWS, default=default, required=True, key=f"view, {default} first"
        )
        order = st.selectbox("Sort by", list(ordering.ORDERS), key="order", width=190)
        show_downloads(results)
    filtered = ordering.sort(filtered, order)
    if view == TABLE:
        _show_table(filtered)
    elif view == LIST:
        for index, result in enumerate(_show_pagination(filtered, LIST_PAGE_SIZE, order)):
            _show_card(service, selection, request, result, f"card {index}")
    else:
        _show_grid(service, selection, request, filtered, order)


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
    counts = Counter[str](result.category for result in results)
    counts["all"] = len(results)
    options = [name for name in FILTERS if name == "all" or 0 < counts[name] < len(results)]
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
        column_order=results_table.informative_columns(results),
        column_config={
            "name": "Name",
            "prediction": "Prediction",
            "confidence": st.column_config.ProgressColumn(
                "Confidence", min_value=0, max_value=1, format="percent", color="primary"
            ),
            "confidence level": "Confidence level",
            "in distribution": "One of the model's classes",
            "model": "Model",
            "correction": "Correction",
            "error": "Error",
        },
        alt="Results",
        placeholder="",
    )


def _show_grid(
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    results: Sequence[Result],
    order: str,
) -> None:
    """Show a page of thumbnails; a click on a caption opens the result in a dialog."""
    shown = _show_pagination(results, image_grid.PAGE_SIZE, order)
    tiles = [_tile(result, request, f"tile {index}") for index, result in enumerate(shown)]
    clicked = image_grid.show_few(tiles)
    if clicked is not None:
        _open(shown[clicked].image.name, service, selection, request, shown[clicked])


def _open(
    name: str,
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    result: Result,
) -> None:
    dialog = st.dialog(escape(shorten(name, 60)), width="large")(single_result.show)
    dialog(service, selection, request, result, is_fragment=True)


def _tile(result: Result, request: PredictionRequest, key: str) -> Tile:
    name, caption = result.image.name, caption_of(result, request)
    return Tile(
        _thumbnail(result.image),
        caption,
        f"{name}: {caption}",
        key,
        shorten(name.rpartition("/")[2], MAX_CAPTION),
    )


def caption_of(result: Result, request: PredictionRequest) -> str:
    """Return the label and its confidence, the label that a user chose, or the problem."""
    outcome = result.outcome
    if isinstance(outcome, ClientError):
        return "Unreadable" if errors.is_unreadable(outcome) else "Failed"
    if result.correction == feedback.NONE_OF_THESE:
        return "None of these"
    if result.correction is not None:
        return f"{shorten(result.correction, MAX_CAPTION)} ✓"
    if outcome.in_distribution is False:
        return formatting.not_in_distribution(request.model_of(outcome).input.kind)
    if outcome.labels is not None:
        names = ", ".join(score.label for score in outcome.labels)
        return shorten(names or formatting.NO_LABEL, MAX_CAPTION)
    return f"{shorten(outcome.prediction, MAX_CAPTION)}, {percent(outcome.confidence)}"


def _show_card(
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    result: Result,
    key: str,
) -> None:
    """Show the classification of one of several images with its feedback, or why it failed."""
    image, outcome = result.image, result.outcome
    with st.container(border=True):
        left, right = st.columns([1, 3], gap="medium")
        with left:
            thumbnail = _thumbnail(image)
            classification.show_image(image.name, thumbnail, THUMBNAIL_SIDE)
        with right:
            if isinstance(outcome, ClientError):
                problem = errors.describe(outcome)
                st.error(escape(f"{problem.message} {problem.advice}"))
                return
            model = request.model_of(outcome)
            classification.show_headline(outcome, model)
            if request.members:
                classification.show_model_name(model, is_automatic=True)
            single_result.show_feedback(service, selection, outcome, key)
            classification.show_details(
                outcome, model, max_bars=classification.MAX_FEW_BARS, key=key
            )


def _show_pagination(results: Sequence[Result], size: int, order: str) -> Sequence[Result]:
    """Show the pagination if there are several pages; return the results of the chosen page."""
    total = len(results)
    pages = -(-total // size)
    if pages < 2:
        return results
    digest = results[0].image.digest[:8]  # other images start at their first page
    first = size * (st.pagination(pages, key=f"page {digest} {total} {size} {order}") - 1)
    last = min(first + size, total)
    st.caption(f"Images {first + 1:,} to {last:,} of {total:,}")
    return results[first:last]


def _thumbnail(image: ImageFile) -> bytes | None:
    """Return a small preview; `image.preview` would stay in memory for every image."""
    return _cached_thumbnail(image.digest, _image=image)


@st.cache_data(show_spinner=False, max_entries=MAX_THUMBNAILS)
def _cached_thumbnail(digest: str, *, _image: ImageFile) -> bytes | None:
    return create_thumbnail(_image.content, THUMBNAIL_SIDE, PREVIEW_BACKGROUND)
