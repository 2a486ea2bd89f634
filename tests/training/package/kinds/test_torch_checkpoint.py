import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.inference.models import networks, torchvision_compat
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.training.package.kinds.options import options
from training.package.imported import EXPORTED
from training.package.kinds import torch_checkpoint
from training.package.kinds.fastai_model import SPEC
from training.package.model_spec import PackageError

SMALL = "torchvision/squeezenet1_1"


def save(tensors: object, folder: Path, name: str = "net.pth") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


def test_checkpoint_without_architecture_suggests_one(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(1)}, tmp_path, "resnet18-f37072fd.pth")
    assert torch_checkpoint.matches(path)
    with pytest.raises(PackageError, match="for instance --architecture torchvision/resnet18"):
        torch_checkpoint.read(path, options())
    other = path.rename(tmp_path / "mobilenet_v2_pets-3.pth")
    with pytest.raises(PackageError, match=r"--architecture torchvision/mobilenet_v2$"):
        torch_checkpoint.read(other, options())
    path = other.rename(tmp_path / "best.pth")
    with pytest.raises(PackageError, match="for instance --architecture torchvision/resnet18"):
        torch_checkpoint.read(path, options())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PackageError, match="pass the folder itself"):
        torch_checkpoint.read(path, options())


def test_preprocessing_of_the_architecture_is_marked_as_assumed(tmp_path: Path) -> None:
    path = save(networks.build(SMALL, 3).state_dict(), tmp_path)
    imported = torch_checkpoint.read(path, options(architecture=SMALL))
    assert imported.architecture == SMALL
    assert imported.provenance["preprocess"] == "assumed: torchvision's transforms of squeezenet1_1"


def test_old_names_of_published_densenets_are_read(tmp_path: Path) -> None:
    network = networks.build("torchvision/densenet121", 3)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = save(old, tmp_path)
    imported = torch_checkpoint.read(path, options(architecture="torchvision/densenet121"))
    assert isinstance(imported.model, nn.Module)
    torch.testing.assert_close(imported.model.state_dict(), network.state_dict())


def test_network_that_requires_its_version_is_read(tmp_path: Path) -> None:
    network = networks.build("torchvision/mnasnet0_5", 3)
    path = save(network.state_dict(), tmp_path)
    imported = torch_checkpoint.read(path, options(architecture="torchvision/mnasnet0_5"))
    assert isinstance(imported.model, nn.Module)
    torch.testing.assert_close(imported.model.state_dict(), network.state_dict())


def test_classes_of_safetensors_file_are_counted_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_file(dict(sorted(networks.build(SMALL, 4).state_dict().items())), path)
    imported = torch_checkpoint.read(path, options(architecture=SMALL))
    assert isinstance(imported.model, nn.Module)
    assert imported.model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


def test_sequential_head_is_refused_with_the_option_that_fits(tmp_path: Path) -> None:
    network = networks.build("torchvision/shufflenet_v2_x0_5", 4)
    network.fc = nn.Sequential(nn.Dropout(), nn.Linear(1024, 8), nn.ReLU(), nn.Linear(8, 4))
    path = save(network.state_dict(), tmp_path)
    changes = {"architecture": "torchvision/shufflenet_v2_x0_5"}
    with pytest.raises(PackageError, match=r"fc\.1\.weight \(8, 1024\)") as error:
        torch_checkpoint.read(path, options(**changes))
    head = re.search(r'--head "([^"]+)"', str(error.value))
    assert head is not None
    imported = torch_checkpoint.read(path, options(**changes, head=head[1]))
    assert imported.architecture == EXPORTED
    assert isinstance(imported.model, nn.Module)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(imported.model.eval()(x), network.eval()(x))


def test_vit_for_larger_images_gets_the_size_of_its_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Published weights of `vit_b_16` exist for 384 pixels; the network here has one thin layer."""
    models = torchvision_compat.load("models")
    thin = {"patch_size": 16, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4}

    def build(_: str, weights: None = None, image_size: int = 224, **kwargs: int) -> nn.Module:
        network: nn.Module = models.VisionTransformer(image_size, **thin, **kwargs)
        return network

    monkeypatch.setattr(models, "get_model", build)
    tensors = build("", image_size=384, num_classes=3).state_dict()
    imported = torch_checkpoint.build("torchvision/vit_b_16", tensors)
    assert imported.architecture == EXPORTED
    assert isinstance(imported.spec, PhotoPreprocess)
    assert (imported.spec.crop, imported.spec.interpolation) == ((384, 384), "bicubic")


class ConcatPool(nn.Module):
    """As fastai's `AdaptiveConcatPool2d`, whose attributes have no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.ap, self.mp = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.mp(x), self.ap(x)], 1)


def make_learner_model(classes: int) -> nn.Module:
    """`vision_learner(dls, resnet18).model`, with a body that is not trained."""
    body = nn.Sequential(*list(networks.build("torchvision/resnet18").children())[:-2])
    head = nn.Sequential(
        ConcatPool(), nn.Flatten(),
        nn.BatchNorm1d(1024), nn.Dropout(0.25), nn.Linear(1024, 512, bias=False), nn.ReLU(),
        nn.BatchNorm1d(512), nn.Dropout(0.5), nn.Linear(512, classes, bias=False),
    )  # fmt: skip
    return nn.Sequential(body, head).eval()


def test_weights_of_fastai_are_read(tmp_path: Path) -> None:
    network = make_learner_model(3)
    path = save({"model": network.state_dict(), "opt": {"state": [], "hypers": []}}, tmp_path)
    imported = torch_checkpoint.read(path, options(architecture="torchvision/resnet18"))
    assert isinstance(imported.model, nn.Module)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(imported.model(x), network(x))
    assert imported.spec == SPEC
    with pytest.raises(PackageError, match="its body is not that of torchvision/resnet34"):
        torch_checkpoint.read(path, options(architecture="torchvision/resnet34"))
