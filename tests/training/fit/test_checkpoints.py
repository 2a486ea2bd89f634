"""Checkpoints survive damage, a full disk and changed settings."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.digits import Digits
from training.fit.checkpoints import CheckpointError, Checkpoints, hash_digits

RUN = {"data": "a", "settings": "b"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    """The checkpoints of a run of three epochs."""
    checkpoints = Checkpoints(tmp_path, RUN)
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, {"epoch": epoch, "weights": torch.full((1000,), float(epoch))})
    return checkpoints


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A file size limit of 100,000 bytes, which stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def latest_epoch(checkpoints: Checkpoints) -> int | None:
    state = checkpoints.load()
    return None if state is None else int(state["epoch"])


def test_latest_state_is_restored(checkpoints: Checkpoints) -> None:
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3
    assert torch.equal(state["weights"], torch.full((1000,), 3.0))


def test_only_the_latest_two_are_stored(checkpoints: Checkpoints, tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-00002.ckpt",
        "epoch-00003.ckpt",
    ]


def test_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent", RUN).load() is None


@pytest.mark.parametrize("size", [0, 10, 2000, None], ids=["empty", "short", "half", "one bit"])
def test_damaged_checkpoint_is_skipped(
    size: int | None, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "epoch-00003.ckpt"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content if size is None else content[:size])
    assert latest_epoch(checkpoints) == 2
    assert "epoch-00003.ckpt is damaged" in capsys.readouterr().err


def test_error_if_all_checkpoints_are_damaged(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(
        CheckpointError, match=r"all checkpoints in .* are damaged; start over with --fresh"
    ):
        checkpoints.load()
    checkpoints.clear()
    assert checkpoints.load() is None


def test_error_lists_what_differs_from_another_run(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"other data: .* --fresh"):
        Checkpoints(tmp_path, RUN | {"data": "other"}).load()


@pytest.mark.usefixtures("full_disk")
def test_full_disk_preserves_previous_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, {"epoch": 1})
    with pytest.raises(CheckpointError, match=r"cannot be written .*free disk space"):
        checkpoints.save(2, {"epoch": 2, "weights": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.ckpt"]
    assert latest_epoch(checkpoints) == 1


def test_incomplete_draft_is_ignored(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "epoch-00004.tmp").write_bytes(b"half")
    assert latest_epoch(checkpoints) == 3
    checkpoints.save(4, {"epoch": 4})
    assert latest_epoch(checkpoints) == 4


def test_hash_depends_on_every_pixel_and_label() -> None:
    pixels, labels = np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.uint8)
    brighter, renamed = pixels.copy(), labels.copy()
    brighter[1, 2, 2] = renamed[1] = 1
    sets = [Digits(pixels, labels), Digits(brighter, labels), Digits(pixels, renamed)]
    assert len({hash_digits([digits]) for digits in sets}) == 3
    assert hash_digits(sets[:1]) == hash_digits([Digits(pixels.copy(), labels.copy())])
