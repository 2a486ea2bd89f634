"""Checkpoints of a training run, written after each epoch, from which a killed run resumes.

A file `epoch-NNNNN.ckpt` is the SHA-256 of the payload, then the payload in PyTorch's format, of
which only tensors and plain values are loaded. The latest two files are stored; a damaged one is
skipped.
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

MAX_CHECKPOINTS = 2
_DIGEST_SIZE = hashlib.sha256().digest_size

State = dict[str, Any]  # tensors and plain values only
Fingerprint = Mapping[str, str]  # hashes of what a run depends on, by name


class CheckpointError(Exception):
    """The run cannot be resumed or saved; the message says what to do."""


class Checkpoints:
    """Reads and writes the checkpoints in `folder` of runs with the same `fingerprint`."""

    def __init__(self, folder: Path, fingerprint: Fingerprint) -> None:
        self._folder, self._fingerprint = folder, dict(fingerprint)

    def load(self) -> State | None:
        """Return the latest readable state, or None if there is no checkpoint.

        Raise CheckpointError if all are damaged, or the fingerprint differs.
        """
        paths = self._paths()
        for path in reversed(paths):
            checkpoint = _read(path)
            if checkpoint is None:
                print(f"{path} is damaged; skipping it", file=sys.stderr)
                continue
            self._require_same_run(path, checkpoint["fingerprint"])
            state: State = checkpoint["state"]
            return state
        if paths:
            message = f"all checkpoints in {self._folder} are damaged; start over with --fresh"
            raise CheckpointError(message)
        return None

    def save(self, epoch: int, state: State) -> None:
        """Write `state` as the checkpoint of `epoch` and delete outdated checkpoints.

        The file is synced to disk and moved into place before older ones are deleted.
        Raise CheckpointError if it cannot be written.
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
            _sync_folder(self._folder)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror}); free disk space and run the same "
                "command again to resume from the last checkpoint"
            ) from error
        for old in self._paths()[:-MAX_CHECKPOINTS]:
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all checkpoints."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.ckpt"))

    def _require_same_run(self, path: Path, other: Fingerprint) -> None:
        names = self._fingerprint.keys() | other.keys()
        changed = sorted(n for n in names if other.get(n) != self._fingerprint.get(n))
        if changed:
            raise CheckpointError(
                f"{path} belongs to a run with other {', '.join(changed)}: repeat the command of "
                "that run to resume it, or start over with --fresh"
            )


def hash_digits(sets: Iterable[Digits]) -> str:
    """Return the SHA-256 of all pixels and labels, in order, as hex."""
    digest = hashlib.sha256()
    for digits in sets:
        digest.update(repr(digits.pixels.shape).encode())
        digest.update(digits.pixels.tobytes() + digits.labels.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> State | None:
    """Return the content of a checkpoint, or None if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    payload = memoryview(content)[_DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != content[:_DIGEST_SIZE]:
        return None
    checkpoint: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return checkpoint


def _sync_folder(folder: Path) -> None:
    """Sync the entries of a folder to disk, so that a moved file survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
