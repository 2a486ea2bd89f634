"""Checkpoints: state dicts in several formats, without unpickling."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backend.inference import runtimes
from backend.inference.errors import ArtifactError
from backend.inference.models import artifact, networks
from backend.inference.models.checkpoint import read_state_dict, write_folder


@pytest.fixture
def plain() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(networks.build("mnist-net").state_dict())


def have_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.", "model.module.", "module.a."])
@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict"])
def test_nested_and_prefixed_state_dicts_are_read(
    plain: dict[str, Tensor], prefix: str, nested: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "model.ckpt"
    named = {f"{prefix}{name}": tensor for name, tensor in plain.items()}
    torch.save({"epoch": 3, nested: named} if nested else named, path)
    assert have_same_tensors(read_state_dict(path, plain), plain)


def test_safetensors_are_read(plain: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(plain, tmp_path / "model.safetensors")
    assert have_same_tensors(read_state_dict(tmp_path / "model.safetensors"), plain)


@pytest.mark.parametrize("key", ["model", "net", "network", "ema", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod.", "model._orig_mod."])
def test_state_dicts_of_common_training_programs_are_read(
    plain: dict[str, Tensor], prefix: str, key: str, tmp_path: Path
) -> None:
    named = {f"{prefix}{name}": tensor for name, tensor in plain.items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, key: named}, tmp_path / "last.pt")
    assert have_same_tensors(read_state_dict(tmp_path / "last.pt", plain), plain)


def test_only_nested_state_dict_is_read_under_any_key(
    plain: dict[str, Tensor], tmp_path: Path
) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}}}
    path = tmp_path / "last.pt"
    torch.save({"epoch": 3, "student": plain, "optimizer": optimizer}, path)
    assert have_same_tensors(read_state_dict(path, plain), plain)
    torch.save({"student": plain, "teacher": plain}, path)
    with pytest.raises(ArtifactError, match="contains several state dicts"):
        read_state_dict(path, plain)


def test_other_values_beside_the_tensors_are_skipped(
    plain: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({**plain, "epoch": 3, "loss": torch.tensor(0.1)}, tmp_path / "last.pt")
    assert have_same_tensors(read_state_dict(tmp_path / "last.pt", plain), plain)


def test_averaged_weights_precede_the_others(plain: dict[str, Tensor], tmp_path: Path) -> None:
    averaged = {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in plain.items()}
    others = {name: torch.zeros_like(tensor) for name, tensor in plain.items()}
    torch.save({"model": others, "model_ema": averaged}, tmp_path / "last.pt")
    assert have_same_tensors(read_state_dict(tmp_path / "last.pt", plain), plain)


def test_tensors_beside_the_network_are_left_out(plain: dict[str, Tensor], tmp_path: Path) -> None:
    lightning = {f"model.{name}": tensor for name, tensor in plain.items()}
    lightning["criterion.weight"] = torch.ones(10)
    torch.save({"state_dict": lightning}, tmp_path / "last.ckpt")
    assert have_same_tensors(read_state_dict(tmp_path / "last.ckpt", plain), plain)


def test_additional_layer_is_not_left_out(plain: dict[str, Tensor], tmp_path: Path) -> None:
    lightning = {f"model.{name}": tensor for name, tensor in plain.items()}
    lightning["model.fc3.weight"] = torch.ones(10, 10)
    torch.save({"state_dict": lightning}, tmp_path / "last.ckpt")
    assert "model.fc3.weight" in read_state_dict(tmp_path / "last.ckpt", plain)


def test_prefix_stays_if_removing_it_does_not_give_the_names(
    plain: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    torch.save({f"net.{name}": tensor for name, tensor in plain.items()}, path)
    assert all(name.startswith("net.") for name in read_state_dict(path, ["weight", "bias"]))


class MaliciousPickle:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_pickle_is_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(MaliciousPickle()))
    with pytest.raises(ArtifactError):
        read_state_dict(path)
    torch.save({"state_dict": MaliciousPickle()}, path)
    with pytest.raises(ArtifactError, match="state_dict"):
        read_state_dict(path)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["", "net."])
def test_checkpoint_becomes_a_model_folder_for_torch(
    prefix: str, plain: dict[str, Tensor], tmp_path: Path
) -> None:
    named = {f"{prefix}{name}": tensor for name, tensor in plain.items()}
    torch.save({"state_dict": named}, tmp_path / "a.pt")
    folder = tmp_path / "folder"
    folder.mkdir()
    write_folder(tmp_path / "a.pt", "mnist-net", folder, "mnist_cnn.pt")
    model = artifact.read(folder)
    assert model.manifest.labels == tuple("0123456789")
    assert model.onnx is None
    network = networks.build("mnist-net").eval()
    network.load_state_dict(plain)
    batch = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        expected = network(batch)
    outputs = torch.from_numpy(runtimes.load(model)(batch.numpy()))
    assert torch.allclose(outputs, expected, atol=1e-5)


def test_checkpoint_that_does_not_fit_or_is_not_finite_raises_artifact_error(
    plain: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    torch.save(plain, path)
    with pytest.raises(ArtifactError, match="does not fit the architecture mnist-cnn"):
        write_folder(path, "mnist-cnn", tmp_path, "a.pt")
    with pytest.raises(ArtifactError, match="unknown architecture"):
        write_folder(path, "resnet", tmp_path, "a.pt")
    plain["fc2.bias"][0] = float("nan")
    torch.save(plain, path)
    with pytest.raises(ArtifactError, match="not finite"):
        write_folder(path, "mnist-net", tmp_path, "a.pt")


def test_architecture_that_does_not_classify_digits_raises_artifact_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 3))
    for network in (torch.nn.Linear(3, 3), flat):
        monkeypatch.setattr(networks, "build", lambda _, network=network: network)
        torch.save(network.state_dict(), tmp_path / "a.pt")
        with pytest.raises(ArtifactError, match="does not classify digits"):
            write_folder(tmp_path / "a.pt", "other", tmp_path, "a.pt")
