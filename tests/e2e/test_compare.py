"""The Compare page in a browser."""

import re
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from client import Client
from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    announcement,
    button,
    choose_option,
    expect_accessible,
    expect_no_horizontal_scrolling,
    file,
    main,
    upload,
    upload_zip,
)
from tests.e2e.toggle_proxy import ToggleProxy
from tests.images import SEVEN, encoded, noise, sevens, zipped

pytestmark = pytest.mark.browser

A, B = "mnist-cnn", "mnist-tree"
URL: Final = f"/compare?a={A}&b={B}"
DATASET_URL: Final = f"{URL}&on=set"
SEEDS: Final = range(1, 40)


@pytest.fixture(scope="module")
def disputed(backend_url: str) -> dict[str, bytes]:
    """Images with different predictions of A and B, in folders named after the label of A."""
    files = {}
    with Client(backend_url) as client:
        for seed in SEEDS:
            image = encoded(noise(seed=seed))
            a, b = (client.classify(image, filename="x", model=name) for name in (A, B))
            if a.prediction != b.prediction:
                files[f"{a.prediction}/noise{seed}.png"] = image
    assert files
    return files


def selector(page: Page, side: str) -> Locator:
    return main(page).get_by_role("combobox", name=re.compile(f"Model {side}"))


def select_dataset_mode(page: Page) -> None:
    main(page).get_by_text("Labeled dataset", exact=True).click()
    expect(main(page).get_by_text("Zip with one folder per class")).to_be_visible()


def expect_report(page: Page) -> None:
    expect(main(page).get_by_role("heading", name="Only B is correct")).to_be_visible()


def test_selected_models_are_in_the_url_and_classify_an_example(visit: Visit) -> None:
    page = visit("/compare?a=mnist-mlp&b=mnist-tree")
    expect(selector(page, "A")).to_have_value(re.compile("dens"))
    choose_option(page, selector(page, "A"), "Handwritten digits")
    page.wait_for_url(re.compile("a=mnist-cnn"))
    page.reload()
    expect(selector(page, "A")).to_have_value("Handwritten digits")
    button(page, "A 7 in white chalk").click()
    expect(main(page).get_by_role("heading", name="The models agree: 7.")).to_be_visible()
    expect(main(page).get_by_role("heading", name=re.compile("^7, .*confidence"))).to_have_count(2)
    expect(announcement(page, "The models agree")).to_have_count(1)


def test_different_predictions_are_shown_for_an_image_and_a_dataset(
    visit: Visit, disputed: dict[str, bytes]
) -> None:
    page = visit(URL)
    upload(page, file("noise.png", next(iter(disputed.values()))))
    expect(main(page).get_by_text("Largest difference:")).to_be_visible()
    expect(main(page).get_by_test_id("stVegaLiteChart")).to_be_visible()
    select_dataset_mode(page)
    upload_zip(page, zipped({**disputed, "7/a.png": SEVEN}))
    expect_report(page)
    images = "image" if len(disputed) == 1 else "images"
    summary = f"Only A is correct on {len(disputed)} {images}, only B on 0"
    expect(main(page)).to_contain_text(summary)
    expect(main(page)).to_contain_text("McNemar's test, p =")
    tiles = main(page).locator("img[alt*=', A predicted']")
    expect(tiles).to_have_count(min(len(disputed), 24))
    expect(main(page).get_by_text("Largest changes:").first).to_be_visible()
    page.reload()
    expect_report(page)


def test_dataset_of_the_evaluate_page_is_compared(visit: Visit) -> None:
    page = visit("/evaluate")
    upload_zip(page, sevens(20, labeled_one=2), "mine.zip")
    expect(button(page, "Report (HTML)")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    select_dataset_mode(page)
    button(page, "Compare on mine.zip").click()
    expect_report(page)
    page.get_by_role("link", name="Evaluate").click()
    image = main(page).get_by_alt_text(re.compile("labeled 1, predicted 7"))
    expect(image.first).to_be_visible()


def test_stop_before_both_evaluations_shows_no_comparison(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit(DATASET_URL)
    upload_zip(page, sevens(6_000))
    expect(main(page).get_by_text(re.compile(r"of 12,000 images, \d+ per second"))).to_be_visible()
    proxy.close()  # the job cannot finish
    button(page, "Stop", exact=True).click()
    alert = main(page).get_by_role("alert").filter(has_text="B was not evaluated")
    expect(alert).to_be_visible()
    proxy.open()
    expect(button(page, "on the same images")).to_be_visible()


def test_report_stays_while_the_backend_is_unreachable(visit: Visit, proxy: ToggleProxy) -> None:
    page = visit("/compare?on=set")
    upload_zip(page, sevens(5))
    expect_report(page)
    proxy.close()
    page.reload()
    expect(main(page).get_by_role("alert").filter(has_text="not reachable")).to_be_visible()
    expect_report(page)
    proxy.open()
    expect(selector(page, "A")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible(visit: Visit, disputed: dict[str, bytes], scheme: str) -> None:
    page = visit(URL, scheme=scheme)
    button(page, "A 7 in white chalk").click()
    expect(main(page).get_by_role("heading", name="The models agree")).to_be_visible()
    expect_accessible(page)
    select_dataset_mode(page)
    upload_zip(page, zipped(disputed))
    expect_report(page)
    expect_accessible(page)


def test_page_fits_a_phone(visit: Visit, disputed: dict[str, bytes]) -> None:
    page = visit(URL, width=360)
    button(page, "A 7 in white chalk").click()
    expect(main(page).get_by_role("heading", name="The models agree")).to_be_visible()
    expect_no_horizontal_scrolling(page)
    select_dataset_mode(page)
    upload_zip(page, zipped(disputed))
    expect_report(page)
    expect_no_horizontal_scrolling(page)
