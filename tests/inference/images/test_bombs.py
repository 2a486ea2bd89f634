"""Files that claim, or contain, much more than their bytes suggest."""

import json
import subprocess
import sys
from typing import Any

import pytest

from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from tests.conftest import ROOT
from tests.inference.images.bombs import BOMBS, gif, webp

DECODED = {
    "BMP: run-length, one row",
    "BMP: run-length, jumps",
    "PNG: 24 megapixels of zeros",
    "PNG: texts",
    "PNG: profile",
    "JPEG: scans",
    "JPEG: EXIF",
    "TIFF: strip of zeros",
    "HEIF: grid",
    "PPM: text",
    "PPM: levels",
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    """What each bomb takes, in bytes and in seconds of processor time."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.inference.images.measure_bombs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = map(json.loads, done.stdout.splitlines())
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_takes_no_more_memory_than_reserved_and_little_time(
    name: str, measured: dict[str, dict[str, Any]]
) -> None:
    taken = measured[name]
    assert taken["peak"] <= taken["allowed"]
    assert taken["seconds"] <= 2
    assert (taken["error"] is None) == (name in DECODED)


def test_process_that_decodes_bombs_stays_small(measured: dict[str, dict[str, Any]]) -> None:
    assert measured["processes"]["peak"] < 150_000_000


@pytest.mark.parametrize("data", [gif((65535, 65535)), webp(16384, 16384)])
def test_large_screens_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError), ImageReader().read(data):
        pass
