"""The Video page without a browser, against a real backend."""

import errno
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import BackendError, Client
from frontend.datasets import upload_memory
from tests.conftest import free_port
from tests.frontend.views.video.clips import clip, sevens_then_noise

APP = Path(__file__).parents[4] / "frontend" / "app.py"
CLIP = clip(sevens_then_noise())

Start = Callable[[str], AppTest]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that opens the page on the backend at an address."""

    def opened(url: str) -> AppTest:
        monkeypatch.setenv("BACKEND", url)
        app = AppTest.from_file(str(APP), default_timeout=30).run()
        return app.switch_page("views/video/page.py").run()

    return opened


def shown(app: AppTest) -> str:
    """Return all that the page says."""
    assert not app.exception
    kinds: tuple[Any, ...] = (app.title, app.subheader, app.markdown, app.caption)
    notices: tuple[Any, ...] = (app.error, app.info, app.warning)
    text = "\n".join(element.value for kind in kinds + notices for element in kind)
    return text.replace("\\", "")


def button(app: AppTest, label: str) -> Any:
    return next(button for button in app.button if button.label == label)


def settled(app: AppTest) -> AppTest:
    """Run the page again until the work is over."""
    end = time.monotonic() + 60
    while "Stop" in [button.label for button in app.button]:
        assert time.monotonic() < end
        app.run()
    return app


def read(app: AppTest, content: bytes = CLIP, name: str = "clip.mp4") -> AppTest:
    app.file_uploader[0].set_value((name, content, "video/mp4")).run()
    return settled(button(app, "Read the clip").click().run())


def test_the_page_says_what_it_takes_and_what_the_model_is_for(
    start: Start, backend_url: str
) -> None:
    app = start(backend_url)
    assert "made for one handwritten digit" in shown(app)
    assert "do not look like a digit" in shown(app)
    assert "The first 120 seconds are read, 1,200 frames at most." in shown(app)
    assert "9.4 million pixels" in shown(app)
    assert button(app, "Read the clip").disabled


def test_a_clip_is_played_with_captions_and_told_in_words(start: Start, backend_url: str) -> None:
    app = read(start(backend_url))
    assert "7: 4 of 8 frames (50 %)" in shown(app)
    assert "Not a digit: 4 of 8 frames (50 %)" in shown(app)
    (video,) = app.get("video")
    assert [track.label for track in video.proto.subtitles] == ["Answers"]
    assert len(app.dataframe[0].value) == 8


def test_a_frame_is_picked_and_shown_with_its_answer(start: Start, backend_url: str) -> None:
    app = read(start(backend_url))
    assert "Frame 1 of 8, at second 0.00" in shown(app)
    assert "a 7 (" in shown(app)
    app.select_slider[0].set_value(7).run()
    assert "Frame 8 of 8, at second 3.50" in shown(app)
    assert "This does not look like a digit." in shown(app)
    assert app.query_params["frame"] == "7"


def test_the_rate_is_chosen_and_the_clip_is_read_again_without_another_upload(
    start: Start, backend_url: str
) -> None:
    app = read(start(backend_url))
    assert button(app, "Read this clip again").disabled
    app.radio(key="rate").set_value(5.0).run()
    settled(button(app, "Read this clip again").click().run())
    assert "7: 10 of 20 frames (50 %)" in shown(app)
    assert app.query_params["rate"] == "5"


def test_a_new_session_with_the_same_address_shows_the_same(start: Start, backend_url: str) -> None:
    app = read(start(backend_url))
    app.select_slider[0].set_value(3).run()
    other = start(backend_url)
    for name in ("video", "rate", "frame"):
        other.query_params[name] = app.query_params[name]
    other.run()
    assert "7: 4 of 8 frames (50 %)" in shown(other)
    assert "Frame 4 of 8, at second 1.50" in shown(other)


def test_it_is_still_there_after_a_visit_to_another_page(start: Start, backend_url: str) -> None:
    app = read(start(backend_url))
    app.select_slider[0].set_value(3).run()
    app.switch_page("views/draw/page.py").run()
    assert "The answer will appear here." in shown(app)
    app.switch_page("views/video/page.py").run()
    assert "7: 4 of 8 frames (50 %)" in shown(app)
    assert "Frame 4 of 8, at second 1.50" in shown(app)


def test_a_clip_of_which_nothing_was_read_can_be_read_again(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> object:
        raise BackendError(status=404, code="unknown_model")

    with monkeypatch.context() as patch:
        patch.setattr(Client, "classify_batch", away)
        patch.setattr(Client, "classify", away)
        app = read(start(backend_url))
        assert "The backend does not serve this model." in shown(app)
        assert "Nothing was read before that." in shown(app)
    settled(button(app, "Read this clip again").click().run())
    assert "7: 4 of 8 frames (50 %)" in shown(app)


@pytest.mark.parametrize("frame", ["-1", "x", "٣", "9" * 20, "9" * 4400])
def test_an_address_that_names_no_frame_shows_one_all_the_same(
    frame: str, start: Start, backend_url: str
) -> None:
    app = read(start(backend_url))
    app.query_params["frame"] = frame
    app.run()
    assert "of 8, at second" in shown(app)


def test_a_full_disk_is_told_and_the_clip_can_be_read_later(
    start: Start, backend_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    app = start(backend_url)
    app.file_uploader[0].set_value(("clip.mp4", CLIP, "video/mp4")).run()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        patch.setattr(Path, "write_bytes", full)
        button(app, "Read the clip").click().run()
    assert "There is no room here for a clip at the moment." in shown(app)
    assert not list(tmp_path.iterdir())
    settled(button(app, "Read the clip").click().run())
    assert "7: 4 of 8 frames (50 %)" in shown(app)


def test_a_clip_that_is_read_is_not_kept_as_an_upload_besides(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    monkeypatch.setattr(
        upload_memory, "release", lambda files: released.extend(file.name for file in files)
    )
    read(start(backend_url))
    assert released == ["clip.mp4"]


def test_a_token_of_nothing_is_told(start: Start, backend_url: str) -> None:
    app = start(backend_url)
    app.query_params["video"] = "nothing"
    assert "This result is no longer kept." in shown(app.run())


def test_a_file_that_is_no_clip_is_told_in_words_and_another_can_be_chosen(
    start: Start, backend_url: str
) -> None:
    app = read(start(backend_url), b"no video", "**notes**.mp4")
    assert "This file is not a video that can be read here" in shown(app)
    assert "**notes**.mp4" in shown(app)
    assert r"\*\*notes\*\*\.mp4" in [heading.value for heading in app.subheader]
    read(app)
    assert "7: 4 of 8 frames (50 %)" in shown(app)


def test_who_has_no_clip_tries_an_example(start: Start, backend_url: str) -> None:
    app = settled(button(start(backend_url), "Try an example").click().run())
    text = shown(app)
    assert "Example.mp4" in text
    for digit in "235748":
        assert f"\n- {digit}: " in f"\n{text}"


def test_a_clip_of_one_frame_is_shown(start: Start, backend_url: str) -> None:
    app = read(start(backend_url), clip(sevens_then_noise()[:1]))
    assert "7: 1 of 1 frame (100 %)" in shown(app)
    assert "Frame 1 of 1" in shown(app)


def test_a_file_that_is_too_large_is_refused(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.views.video.limits.MEGABYTES", 1)
    app = start(backend_url)
    app.file_uploader[0].set_value(("clip.mp4", bytes(2**20 + 1), "video/mp4")).run()
    assert "This file has more than 1 MB." in shown(app)
    assert button(app, "Read the clip").disabled


def test_without_a_backend_the_page_says_so_and_what_was_read_is_still_there(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = read(start(backend_url))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    app.run()
    assert "The backend is not reachable" in shown(app)
    assert "7: 4 of 8 frames (50 %)" in shown(app)
    assert button(app, "Read the clip").disabled
