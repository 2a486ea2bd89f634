"""Rate of `python -m bulk` as a share of the raw limit of this machine.

    .venv/bin/python -m benchmarks.bulk SOURCE --model photos

The raw limit: as many processes as processors, each decodes images that are in memory and runs the
network in batches, with the same code and nothing else. Both are measured in turns, each without
its start; the images of SOURCE must fit into memory.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.resources.cpus import cpu_limit
from bulk import job as jobs
from bulk import local
from bulk.contents import Contents
from bulk.job import Settings
from bulk.listing import Listing
from bulk.operator import ModelLoader

BATCH: Final = 8


def main() -> None:
    """Measure both in turns and print the rates and their ratio."""
    parser = argparse.ArgumentParser("python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--model", default="photos")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder = Path("models") / args.model
    workers = max(1, round(cpu_limit()))
    ratios, rates = [], []
    for _ in range(args.rounds):
        raw = measure_raw(folder, args.source, workers)
        bulk = measure_bulk(folder, args.source, workers)
        ratios.append(bulk / raw)
        rates.append(bulk)
        print(f"raw {raw:,.1f} images/s, bulk {bulk:,.1f} images/s, ratio {bulk / raw:.3f}")
    print(f"median: {statistics.median(rates):,.1f} images/s, {statistics.median(ratios):.3f}")


def measure_raw(folder: Path, source: str, workers: int) -> float:
    """Return images per second of all processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(workers + 1), context.Queue()
    processes = [
        context.Process(target=run_raw, args=(folder, source, index, workers, barrier, results))
        for index in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    images = sum(results.get() for _ in processes)
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return float(images / seconds)


def run_raw(
    folder: Path, source: str, index: int, workers: int, barrier: Any, results: Any
) -> None:
    """Decode and run every `workers`-th image of the source, and report their number."""
    model = artifact.read(folder)
    decoder = Decoder(model.manifest.preprocess, ImageReader())
    network = runtimes.load(model, threads=1)
    listing = Listing(source)
    chunks = Contents(listing.storage).chunks(list(listing)[index::workers])
    contents = [content for chunk in chunks for _, content in chunk if isinstance(content, bytes)]
    network(decoder.decode(contents[0]).rows)
    barrier.wait()
    for start in range(0, len(contents), BATCH):
        rows = []
        for content in contents[start : start + BATCH]:
            try:
                rows.append(decoder.decode(content).rows)
            except ImageError:
                continue
        network(np.concatenate(rows))
    results.put(len(contents))


def measure_bulk(folder: Path, source: str, workers: int) -> float:
    """Return images per second of a job, from its first images to its end."""
    manifest = artifact.read_manifest(folder)
    times: list[tuple[float, int]] = []

    def progress(images: int) -> None:
        times.append((time.perf_counter(), images))

    with tempfile.TemporaryDirectory(prefix="bulk-") as out:
        settings = Settings(source, manifest.name, manifest.version, "", 0.95, 5, False, None)
        job = jobs.create_job(settings, out)
        load = ModelLoader(folder.resolve(), folder.resolve().parent)
        units = job.pending()
        local.run(job, units, load, workers=workers, progress=progress)
    first = next(point for point in times if point[1])
    last = times[-1]
    return (last[1] - first[1]) / (last[0] - first[0])


if __name__ == "__main__":
    main()
