"""Many outcomes as a table."""

import csv
import io
import json

from client import BackendError
from frontend.datasets.images import Picture
from frontend.views.classify import results_table
from frontend.views.classify.results_table import Result
from tests.frontend.answers import answer

SURE = Result(Picture("a.png", b"a"), answer(("7", 0.998), ("1", 0.002), id="A"))
UNSURE = Result(Picture("b.png", b"b"), answer(("7", 0.6), ("1", 0.4), id="B"), "1")
UNLIKE = Result(Picture("c.png", b"c"), answer(("8", 0.99), in_distribution=False))
BAD = Result(Picture("d.png", b"d"), BackendError(status=415))
ALL = [SURE, UNSURE, UNLIKE, BAD]


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_answers_are_told_apart_by_how_far_they_can_be_relied_on() -> None:
    assert [one.verdict for one in ALL] == ["sure", "unsure", "unlike", "bad"]


def test_only_what_has_an_outcome_is_collected_with_its_correction() -> None:
    pictures = [SURE.picture, UNSURE.picture, BAD.picture]
    found = results_table.collect(pictures, [SURE.outcome, None, BAD.outcome], {"A": "1"})
    assert found == [Result(SURE.picture, SURE.outcome, "1"), BAD]


def test_the_csv_has_a_line_for_each_picture_or_what_is_wrong_with_it() -> None:
    sure, unsure, unlike, bad = table(results_table.as_csv(ALL))
    assert sure == {
        "name": "a.png",
        "prediction": "7",
        "confidence": "0.998",
        "how sure": "sure",
        "corrected to": "",
        "problem": "",
    }
    assert (unsure["how sure"], unsure["corrected to"]) == ("probably", "1")
    assert unlike["how sure"] == "unlike what it knows"
    assert bad["problem"].startswith("This file is not a picture that can be read.")


def test_nothing_in_the_table_or_the_csv_is_a_formula() -> None:
    names = ("=1+1.png", "+a", "-a", "@a", "\ta", "\ra")
    found = [Result(Picture(name, b""), answer((f"={name}", 0.5))) for name in names]
    for row in [*table(results_table.as_csv(found)), *results_table.rows(found)]:
        assert row["name"].startswith("'")
        assert row["prediction"].startswith("'=")


def test_the_json_has_the_answers_as_data() -> None:
    sure, unsure, _, bad = json.loads(results_table.as_json(ALL))
    assert (sure["filename"], sure["prediction"], sure["confidence"]) == ("a.png", "7", 0.998)
    assert sure["top"][1] == {"label": "1", "index": 1, "probability": 0.002}
    assert sure["model"] == {"name": "mnist-cnn", "version": "1"}
    assert unsure["correction"] == "1"
    assert bad == {
        "filename": "d.png",
        "problem": "This file is not a picture that can be read.",
    }


def test_names_that_are_no_text_can_be_taken_along_all_the_same() -> None:
    found = [Result(Picture("\udcff.png", b""), answer(("7", 0.9)))]
    assert table(results_table.as_csv(found))[0]["name"] == "?.png"
    assert json.loads(results_table.as_json(found))[0]["filename"] == "\udcff.png"


def test_columns_that_say_nothing_are_left_out() -> None:
    assert results_table.shown_columns([SURE]) == ["name", "prediction", "confidence", "how sure"]
    assert results_table.shown_columns([BAD]) == ["name", "problem"]
