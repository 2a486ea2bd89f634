"""The decoding worker with valid, damaged and malicious clips."""

import io
import json
import math
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image

from frontend.views.video import frame_reader, limits
from frontend.views.video.frame_reader import FrameReader
from frontend.views.video.protocol import HEADER, ClipInfo, End, Frame
from tests.conftest import ROOT
from tests.frontend.views.video.clips import audio_only, clip, rotated, sevens_then_noise
from tests.images import encoded, noise, seven

IMAGES = sevens_then_noise(64)
HALVES = [n / 2 for n in range(8)]

Decode = Callable[..., tuple[ClipInfo | None, list[Frame], End]]


@pytest.fixture
def preview(tmp_path: Path) -> Path:
    """Path of the preview."""
    return tmp_path / "preview"


@pytest.fixture
def decode(tmp_path: Path, preview: Path) -> Decode:
    """Return a function that decodes a clip to its end."""

    def decode_clip(content: bytes, rate: float = 2.0) -> tuple[ClipInfo | None, list[Frame], End]:
        path = tmp_path / "clip"
        path.write_bytes(content)
        with FrameReader(path, preview, rate=rate) as reader:
            received = list(reader)
        assert reader.end is not None
        return reader.info, received, reader.end

    return decode_clip


def open_image(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def preview_times(path: Path) -> list[float]:
    """Return the frame times of a preview, and check that browsers can play it."""
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert not container.streams.audio
        assert stream.width % 2 == stream.height % 2 == 0
        assert max(stream.width, stream.height) <= limits.PREVIEW_SIDE
        return [float(frame.time or 0) for frame in container.decode(stream)]


@pytest.mark.parametrize(
    ("codec", "container"),
    [("libx264", "mp4"), ("libx264", "mov"), ("libvpx", "webm"), ("libvpx-vp9", "webm")],
)
def test_playable_clip_needs_no_preview(codec: str, container: str, decode: Decode) -> None:
    info, received, end = decode(clip(IMAGES, codec=codec, container=container))
    assert info is not None
    assert info.is_playable
    assert end == End(seconds=4.0)
    assert [frame.time for frame in received] == HALVES


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("mpeg4", "mp4", "yuv420p"),  # written by OpenCV
        ("mpeg4", "avi", "yuv420p"),
        ("mjpeg", "avi", "yuvj420p"),
        ("libx265", "mp4", "yuv420p"),
        ("libsvtav1", "mp4", "yuv420p"),
        ("libx264", "matroska", "yuv420p"),
        ("libx264", "mpegts", "yuv420p"),
        ("libx264", "mp4", "yuv444p"),
        ("wmv2", "asf", "yuv420p"),
        ("flv", "flv", "yuv420p"),
        ("prores", "mov", "yuv422p10le"),
        ("gif", "gif", "rgb8"),
    ],
)
def test_unplayable_clip_gets_a_preview(
    codec: str, container: str, pixels: str, decode: Decode, preview: Path
) -> None:
    info, received, end = decode(clip(IMAGES, codec=codec, container=container, pixels=pixels))
    assert info is not None
    assert not info.is_playable
    assert (end.error, end.preview) == (None, "mp4")
    assert [round(frame.time, 2) for frame in received] == HALVES
    times = preview_times(preview)
    assert times[:3] == pytest.approx([0, 0.1, 0.2], abs=0.002)
    assert times[-1] == pytest.approx(4 - 1 / limits.PREVIEW_RATE, abs=0.002)


def test_frame_matches_its_time(decode: Decode) -> None:
    _, received, _ = decode(
        clip([*[seven(64)] * 10, *[seven(64, ink="white", paper="black")] * 10])
    )
    brightness = [pixel(open_image(frame.image).resize((1, 1)), 0, 0)[0] for frame in received]
    assert [value > 128 for value in brightness] == [True, True, False, False]


@pytest.mark.parametrize("rate", [0.5, 1, 5, 10, 30])
def test_frames_are_sampled_at_the_rate(rate: float, decode: Decode) -> None:
    _, received, _ = decode(clip(IMAGES), rate)
    step = max(1 / rate, 0.1)
    assert [frame.time for frame in received] == pytest.approx(
        [n * step for n in range(round(4 / step))]
    )


def test_variable_frame_rate_is_sampled_without_drift(decode: Decode) -> None:
    times = [0, 0.1, 0.2, 1.0, 1.05, 3.2, 3.4, 3.6, 5.0, 5.1]
    _, received, _ = decode(clip(IMAGES[: len(times)], times=times))
    assert [frame.time for frame in received] == pytest.approx([0, 1, 3.2, 3.6, 5.0])


def test_preview_of_a_late_start_begins_at_0(decode: Decode, preview: Path) -> None:
    info, received, end = decode(clip(IMAGES, start=5))
    assert info is not None
    assert not info.is_playable
    assert end.preview == "mp4"
    assert [round(frame.time, 2) for frame in received] == HALVES
    assert preview_times(preview)[0] == 0


def test_video_that_starts_after_the_audio_keeps_its_times(decode: Decode) -> None:
    info, received, _ = decode(clip(IMAGES, start=1, audio="aac"))
    assert info is not None
    assert info.is_playable
    assert received[0].time == pytest.approx(1, abs=0.1)


def half_red() -> Image.Image:
    """Return a landscape image with a red left half."""
    image = Image.new("RGB", (96, 64), "white")
    image.paste("red", (0, 0, 48, 64))
    return image


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_rotated_clip_is_upright(codec: str, decode: Decode, preview: Path) -> None:
    info, received, _ = decode(rotated(clip([half_red()] * 5, codec=codec)))
    assert info is not None
    images = [open_image(received[0].image), open_image(received[0].thumbnail)]
    if not info.is_playable:
        with av.open(str(preview), "r") as container:
            images.append(next(container.decode(video=0)).to_image())  # type: ignore[no-untyped-call]
    for image in images:
        assert image.size == (64, 96)
        assert pixel(image, 32, 10)[1] < 100  # red on top
        assert pixel(image, 32, 86)[1] > 200


def test_preview_of_an_odd_size_has_an_even_size(decode: Decode, preview: Path) -> None:
    odd = [image.resize((131, 97)) for image in IMAGES]
    _, received, _ = decode(clip(odd, codec="mpeg4", container="matroska"))
    assert open_image(received[0].image).size == (131, 97)
    assert len(preview_times(preview)) > 30


def test_clip_without_a_duration_is_decoded(decode: Decode) -> None:
    live = clip(IMAGES, codec="libvpx", container="webm", options={"live": "1"})
    info, received, end = decode(live)
    assert info is not None
    assert info.seconds is None
    assert [frame.time for frame in received] == HALVES
    assert (end.seconds, end.preview) == (4.0, "mp4")


def test_oversized_clip_is_rejected_before_decoding(decode: Decode) -> None:
    content = clip([Image.new("RGB", (5000, 2000))])
    assert decode(content) == (None, [], End(error="pixels"))


def test_large_frames_are_downscaled(decode: Decode) -> None:
    _, received, end = decode(clip([Image.new("RGB", (1920, 1080), "white")] * 2, codec="mpeg4"))
    assert open_image(received[0].image).size == (1024, 576)
    assert max(open_image(received[0].thumbnail).size) == limits.THUMBNAIL_SIDE
    assert end.preview == "mp4"


def test_decoding_ends_after_120_seconds(decode: Decode) -> None:
    _, received, end = decode(clip([seven(32)] * 130, rate=1), 0.5)
    assert received[-1].time == limits.MAX_SECONDS
    assert end.is_truncated
    assert end.seconds == limits.MAX_SECONDS


def test_decoding_ends_after_1200_frames(decode: Decode) -> None:
    _, received, end = decode(clip([seven(16)] * 1210, rate=30), 30)
    assert len(received) == limits.MAX_FRAMES
    assert end.is_truncated


@pytest.mark.parametrize("container", ["matroska", "avi"])
def test_truncated_clip_yields_its_remaining_frames(container: str, decode: Decode) -> None:
    content = clip(IMAGES, codec="mpeg4", container=container)
    _, received, end = decode(content[: len(content) * 3 // 4])
    assert 1 <= len(received) < 8
    assert end.error in ("short", "damaged")


def test_truncated_avi_is_reported_as_short(decode: Decode) -> None:
    content = clip([noise(64, 64)] * 50, codec="mjpeg", container="avi", pixels="yuvj420p")
    _, whole, end = decode(content)
    assert end.error is None
    _, received, end = decode(content[: len(content) // 2])
    assert len(received) == pytest.approx(len(whole) / 2, abs=1)
    assert end.error == "short"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip.mp4", b"x" * 1000)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unreadable"),
        (b"no video " * 100, "unreadable"),
        (zipped(), "unreadable"),
        (encoded(seven()), "unreadable"),
        (encoded(seven(), "JPEG"), "unreadable"),
        (clip(IMAGES)[:3000], "unreadable"),
        (audio_only(), "no_video"),
        (clip([Image.new("RGB", (5000, 2000))], codec="mjpeg", pixels="yuvj420p"), "pixels"),
        (clip([seven(32)], codec="ffv1", container="matroska"), "codec"),
    ],
    ids=["empty", "text", "zip", "png", "jpeg", "truncated", "audio", "large", "codec"],
)
def test_invalid_clip_has_an_error_code(content: bytes, code: str, decode: Decode) -> None:
    _, received, end = decode(content)
    assert (received, end.error) == ([], code)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
        "<BaseURL>{path}</BaseURL></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["hls", "concat", "dash", "sdp"],
)
def test_playlist_is_not_followed(playlist: str, decode: Decode, tmp_path: Path) -> None:
    other = tmp_path / "other.ts"
    other.write_bytes(clip(IMAGES, container="mpegts"))
    _, received, end = decode(playlist.format(path=other).encode())
    assert (received, end.error) == ([], "unreadable")


def test_confined_worker_opens_nothing_and_has_limits() -> None:
    code = """
import json, resource, socket
from frontend.views.video.worker import confine
score = open("/proc/self/oom_score_adj")
confine()
outcomes = {"score": int(score.read())}
for name, act in (("file", lambda: open("/dev/null")), ("socket", socket.socket)):
    try:
        act()
        outcomes[name] = "opened"
    except OSError:
        outcomes[name] = "rejected"
outcomes["memory"] = resource.getrlimit(resource.RLIMIT_AS)[1]
outcomes["seconds"] = resource.getrlimit(resource.RLIMIT_CPU)[1]
print(json.dumps(outcomes))
"""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
    )
    assert json.loads(process.stdout) == {
        "score": 1000,
        "file": "rejected",
        "socket": "rejected",
        "memory": limits.WORKER_MEMORY_BYTES,
        "seconds": limits.WORKER_CPU_SECONDS + 10,
    }


def test_worker_does_not_inherit_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND_API_KEY", "secret")
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\nenv > "$0.out"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with FrameReader(script, tmp_path / "preview", rate=1) as reader:
        assert list(reader) == []
    variables = (tmp_path / "script.out").read_text()
    assert "PATH=" in variables
    assert "secret" not in variables


def fake_worker(tmp_path: Path, script: str) -> str:
    """Return the path of a program that replaces the worker."""
    path = tmp_path / "worker"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return str(path)


IGNORES_SIGTERM = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
)


def test_slow_worker_is_killed(
    tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", fake_worker(tmp_path, IGNORES_SIGTERM))
    with FrameReader(tmp_path / "worker", preview, rate=1, timeout=0.3) as reader:
        assert list(reader) == []
    assert reader.end == End(error="slow")
    assert reader.process.returncode is not None


def test_worker_that_ignores_sigterm_is_killed(
    tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", fake_worker(tmp_path, IGNORES_SIGTERM))
    monkeypatch.setattr(frame_reader, "_GRACE_PERIOD", 0.3)
    with FrameReader(tmp_path / "worker", preview, rate=1, is_stopped=lambda: True) as reader:
        assert list(reader) == []
    assert reader.process.returncode is not None


@pytest.mark.parametrize(
    "output",
    [b"", b"rubbish", HEADER.pack(b"F", 2**32 - 1), HEADER.pack(b"F", 3) + b"abc",
     HEADER.pack(b"E", 2) + b"[]", HEADER.pack(b"I", 9) + b'{"x": "y"',
     HEADER.pack(b"?", 2) + b"{}",
     HEADER.pack(b"F", 12) + struct.pack(">dI", math.nan, 0),
     HEADER.pack(b"E", 18) + b'{"preview": "exe"}'],
)  # fmt: skip
def test_invalid_worker_output_is_a_crash(
    output: bytes, tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import sys\nsys.stdout.buffer.write({output!r})"
    monkeypatch.setattr(sys, "executable", fake_worker(tmp_path, script))
    with FrameReader(tmp_path / "worker", preview, rate=1) as reader:
        assert list(reader) == []
    assert reader.end == End(error="crashed")


def test_preview_is_complete_after_an_early_exit(tmp_path: Path, preview: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(clip([seven(320)] * 600, codec="mpeg4", rate=30))
    with FrameReader(path, preview, rate=30) as reader:
        for frame in reader:
            if frame.time > 1:
                break
    assert reader.end is not None
    assert (reader.end.error, reader.end.preview) == (None, "mp4")
    assert 1 < preview_times(preview)[-1] < 20
    assert reader.process.returncode is not None


@pytest.mark.parametrize(
    ("name", "count", "is_playable"),
    [("carphone_pristine.mp4", 8, True), ("cockatoo.mp4", 28, False)],
)
def test_real_clips_are_decoded(
    name: str, count: int, is_playable: bool, test_data: Path, decode: Decode
) -> None:
    info, received, end = decode((test_data / "video" / name).read_bytes())
    assert info is not None
    assert (info.is_playable, len(received), end.error, end.is_truncated) == (
        is_playable,
        count,
        None,
        False,
    )
