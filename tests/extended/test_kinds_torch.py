"""Models of torchvision, timm and transformers give the probabilities of their framework.

timm and transformers are installed into an environment of their own, beside the torch of this one.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from backend.inference.models import artifact, networks
from tests.conftest import ROOT
from tests.extended import environments
from tests.extended.torch_kinds import HUGGINGFACE, compare
from training.package.__main__ import main
from training.package.kinds.torch_file import read_tensors
from training.package.model_spec import PackageError

TORCHVISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip
TIMM = (
    "resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224",
    "convnext_atto", "efficientnet_b0", "tf_efficientnet_lite0", "swin_tiny_patch4_window7_224",
    "hub:resnet18", "hub:convnext_atto", "mobilevit_xxs", "ghostnet_050",
)  # fmt: skip
GUIDE = (ROOT / "docs" / "models.md").read_text()
MAX_DIFFERENCE = 1e-3  # of a probability
MAX_LOGIT_DIFFERENCE = 0.05  # of the standard deviation over the images
MAX_INPUT_DIFFERENCE = 1e-3  # mean


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with timm and transformers, and with the packages of this environment."""
    requirements = str(ROOT / "requirements" / "foreign-networks.txt")
    folder = tmp_path_factory.mktemp("frameworks")
    return environments.create(folder, "-r", requirements, with_ours=True)


def check(outcome: dict[str, Any]) -> None:
    assert outcome["probability"] <= MAX_DIFFERENCE
    assert outcome["logit"] <= MAX_LOGIT_DIFFERENCE
    assert outcome["input"] <= MAX_INPUT_DIFFERENCE


def run(python: Path, folder: Path, family: str, name: str) -> dict[str, Any]:
    command: list[Any] = [python, "-m", "tests.extended.torch_kinds", folder, family, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(tmp_path: Path, name: str) -> None:
    outcome = compare(tmp_path, "torchvision", name)
    check(outcome)
    assert outcome["provenance"]["preprocess"] == f"assumed: torchvision's transforms of {name}"


@pytest.mark.parametrize("name", TIMM)
def test_timm(tmp_path: Path, python: Path, name: str) -> None:
    outcome = run(python, tmp_path, "timm", name)
    check(outcome)
    if name.startswith("hub:"):
        assert outcome["labels"][1] == "label 1"
        assert "config.json" in outcome["provenance"]["preprocess"]


@pytest.mark.parametrize("name", HUGGINGFACE)
def test_transformers(tmp_path: Path, python: Path, name: str) -> None:
    outcome = run(python, tmp_path, "huggingface", name)
    check(outcome)
    assert outcome["labels"][1] == "label 1"
    assert outcome["provenance"]["preprocess"] == "preprocessor_config.json"


ROWS = {
    row[0].split(":")[0]: (shlex.split(row[1]), row[2])
    for row in re.findall(r"^\| ([^|]+) \| `(NAME [^`]*)` \| ([^|]*) \|$", GUIDE, re.M)
}


def save_named(folder: Path, network: nn.Module) -> Path:
    torch.save({"model": network.state_dict(), "args": argparse.Namespace(lr=1)}, folder / "a.pth")
    return folder / "a.pth"


def make_with_head() -> nn.Module:
    network = networks.build("torchvision/resnet50", 3)
    network.fc = nn.Sequential(nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 3))
    return network


def make_fastai() -> nn.Module:
    body = nn.Sequential(*list(networks.build("torchvision/resnet34").children())[:-2])
    head = nn.Sequential(
        nn.Identity(), nn.Flatten(), nn.BatchNorm1d(1024), nn.Dropout(),
        nn.Linear(1024, 512, bias=False), nn.ReLU(), nn.BatchNorm1d(512), nn.Dropout(),
        nn.Linear(512, 3, bias=False),
    )  # fmt: skip
    return nn.Sequential(body, head)


# What each row of the guide's table is about, by its first words.
SOURCES: dict[str, Callable[[], nn.Module]] = {
    "a state dict of a torchvision architecture": lambda: networks.build(
        "torchvision/mobilenet_v2", 3
    ),
    "the same, with other last layers": make_with_head,
    "weights of fastai": make_fastai,
    "a state dict of one of Prism's architectures": lambda: networks.build("mnist-net"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_row_of_the_guide(tmp_path: Path, kind: str) -> None:
    (row,) = [ROWS[name] for name in ROWS if name.startswith(kind)]
    command, preprocessing = row
    source = save_named(tmp_path, SOURCES[kind]())
    (tmp_path / "labels.txt").write_text("cat\ndog\nrabbit\n")
    values = {"NAME": "net", "SOURCE": str(source), "FILE": str(tmp_path / "labels.txt")}
    main([values.get(word, word) for word in command] + ["--out", str(tmp_path)])
    provenance = artifact.read(tmp_path / "net").manifest.provenance["preprocess"]
    is_assumed = preprocessing.startswith(("assumed", "as above"))
    assert provenance.startswith("assumed: ") == is_assumed


def make_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).eval()


def save_script(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(
            torch.jit.trace(  # type: ignore[no-untyped-call]
                make_network(), torch.zeros(1, 3, 32, 32)
            ),
            path,
        )


def save_program(path: Path) -> None:
    torch.export.save(torch.export.export(make_network(), (torch.zeros(1, 3, 32, 32),)), path)


def save_network(path: Path) -> None:
    torch.save({"model": make_network()}, path)


@pytest.mark.parametrize("save", [save_script, save_program, save_network])
def test_lines_of_a_refusal_work(tmp_path: Path, save: Callable[[Path], None]) -> None:
    path = tmp_path / "it's.pt2"
    save(path)
    with pytest.raises(PackageError) as error:
        read_tensors(path, "pets")
    recipe = re.search(
        r"python - <<'END'\n(.*?)\n\s*END\n(.*?)\n?with|$", f"{error.value}\nwith", re.S
    )
    assert recipe is not None
    code = "\n".join(line.strip() for line in recipe[1].splitlines()).replace("224", "32")
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    package = [*recipe[2].split()[1:], "--preprocess", "imagenet"]
    done = subprocess.run(
        [sys.executable, *package, "--out", str(tmp_path)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pets" / "manifest.json").is_file()
