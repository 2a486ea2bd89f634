"""Clips on disk."""

import tempfile
from pathlib import Path

import pytest

from frontend.state import memory
from frontend.views.video.source import ClipSource


def test_clip_is_rejected_without_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(memory, "free_memory", lambda _: memory.RESERVE)
    with pytest.raises(OSError, match="No space"):
        ClipSource.create("clip.mp4", b"x")
    assert not list(tmp_path.iterdir())
