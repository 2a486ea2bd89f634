"""Which models are served."""

import time
from pathlib import Path

import pytest

from backend.catalog import choose_default, discover
from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.models import artifact
from backend.inference.types import Floats
from tests.fake_models import GRAY, GrayRuntime, serve, write_model
from tests.inference.work import WAIT


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for name in ("zebra", "ant", "mnist-cnn"):
        write_model(tmp_path, name)
    (tmp_path / "not-a-model").mkdir()
    return tmp_path


def test_every_model_folder_is_served_and_nothing_else(models_dir: Path) -> None:
    assert list(discover(models_dir)) == ["ant", "mnist-cnn", "zebra"]


def test_named_models_only(models_dir: Path) -> None:
    assert list(discover(models_dir, " zebra, ant,")) == ["zebra", "ant"]


@pytest.mark.parametrize("names", ["cat", "ant,cat", "../ant", "/etc"])
def test_a_name_that_is_not_there_refuses_to_boot(models_dir: Path, names: str) -> None:
    with pytest.raises(ArtifactError, match="PRISM_MODELS"):
        discover(models_dir, names)


def test_an_address_takes_the_place_of_a_folder_under_the_name_it_is_given(
    models_dir: Path,
) -> None:
    found = discover(
        models_dir,
        f"ant, photos=gs://bucket/mobilenet,other={models_dir}/zebra,digits=https://h/a.pt#mnist-net",
    )
    assert list(found) == ["ant", "photos", "other", "digits"]
    assert found["photos"].location == "gs://bucket/mobilenet"
    assert found["digits"].architecture == "mnist-net"
    assert found["other"].folder == models_dir / "zebra"
    assert choose_default(found) == "ant"
    assert choose_default(found, "photos") == "photos"


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
def test_a_malformed_address_refuses_to_boot_with_one_line_without_secrets(
    names: str, models_dir: Path
) -> None:
    with pytest.raises(ArtifactError, match=r"^PRISM_MODELS: [^\n]*$") as caught:
        discover(models_dir, names)
    assert "secret" not in str(caught.value)


def test_a_folder_without_models_refuses_to_boot(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no model folder"):
        discover(tmp_path)
    with pytest.raises(ArtifactError, match="no folder"):
        discover(tmp_path / "absent")


def test_the_default_is_the_digit_model_else_the_first_by_name(models_dir: Path) -> None:
    folders = discover(models_dir)
    assert choose_default(folders) == "mnist-cnn"
    assert choose_default(folders, "zebra") == "zebra"
    del folders["mnist-cnn"]
    assert choose_default(folders) == "ant"
    with pytest.raises(ArtifactError, match="PRISM_DEFAULT_MODEL=cat"):
        choose_default(folders, "cat")


def test_every_model_that_loads_is_planned_for_and_the_plans_are_kept(tmp_path: Path) -> None:
    for name in ("ant", "bee", "damaged"):
        folder = write_model(tmp_path / "models", name, preprocess=GRAY)
        (folder / artifact.ONNX).write_bytes(name.encode())
        if name != "damaged":
            artifact.write_manifest(folder, artifact.read_manifest(folder))
    end = time.monotonic() + WAIT
    with serve(tmp_path / "models", GrayRuntime(), measure=True, data_dir=tmp_path / "data"):
        while len(list((tmp_path / "data" / "plans").glob("*.json"))) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_nothing_is_measured_where_that_is_turned_off(tmp_path: Path) -> None:
    write_model(tmp_path / "models", preprocess=GRAY)
    runtime = GrayRuntime()
    with serve(tmp_path / "models", runtime, measure=False, data_dir=tmp_path / "data") as client:
        assert client.post("/classify", content=b"", headers={"Content-Type": "image/png"})
    assert len(runtime.batches) == 2  # the warm-up
    assert not (tmp_path / "data" / "plans").exists()


def test_a_network_that_takes_one_at_a_time_is_planned_for_and_harms_no_other(
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
    end = time.monotonic() + WAIT
    with serve(tmp_path / "models", OneByOne(), measure=True, data_dir=tmp_path / "d") as client:
        while not (client.get("/models/bee").json()["plan"] or {}).get("measured"):
            assert time.monotonic() < end
        assert client.get("/models/ant").json()["plan"]["max_batch"] == 1
