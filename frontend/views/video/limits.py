"""What a clip may be: stated on the page, kept by the page and by the worker."""

from typing import Final

MEGABYTES: Final = 100  # of the file: about a minute as a phone records it
SECONDS: Final = 120  # of the clip that are read: a minute or so of work for two cores
FRAMES: Final = 1200  # that are classified: all 120 s at 10 per second
PIXELS: Final = 4096 * 2304  # of one frame
RATES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # frames per second
USUAL_RATE: Final = 2.0

# Names of FFmpeg's demuxers: containers that hold their pictures themselves. Playlists and the
# like (hls, concat, dash, image2, …), which name other files or addresses, are none of them.
CONTAINERS: Final = ("mov", "matroska", "avi", "asf", "mpeg", "mpegts", "ogg", "flv", "gif")
# fmt: off
CODECS: Final = frozenset({
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "msmpeg4v2", "msmpeg4", "mpeg1video",
    "mpeg2video", "mjpeg", "h263", "flv", "wmv1", "wmv2", "wmv3", "vc1", "theora", "prores",
    "dvvideo", "rawvideo", "gif",
})
TYPES: Final = (  # endings of files' names
    "mp4", "m4v", "mov", "3gp", "webm", "mkv", "avi", "wmv", "mpg", "mpeg", "ts", "mts", "m2ts",
    "ogv", "asf", "flv", "gif",
)
# fmt: on

SENT_SIDE: Final = 1024  # px; models look at 28 to 400
THUMBNAIL_SIDE: Final = 240  # px
PREVIEW_SIDE: Final = 640  # px
PREVIEW_RATE: Final = 30  # frames per second
PLAYED_BYTES: Final = 30_000_000  # a larger clip is played as a small copy

# The worker's own.
MEMORY: Final = 1_500_000_000  # bytes of address space; 4K takes up to 600 MB
CPU_SECONDS: Final = 300
WALL_SECONDS: Final = 300.0  # of waiting for it
MESSAGE_BYTES: Final = 16_000_000  # of one message
PREVIEW_BYTES: Final = 200_000_000
