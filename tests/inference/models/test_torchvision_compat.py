"""torchvision is imported as it is; operators are declared only if its import fails."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backend.inference.models import torchvision_compat

MODULE = SimpleNamespace()


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(torch.library, "define", lambda name, _: found.append(name))
    return found


def test_torchvision_that_fits_registers_its_operators_itself(
    monkeypatch: pytest.MonkeyPatch, declared: list[str]
) -> None:
    monkeypatch.setattr(torchvision_compat, "import_module", lambda _: MODULE)
    assert torchvision_compat.load("models") is MODULE
    assert not declared  # otherwise the import would end the process


def test_operators_are_declared_for_another_build(
    monkeypatch: pytest.MonkeyPatch, declared: list[str]
) -> None:
    def load(_: str) -> Any:
        if not declared:
            raise RuntimeError("operator torchvision::nms does not exist")
        return MODULE

    monkeypatch.setattr(torchvision_compat, "import_module", load)
    assert torchvision_compat.load("models") is MODULE
    assert declared == ["torchvision::nms", "torchvision::qnms"]
