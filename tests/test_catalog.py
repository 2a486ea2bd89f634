"""The catalog: which models are served, and their plans."""

import threading
import time
from pathlib import Path

import pytest

from backend import catalog
from backend.catalog import choose_auto, choose_default, discover
from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.models import artifact
from backend.inference.types import Floats
from tests.fake_models import GRAY, GrayRuntime, serve, write_model
from tests.inference.helpers import TIMEOUT


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("zebra", "ant", "mnist-cnn"):
        write_model(tmp_path, name)
    (tmp_path / "not-a-model").mkdir()
    return tmp_path


def test_every_model_folder_is_served(models_dir: Path) -> None:
    assert list(discover(models_dir)) == ["ant", "mnist-cnn", "zebra"]


def test_only_listed_models_are_served(models_dir: Path) -> None:
    assert list(discover(models_dir, " zebra, ant,")) == ["zebra", "ant"]


@pytest.mark.parametrize("names", ["cat", "ant,cat", "../ant", "/etc"])
def test_unknown_name_raises(models_dir: Path, names: str) -> None:
    with pytest.raises(ArtifactError, match="PRISM_MODELS"):
        discover(models_dir, names)


def test_address_is_served_under_given_name(
    models_dir: Path,
) -> None:
    addresses = discover(
        models_dir,
        f"ant, photos=gs://bucket/mobilenet,other={models_dir}/zebra,digits=https://h/a.pt#mnist-net",
    )
    assert list(addresses) == ["ant", "photos", "other", "digits"]
    assert addresses["photos"].location == "gs://bucket/mobilenet"
    assert addresses["digits"].architecture == "mnist-net"
    assert addresses["other"].folder == models_dir / "zebra"
    assert choose_default(addresses) == "ant"
    assert choose_default(addresses, "photos") == "photos"


@pytest.mark.parametrize(
    "names",
    [
        "https://host/a",
        "https://me:secret@host/a?key=secret",
        "Bad Name=gs://bucket/a",
        "=gs://bucket/a",
        "a=",
        "ant,ant=zebra",
        "a=ftp://host/a",
        "a=gs://bucket/a.pt",
        "a=gs://bucket/a@sha256=1",
    ],
)
def test_malformed_address_raises_without_secrets(names: str, models_dir: Path) -> None:
    with pytest.raises(ArtifactError, match=r"^PRISM_MODELS: [^\n]*$") as info:
        discover(models_dir, names)
    assert "secret" not in str(info.value)


def test_folder_without_models_raises(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="contains no model folder"):
        discover(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        discover(tmp_path / "absent")


def test_default_is_digit_model_else_first_by_name(models_dir: Path) -> None:
    folders = discover(models_dir)
    assert choose_default(folders) == "mnist-cnn"
    assert choose_default(folders, "zebra") == "zebra"
    del folders["mnist-cnn"]
    assert choose_default(folders) == "ant"
    with pytest.raises(ArtifactError, match="PRISM_DEFAULT_MODEL=cat"):
        choose_default(folders, "cat")


def test_auto_asks_the_served_models_in_order(models_dir: Path) -> None:
    folders = discover(models_dir)
    assert choose_auto(folders, "zebra, photos,ant,zebra", strict=False) == ("zebra", "ant")
    assert choose_auto(folders, "mnist-cnn,photos", strict=False) == ()
    assert choose_auto(folders, "", strict=True) == ()
    with pytest.raises(ArtifactError, match="PRISM_AUTO_MODELS: photos is not one of"):
        choose_auto(folders, "ant,photos", strict=True)


def test_default_is_auto_if_it_has_several_models(models_dir: Path) -> None:
    folders = discover(models_dir)
    assert choose_default(folders, auto=("zebra", "ant")) == "auto"
    assert choose_default(folders, "ant", ("zebra", "ant")) == "ant"
    assert choose_default(folders, "auto", ("zebra", "ant")) == "auto"
    with pytest.raises(ArtifactError, match="PRISM_DEFAULT_MODEL=auto requires"):
        choose_default(folders, "auto")


def test_name_auto_is_reserved(models_dir: Path) -> None:
    with pytest.raises(ArtifactError, match="auto: the name is reserved"):
        discover(models_dir, f"auto={models_dir}/ant")
    write_model(models_dir, "auto")
    with pytest.raises(ArtifactError, match="the name is reserved"):
        discover(models_dir)


def test_plans_of_loaded_models_are_stored(tmp_path: Path) -> None:
    for name in ("ant", "bee", "damaged"):
        folder = write_model(tmp_path / "models", name, preprocess=GRAY)
        (folder / artifact.ONNX).write_bytes(name.encode())
        if name != "damaged":
            artifact.write_manifest(folder, artifact.read_manifest(folder))
    end = time.monotonic() + TIMEOUT
    options = {"measure": True, "preload": True, "data_dir": tmp_path / "data"}
    with serve(tmp_path / "models", GrayRuntime(), **options):
        while len(list((tmp_path / "data" / "plans").glob("*.json"))) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_memory_is_released_after_each_measured_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Semaphore(0)
    monkeypatch.setattr(catalog, "release_freed_memory", released.release)
    write_model(tmp_path / "models", preprocess=GRAY)
    with serve(tmp_path / "models", GrayRuntime(), measure=True, data_dir=tmp_path / "data"):
        assert released.acquire(timeout=TIMEOUT)
    assert len(list((tmp_path / "data" / "plans").glob("*.json"))) == 1


def test_measure_false_measures_nothing(tmp_path: Path) -> None:
    write_model(tmp_path / "models", preprocess=GRAY)
    runtime = GrayRuntime()
    with serve(tmp_path / "models", runtime, measure=False, data_dir=tmp_path / "data") as client:
        assert client.post("/classify", content=b"", headers={"Content-Type": "image/png"})
    assert len(runtime.batches) == 2  # the warm-up
    assert not (tmp_path / "data" / "plans").exists()


def test_network_without_batch_support_gets_plan_with_batch_of_one(
    tmp_path: Path,
) -> None:
    class OneByOne(GrayRuntime):
        def __call__(self, batch: Floats) -> Floats:
            if len(batch) > 1:
                raise InferenceError("one at a time")
            return super().__call__(batch)

    for name in ("ant", "bee"):
        folder = write_model(tmp_path / "models", name, preprocess=GRAY)
        (folder / artifact.ONNX).write_bytes(name.encode())
        artifact.write_manifest(folder, artifact.read_manifest(folder))
    end = time.monotonic() + TIMEOUT
    options = {"measure": True, "preload": True, "data_dir": tmp_path / "d"}
    with serve(tmp_path / "models", OneByOne(), **options) as client:
        while not (client.get("/models/bee").json()["plan"] or {}).get("measured"):
            assert time.monotonic() < end
        assert client.get("/models/ant").json()["plan"]["max_batch"] == 1
