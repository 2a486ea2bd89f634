"""Batches of one model: decoded, run by the right network, each item by itself."""

from pathlib import Path

import numpy as np
import pytest

from backend.inference.batcher import Batch
from backend.inference.decoder import Decoder, Input
from backend.inference.engine import Answer, Engine
from backend.inference.errors import ArtifactError, BrokenImageError, ClosedError, InferenceError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.observer import SilentObserver
from backend.inference.types import Floats
from tests.fake_models import GRAY, GrayRuntime, gray, write_model


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return artifact.read(write_model(tmp_path / "models", "gray", preprocess=GRAY))


class Loaded:
    """Loads fakes and keeps them."""

    def __init__(self, *, concurrent: bool = True, bad: int | None = None) -> None:
        self.networks: list[GrayRuntime] = []
        self._concurrent = concurrent
        self._bad = bad

    def __call__(self, *, threads: int) -> GrayRuntime:
        network = GrayRuntime(concurrent=self._concurrent, threads=threads, bad=self._bad)
        self.networks.append(network)
        return network

    def asked(self) -> list[list[list[int]]]:
        """The batches of each network since it was asked last."""
        found = [network.batches[:] for network in self.networks]
        for network in self.networks:
            network.batches.clear()
        return found


class Batches(SilentObserver):
    def __init__(self) -> None:
        self.heard: list[tuple[int, str]] = []

    def batch(self, size: int, reason: str) -> None:
        self.heard.append((size, reason))


def engine(
    model: Artifact, load: Loaded, *, threads: int = 4, observer: SilentObserver | None = None
) -> Engine:
    decoder = Decoder(GRAY, ImageReader(100_000))
    found = Engine(
        model, load, decoder, threads=threads, max_batch=8, observer=observer or SilentObserver()
    )
    load.asked()
    return found


def digits(answers: object) -> list[object]:
    """What each was answered: its digit, or its error's type."""
    assert isinstance(answers, list)
    return [int(one.outputs.argmax()) if isinstance(one, Answer) else type(one) for one in answers]


def test_files_and_inputs_are_answered_each_in_its_place(model: Artifact) -> None:
    load = Loaded()
    run = engine(model, load)
    decoded = Decoder(GRAY, ImageReader(10_000)).decode(gray(3))
    assert digits(run(Batch([gray(1), decoded, gray(5, side=80)], "partial"))) == [1, 3, 5]
    assert load.asked() == [[[1, 3, 5]]]


def test_an_item_of_several_rows_keeps_them_together(model: Artifact) -> None:
    run = engine(model, Loaded())
    decoded = [Decoder(GRAY, ImageReader(10_000)).decode(gray(i)).rows for i in (1, 2, 3)]
    three = Input(rows=decoded[0].repeat(3, axis=0))
    answers = run(Batch([three, Input(decoded[1]), Input(decoded[2])], "partial"))
    outputs = [answer.outputs for answer in answers if isinstance(answer, Answer)]
    assert [part.argmax(axis=1).tolist() for part in outputs] == [[1, 1, 1], [2], [3]]
    assert outputs[0].sum(axis=1) == pytest.approx([1, 1, 1])


def test_each_item_has_the_scores_of_its_own_rows(model: Artifact) -> None:
    class Brightness(GrayRuntime):
        """The brighter a picture, the larger its logits."""

        def __call__(self, batch: Floats) -> Floats:
            logits: Floats = super().__call__(batch) * batch.mean(axis=(1, 2, 3))[:, np.newaxis]
            return logits

    class LoadedBright(Loaded):
        def __call__(self, *, threads: int) -> GrayRuntime:
            return Brightness(threads=threads)

    run = engine(model, LoadedBright())
    dim, bright, middle = (Decoder(GRAY, ImageReader(9999)).decode(gray(i)).rows for i in (1, 8, 4))
    items = [Input(dim), Input(np.concatenate([bright, middle])), Input(dim)]

    def scores(*items: Input) -> list[float]:
        answers = run(Batch([*items], "partial"))
        each = [answer.ood_scores for answer in answers if isinstance(answer, Answer)]
        return [float(score) for part in each if part is not None for score in part]

    (low,), (high,), (between,) = scores(Input(bright)), scores(Input(dim)), scores(Input(middle))
    assert low < between < high
    assert scores(*items) == pytest.approx([high, low, between, high])


def test_a_bad_picture_never_reaches_the_network_and_spoils_nothing(model: Artifact) -> None:
    load, observer = Loaded(), Batches()
    run = engine(model, load, observer=observer)
    broken = gray(2)[:45]
    answers = run(Batch([gray(1), broken, gray(3)], "full"))
    assert digits(answers) == [1, BrokenImageError, 3]
    assert load.asked() == [[[1, 3]]]
    assert digits(run(Batch([broken], "single"))) == [BrokenImageError]
    assert load.asked() == [[]]
    assert observer.heard == [(2, "full")]  # what was never run is no batch


def test_an_input_that_makes_the_forward_pass_fail_fails_alone(model: Artifact) -> None:
    run = engine(model, Loaded(bad=9))
    answers = run(Batch([gray(i) for i in (1, 9, 3, 4)], "partial"))
    assert digits(answers) == [1, InferenceError, 3, 4]


def test_one_alone_takes_the_wide_network_and_several_the_narrow_one(model: Artifact) -> None:
    load = Loaded()
    run = engine(model, load)
    run.spread()
    assert [network.threads for network in load.networks] == [4, 1]
    run(Batch([gray(1)], "single"))
    assert load.asked() == [[[1]], []]
    run(Batch([gray(2), gray(3)], "partial"))
    run(Batch([gray(4)], "partial"))
    assert load.asked() == [[], [[2, 3], [4]]]


@pytest.mark.parametrize(
    ("concurrent", "threads", "networks", "runners"),
    [(True, 4, [4, 1], 4), (True, 1, [1], 1), (False, 4, [4], 1), (False, 1, [1], 1)],
)
def test_a_second_network_is_loaded_only_where_side_by_side_may_gain(
    model: Artifact, concurrent: bool, threads: int, networks: list[int], runners: int
) -> None:
    load = Loaded(concurrent=concurrent)
    run = engine(model, load, threads=threads)
    plan = run.spread()
    assert [network.threads for network in load.networks] == networks
    assert run.plan == plan
    assert plan.runners == runners
    assert plan.decoders == (0 if concurrent else threads)


def test_a_network_that_fails_on_a_blank_input_is_refused(model: Artifact) -> None:
    with pytest.raises(ArtifactError, match="blank input"):
        engine(model, Loaded(bad=0))


def test_a_picture_that_was_given_up_while_it_was_decoded_costs_no_forward_pass(
    model: Artifact,
) -> None:
    load = Loaded()
    run = engine(model, load)
    answers = run(Batch([gray(1), gray(2)], "partial", lambda at: at == 1))
    assert isinstance(answers[0], ClosedError)
    assert isinstance(answers[1], Answer)
    assert load.asked() == [[[2]]]
