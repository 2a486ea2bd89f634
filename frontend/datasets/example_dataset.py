"""The example dataset: handwritten digits in class folders, drawn by a program."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import streamlit as st

from client import ModelInfo
from frontend import examples
from frontend.datasets import dataset
from frontend.datasets.dataset import Dataset, MemoryFile
from frontend.ui.formatting import escape

LABELS: Final = frozenset("0123456789")
NAME: Final = "example-digits.zip"
_FILE: Final = examples.FOLDER / "digits.zip"  # training/data/example_dataset.py draws it

OnStart = Callable[..., Any]


def load() -> Dataset:
    """Return the dataset; raise SourceError if it cannot be stored."""
    return dataset.store_zip(MemoryFile(NAME, _FILE.read_bytes()))


def choose_models(
    chosen: Sequence[ModelInfo], served: Iterable[ModelInfo]
) -> tuple[ModelInfo, ...] | None:
    """Return as many models as `chosen` that have the labels of the dataset, `chosen` first.

    Return None if too few are served.
    """
    by_name = {model.name: model for model in (*chosen, *served)}
    fitting = [
        model
        for model in by_name.values()
        if model.state == "ready" and set(model.labels) >= LABELS
    ]
    return tuple(fitting[: len(chosen)]) if len(fitting) >= len(chosen) else None


def show_button(
    chosen: Sequence[ModelInfo], served: Iterable[ModelInfo], on_start: OnStart
) -> None:
    """Show the button that calls `on_start(models)`, or why there is no example."""
    models = choose_models(chosen, served)
    unfit = [model.title for model in chosen if not set(model.labels) >= LABELS]
    if models is None:
        titles = " and ".join(unfit)
        st.caption(escape(f"There is no example dataset for {titles}: it contains digits."))
        return
    text = "300 handwritten digits that a program drew, similar to the training data."
    if unfit:
        others = " and ".join(model.title for model in models if model not in chosen)
        text += f" There is no example for {' and '.join(unfit)}, so it uses {others}."
    st.button(
        "Try an example dataset",
        icon=":material/dataset:",
        key="example dataset",
        on_click=on_start,
        args=(models,),
    )
    st.caption(escape(text))
