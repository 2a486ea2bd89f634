"""The example dataset."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from frontend.datasets import example_dataset
from frontend.datasets.example_dataset import choose_models
from tests.frontend.samples import MODEL
from training.data.example_dataset import write_dataset

MLP = replace(MODEL, name="mlp")
PHOTOS = replace(MODEL, name="photos", labels=("cat", "dog"))


def test_dataset_has_30_images_of_each_digit() -> None:
    data = example_dataset.load()
    try:
        assert Counter(item.label for item in data.source.items) == Counter("0123456789" * 30)
        assert data.source.notes == ()
        assert data.thumbnail("0/00.png") is not None
    finally:
        data.close()


def test_dataset_is_drawn_by_the_documented_command(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one.zip", per_digit=1)
    write_dataset(tmp_path / "two.zip", per_digit=1)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert (example_dataset._FILE).stat().st_size < 300_000


@pytest.mark.parametrize(
    ("chosen", "served", "expected"),
    [
        ([MODEL], [MODEL, MLP], (MODEL,)),
        ([PHOTOS], [PHOTOS, MLP, MODEL], (MLP,)),
        ([PHOTOS, MODEL], [PHOTOS, MLP, MODEL], (MODEL, MLP)),
        ([PHOTOS, MODEL], [PHOTOS, MODEL], None),
        ([PHOTOS], [PHOTOS, replace(MLP, state="loading")], None),
    ],
)
def test_models_that_have_the_labels_are_chosen(
    chosen: list[object], served: list[object], expected: tuple[object, ...] | None
) -> None:
    assert choose_models(chosen, served) == expected  # type: ignore[arg-type]
