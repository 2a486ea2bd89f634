"""What is kept of a run survives damage, a full disk and a change of mind."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.digits import Digits
from training.fit.checkpoints import CheckpointError, Checkpoints, digest

RUN = {"data": "a", "settings": "b"}


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path, RUN)
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, {"epoch": epoch, "weights": torch.full((1000,), float(epoch))})
    return checkpoints


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The system writes no more than 100,000 bytes to a file, as if there were no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def latest(checkpoints: Checkpoints) -> int | None:
    state = checkpoints.load()
    return None if state is None else int(state["epoch"])


def test_the_last_epoch_comes_back_as_it_was(kept: Checkpoints) -> None:
    state = kept.load()
    assert state is not None
    assert state["epoch"] == 3
    assert torch.equal(state["weights"], torch.full((1000,), 3.0))


def test_only_the_last_two_are_kept(kept: Checkpoints, tmp_path: Path) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-00002.ckpt",
        "epoch-00003.ckpt",
    ]


def test_a_new_run_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent", RUN).load() is None


@pytest.mark.parametrize("size", [0, 10, 2000, None], ids=["empty", "short", "half", "a bit"])
def test_a_damaged_one_is_passed_over_for_the_one_before(
    size: int | None, kept: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "epoch-00003.ckpt"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content if size is None else content[:size])
    assert latest(kept) == 2
    assert "epoch-00003.ckpt is damaged" in capsys.readouterr().err


def test_where_all_are_damaged_one_line_says_what_to_do(kept: Checkpoints, tmp_path: Path) -> None:
    for path in tmp_path.iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* start over with --fresh"):
        kept.load()
    kept.clear()
    assert kept.load() is None


def test_another_run_is_told_what_differs(kept: Checkpoints, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"other data: .* --fresh"):
        Checkpoints(tmp_path, RUN | {"data": "other"}).load()


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, RUN)
    kept.save(1, {"epoch": 1})
    with pytest.raises(CheckpointError, match=r"cannot be written .*make room"):
        kept.save(2, {"epoch": 2, "weights": torch.zeros(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.ckpt"]
    assert latest(kept) == 1


def test_a_draft_that_a_kill_left_is_no_checkpoint(kept: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "epoch-00004.tmp").write_bytes(b"half")
    assert latest(kept) == 3
    kept.save(4, {"epoch": 4})
    assert latest(kept) == 4


def test_the_digest_sees_every_pixel_and_label() -> None:
    pixels, labels = np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.uint8)
    brighter, renamed = pixels.copy(), labels.copy()
    brighter[1, 2, 2] = renamed[1] = 1
    sets = [Digits(pixels, labels), Digits(brighter, labels), Digits(pixels, renamed)]
    assert len({digest([digits]) for digits in sets}) == 3
    assert digest(sets[:1]) == digest([Digits(pixels.copy(), labels.copy())])
