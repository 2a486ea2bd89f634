"""Frames of clips, from the worker: real clips, broken ones, hostile ones."""

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

from frontend.views.video import frame_reader as module
from frontend.views.video import limits
from frontend.views.video.frame_reader import Frames
from frontend.views.video.protocol import HEADER, End, Frame, Info
from tests.conftest import ROOT
from tests.frontend.views.video.clips import clip, sevens_then_noise, sound_only, turned
from tests.images import encoded, noise, seven

PICTURES = sevens_then_noise(64)
HALVES = [n / 2 for n in range(8)]

Read = Callable[..., tuple[Info | None, list[Frame], End]]


@pytest.fixture
def preview(tmp_path: Path) -> Path:
    """Where the copy is written to."""
    return tmp_path / "preview"


@pytest.fixture
def read(tmp_path: Path, preview: Path) -> Read:
    """A function that reads the bytes of a clip to the end."""

    def done(content: bytes, rate: float = 2.0) -> tuple[Info | None, list[Frame], End]:
        path = tmp_path / "clip"
        path.write_bytes(content)
        with Frames(path, preview, rate=rate) as reader:
            found = list(reader)
        assert reader.end is not None
        return reader.info, found, reader.end

    return done


def opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def times_in(path: Path) -> list[float]:
    """The times of the frames of a copy, after making sure that browsers play it."""
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
def test_what_browsers_play_is_played_as_it_is(codec: str, container: str, read: Read) -> None:
    info, found, end = read(clip(PICTURES, codec=codec, container=container))
    assert info is not None
    assert info.plays
    assert end == End(seconds=4.0)
    assert [frame.time for frame in found] == HALVES


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("mpeg4", "mp4", "yuv420p"),  # what OpenCV writes
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
def test_of_what_they_do_not_play_a_copy_is_made(
    codec: str, container: str, pixels: str, read: Read, preview: Path
) -> None:
    info, found, end = read(clip(PICTURES, codec=codec, container=container, pixels=pixels))
    assert info is not None
    assert not info.plays
    assert (end.trouble, end.preview) == (None, "mp4")
    assert [round(frame.time, 2) for frame in found] == HALVES
    times = times_in(preview)
    assert times[:3] == pytest.approx([0, 0.1, 0.2], abs=0.002)
    assert times[-1] == pytest.approx(4 - 1 / limits.PREVIEW_RATE, abs=0.002)


def test_a_frame_is_what_is_seen_at_that_time(read: Read) -> None:
    _, found, _ = read(clip([*[seven(64)] * 10, *[seven(64, ink="white", paper="black")] * 10]))
    light = [pixel(opened(frame.picture).resize((1, 1)), 0, 0)[0] for frame in found]
    assert [value > 128 for value in light] == [True, True, False, False]


@pytest.mark.parametrize("rate", [0.5, 1, 5, 10, 30])
def test_the_rate_is_kept_where_the_clip_has_as_many_frames(rate: float, read: Read) -> None:
    _, found, _ = read(clip(PICTURES), rate)
    step = max(1 / rate, 0.1)
    assert [frame.time for frame in found] == pytest.approx(
        [n * step for n in range(round(4 / step))]
    )


def test_a_varying_frame_rate_is_followed_without_drift(read: Read) -> None:
    times = [0, 0.1, 0.2, 1.0, 1.05, 3.2, 3.4, 3.6, 5.0, 5.1]
    _, found, _ = read(clip(PICTURES[: len(times)], times=times))
    assert [frame.time for frame in found] == pytest.approx([0, 1, 3.2, 3.6, 5.0])


def test_a_clip_whose_clock_begins_late_is_copied_to_begin_at_0(read: Read, preview: Path) -> None:
    info, found, end = read(clip(PICTURES, start=5))
    assert info is not None
    assert not info.plays
    assert end.preview == "mp4"
    assert [round(frame.time, 2) for frame in found] == HALVES
    assert times_in(preview)[0] == 0


def test_pictures_that_begin_after_the_sound_keep_their_time(read: Read) -> None:
    info, found, _ = read(clip(PICTURES, start=1, sound="aac"))
    assert info is not None
    assert info.plays
    assert found[0].time == pytest.approx(1, abs=0.1)


def marked() -> Image.Image:
    """A wide picture, its left half red."""
    image = Image.new("RGB", (96, 64), "white")
    image.paste("red", (0, 0, 48, 64))
    return image


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_what_a_phone_took_turned_is_upright(codec: str, read: Read, preview: Path) -> None:
    info, found, _ = read(turned(clip([marked()] * 5, codec=codec)))
    assert info is not None
    pictures = [opened(found[0].picture), opened(found[0].thumbnail)]
    if not info.plays:
        with av.open(str(preview), "r") as container:
            pictures.append(next(container.decode(video=0)).to_image())  # type: ignore[no-untyped-call]
    for picture in pictures:
        assert picture.size == (64, 96)
        assert pixel(picture, 32, 10)[1] < 100  # red on top
        assert pixel(picture, 32, 86)[1] > 200


def test_odd_sizes_are_copied_to_even_ones(read: Read, preview: Path) -> None:
    odd = [picture.resize((131, 97)) for picture in PICTURES]
    _, found, _ = read(clip(odd, codec="mpeg4", container="matroska"))
    assert opened(found[0].picture).size == (131, 97)
    assert len(times_in(preview)) > 30


def test_a_clip_that_does_not_say_how_long_it_is_is_read(read: Read) -> None:
    live = clip(PICTURES, codec="libvpx", container="webm", options={"live": "1"})
    info, found, end = read(live)
    assert info is not None
    assert info.seconds is None
    assert [frame.time for frame in found] == HALVES
    assert (end.seconds, end.preview) == (4.0, "mp4")


def test_pictures_that_are_too_large_are_refused_before_one_is_decoded(read: Read) -> None:
    content = clip([Image.new("RGB", (5000, 2000))])
    assert read(content) == (None, [], End(trouble="pixels"))


def test_large_pictures_are_sent_small(read: Read) -> None:
    _, found, end = read(clip([Image.new("RGB", (1920, 1080), "white")] * 2, codec="mpeg4"))
    assert opened(found[0].picture).size == (1024, 576)
    assert max(opened(found[0].thumbnail).size) == limits.THUMBNAIL_SIDE
    assert end.preview == "mp4"


def test_after_120_seconds_no_more_is_read(read: Read) -> None:
    _, found, end = read(clip([seven(32)] * 130, rate=1), 0.5)
    assert found[-1].time == limits.SECONDS
    assert end.cut
    assert end.seconds == limits.SECONDS


def test_after_1200_frames_no_more_are_read(read: Read) -> None:
    _, found, end = read(clip([seven(16)] * 1210, rate=30), 30)
    assert len(found) == limits.FRAMES
    assert end.cut


@pytest.mark.parametrize("container", ["matroska", "avi"])
def test_of_a_clip_that_was_cut_off_what_is_there_is_read(container: str, read: Read) -> None:
    content = clip(PICTURES, codec="mpeg4", container=container)
    _, found, end = read(content[: len(content) * 3 // 4])
    assert 1 <= len(found) < 8
    assert end.trouble in ("short", "damaged")


def test_an_avi_that_was_cut_in_half_is_said_to_lack_a_part(read: Read) -> None:
    content = clip([noise(64, 64)] * 50, codec="mjpeg", container="avi", pixels="yuvj420p")
    _, whole, end = read(content)
    assert end.trouble is None
    _, found, end = read(content[: len(content) // 2])
    assert len(found) == pytest.approx(len(whole) / 2, abs=1)
    assert end.trouble == "short"


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip.mp4", b"x" * 1000)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "unreadable"),
        (b"no video " * 100, "unreadable"),
        (zipped(), "unreadable"),
        (encoded(seven()), "unreadable"),
        (encoded(seven(), "JPEG"), "unreadable"),
        (clip(PICTURES)[:3000], "unreadable"),
        (sound_only(), "no_video"),
        (clip([Image.new("RGB", (5000, 2000))], codec="mjpeg", pixels="yuvj420p"), "pixels"),
        (clip([seven(32)], codec="ffv1", container="matroska"), "codec"),
    ],
    ids=["empty", "text", "zip", "png", "jpeg", "cut off", "sound", "large", "codec"],
)
def test_what_is_no_clip_to_be_read_is_named(content: bytes, trouble: str, read: Read) -> None:
    _, found, end = read(content)
    assert (found, end.trouble) == ([], trouble)


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
def test_a_list_that_names_other_files_is_not_followed(
    playlist: str, read: Read, tmp_path: Path
) -> None:
    other = tmp_path / "other.ts"
    other.write_bytes(clip(PICTURES, container="mpegts"))
    _, found, end = read(playlist.format(path=other).encode())
    assert (found, end.trouble) == ([], "unreadable")


def test_the_worker_can_open_nothing_and_grow_only_so_far() -> None:
    code = """
import json, resource, socket
from frontend.video.worker import confine
confine()
done = {}
for name, act in (("file", lambda: open("/dev/null")), ("socket", socket.socket)):
    try:
        act()
        done[name] = "opened"
    except OSError:
        done[name] = "refused"
done["memory"] = resource.getrlimit(resource.RLIMIT_AS)[1]
done["seconds"] = resource.getrlimit(resource.RLIMIT_CPU)[1]
print(json.dumps(done))
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(told.stdout) == {
        "file": "refused",
        "socket": "refused",
        "memory": limits.MEMORY,
        "seconds": limits.CPU_SECONDS + 10,
    }


def test_the_worker_knows_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKEND_API_KEY", "secret")
    say = tmp_path / "say"
    say.write_text('#!/bin/sh\nenv > "$0.out"\n')
    say.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(say))
    with Frames(say, tmp_path / "preview", rate=1) as reader:
        assert list(reader) == []
    told = (tmp_path / "say.out").read_text()
    assert "PATH=" in told
    assert "secret" not in told


def instead(tmp_path: Path, script: str) -> str:
    """A program that runs in place of the worker."""
    path = tmp_path / "worker"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return str(path)


STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


def test_a_worker_that_takes_too_long_is_killed(
    tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", instead(tmp_path, STUBBORN))
    with Frames(tmp_path / "worker", preview, rate=1, patience=0.3) as reader:
        assert list(reader) == []
    assert reader.end == End(trouble="slow")
    assert reader.process.returncode is not None


def test_a_worker_that_does_not_end_when_left_is_killed(
    tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", instead(tmp_path, STUBBORN))
    monkeypatch.setattr(module, "_GRACE", 0.3)
    with Frames(tmp_path / "worker", preview, rate=1, is_stopped=lambda: True) as reader:
        assert list(reader) == []
    assert reader.process.returncode is not None


@pytest.mark.parametrize(
    "told",
    [b"", b"rubbish", HEADER.pack(b"F", 2**32 - 1), HEADER.pack(b"F", 3) + b"abc",
     HEADER.pack(b"E", 2) + b"[]", HEADER.pack(b"I", 9) + b'{"x": "y"',
     HEADER.pack(b"?", 2) + b"{}",
     HEADER.pack(b"F", 12) + struct.pack(">dI", math.nan, 0),
     HEADER.pack(b"E", 18) + b'{"preview": "exe"}'],
)  # fmt: skip
def test_a_worker_that_breaks_off_or_tells_nonsense_is_no_clip(
    told: bytes, tmp_path: Path, preview: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import sys\nsys.stdout.buffer.write({told!r})"
    monkeypatch.setattr(sys, "executable", instead(tmp_path, script))
    with Frames(tmp_path / "worker", preview, rate=1) as reader:
        assert list(reader) == []
    assert reader.end == End(trouble="crashed")


def test_a_copy_of_a_clip_that_is_left_early_can_be_played(tmp_path: Path, preview: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(clip([seven(320)] * 600, codec="mpeg4", rate=30))
    with Frames(path, preview, rate=30) as reader:
        for frame in reader:
            if frame.time > 1:
                break
    assert reader.end is not None
    assert (reader.end.trouble, reader.end.preview) == (None, "mp4")
    assert 1 < times_in(preview)[-1] < 20
    assert reader.process.returncode is not None


@pytest.mark.parametrize(
    ("name", "count", "plays"), [("carphone_pristine.mp4", 8, True), ("cockatoo.mp4", 28, False)]
)
def test_clips_as_people_have_them_are_read(
    name: str, count: int, plays: bool, test_data: Path, read: Read
) -> None:
    info, found, end = read((test_data / "video" / name).read_bytes())
    assert info is not None
    assert (info.plays, len(found), end.trouble, end.cut) == (plays, count, None, False)
