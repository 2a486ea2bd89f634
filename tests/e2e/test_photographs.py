"""Classification of real photographs with a packaged model."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, free_port, wait_until_ready


@pytest.fixture(params=["onnx", "torch"])
def url(photo_models: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    port = free_port()
    environ = {"PORT": str(port), "PRISM_MODELS_DIR": str(photo_models), "PRISM_TIMEOUT": "30"}
    process = subprocess.Popen(
        [sys.executable, "-m", "backend"],
        cwd=ROOT,
        env=os.environ | environ | {"PRISM_RUNTIME": request.param},
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_154_of_200_photographs_are_classified_correctly(url: str, test_data: Path) -> None:
    folder = test_data / "imagenet"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    assert len(rows) == 200
    correct = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        for row in rows:
            content = (folder / "samples" / row["file"]).read_bytes()
            response = client.post("/classify?top_k=1", files={"file": content}).json()
            correct += response["top"][0]["index"] == int(row["index"])
    assert correct >= 154
