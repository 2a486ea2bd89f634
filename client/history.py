"""What the backend remembers: listed, corrected, forgotten, exported."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import requests

from client.errors import InvalidAnswer
from client.fields import (
    Object,
    as_flag,
    as_list,
    as_number,
    as_object,
    as_share,
    as_text,
    as_texts,
    optional,
    parse_object,
)
from client.parsing import parse_guess, parse_model, parse_timings
from client.types import Guess, ModelRef, Timings

Answer = Callable[..., AbstractContextManager[requests.Response]]


@dataclass(frozen=True, slots=True)
class Search:
    """Which answers are meant; None means any.

    `label` is what was predicted; `corrected` whether a person has said what is right. `since` is
    included, `until` is not; without a zone they are UTC.
    """

    model: str | None = None
    label: str | None = None
    corrected: bool | None = None
    in_distribution: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def query(self) -> dict[str, str]:
        """As the parameters of a request."""
        given = {
            "model": self.model,
            "label": self.label,
            "corrected": None if self.corrected is None else str(self.corrected).lower(),
            "in_distribution": (
                None if self.in_distribution is None else str(self.in_distribution).lower()
            ),
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
        }
        return {name: value for name, value in given.items() if value is not None}


ANY = Search()


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer as it is remembered; fields as in Classification.

    `time` and `corrected_at` are UTC. `sha256` is that of the picture's file; `image` tells whether
    a small copy of it is kept. `correction` is the right label, None where nobody has said it.
    """

    id: str
    time: datetime
    model: ModelRef
    prediction: str
    confidence: float
    top: tuple[Guess, ...]
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    ood_score: float | None
    timings: Timings
    sha256: str
    filename: str | None
    image: bool
    correction: str | None
    corrected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some answers, the newest first; `next` is the cursor of the page that follows, if any."""

    answers: tuple[StoredAnswer, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many answers people found right (`confirmed`) and wrong (`corrected`).

    `days` has the same by the day of the answer (UTC, YYYY-MM-DD), the newest first.
    """

    confirmed: int
    corrected: int
    days: Mapping[str, "Accuracy"]

    @property
    def accuracy(self) -> float | None:
        """The share that was right; None where nobody has looked at any."""
        looked_at = self.confirmed + self.corrected
        return self.confirmed / looked_at if looked_at else None


class History:
    """The history of the backend that `ask` asks; raises what Client does.

    BackendError has the status 401 or 403 where an API key is missing or wrong.
    """

    def __init__(self, ask: Answer) -> None:
        self._ask = ask

    def page(self, search: Search = ANY, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Return up to `limit` (500 at most) answers, from `cursor` on."""
        query = search.query() | {"limit": str(limit)}
        if cursor is not None:
            query["cursor"] = cursor
        obj = self._object("GET", "/history", query=query)
        answers = as_list(obj.get("answers"), "answers")
        return Page(
            answers=tuple(_stored(as_object(item, "answers[]")) for item in answers),
            next=optional(obj, "next", as_text),
        )

    def get(self, answer_id: str) -> StoredAnswer:
        """Return one answer."""
        return _stored(self._object("GET", _path(answer_id)))

    def image(self, answer_id: str) -> bytes:
        """Return the small copy of the picture, as a WebP file."""
        with self._ask("GET", f"{_path(answer_id)}/image") as response:
            return response.content

    def correct(self, answer_id: str, label: str | None) -> StoredAnswer:
        """Say what is right: the predicted label confirms, another corrects, None takes it back."""
        return _stored(self._object("PATCH", _path(answer_id), json={"correction": label}))

    def delete(self, answer_id: str) -> None:
        """Forget one answer."""
        with self._ask("DELETE", _path(answer_id)):
            pass

    def clear(self) -> int:
        """Forget all; return how many they were."""
        return int(as_number(self._object("DELETE", "/history").get("deleted"), "deleted"))

    def accuracy(self, search: Search = ANY) -> Accuracy:
        """Return what the corrections say."""
        obj = self._object("GET", "/history/accuracy", query=search.query())
        days = [as_object(item, "days[]") for item in as_list(obj.get("days"), "days")]
        return Accuracy(
            *_counts(obj),
            days={as_text(day.get("day"), "day"): Accuracy(*_counts(day), days={}) for day in days},
        )

    def export(
        self, search: Search = ANY, *, file_format: Literal["ndjson", "csv"] = "ndjson"
    ) -> Iterator[bytes]:
        """Yield every answer that fits as a file, piece by piece."""
        query = search.query() | {"format": file_format}
        with self._ask("GET", "/history/export", query=query) as response:
            yield from response.iter_content(65_536)

    def _object(self, method: str, path: str, **request: Any) -> Object:
        with self._ask(method, path, **request) as response:
            return parse_object(response.content)


def _path(answer_id: str) -> str:
    return f"/history/{quote(answer_id, safe='')}"


def _counts(obj: Object) -> tuple[int, int]:
    confirmed, corrected = (as_number(obj.get(k), k) for k in ("confirmed", "corrected"))
    return int(confirmed), int(corrected)


def _stored(obj: Object) -> StoredAnswer:
    return StoredAnswer(
        id=as_text(obj.get("id"), "id"),
        time=_moment(obj.get("time"), "time"),
        model=parse_model(obj),
        prediction=as_text(obj.get("prediction"), "prediction"),
        confidence=as_share(obj.get("confidence"), "confidence"),
        top=tuple(parse_guess(item) for item in as_list(obj.get("top"), "top")),
        prediction_set=optional(obj, "prediction_set", as_texts),
        coverage=optional(obj, "coverage", as_share),
        in_distribution=optional(obj, "in_distribution", as_flag),
        ood_score=optional(obj, "ood_score", as_number),
        timings=parse_timings(obj),
        sha256=as_text(obj.get("sha256", ""), "sha256"),
        filename=optional(obj, "filename", as_text),
        image=as_flag(obj.get("image", False), "image"),
        correction=optional(obj, "correction", as_text),
        corrected_at=optional(obj, "corrected_at", _moment),
    )


def _moment(value: Any, field: str) -> datetime:
    try:
        return datetime.fromisoformat(as_text(value, field))
    except ValueError as exc:
        raise InvalidAnswer(f"{field} is not a moment") from exc
