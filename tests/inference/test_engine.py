"""Engine: decoding, choice of the network, and one result per item."""

from pathlib import Path

import numpy as np
import pytest

from backend.inference.batcher import Batch
from backend.inference.decoder import Decoder, Input
from backend.inference.engine import Engine, InferenceResult
from backend.inference.errors import ArtifactError, ClosedError, InferenceError, TruncatedImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.observer import Observer
from backend.inference.types import Floats
from tests.fake_models import GRAY, GrayRuntime, gray, write_model


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return artifact.read(write_model(tmp_path / "models", "gray", preprocess=GRAY))


class RecordingLoader:
    """Loads fake networks and records them."""

    def __init__(self, *, concurrent: bool = True, bad: int | None = None) -> None:
        self.networks: list[GrayRuntime] = []
        self._concurrent = concurrent
        self._bad = bad

    def __call__(self, *, threads: int) -> GrayRuntime:
        network = GrayRuntime(concurrent=self._concurrent, threads=threads, bad=self._bad)
        self.networks.append(network)
        return network

    def pop_batches(self) -> list[list[list[int]]]:
        """Return and forget the batches of each network."""
        batches = [network.batches[:] for network in self.networks]
        for network in self.networks:
            network.batches.clear()
        return batches


class BatchObserver(Observer):
    def __init__(self) -> None:
        self.batches: list[tuple[int, str]] = []

    def batch(self, size: int, reason: str) -> None:
        self.batches.append((size, reason))


def create_engine(
    model: Artifact, load: RecordingLoader, *, threads: int = 4, observer: Observer | None = None
) -> Engine:
    decoder = Decoder(GRAY, ImageReader(100_000))
    engine = Engine(
        model, load, decoder, threads=threads, max_batch=8, observer=observer or Observer()
    )
    load.pop_batches()
    return engine


@pytest.mark.parametrize(("name", "size"), [("onnx", 2), ("torch", 8)])
def test_batches_fit_the_memory(model: Artifact, name: str, size: int) -> None:
    load = RecordingLoader()

    def load_named(*, threads: int) -> GrayRuntime:
        network = load(threads=threads)
        network.name = name
        return network

    memory = 2 * 4 * 30 * 64 * 4  # images, runners, activations per input, numbers, bytes of one
    decoder = Decoder(GRAY, ImageReader(100_000))
    engine = Engine(
        model, load_named, decoder, threads=4, max_batch=8, observer=Observer(), memory=memory
    )
    assert engine.max_batch == size
    assert engine.use_default_plan().max_batch == min(4, size)


def digits(results: object) -> list[object]:
    """Return the digit of each result, or the type of the exception."""
    assert isinstance(results, list)
    return [
        int(one.probabilities.argmax()) if isinstance(one, InferenceResult) else type(one)
        for one in results
    ]


def test_files_and_inputs_get_results_in_order(model: Artifact) -> None:
    load = RecordingLoader()
    engine = create_engine(model, load)
    decoded = Decoder(GRAY, ImageReader(10_000)).decode(gray(3))
    assert digits(engine(Batch([gray(1), decoded, gray(5, side=80)], "partial"))) == [1, 3, 5]
    assert load.pop_batches() == [[[1, 3, 5]]]


def test_item_with_several_rows_gets_one_result(model: Artifact) -> None:
    engine = create_engine(model, RecordingLoader())
    decoded = [Decoder(GRAY, ImageReader(10_000)).decode(gray(i)).rows for i in (1, 2, 3)]
    three = Input(rows=decoded[0].repeat(3, axis=0))
    results = engine(Batch([three, Input(decoded[1]), Input(decoded[2])], "partial"))
    outputs = [result.probabilities for result in results if isinstance(result, InferenceResult)]
    assert [part.argmax(axis=1).tolist() for part in outputs] == [[1, 1, 1], [2], [3]]
    assert outputs[0].sum(axis=1) == pytest.approx([1, 1, 1])


def test_each_item_gets_the_scores_of_its_rows(model: Artifact) -> None:
    class Brightness(GrayRuntime):
        """Returns larger logits for brighter images."""

        def __call__(self, batch: Floats) -> Floats:
            logits: Floats = super().__call__(batch) * batch.mean(axis=(1, 2, 3))[:, np.newaxis]
            return logits

    class BrightnessLoader(RecordingLoader):
        def __call__(self, *, threads: int) -> GrayRuntime:
            return Brightness(threads=threads)

    engine = create_engine(model, BrightnessLoader())
    dim, bright, middle = (Decoder(GRAY, ImageReader(9999)).decode(gray(i)).rows for i in (1, 8, 4))
    items = [Input(dim), Input(np.concatenate([bright, middle])), Input(dim)]

    def scores(*items: Input) -> list[float]:
        results = engine(Batch([*items], "partial"))
        each = [result.ood_scores for result in results if isinstance(result, InferenceResult)]
        return [float(score) for part in each if part is not None for score in part]

    (low,), (high,), (between,) = scores(Input(bright)), scores(Input(dim)), scores(Input(middle))
    assert low < between < high
    assert scores(*items) == pytest.approx([high, low, between, high])


def test_broken_image_does_not_reach_the_network(model: Artifact) -> None:
    load, observer = RecordingLoader(), BatchObserver()
    engine = create_engine(model, load, observer=observer)
    broken = gray(2)[:45]
    results = engine(Batch([gray(1), broken, gray(3)], "full"))
    assert digits(results) == [1, TruncatedImageError, 3]
    assert load.pop_batches() == [[[1, 3]]]
    assert digits(engine(Batch([broken], "single"))) == [TruncatedImageError]
    assert load.pop_batches() == [[]]
    assert observer.batches == [(2, "full")]  # an empty batch is not reported


def test_input_that_fails_does_not_affect_its_batch(model: Artifact) -> None:
    engine = create_engine(model, RecordingLoader(bad=9))
    results = engine(Batch([gray(i) for i in (1, 9, 3, 4)], "partial"))
    assert digits(results) == [1, InferenceError, 3, 4]


def test_single_batch_uses_the_wide_network_and_others_the_narrow_one(model: Artifact) -> None:
    load = RecordingLoader()
    engine = create_engine(model, load)
    engine.use_default_plan()
    assert [network.threads for network in load.networks] == [4, 1]
    engine(Batch([gray(1)], "single"))
    assert load.pop_batches() == [[[1]], []]
    engine(Batch([gray(2), gray(3)], "partial"))
    engine(Batch([gray(4)], "partial"))
    assert load.pop_batches() == [[], [[2, 3], [4]]]


@pytest.mark.parametrize(
    ("concurrent", "threads", "networks", "runners"),
    [(True, 4, [4, 1], 4), (True, 1, [1], 1), (False, 4, [4], 1), (False, 1, [1], 1)],
)
def test_narrow_network_is_loaded_only_for_concurrent_runners(
    model: Artifact, concurrent: bool, threads: int, networks: list[int], runners: int
) -> None:
    load = RecordingLoader(concurrent=concurrent)
    engine = create_engine(model, load, threads=threads)
    plan = engine.use_default_plan()
    assert [network.threads for network in load.networks] == networks
    assert engine.plan == plan
    assert plan.runners == runners
    assert plan.decoders == (0 if concurrent else threads)


def test_network_that_fails_on_a_blank_input_raises_artifact_error(model: Artifact) -> None:
    with pytest.raises(ArtifactError, match="blank input"):
        create_engine(model, RecordingLoader(bad=0))


def test_image_cancelled_during_decoding_is_not_run(
    model: Artifact,
) -> None:
    load = RecordingLoader()
    engine = create_engine(model, load)
    results = engine(Batch([gray(1), gray(2)], "partial", lambda index: index == 1))
    assert isinstance(results[0], ClosedError)
    assert isinstance(results[1], InferenceResult)
    assert load.pop_batches() == [[[2]]]
