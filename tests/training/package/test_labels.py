"""Labels are read from all files and metadata that name them, in the order of the outputs."""

import json
from pathlib import Path

import pytest

from training.package.labels import parse_labels, read_labels, shorten
from training.package.model_spec import PackageError

ANIMALS = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nowl\n\n",
        "\ufeffcat\r\ndog\r\nowl",
        "0 cat\n1 dog\n2 owl\n",
        "2: owl\n0: cat\n1: dog\n",
        "0,cat\n1,dog\n2,owl",
        "1\tcat\n2\tdog\n3\towl",
        "dog,1\ncat,0\nowl,2",
        "n00000001 cat\nn00000002 dog\nn00000003 owl",
        '["cat", "dog", "owl"]',
        '{"0": "cat", "2": "owl", "1": "dog"}',
        '{"cat": 0, "dog": 1, "owl": 2}',
        '{"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "owl"]}',
        '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog", "2": "owl"}}',
        '{"names": ["cat", "dog", "owl"], "task": "classify"}',
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_labels_are_in_the_order_of_the_outputs(tmp_path: Path, text: str, suffix: str) -> None:
    is_json = text[0] in "[{"
    path = tmp_path / f"labels{suffix if is_json else '.txt'}"
    path.write_text(text, encoding="utf-8")
    assert read_labels(path) == ANIMALS


def test_label_may_begin_with_a_number(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("7 up\n5 alive\n")
    assert read_labels(path) == ("7 up", "5 alive")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\ncat\n", "'cat' occurs twice, at 1 and 3"),
        ("cat\n\ndog\n", "label 2 is empty"),
        ("\n\n", "there are no labels"),
        ('{"0": "cat", "0": "dog"}', "the key '0' occurs twice"),
        ('{"0": "cat", "2": "dog"}', "number 1 is missing"),
        ('{"cat": 0, "dog": 0}', "the same number"),
        ('{"lr": 0.1, "epochs": "many"}', r"not a list of labels; accepted are .*cat,0"),
        ("names:\n  0: cat\n  1: dog\n", r"seems to be YAML; accepted are .*\[\"cat\", \"dog\"\]"),
        ("nc: 2\nnames: [cat, dog]\n", "seems to be YAML"),
        ("- cat\n- dog\n", "seems to be YAML"),
        ("[1.5, {}]", "not a list of labels"),
        ('["cat", ', "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_file_that_does_not_name_each_class_once_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(PackageError, match=message):
        read_labels(path)


@pytest.mark.parametrize(
    "text", ["index,label\n0,cat\n1,dog\n", "file;label\na.jpg;cat\nb.jpg;dog\n"]
)
def test_table_with_other_columns_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(PackageError, match=r"columns .* remove a header .* accepted are"):
        read_labels(path)
    path.write_text("cat\ndog\n")
    assert read_labels(path) == ("cat", "dog")


def test_label_may_contain_commas_and_colons(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("tench, Tinca tinca\nStar Wars: A New Hope\n-40 degrees\n")
    assert len(read_labels(path)) == 3


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("cät\n".encode("utf-16"))
    with pytest.raises(PackageError, match="save it as UTF-8"):
        read_labels(path)
    with pytest.raises(PackageError, match="cannot be read"):
        read_labels(tmp_path / "missing.txt")


def test_labels_of_imagenet_may_be_equal(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(["crane"] * 1000))
    assert len(read_labels(path)) == 1000


def test_metadata_without_labels_is_none() -> None:
    assert parse_labels({"author": "someone"}) is None
    assert parse_labels([]) is None
    assert parse_labels({0: "cat", 1: "dog"}) == ("cat", "dog")


def test_long_lists_are_shortened() -> None:
    assert shorten(ANIMALS) == "3 (cat, dog, owl)"
    assert shorten(tuple("abcdef")) == "6 (a, b, c, d, e, …)"
