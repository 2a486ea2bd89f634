"""Drift that is injected into the traffic of a running backend: the route, the gauges, the page."""

import gzip
import io
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families
from ulid import ULID

from client import Classification, Client, Drift, HistoryFilters
from tests.e2e.backend_process import BackendProcess
from tests.e2e.conftest import Visit
from tests.e2e.pages import (
    expect_accessible,
    expect_no_horizontal_scrolling,
    main,
    wait_until_idle,
)
from tests.e2e.toggle_proxy import ToggleProxy

MODEL = "mnist-cnn"
DAYS = 10  # of the reference
REFERENCE, RECENT = 700, 500  # images
OTHER = 60  # images of each other kind
SHARE = 0.2  # of the recent images that are of another kind

Row = dict[str, Any]
Pixels = NDArray[np.uint8]


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def digit(pixels: Pixels) -> Image.Image:
    return Image.fromarray(255 - pixels)


def bold(pixels: Pixels) -> Image.Image:
    return digit(pixels).filter(ImageFilter.MinFilter(5))


def large(pixels: Pixels) -> Image.Image:
    return digit(pixels).resize((84, 84))


def noise(pixels: Pixels) -> Image.Image:
    rng = np.random.default_rng(int(pixels.sum()))
    return Image.fromarray(rng.permutation(pixels.ravel()).reshape(28, 28))


def read_idx(path: Path, offset: int) -> Pixels:
    return np.frombuffer(gzip.decompress(path.read_bytes())[offset:], np.uint8)


@pytest.fixture(scope="module")
def pools(test_data: Path) -> dict[str, list[bytes]]:
    """Images of the MNIST test set as they are, and of other kinds."""
    images = read_idx(test_data / "mnist" / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read_idx(test_data / "mnist" / "t10k-labels-idx1-ubyte.gz", 8)
    ones = images[labels == 1]
    count = REFERENCE + RECENT
    kinds: dict[str, tuple[Pixels, Callable[[Pixels], Image.Image]]] = {
        "digit": (images[:count], digit),
        "bold": (images[count:][:OTHER], bold),
        "large": (images[count:][:OTHER], large),
        "noise": (images[count:][:OTHER], noise),
        "one": (ones[:OTHER], digit),
    }
    return {name: [encode(draw(one)) for one in of] for name, (of, draw) in kinds.items()}


class Traffic:
    """A backend that has classified all images, and series of these classifications."""

    def __init__(
        self, backend: BackendProcess, client: Client, database: Path, pools: dict[str, list[bytes]]
    ) -> None:
        self.backend = backend
        self.client = client
        self._database = database
        for name, images in pools.items():
            files = [(name, image) for image in images]
            for start in range(0, len(files), 100):
                for result in client.classify_batch(files[start : start + 100], model=MODEL):
                    assert isinstance(result, Classification)
        self._rows = self._read(sum(map(len, pools.values())))

    def replay(self, kind: str = "digit") -> Drift:
        """Replace the history: a reference of ten days, then today images that partly differ."""
        rng = np.random.default_rng(1)
        own, other = self._rows["digit"], self._rows[kind]
        start = datetime.now(UTC) - timedelta(days=DAYS)
        rows = []
        for number in range(REFERENCE + RECENT):
            is_other = number >= REFERENCE and rng.random() < SHARE
            row = other[rng.integers(len(other))] if is_other else own[number]
            if number < REFERENCE:
                moment = start + timedelta(days=DAYS) * number / REFERENCE
            else:
                moment = datetime.now(UTC) - timedelta(seconds=RECENT + REFERENCE - number)
            moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
            text = moment.replace(tzinfo=None).isoformat(" ", "microseconds")
            rows.append(row | {"id": str(ULID.from_datetime(moment)), "time": text})
        names, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        with closing(self._connect()) as connection, connection:
            connection.execute("DELETE FROM answers")
            connection.executemany(f"INSERT INTO answers ({names}) VALUES ({values})", rows)
        return self.client.history.drift(MODEL)

    def review(self, count: int, wrong: float) -> None:
        """Give feedback on the newest answers without, and of `wrong` that they are wrong."""
        rng = np.random.default_rng(count)
        for one in self.client.history.page(HistoryFilters(corrected=False), limit=count).items:
            label = str((int(one.prediction) + 1) % 10) if rng.random() < wrong else one.prediction
            self.client.history.correct(one.id, label)

    def _read(self, count: int) -> dict[str, list[Row]]:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with closing(self._connect()) as connection:
                connection.row_factory = sqlite3.Row
                found = [dict(row) for row in connection.execute("SELECT * FROM answers")]
            if len(found) == count:
                return {
                    name: [row for row in found if row["filename"] == name]
                    for name in {row["filename"] for row in found}
                }
            time.sleep(0.1)
        raise AssertionError(f"{len(found)} of {count} classifications are stored")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database, timeout=60)


@pytest.fixture(scope="module")
def traffic(
    pools: dict[str, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traffic]:
    folder = tmp_path_factory.mktemp("monitoring")
    with (
        BackendProcess(
            PRISM_DATA_DIR=str(folder),
            PRISM_HISTORY_OPEN="true",
            PRISM_MODELS=MODEL,
            PRISM_TIMEOUT="60",
            PRISM_LOG_LEVEL="warning",
        ) as backend,
        Client(backend.url) as client,
    ):
        backend.wait_until_ready()
        while not client.classify(pools["digit"][0], filename="first", model=MODEL).stored:
            time.sleep(0.1)
        client.history.clear()
        yield Traffic(backend, client, folder / "history.db", pools)


def alerts(drift: Drift) -> set[str]:
    assert drift.alert is any(one.alert for one in drift.statistics)
    return {one.name for one in drift.statistics if one.alert}


def test_same_kind_of_images_is_no_drift(traffic: Traffic) -> None:
    drift = traffic.replay()
    assert alerts(drift) == set()
    assert drift.images == REFERENCE + RECENT
    assert drift.reference_images >= 500
    assert len(drift.days) in (DAYS + 1, DAYS + 2)
    assert sum(day.images for day in drift.days) == drift.images
    values = {one.name: one for one in drift.statistics}
    for name in ("confidence", "set_size", "out_of_distribution", "error_rate"):
        assert values[name].calibration is not None
    assert values["brightness"].value == pytest.approx(values["brightness"].reference, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bold", {"brightness"}),
        ("large", {"pixels"}),
        ("one", {"labels"}),
        ("noise", {"out_of_distribution", "confidence", "set_size"}),
    ],
)
def test_change_of_a_fifth_of_the_images_is_reported(
    traffic: Traffic, kind: str, expected: set[str]
) -> None:
    drift = traffic.replay(kind)
    assert alerts(drift) >= expected
    changed = next(one for one in drift.statistics if one.name in expected)
    assert changed.since is not None
    assert changed.since.date() >= (datetime.now(UTC) - timedelta(days=1)).date()


def test_wrong_answers_are_reported(traffic: Traffic) -> None:
    traffic.replay()
    traffic.review(100, wrong=0.05)
    traffic.review(150, wrong=0.5)
    drift = traffic.client.history.drift(MODEL)
    assert "error_rate" in alerts(drift)
    assert sum(day.confirmed + day.corrected for day in drift.days) == 250
    accuracies = [day.accuracy for day in drift.days if day.accuracy is not None]
    assert accuracies
    assert min(accuracies) < 0.9


def test_gauges_follow_the_drift(traffic: Traffic) -> None:
    traffic.replay("noise")
    traffic.backend.get("/metrics")  # starts the tests
    end = time.monotonic() + 60
    gauges: dict[tuple[str, str], float] = {}
    while ("prism_drift_alert", "") not in gauges:
        assert time.monotonic() < end
        time.sleep(0.1)
        gauges = {
            (sample.name, sample.labels.get("statistic", "")): sample.value
            for family in text_string_to_metric_families(traffic.backend.get("/metrics").text)
            for sample in family.samples
            if sample.name.startswith("prism_drift") and sample.labels["model"] == MODEL
        }
    assert gauges["prism_drift_alert", ""] == 1
    assert gauges["prism_drift_evidence", "out_of_distribution"] >= 2.32
    name = "out_of_distribution"
    assert gauges["prism_drift_value", name] > gauges["prism_drift_reference", name]
    assert ("prism_drift_evidence", "error_rate") not in gauges


@pytest.mark.browser
def test_page_names_the_change(visit: Visit, traffic: Traffic, session_proxy: ToggleProxy) -> None:
    traffic.replay("large")
    with session_proxy.redirected_to(traffic.client.url):
        page = visit("/monitor?monitored-days=7+days")
        alert = main(page).get_by_test_id("stAlert")
        expect(alert).to_contain_text("Image size is higher")
        expect(main(page).get_by_role("heading", name="Image size")).to_be_visible()
        page.get_by_role("combobox", name="Days").focus()
        page.keyboard.type("90")
        page.keyboard.press("Enter")
        page.wait_for_url("**monitored-days=90*")
        expect(alert).to_contain_text("Image size is higher")
        expect_accessible(page)
        narrow = visit("/monitor", width=360)
        expect(main(narrow).get_by_test_id("stAlert")).to_contain_text("Image size is higher")
        wait_until_idle(narrow)
        expect_no_horizontal_scrolling(narrow)
