"""Memory of a bulk job does not depend on the number of images.

PRISM_BULK_LARGE sets the number of images of the large job.
"""

import os
import time
from pathlib import Path

from tests.bulk.fakes import gray_files, write_gray_model, write_tar
from tests.extended.test_bulk_kills import children, start

SMALL = 2_000
LARGE = int(os.environ.get("PRISM_BULK_LARGE", "50000"))
_SHARD = 2_000


def peak_memory(root: Path, images: int) -> int:
    """Run a job and return the largest sum of the memory of its processes, in bytes."""
    (root / "in").mkdir(parents=True)
    shard = write_tar(root / "0.tar", gray_files(_SHARD))
    for index in range(images // _SHARD):
        (root / f"in/{index}.tar").hardlink_to(shard)
    write_gray_model(root / "models")
    process = start(root)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, [process.pid, *children(process.pid)])))
        time.sleep(0.1)
    assert process.returncode == 0, (root / "log").read_text()[-2000:]
    assert f"{images:,} of {images:,} images" in (root / "log").read_text()
    return peak


def resident(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_flat(tmp_path: Path) -> None:
    small = peak_memory(tmp_path / "small", SMALL)
    large = peak_memory(tmp_path / "large", LARGE)
    print(f"{SMALL:,} images {small / 1e6:.0f} MB, {LARGE:,} images {large / 1e6:.0f} MB")
    assert large < 1.15 * small
