"""Classification of files and folders: order, errors of single files, and retries."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    ClientError,
    InvalidResponse,
    ItemError,
    UnreadableFile,
)
from client.files import (
    MAX_FILE_BYTES,
    MAX_REQUEST_FILES,
    PendingBatch,
    find_images,
    ignore_wait,
    read_batches,
)
from client.parsing import parse_classification, parse_error
from tests.client.fake_server import serving
from tests.client.responses import BROKEN, BUSY, CLASSIFICATION, batch, problem

OK = parse_classification(CLASSIFICATION, "x.png")
FULL = BackendError(status=429, code="queue_full")
DAMAGED = BackendError(status=400, code="broken_image")


def paths_of(folder: Path, count: int, content: bytes = b"image") -> list[Path]:
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for path in paths:
        path.write_bytes(content)
    return paths


def pending(count: int, max_attempts: int = 3) -> PendingBatch:
    contents: list[tuple[Path, bytes | UnreadableFile]] = [
        (Path(f"{number}.png"), b"image") for number in range(count)
    ]
    return PendingBatch(contents, max_attempts, ignore_wait)


def results(batch: PendingBatch) -> list[Classification | ClientError]:
    return [result for _, result in batch.results()]


def names(batch: PendingBatch) -> list[str]:
    return [name for name, _ in batch.next_request()]


def test_images_of_a_folder_are_found_in_order(tmp_path: Path) -> None:
    for name in (
        "b/2.JPG",
        "b/1.png",
        "a/x.heic",
        "z.webp",
        "notes.txt",
        ".hidden.png",
        ".git/a.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["z.webp", "a/x.heic", "b/1.png", "b/2.JPG"]


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone")
    names = ("pipe.png", "large.png", "dangling.png", ".", "x\0.png")
    (contents,) = read_batches(tmp_path / name for name in names)
    reasons = [str(content) for _, content in contents]
    assert reasons == [
        "is not a regular file",
        "is larger than 100,000,000 bytes",
        "No such file or directory",
        "is a folder",
        "has an invalid name",
    ]


def test_files_are_read_one_batch_at_a_time(tmp_path: Path) -> None:
    read = []

    def paths() -> Iterator[Path]:
        for path in paths_of(tmp_path, 2 * MAX_REQUEST_FILES):
            read.append(path)
            yield path

    assert len(next(read_batches(paths()))) == MAX_REQUEST_FILES
    assert len(read) == MAX_REQUEST_FILES


def test_only_images_that_failed_temporarily_are_sent_again() -> None:
    batch = pending(3)
    batch.next_request()
    assert batch.update([OK, ItemError("1.png", FULL), ItemError("2.png", DAMAGED)], None) == 1.0
    assert names(batch) == ["1.png"]
    batch.update([OK], None)
    assert names(batch) == []
    assert results(batch) == [OK, OK, DAMAGED]


def test_longest_retry_after_of_the_images_is_waited_for() -> None:
    batch = pending(2)
    batch.next_request()
    errors = [BackendError(status=429, retry_after=seconds) for seconds in (3, 7)]
    assert batch.update([ItemError(None, error) for error in errors], None) == 7


def test_image_that_stays_busy_keeps_its_error() -> None:
    batch = pending(1, max_attempts=2)
    for _ in range(2):
        assert batch.next_request()
        batch.update([ItemError("0.png", FULL)], None)
    assert batch.next_request() == []
    assert results(batch) == [FULL]


def test_request_that_the_backend_refuses_as_too_large_is_halved() -> None:
    too_large = BackendError(status=413)
    batch = pending(4)
    sizes = []
    while files := batch.next_request():
        sizes.append(len(files))
        if len(files) > 1 or files[0][0] == "3.png":
            batch.update([], too_large)
        else:
            batch.update([OK], None)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert results(batch) == [OK, OK, OK, too_large]


def test_rest_of_a_response_that_ended_early_is_sent_again() -> None:
    batch = pending(3)
    batch.next_request()
    assert batch.update([OK], InvalidResponse("3 images, but only 1 results")) == 0
    assert names(batch) == ["1.png", "2.png"]
    with pytest.raises(InvalidResponse):
        batch.update([], InvalidResponse("not JSON"))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_error_of_a_request_that_a_retry_does_not_help_ends_it(status: int) -> None:
    batch = pending(2)
    batch.next_request()
    with pytest.raises(BackendError):
        batch.update([], BackendError(status=status))


def test_unreachable_backend_is_tried_again_and_then_raised() -> None:
    batch = pending(1, max_attempts=3)
    error = BackendUnreachable("http://backend")
    delays = []
    for _ in range(2):
        batch.next_request()
        delays.append(batch.update([], error))
    assert delays == [1, 2]
    with pytest.raises(BackendUnreachable):
        batch.update([], error)


def test_folder_is_classified_in_order_and_waits_for_a_busy_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = paths_of(tmp_path, 2)
    (tmp_path / "02.png").symlink_to("gone")
    response = batch(BUSY, BROKEN)
    waits: list[float] = []

    def answer(error: ClientError, seconds: float) -> None:
        waits.append(seconds)
        response.body = batch(CLASSIFICATION).body

    monkeypatch.setattr("client.client.sleep", lambda _: None)
    with serving(response) as (url, received), Client(url) as client:
        found = list(client.classify_folder(tmp_path, model="m", store=False, on_wait=answer))
    assert [path for path, _ in found] == [*paths, tmp_path / "02.png"]
    kinds = [type(result) for _, result in found]
    assert kinds == [Classification, BackendError, UnreadableFile]
    assert waits == [1.0]
    assert [one.path for one in received] == ["/classify/batch?model=m&store=false"] * 2


def test_folder_that_does_not_exist_is_an_error_at_once(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(NotADirectoryError):
        client.classify_folder(tmp_path / "gone")


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (429, "7", 7.0),
        (429, "900", 60.0),
        (503, "", 1.0),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", 1.0),
    ],
)
def test_request_is_sent_again_after_retry_after(
    monkeypatch: pytest.MonkeyPatch, status: int, retry_after: str, expected: float
) -> None:
    response = problem(status, Retry_After=retry_after)
    waits: list[float] = []

    def recover(seconds: float) -> None:
        waits.append(seconds)
        response.status, response.body = 200, batch(CLASSIFICATION).body

    monkeypatch.setattr("client.session.sleep", recover)
    with serving(response) as (url, received), Client(url, max_attempts=2) as client:
        assert client.classify(b"image", filename="x.png").prediction == "7"
    assert waits == [expected]
    assert len(received) == 2


def test_request_is_sent_once_by_default() -> None:
    with (
        serving(problem(429)) as (url, received),
        Client(url) as client,
        pytest.raises(BackendError),
    ):
        client.models()
    assert len(received) == 1


@pytest.mark.parametrize(("status", "attempts"), [(429, 3), (503, 3), (502, 1), (504, 1)])
def test_upload_that_may_have_created_a_version_is_sent_once(
    monkeypatch: pytest.MonkeyPatch, status: int, attempts: int
) -> None:
    monkeypatch.setattr("client.session.sleep", lambda _: None)
    with serving(problem(status)) as (url, received), Client(url, max_attempts=3) as client:
        with pytest.raises(BackendError):
            client.put_model("bees", {}, b"head")
        assert len(received) == attempts


def test_retry_after_can_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    retry_after = parse_error(503, "", {"Retry-After": date}, b"").retry_after
    assert retry_after == pytest.approx(3600, abs=60)
    assert parse_error(503, "", {"Retry-After": "soon"}, b"").retry_after is None


@pytest.mark.parametrize("text", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_a_time_that_can_be_waited(text: str) -> None:
    seconds = parse_error(503, "", {"Retry-After": text}, b"").retry_after
    assert seconds is not None
    assert seconds < threading.TIMEOUT_MAX
