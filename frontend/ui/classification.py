"""A classification on the page: image, prediction, probabilities."""

from collections.abc import Callable
from io import BytesIO

import streamlit as st
from PIL import Image

from client import Classification, ModelInfo
from frontend.ui import alerts, components, formatting
from frontend.ui.alerts import Problem
from frontend.ui.bar_order import FixedBars

MAX_ROW_BARS = 5  # bars for one of several images; a single image shows all of its labels
IMAGE_WIDTH = 280  # px
ROW_IMAGE_WIDTH = 140  # px
MODEL_INPUT_WIDTH = 140  # px: five per pixel of a digit model's input

# A Vega chart costs the server 20 ms and the browser far more, at every stroke of a drawing.
_bars = components.register("bars", '<ol role="list"></ol>')


def show_single(
    name: str, preview: bytes | None, outcome: Classification | Problem, model: ModelInfo
) -> None:
    """Show the classification of a single image."""
    if isinstance(outcome, Problem):
        alerts.show(outcome)
        show_image(name, preview, IMAGE_WIDTH)
        return
    show_headline(outcome, model)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        show_image(name, preview, IMAGE_WIDTH)
        show_model_input(outcome)
    with right:
        show_details(outcome, model)


def show_row(
    name: str,
    preview: bytes | None,
    outcome: Classification | Problem,
    model: ModelInfo,
    key: str | None = None,
    below: Callable[[], None] = lambda: None,
) -> None:
    """Show the classification of one of several images, or why it failed.

    `below` adds content to a classification.
    """
    with st.container(border=True):
        left, right = st.columns([1, 3], gap="medium")
        with left:
            show_image(name, preview, ROW_IMAGE_WIDTH)
        with right:
            if isinstance(outcome, Problem):
                st.error(formatting.escape(f"{outcome.message} {outcome.advice}"))
            else:
                show_headline(outcome, model)
                show_details(outcome, model, max_bars=MAX_ROW_BARS, key=key)
                below()


def show_headline(result: Classification, model: ModelInfo) -> None:
    """Show the prediction and its prediction set."""
    st.header(formatting.escape(formatting.headline(result, model.input.kind)), anchor=False)
    if text := formatting.supporting_text(result, model.input.kind):
        st.markdown(formatting.escape(text))


def show_details(
    result: Classification,
    model: ModelInfo,
    max_bars: int | None = None,
    key: str | None = None,
    fixed_bars: FixedBars | None = None,
) -> None:
    """Show the `max_bars` most probable labels as bars, and the timings.

    The same classification twice on a page needs different keys. `fixed_bars` keeps the order of
    the bars in successive classifications.
    """
    scores = fixed_bars.scores(result, model) if fixed_bars else result.top[:max_bars]
    rows = [
        {"label": s.label, "share": s.probability, "text": formatting.percent(s.probability)}
        for s in scores
    ]
    title = f"Probabilities. {as_text(result, model)}"  # for screen readers
    _bars(key=f"bars {key or result.id}", data={"title": title, "rows": rows})
    if result.in_distribution is False:
        st.caption("The bars only show which labels are closest.")
    st.caption(formatting.timings(result.timings))


def show_model_input(result: Classification) -> None:
    """Show the enlarged image that the model received; nothing where it was not requested."""
    if result.model_input is None:
        return
    with Image.open(BytesIO(result.model_input)) as image:
        width, height = image.size
    size = f"{width}x{height} pixels"
    with st.container(key="model_input"):  # page.css has a rule for this key
        st.image(
            result.model_input,
            width=max(width, MODEL_INPUT_WIDTH),
            output_format="PNG",  # the default is lossy
            alt=f"Model input: the image after preprocessing, {size}",
        )
    st.caption(f"Model input: {size}")


def show_image(name: str, preview: bytes | None, width: int) -> None:
    """Show the preview of an image and its file name."""
    if preview is None:
        st.markdown(":material/broken_image: No preview")
    else:
        st.image(preview, width=width, alt=f"The image {name}")
    st.caption(formatting.escape(name))


def as_text(outcome: Classification | Problem, model: ModelInfo) -> str:
    """Return the classification as text for screen readers."""
    if isinstance(outcome, Problem):
        return outcome.message
    kind = model.input.kind
    parts = [formatting.headline(outcome, kind), formatting.supporting_text(outcome, kind)]
    return ". ".join(filter(None, parts)) + "."
