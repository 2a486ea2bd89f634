"""The order of many results. Imports no Streamlit."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from client import Classification
from frontend.views.classify.results_table import Result

_PROBLEMS: Final = ("failed", "out_of_distribution", "uncertain", "confident")

SortKey = tuple[Any, ...]


def natural_key(text: str) -> SortKey:
    """Return a sort key that compares numbers by value: img2 comes before img10."""
    parts = re.split(r"(\d+)", text.casefold())
    numbers = ((len(part := digits.lstrip("0")), part) for digits in parts[1::2])
    return tuple(zip(parts[::2], [*numbers, (0, "")], strict=True)), text


def sort(results: Sequence[Result], order: str) -> list[Result]:
    """Return the results in one of the ORDERS; equal ones are sorted by name."""
    by_name = sorted(results, key=lambda result: natural_key(result.image.name))
    return sorted(by_name, key=ORDERS[order])


def _prediction(result: Result) -> Classification | None:
    """Return the classification of an image that has a prediction."""
    outcome = result.outcome
    if isinstance(outcome, Classification) and outcome.in_distribution is not False:
        return outcome
    return None


def _by_confidence(sign: int) -> Callable[[Result], SortKey]:
    def key(result: Result) -> SortKey:
        prediction = _prediction(result)
        return (prediction is None, sign * (prediction.confidence if prediction else 0))

    return key


def _by_label(result: Result) -> SortKey:
    prediction = _prediction(result)
    return (prediction is None, natural_key(prediction.prediction if prediction else ""))


ORDERS: Final[dict[str, Callable[[Result], SortKey]]] = {
    "Name": lambda _: (),
    "Lowest confidence": _by_confidence(1),
    "Highest confidence": _by_confidence(-1),
    "Label": _by_label,
    "Problems first": lambda result: (_PROBLEMS.index(result.category),),
}
