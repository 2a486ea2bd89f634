"""Limits of a clip, shown on the page and enforced by the page and the decoding worker."""

from typing import Final

MAX_FILE_MB: Final = 100  # about a minute as a phone records it
MAX_SECONDS: Final = 120  # classified part of a clip: about a minute of work on two cores
MAX_FRAMES: Final = 1200  # classified frames: all 120 s at 10 per second
MAX_PIXELS: Final = 4096 * 2304  # of one frame
FRAME_RATES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # classified frames per second
DEFAULT_FRAME_RATE: Final = 2.0

# Names of FFmpeg demuxers: containers that hold their frames themselves. Playlists and similar
# formats (hls, concat, dash, image2, …), which refer to other files or URLs, are excluded.
CONTAINERS: Final = ("mov", "matroska", "avi", "asf", "mpeg", "mpegts", "ogg", "flv", "gif")
# fmt: off
CODECS: Final = frozenset({
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "msmpeg4v2", "msmpeg4", "mpeg1video",
    "mpeg2video", "mjpeg", "h263", "flv", "wmv1", "wmv2", "wmv3", "vc1", "theora", "prores",
    "dvvideo", "rawvideo", "gif",
})
FILE_EXTENSIONS: Final = (
    "mp4", "m4v", "mov", "3gp", "webm", "mkv", "avi", "wmv", "mpg", "mpeg", "ts", "mts", "m2ts",
    "ogv", "asf", "flv", "gif",
)
# fmt: on

IMAGE_SIDE: Final = 1024  # px of a frame sent to the backend; models use 28 to 400
THUMBNAIL_SIDE: Final = 240  # px
PREVIEW_SIDE: Final = 640  # px
PREVIEW_RATE: Final = 30  # frames per second
MAX_PLAYED_BYTES: Final = 30_000_000  # the player gets a reduced copy of a larger clip

WORKER_MEMORY_BYTES: Final = 1_500_000_000  # address space; 4K takes up to 600 MB
WORKER_CPU_SECONDS: Final = 300
WORKER_TIMEOUT: Final = 300.0  # s that the page waits for the worker in total
MAX_MESSAGE_BYTES: Final = 16_000_000
MAX_PREVIEW_BYTES: Final = 200_000_000
