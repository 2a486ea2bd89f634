"""What a person does on the page Compare, in a real browser."""

import re
from typing import Final

import pytest
from playwright.sync_api import FilePayload, Page, expect

from client import Client
from tests.e2e.conftest import Open
from tests.e2e.gate import Gate
from tests.e2e.pages import expect_accessible, expect_to_fit, file, upload
from tests.labelled import SEVEN, sevens, zipped
from tests.pictures import encoded, noise

pytestmark = pytest.mark.browser

A, B = "mnist-cnn", "mnist-tree"
MODELS: Final = f"a={A}&b={B}"
SEEDS: Final = range(1, 40)


@pytest.fixture(scope="module")
def disputed(backend_url: str) -> dict[str, bytes]:
    """Pictures on which the two differ, in folders named as A says."""
    found = {}
    with Client(backend_url) as client:
        for seed in SEEDS:
            picture = encoded(noise(seed=seed))
            a, b = (client.classify(picture, filename="x", model=name) for name in (A, B))
            if a.prediction != b.prediction:
                found[f"{a.prediction}/noise{seed}.png"] = picture
    assert found
    return found


def upload_zip(page: Page, content: bytes) -> None:
    expect(page.get_by_text("A zip with one folder for each class")).to_be_visible()
    chooser = page.locator("input[type=file]").first
    payload: FilePayload = {
        "name": "digits.zip",
        "mimeType": "application/zip",
        "buffer": content,
    }
    chooser.set_input_files(payload)


def expect_compared(page: Page) -> None:
    expect(page.get_by_role("heading", name="Only B is right")).to_be_visible()


def test_two_models_that_agree_say_so_side_by_side(visit: Open) -> None:
    page = visit("/compare")
    page.get_by_role("button", name="A 7 in white chalk").click()
    expect(page.get_by_role("heading", name="They agree: both read a 7.")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("This is a 7"))).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="They agree")).to_have_count(1)


def test_two_models_that_disagree_are_shown_with_the_difference(
    visit: Open, disputed: dict[str, bytes]
) -> None:
    page = visit(f"/compare?{MODELS}")
    upload(page, file("noise.png", next(iter(disputed.values()))))
    expect(page.get_by_text("They are furthest apart on")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_be_visible()


def test_the_two_models_are_in_the_address(visit: Open) -> None:
    page = visit("/compare?a=mnist-mlp&b=mnist-tree")
    expect(page.get_by_role("combobox", name=re.compile("Model A"))).to_have_value(
        re.compile("dens")
    )
    page.get_by_role("combobox", name=re.compile("Model A")).click()
    page.get_by_role("option", name="Handwritten digits", exact=True).click()
    page.wait_for_url(re.compile("a=mnist-cnn"))
    page.reload()
    expect(page.get_by_role("combobox", name=re.compile("Model A"))).to_have_value(
        "Handwritten digits"
    )


def test_labelled_pictures_tell_which_is_better(visit: Open, disputed: dict[str, bytes]) -> None:
    page = visit(f"/compare?on=set&{MODELS}")
    upload_zip(page, zipped({**disputed, "7/a.png": SEVEN}))
    expect_compared(page)
    text = page.get_by_test_id("stMain")
    many = "pictures" if len(disputed) > 1 else "picture"
    expect(text).to_contain_text(f"A alone is right on {len(disputed)} {many}, B alone on 0")
    expect(text).to_contain_text("McNemar's test, p =")
    shown = page.locator("img[alt*=', A says']")
    expect(shown).to_have_count(min(len(disputed), 24))
    expect(page.get_by_text("The largest changes:").first).to_be_visible()
    page.reload()
    expect_compared(page)


def test_the_pictures_of_the_page_evaluate_are_compared_on(visit: Open) -> None:
    page = visit("/evaluate")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "mine.zip", "mimeType": "application/zip", "buffer": sevens(20, called_one=2)}
    )
    expect(page.get_by_role("button", name="Report, HTML")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    page.get_by_text("Labelled pictures", exact=True).first.click()
    page.get_by_role("button", name="Compare on mine.zip").click()
    expect_compared(page)
    page.get_by_role("link", name="Evaluate").click()
    expect(page.get_by_alt_text(re.compile("labelled 1, predicted 7")).first).to_be_visible()


def test_what_is_stopped_before_both_are_measured_says_so(visit: Open) -> None:
    page = visit(f"/compare?on=set&{MODELS}")
    upload_zip(page, sevens(15_000))
    expect(page.get_by_text(re.compile(r"of 30,000 pictures, \d+ a second"))).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert").filter(has_text="B was not measured")).to_be_visible()
    expect(page.get_by_role("button", name="on the same pictures")).to_be_visible()


def test_without_the_backend_the_page_says_so_and_the_result_stays(visit: Open, gate: Gate) -> None:
    page = visit("/compare?on=set")
    upload_zip(page, sevens(5))
    expect_compared(page)
    gate.shut()
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="not reachable")).to_be_visible()
    expect_compared(page)
    gate.open()
    expect(page.get_by_role("combobox", name=re.compile("Model A"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit: Open, disputed: dict[str, bytes], scheme: str) -> None:
    page = visit(f"/compare?{MODELS}", scheme=scheme)
    page.get_by_role("button", name="A 7 in white chalk").click()
    expect(page.get_by_role("heading", name="They agree")).to_be_visible()
    expect_accessible(page)
    page.get_by_text("Labelled pictures", exact=True).first.click()
    upload_zip(page, zipped(disputed))
    expect_compared(page)
    expect_accessible(page)


def test_a_phone_shows_the_page_without_scrolling_sideways(
    visit: Open, disputed: dict[str, bytes]
) -> None:
    page = visit(f"/compare?{MODELS}", width=360)
    page.get_by_role("button", name="A 7 in white chalk").click()
    expect(page.get_by_role("heading", name="They agree")).to_be_visible()
    expect_to_fit(page)
    page.get_by_text("Labelled pictures", exact=True).first.click()
    upload_zip(page, zipped(disputed))
    expect_compared(page)
    expect_to_fit(page)
