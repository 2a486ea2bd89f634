"""A model behind a URL, also one that is busy, strange or gone."""

import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from client import Client
from evaluation.errors import PredictorError
from evaluation.predictors import served
from evaluation.predictors.served import ServedPredictor
from evaluation.types import Answer, Failure
from tests.conftest import free_port
from tests.evaluation.predictors.fake_backend import MODEL, Reply, line, lines, problem, serving
from tests.images import encoded, seven


class Patience(threading.Event):
    """Notes the pauses that it is asked for, none of which takes time."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return self.is_set()


@pytest.fixture
def stop() -> Patience:
    return Patience()


def good(pictures: list[bytes]) -> Reply:
    return lines(*(line() for _ in pictures))


def ask(
    reply: Callable[[list[bytes]], Reply], *pictures: bytes, stop: Patience | None = None
) -> list[Answer | Failure]:
    with serving(reply) as url, ServedPredictor(url, stop=stop) as model:
        return list(model(iter(pictures)))


def in_turn(*replies: Callable[[list[bytes]], Reply]) -> Callable[[list[bytes]], Reply]:
    """Each request is answered by the next; the last answers all that follow."""
    left = list(replies)
    return lambda pictures: (left.pop(0) if len(left) > 1 else left[0])(pictures)


def test_a_real_backend_is_asked(backend_url: str) -> None:
    with ServedPredictor(backend_url) as model:
        answers = list(model(iter([encoded(seven()), b"no picture"] * 40)))
    assert model.labels == tuple("0123456789")
    assert len(answers) == 80
    first, second = answers[-2:]
    assert isinstance(first, Answer)
    assert int(first.probabilities.argmax()) == 7
    assert isinstance(second, Failure)


def test_what_the_backend_says_is_handed_on() -> None:
    said = line(prediction_set=["cat", "dog"], coverage=0.95, in_distribution=False, ood_score=1.5)
    (answer,) = ask(lambda _: lines(said), b"x")
    assert isinstance(answer, Answer)
    assert answer.probabilities == pytest.approx(np.array([0.7, 0.2, 0.1]))
    assert (answer.prediction_set, answer.coverage) == (("cat", "dog"), 0.95)
    assert (answer.in_distribution, answer.ood_score) == (False, 1.5)
    assert answer.seconds == pytest.approx(0.003)


def test_the_model_and_the_coverage_are_those_asked_for() -> None:
    paths: list[str] = []
    with serving(good, paths=paths) as url, ServedPredictor(url, coverage=0.99) as model:
        list(model(iter([b"x"])))
    (path,) = paths
    assert parse_qs(urlsplit(path).query) == {
        "model": ["pets"],
        "coverage": ["0.99"],
        "top_k": ["1"],
        "store": ["false"],  # ten thousand pictures would flood the history
    }


def test_requests_are_of_moderate_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def count(pictures: list[bytes]) -> Reply:
        sizes.append(len(pictures))
        return good(pictures)

    monkeypatch.setattr(served, "REQUEST_BYTES", 100)
    pictures = [b"x"] * 70 + [b"x" * 60] * 3 + [b"x" * 500]
    assert len(ask(count, *pictures)) == len(pictures)
    assert sorted(sizes) == sorted([32, 32, 7, 1, 1, 1])


def test_a_busy_backend_is_asked_again_when_it_says(stop: Patience) -> None:
    busy = problem(429, "Too many.", Retry_After="7")
    answers = ask(in_turn(lambda _: busy, lambda _: busy, good), b"a", b"b", stop=stop)
    assert all(isinstance(answer, Answer) for answer in answers)
    assert stop.pauses == [7, 7]


def test_no_wait_is_longer_than_a_minute(stop: Patience) -> None:
    busy = problem(503, "Draining.", Retry_After="9000")
    assert isinstance(ask(in_turn(lambda _: busy, good), b"a", stop=stop)[0], Answer)
    assert stop.pauses == [60]


def test_only_the_pictures_that_were_too_late_are_asked_again(stop: Patience) -> None:
    asked: list[list[bytes]] = []

    def reply(pictures: list[bytes]) -> Reply:
        asked.append(pictures)
        late = {"status": 504, "detail": "Too late."}
        return lines(*(late if one == b"b" and len(asked) < 3 else line() for one in pictures))

    answers = ask(reply, b"a", b"b", b"c", stop=stop)
    assert all(isinstance(answer, Answer) for answer in answers)
    assert asked == [[b"a", b"b", b"c"], [b"b"], [b"b"]]
    assert stop.pauses == [1, 2]


def test_a_picture_that_stays_refused_is_listed_and_the_others_are_not(
    stop: Patience,
) -> None:
    def reply(pictures: list[bytes]) -> Reply:
        bad = {b"b": {"status": 504, "detail": "Too late."}, b"c": {"status": 415, "detail": "No."}}
        return lines(*(bad.get(one, line()) for one in pictures))

    first, second, third = ask(reply, b"a", b"b", b"c", stop=stop)
    assert isinstance(first, Answer)
    assert (second, third) == (Failure("Too late."), Failure("No."))
    assert stop.pauses == [1, 2, 4, 8]


def test_a_request_that_is_too_large_goes_in_halves() -> None:
    sizes: list[int] = []

    def reply(pictures: list[bytes]) -> Reply:
        sizes.append(len(pictures))
        if len(pictures) > 1 or pictures == [b"huge"]:
            return problem(413, "Too large.")
        return good(pictures)

    answers = ask(reply, b"a", b"huge", b"c")
    assert [isinstance(answer, Answer) for answer in answers] == [True, False, True]
    assert answers[1] == Failure("Too large.")
    assert sizes == [3, 1, 2, 1, 1]


def test_a_backend_that_falls_silent_ends_it_after_what_was_answered(
    stop: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "REQUESTS", 1)

    def cut(pictures: list[bytes]) -> Reply:
        return lines(*(line() for _ in pictures[1:]))

    with serving(in_turn(good, cut)) as url, ServedPredictor(url, stop=stop) as model:
        answers = model(iter([b"x"] * 40))
        assert len([next(answers) for _ in range(32)]) == 32
        with pytest.raises(PredictorError, match=r"answers no more: 8 images, but only 7 results"):
            next(answers)


@pytest.mark.parametrize("status", [401, 404, 422])
def test_a_refusal_that_will_not_pass_ends_it_in_the_backends_words(status: int) -> None:
    with pytest.raises(PredictorError, match=r"refuses: Not so\."):
        ask(lambda _: problem(status, "Not so."), b"x")


def test_probabilities_that_are_no_vector_of_the_labels_end_it() -> None:
    with pytest.raises(PredictorError, match="gives no probability for each of the labels"):
        ask(lambda _: lines(line(probabilities=[0.5, 0.5])), b"x")


def test_a_backend_that_is_away_for_every_try_ends_it(stop: Patience) -> None:
    asked: list[str] = []
    with (
        serving(lambda _: problem(503, "Draining."), paths=asked) as url,
        ServedPredictor(url, stop=stop, tries=7) as model,
        pytest.raises(PredictorError, match=r"answers no more: Draining\."),
    ):
        list(model(iter([b"x"])))
    assert len(asked) == 7
    assert stop.pauses == [1, 2, 4, 8, 8, 8]


def test_why_it_waits_is_told(stop: Patience) -> None:
    told: list[str] = []
    replies = in_turn(lambda _: problem(503, "Draining."), good)
    with (
        serving(replies) as url,
        ServedPredictor(url, stop=stop, waiting=told.append) as model,
    ):
        assert len(list(model(iter([b"x"])))) == 1
    assert told == ["Draining."]


def test_a_client_that_was_given_stays_open() -> None:
    with serving(good) as url, Client(url) as client:
        client.close = lambda: pytest.fail("closed")  # type: ignore[method-assign]
        with ServedPredictor(client) as model:
            assert len(list(model(iter([b"x"])))) == 1
        del client.close


def test_stopping_ends_the_waiting() -> None:
    stop = threading.Event()  # a real one: it would wait for 50 s

    def busy(_: list[bytes]) -> Reply:
        stop.set()
        return problem(429, "Too many.", Retry_After="50")

    with (
        serving(busy) as url,
        ServedPredictor(url, stop=stop) as model,
        pytest.raises(PredictorError, match="it was stopped by the user"),
    ):
        list(model(iter([b"x"])))


def test_a_model_that_is_not_served_or_not_ready_is_told() -> None:
    with serving(good) as url:
        with pytest.raises(PredictorError, match="serves no model 'cars'; it serves pets"):
            ServedPredictor(url, "cars")
        assert ServedPredictor(url, "pets").version == "3"
    with (
        serving(good, MODEL | {"state": "loading"}) as url,
        pytest.raises(PredictorError, match=r"the model pets is not ready \(loading\)"),
    ):
        ServedPredictor(url)


def test_an_address_where_nobody_is_or_that_is_none_is_told() -> None:
    with pytest.raises(PredictorError, match="not reachable"):
        ServedPredictor(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PredictorError, match="must start with http"):
        ServedPredictor("ftp://host")
