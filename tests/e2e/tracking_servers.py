"""A real MLflow server, and a reader of the offline runs of Weights & Biases."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from wandb.proto import wandb_internal_pb2

from tests.conftest import free_port


class MlflowServer:
    """A real MLflow server in a separate process group."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
             "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder}/server.db",
             "--artifacts-destination", str(folder / "artifacts")],
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def wait_until_healthy(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the server was not healthy within {seconds} s")

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def post(self, path: str, **body: object) -> Any:
        response = httpx.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def get_run(self) -> Any:
        """Return the only run of the experiment."""
        (run,) = self.post("runs/search", experiment_ids=["1"])["runs"]
        return run


def read_wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of an offline run: a LevelDB log in blocks of 32 KiB."""
    content = path.read_bytes()
    offset, record = 7, b""  # after the header of the file
    while offset + 7 <= len(content):
        remaining = 32768 - offset % 32768
        if remaining < 7:
            offset += remaining
            continue
        _, length, kind = struct.unpack("<IHB", content[offset : offset + 7])
        record += content[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a complete record, or its last fragment
            yield wandb_internal_pb2.Record.FromString(record)  # type: ignore[attr-defined]
            record = b""
