"""The Video page without a browser, against a real backend."""

import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import BackendError, Client
from tests.conftest import free_port
from tests.frontend.app import page_text, wait_for_jobs
from tests.frontend.conftest import OpenPage
from tests.frontend.views.video.clips import clip, sevens_then_noise

VIDEO = "views/video/page.py"
CLIP = clip(sevens_then_noise())


def open_page(start: OpenPage, url: str) -> AppTest:
    return start(url, model="mnist-cnn").switch_page(VIDEO).run()


def button(app: AppTest, label: str) -> Any:
    return next(button for button in app.button if button.label == label)


def classify(app: AppTest, content: bytes = CLIP, name: str = "clip.mp4") -> AppTest:
    app.file_uploader[0].set_value((name, content, "video/mp4")).run()
    return wait_for_jobs(button(app, "Classify the video").click().run())


def test_page_states_limits_and_the_model(start: OpenPage, backend_url: str) -> None:
    app = open_page(start, backend_url)
    assert "recognizes one handwritten digit" in page_text(app)
    assert "shown as “Not a digit”" in page_text(app)
    assert "The first 120 seconds are classified, up to 1,200 frames." in page_text(app)
    assert "9.4 million pixels" in page_text(app)
    assert button(app, "Classify the video").disabled


def test_clip_is_played_with_captions_and_summarized(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url))
    assert "7: 4 of 8 frames (50%)" in page_text(app)
    assert "Not a digit: 4 of 8 frames (50%)" in page_text(app)
    (video,) = app.get("video")
    assert [track.label for track in video.proto.subtitles] == ["Predictions"]
    assert len(app.dataframe[0].value) == 8


def test_selected_frame_shows_its_classification(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url))
    assert "Frame 1 of 8, at 0.00 s" in page_text(app)
    assert "7, 9" in page_text(app)
    app.select_slider[0].set_value(7).run()
    assert "Frame 8 of 8, at 3.50 s" in page_text(app)
    assert "Not a digit" in page_text(app)
    assert app.query_params["frame"] == "7"


def test_clip_is_classified_again_at_another_rate(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url))
    assert button(app, "Classify this video again").disabled
    app.radio(key="rate").set_value(5.0).run()
    wait_for_jobs(button(app, "Classify this video again").click().run())
    assert "7: 10 of 20 frames (50%)" in page_text(app)
    assert app.query_params["rate"] == "5"


def test_new_session_with_the_same_url_shows_the_result(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url))
    app.select_slider[0].set_value(3).run()
    other = open_page(start, backend_url)
    for name in ("video", "rate", "frame"):
        other.query_params[name] = app.query_params[name]
    other.run()
    assert "7: 4 of 8 frames (50%)" in page_text(other)
    assert "Frame 4 of 8, at 1.50 s" in page_text(other)


def test_result_survives_a_page_change(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url))
    app.select_slider[0].set_value(3).run()
    app.switch_page("views/draw/page.py").run()
    assert "The prediction appears here." in page_text(app)
    app.switch_page(VIDEO).run()
    assert "7: 4 of 8 frames (50%)" in page_text(app)
    assert "Frame 4 of 8, at 1.50 s" in page_text(app)


def test_clip_without_results_can_be_classified_again(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_error(*_: object, **__: object) -> object:
        raise BackendError(status=404, code="unknown_model")

    with monkeypatch.context() as patch:
        patch.setattr(Client, "classify_batch", raise_error)
        patch.setattr(Client, "classify", raise_error)
        app = classify(open_page(start, backend_url))
        assert "The backend does not serve this model." in page_text(app)
        assert "No frame was classified." in page_text(app)
    wait_for_jobs(button(app, "Classify this video again").click().run())
    assert "7: 4 of 8 frames (50%)" in page_text(app)


@pytest.mark.parametrize("frame", ["-1", "x", "٣", "9" * 20, "9" * 4400])
def test_invalid_frame_number_in_the_url_is_ignored(
    frame: str, start: OpenPage, backend_url: str
) -> None:
    app = classify(open_page(start, backend_url))
    app.query_params["frame"] = frame
    app.run()
    assert "of 8, at " in page_text(app)


def test_full_disk_is_reported(
    start: OpenPage, backend_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_no_space(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    app = open_page(start, backend_url)
    app.file_uploader[0].set_value(("clip.mp4", CLIP, "video/mp4")).run()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        patch.setattr(Path, "write_bytes", raise_no_space)
        button(app, "Classify the video").click().run()
    assert "There is not enough memory or disk space for this video." in page_text(app)
    assert not list(tmp_path.iterdir())
    wait_for_jobs(button(app, "Classify the video").click().run())
    assert "7: 4 of 8 frames (50%)" in page_text(app)


def test_upload_is_released_when_the_job_starts(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    monkeypatch.setattr(
        "frontend.datasets.image_upload.release_memory",
        lambda files: released.extend(file.name for file in files),
    )
    classify(open_page(start, backend_url))
    assert released == ["clip.mp4"]


def test_unknown_token_is_reported(start: OpenPage, backend_url: str) -> None:
    app = open_page(start, backend_url)
    app.query_params["video"] = "unknown"
    assert "This result has expired." in page_text(app.run())


def test_invalid_file_is_reported_and_another_can_be_classified(
    start: OpenPage, backend_url: str
) -> None:
    app = classify(open_page(start, backend_url), b"no video", "**notes**.mp4")
    assert "This file is not a supported video" in page_text(app)
    assert "**notes**.mp4" in page_text(app)
    assert r"\*\*notes\*\*\.mp4" in [heading.value for heading in app.header]
    classify(app)
    assert "7: 4 of 8 frames (50%)" in page_text(app)


def test_example_is_classified(start: OpenPage, backend_url: str) -> None:
    app = wait_for_jobs(button(open_page(start, backend_url), "Try an example").click().run())
    text = page_text(app)
    assert "Example.mp4" in text
    for digit in "235748":
        assert f"\n- {digit}: " in f"\n{text}"


def test_clip_of_one_frame_is_shown(start: OpenPage, backend_url: str) -> None:
    app = classify(open_page(start, backend_url), clip(sevens_then_noise()[:1]))
    assert "7: 1 of 1 frame (100%)" in page_text(app)
    assert "Frame 1 of 1" in page_text(app)


def test_oversized_file_is_rejected(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.views.video.limits.MAX_FILE_MB", 1)
    app = open_page(start, backend_url)
    app.file_uploader[0].set_value(("clip.mp4", bytes(2**20 + 1), "video/mp4")).run()
    assert "This file is larger than 1 MB." in page_text(app)
    assert button(app, "Classify the video").disabled


def test_unreachable_backend_is_reported_and_the_result_stays(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = classify(open_page(start, backend_url))
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    app.run()
    assert "The backend is not reachable" in page_text(app)
    assert "7: 4 of 8 frames (50%)" in page_text(app)
    assert button(app, "Classify the video").disabled
