"""A classification on the page: image, prediction, probabilities."""

from collections.abc import Sequence
from io import BytesIO

import streamlit as st
from PIL import Image

from client import Classification, ClassScore, ModelInfo
from frontend.ui import components, formatting
from frontend.ui.alerts import Problem
from frontend.ui.bar_order import FixedBars

MAX_BARS = 10
MAX_FEW_BARS = 5  # of a model with more than MAX_BARS labels, of a rejected image, and in a list
IMAGE_WIDTH, MAX_IMAGE_HEIGHT = 280, 340  # px: a result fits on a screen of 1280x800
MODEL_INPUT_WIDTH = 140  # px: five per pixel of a digit model's input

# A Vega chart costs the server 20 ms and the browser far more, at every stroke of a drawing.
_bars = components.register("bars", '<ol role="list"></ol>')


def show_headline(result: Classification, model: ModelInfo) -> None:
    """Show the prediction and its prediction set."""
    st.header(formatting.escape(formatting.headline(result, model.input.kind)), anchor=False)
    if text := formatting.supporting_text(result, model.input.kind):
        st.markdown(formatting.escape(text))


def show_model_name(model: ModelInfo, *, is_automatic: bool) -> None:
    """Show which model classified the image."""
    choice = " (chosen automatically)" if is_automatic else ""
    st.caption(formatting.escape(f"Model: {model.title}{choice}"))


def show_details(
    result: Classification,
    model: ModelInfo,
    max_bars: int | None = None,
    key: str | None = None,
    fixed_bars: FixedBars | None = None,
) -> None:
    """Show the `max_bars` most probable labels as bars, and the timings.

    By default, a model with at most MAX_BARS labels has a bar for each, others MAX_FEW_BARS.
    The bars of an image out of distribution are gray and have no numbers. The same classification
    twice on a page needs different keys. `fixed_bars` keeps the order of the bars in successive
    classifications.
    """
    is_rejected = result.in_distribution is False
    if max_bars is None:
        has_few = len(model.labels) <= MAX_BARS and not is_rejected
        max_bars = MAX_BARS if has_few else MAX_FEW_BARS
    scores = fixed_bars.scores(result, model) if fixed_bars else _scores(result, max_bars)
    reached = {score.index for score in result.labels or ()}
    rows = [
        {
            "label": s.label,
            "share": s.probability,
            "text": "" if is_rejected else _text(s, is_reached=s.index in reached),
        }
        for s in scores
    ]
    name = "Closest labels" if is_rejected else "Probabilities"
    title = f"{name}. {as_text(result, model)}"  # for screen readers
    if is_rejected:
        st.caption("Closest labels. None of them is a prediction.")
    if result.labels is not None:
        st.caption("✓ reaches the threshold of its label. An image may have several labels.")
    _bars(key=f"bars {key or result.id}", data={"title": title, "rows": rows, "muted": is_rejected})
    st.caption(formatting.timings(result.timings))


def _scores(result: Classification, max_bars: int) -> Sequence[ClassScore]:
    """Return the scores of the bars: the most probable labels, and all that reach thresholds."""
    if result.labels is None:
        return result.top[:max_bars]
    kept = max(0, max_bars - len(result.labels))
    reached = {score.index for score in result.labels}
    others = [score for score in result.top if score.index not in reached][:kept]
    scores = [*result.labels[:MAX_BARS], *others]
    return sorted(scores, key=lambda score: -score.probability)


def _text(score: ClassScore, *, is_reached: bool) -> str:
    return formatting.percent(score.probability) + (" ✓" if is_reached else "")


def show_model_input(result: Classification) -> None:
    """Show the image that the model received; nothing where it was not requested."""
    if result.model_input is None:
        return
    with Image.open(BytesIO(result.model_input)) as image:
        width, height = image.size
    size = f"{width} × {height} pixels"
    is_enlarged = width < MODEL_INPUT_WIDTH  # page.css has a rule for this key
    with st.container(key="model_input" if is_enlarged else "reduced_model_input"):
        st.image(
            result.model_input,
            width=MODEL_INPUT_WIDTH,
            output_format="PNG",  # the default is lossy
            alt=f"Model input: the image after preprocessing, {size}",
        )
    st.caption(f"Model input: {size}")


def show_image(name: str, preview: bytes | None, width: int, alt: str | None = None) -> None:
    """Show the preview of an image and its file name; by default, `alt` is that name.

    A tall image is narrower than `width`, so that its height is at most MAX_IMAGE_HEIGHT.
    """
    if preview is None:
        st.markdown(":material/broken_image: No preview")
    else:
        with Image.open(BytesIO(preview)) as image:
            fitting = round(MAX_IMAGE_HEIGHT * image.width / image.height)
        st.image(preview, width=max(1, min(width, fitting)), alt=alt or f"The image {name}")
    st.caption(formatting.escape(name))


def as_text(outcome: Classification | Problem, model: ModelInfo) -> str:
    """Return the classification as text for screen readers."""
    if isinstance(outcome, Problem):
        return outcome.message
    kind = model.input.kind
    parts = [formatting.headline(outcome, kind), formatting.supporting_text(outcome, kind)]
    return ". ".join(filter(None, parts)) + "."
