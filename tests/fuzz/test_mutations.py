"""Mutants: reproducible, of bounded size, and similar enough to their samples."""

from random import Random

from PIL import Image

from tests.fuzz.mutations import MAX_SIZE, mutants, mutate, repair_png_checksums
from tests.fuzz.samples import IMAGE_TOKENS, image_samples
from tests.images import SEVEN, encoded


def test_same_seed_gives_the_same_mutants() -> None:
    samples = list(image_samples().values())
    first, second = (list(mutants(samples, Random(3), 50, tokens=IMAGE_TOKENS)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 45


def test_mutants_are_bounded_also_where_blocks_are_repeated() -> None:
    random = Random(1)
    data = bytes(MAX_SIZE - 1)
    for _ in range(200):
        data = mutate(data, random)
        assert len(data) <= MAX_SIZE
        data = data or b"a"


def test_empty_sample_has_mutants() -> None:
    random = Random(1)
    assert any(mutate(b"", random, tokens=[b"token"]) for _ in range(100))


def test_checksums_of_png_chunks_are_repaired() -> None:
    damaged = bytearray(encoded(Image.new("L", (5, 7))))
    intact = bytes(damaged)
    damaged[29:33] = b"xxxx"  # of the header
    assert repair_png_checksums(bytes(damaged)) == intact
    assert repair_png_checksums(SEVEN[:-6]) == SEVEN[:-6]
