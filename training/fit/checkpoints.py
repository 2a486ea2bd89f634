"""What a training run needs to go on after it was killed, kept after each epoch.

A file `epoch-NNNNN.ckpt` is the SHA-256 of the rest, and the rest is torch's format, of which only
tensors and plain values are read. The last two are kept: a damaged one is passed over.
"""

import hashlib
import io
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from training.data.digits import Digits

KEPT = 2
_DIGEST = hashlib.sha256().digest_size

State = dict[str, Any]  # tensors and plain values only
Fingerprint = Mapping[str, str]  # what a run depends on, by the name that a message gives it


class CheckpointError(Exception):
    """A run that cannot go on from what is kept; the text says what to do."""


class Checkpoints:
    """The checkpoints of one run in `folder`, for runs of the same `fingerprint` only."""

    def __init__(self, folder: Path, fingerprint: Fingerprint) -> None:
        self._folder = folder
        self._fingerprint = dict(fingerprint)

    def load(self) -> State | None:
        """The state after the last epoch that is readable; None where there is no checkpoint.

        Raises CheckpointError where none is readable, or it is of another run.
        """
        paths = self._paths()
        for path in reversed(paths):
            kept = _read(path)
            if kept is None:
                print(f"{path} is damaged and passed over", file=sys.stderr)
                continue
            self._require_same(path, kept["fingerprint"])
            state: State = kept["state"]
            return state
        if paths:
            raise CheckpointError(
                f"no checkpoint in {self._folder} is readable; start over with --fresh"
            )
        return None

    def save(self, epoch: int, state: State) -> None:
        """Keep `state` as the one after `epoch`; raises CheckpointError where it cannot be written.

        It is moved into place when it is whole and on the disk; only then older ones go.
        """
        content = io.BytesIO()
        torch.save({"fingerprint": self._fingerprint, "state": state}, content)
        payload = content.getbuffer()
        path = self._folder / f"epoch-{epoch:05}.ckpt"
        draft = path.with_suffix(".tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(hashlib.sha256(payload).digest())
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync(self._folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror}); make room and run the same command "
                "again: it goes on from the last epoch that is kept"
            ) from error
        for old in self._paths()[:-KEPT]:
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.ckpt"))

    def _require_same(self, path: Path, found: Fingerprint) -> None:
        names = self._fingerprint.keys() | found.keys()
        other = sorted(n for n in names if found.get(n) != self._fingerprint.get(n))
        if other:
            raise CheckpointError(
                f"{path} is of a run with other {', '.join(other)}: repeat the command of that "
                "run to go on with it, or start over with --fresh"
            )


def digest(sets: Iterable[Digits]) -> str:
    """SHA-256 of all pixels and labels, in order."""
    found = hashlib.sha256()
    for digits in sets:
        found.update(repr(digits.pixels.shape).encode())
        found.update(digits.pixels.tobytes() + digits.labels.tobytes())
    return found.hexdigest()


def _read(path: Path) -> State | None:
    """What a checkpoint holds; None where it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = memoryview(content)[_DIGEST:]
    if hashlib.sha256(payload).digest() != content[:_DIGEST]:
        return None
    kept: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return kept


def _sync(folder: Path) -> None:
    """Put a folder's own entries on the disk: a file that was moved is safe only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
