"""Use images of the history as training images: those whose answer a person checked."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import streamlit as st

from client import Client, ClientError, HistoryFilters
from evaluation.errors import EvaluationError
from frontend.datasets import dataset
from frontend.datasets.checked_images import is_held_out
from frontend.datasets.dataset import Dataset, MemoryFile
from frontend.datasets.training_set import MAX_BYTES, TrainingSetError
from frontend.service import errors, teaching
from frontend.service.session import Service
from frontend.state import memory
from frontend.ui import alerts
from frontend.ui.alerts import Problem

_MODEL = "teach history model"
_PROBLEM = "teach history problem"


class OnDataset(Protocol):
    """Adds the images of a dataset, except those that `skip` returns true for."""

    def __call__(self, data: Dataset, *, skip: Callable[[bytes], bool] | None = None) -> None:
        """Raise EvaluationError if there are none."""


def show(service: Service | Problem, on_dataset: OnDataset) -> None:
    """Show the choice of a model; `on_dataset` may raise EvaluationError.

    Of a taught model, the images that versions are compared on are left out.
    """
    if not isinstance(service, Service):
        st.caption("The history can be read when the backend is available again.")
        return
    taught = [model.name for model in teaching.taught_models(service.models)]
    others = [model.name for model in service.models.models if model.name not in taught]
    name: str = st.selectbox(
        "Images that were classified by",
        [*taught, *others],
        key=_MODEL,
        help="Images whose answer was confirmed or corrected, in the class of their right label. "
        "The history stores small copies of them.",
    )
    st.button(
        "Add checked images",
        icon=":material/history:",
        on_click=_add,
        args=(
            service.client,
            name,
            partial(on_dataset, skip=is_held_out if name in taught else None),
        ),
    )
    if problem := st.session_state.pop(_PROBLEM, None):
        alerts.show_message(problem)


def _add(client: Client, name: str, on_dataset: Callable[[Dataset], None]) -> None:
    filters = HistoryFilters(model=name, corrected=True)
    try:
        content = _download(client, filters)
        data = dataset.store_zip(MemoryFile("the history", content))
        try:
            on_dataset(data)
        except EvaluationError:
            data.close()
            raise
    except ClientError as error:
        st.session_state[_PROBLEM] = errors.describe_history_error(error)
    except TrainingSetError as error:
        st.session_state[_PROBLEM] = Problem(str(error), "")
    except EvaluationError:
        message = f"The history has no checked images of {name}."
        advice = "Confirm or correct answers on Classify or on History first."
        st.session_state[_PROBLEM] = Problem(message, advice)


def _download(client: Client, filters: HistoryFilters) -> bytes:
    """Return a zip of class folders; raise TrainingSetError if it is too large."""
    content = bytearray()
    for chunk in client.history.export(filters, file_format="images"):
        content += chunk
        if len(content) > memory.share(MAX_BYTES):
            raise TrainingSetError("There are too many. Download them on History, and choose some.")
    return bytes(content)
