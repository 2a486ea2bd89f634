"""What a file is, from its content: an image format that is read, or another type."""

import re
from typing import Final, Literal

_CAMERA_RAW: Final = "Develop it with your camera's software, or export it as JPEG."
_EXPORT: Final = "Export it as PNG or JPEG."
_FRAME: Final = "Send a frame of it as JPEG or PNG, or open it on the Video page."
_EXTRACT: Final = "Extract it, and send the images."
_TEXT: Final = "Send the image file itself."
_FORMATS: Final = "JPEG, PNG, WebP, GIF, BMP, HEIC, AVIF, TIFF, JPEG 2000, ICO or PPM"

_READABLE: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\1\0", "ICO"),
)
_PNM: Final = re.compile(rb"P([1-6]|f)[\s#]")

_SUBFILE_TYPE, _MAKE, _SUB_IFDS, _DNG_VERSION = 254, 271, 330, 50706  # TIFF tags
_MAKERS: Final = {b"NIKO": "Nikon NEF", b"SONY": "Sony ARW", b"PENT": "Pentax PEF"}

_BMP_COMPRESSIONS: Final = {
    **{0: "uncompressed", 1: "RLE8", 2: "RLE4", 3: "an unusual layout of bit fields"},
    **{4: "an embedded JPEG", 5: "an embedded PNG", 6: "an unusual layout of bit fields"},
}

# The brands of the file type box of ISO media files, such as HEIC and MP4.
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS: Final = (b"avif", b"avis")
_GENERIC_BRANDS: Final = (b"mif1", b"mif2", b"msf1")  # the compatible brands name the codec

# Signatures of other types: offset, bytes, name with its article, advice.
_REFUSED: Final = (
    (0, b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (0, b"%!PS", "a PostScript file", _EXPORT),
    (0, b"\xff\x0a", "a JPEG XL image", _EXPORT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image", _EXPORT),
    (0, b"II\xbc\x01", "a JPEG XR image", _EXPORT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", _EXPORT),
    (0, b"#?RADIANCE", "a Radiance HDR image", _EXPORT),
    (0, b"DDS ", "a DDS texture", _EXPORT),
    (0, b"icns", "a macOS icon (ICNS)", _EXPORT),
    # A cursor starts with the same bytes, and the number of its images follows, which is not 0.
    (0, b"\0\0\2\0\0\0\0\0", "a Targa image (TGA)", _EXPORT),
    (0, b"\0\0\x0a\0\0\0\0\0", "a Targa image (TGA)", _EXPORT),
    (0, b"\0\0\2\0", "a Windows cursor (CUR)", _EXPORT),
    (0, b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (0, b"AT&TFORM", "a DjVu document", "Export the page as PNG or JPEG."),
    (128, b"DICM", "a DICOM file", _EXPORT),
    (0, b"FUJIFILMCCD-RAW", "a camera RAW file (Fujifilm RAF)", _CAMERA_RAW),
    (0, b"IIRO", "a camera RAW file (Olympus ORF)", _CAMERA_RAW),
    (0, b"IIRS", "a camera RAW file (Olympus ORF)", _CAMERA_RAW),
    (0, b"MMOR", "a camera RAW file (Olympus ORF)", _CAMERA_RAW),
    (0, b"IIU\0", "a camera RAW file (Panasonic RW2)", _CAMERA_RAW),
    (0, b"\0MRM", "a camera RAW file (Minolta MRW)", _CAMERA_RAW),
    (0, b"FOVb", "a camera RAW file (Sigma X3F)", _CAMERA_RAW),
    (6, b"HEAPCCDR", "a camera RAW file (Canon CRW)", _CAMERA_RAW),
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (8, b"WAVE", "a sound file (WAV)", _TEXT),
    (0, b"\x1a\x45\xdf\xa3", "a video (WebM or Matroska)", _FRAME),
    (0, b"\0\0\1\xba", "a video (MPEG)", _FRAME),
    (0, b"\0\0\1\xb3", "a video (MPEG)", _FRAME),
    (0, b"FLV\1", "a video (FLV)", _FRAME),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a video (WMV)", _FRAME),
    (0, b"OggS", "a video or sound file (Ogg)", _FRAME),
    (4, b"moov", "a video (QuickTime)", _FRAME),
    (4, b"mdat", "a video (QuickTime)", _FRAME),
    (4, b"wide", "a video (QuickTime)", _FRAME),
    (0, b"ID3", "a sound file (MP3)", _TEXT),
    (0, b"fLaC", "a sound file (FLAC)", _TEXT),
    (0, b"PK\3\4", "a zip archive or an office document", _EXTRACT),
    (0, b"PK\5\6", "an empty zip archive", _TEXT),
    (0, b"\x1f\x8b", "a gzip file", _EXTRACT),
    (0, b"BZh", "a bzip2 file", _EXTRACT),
    (0, b"\xfd7zXZ\0", "an xz file", _EXTRACT),
    (0, b"(\xb5/\xfd", "a Zstandard file", _EXTRACT),
    (0, b"7z\xbc\xaf'\x1c", "a 7-Zip archive", _EXTRACT),
    (0, b"Rar!\x1a\x07", "a RAR archive", _EXTRACT),
    (257, b"ustar", "a tar archive", _EXTRACT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an older Office version", _EXPORT),
    (0, b"\x93NUMPY", "a NumPy array", "Save it as PNG."),
    (0, b"MZ", "a Windows program", _TEXT),
    (0, b"\x7fELF", "a program", _TEXT),
)

_HTML: Final = re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.I)
_SVG: Final = re.compile(rb"<(!doctype\s+)?svg\b", re.I)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_SAMPLE: Final = 4096  # bytes


def detect(data: bytes) -> str | None:
    """Return Pillow's name of the image format, or None if the file is of no supported format."""
    for signature, name in _READABLE:
        if data.startswith(signature):
            return None if name == "TIFF" and _camera_raw(data) else name
    if data.startswith(b"RIFF"):
        return "WEBP" if data[8:12] == b"WEBP" else None
    if data[4:8] == b"ftyp":
        return _media_format(data)
    return "PPM" if _PNM.match(data) else None


def describe_unsupported(data: bytes) -> str:
    """Return what a file of no supported format is, and what to do, in sentences."""
    if data[4:8] == b"ftyp":
        return _sentence(*_media_type(data))
    if raw := data.startswith((b"II*\0", b"MM\0*")) and _camera_raw(data):
        return _sentence(f"a camera RAW file ({raw})", _CAMERA_RAW)
    for offset, signature, name, advice in _REFUSED:
        if data.startswith(signature, offset):
            return _sentence(name, advice)
    return _describe_text(data) or (f"The file is not a supported image. Send a {_FORMATS} file.")


def describe_variant(data: bytes) -> str:
    """Return what is special about a BMP file, as a part of a sentence, or nothing."""
    if not data.startswith(b"BM") or len(data) < 34:
        return ""
    bits, kind = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    compression = _BMP_COMPRESSIONS.get(kind, "an unknown compression")
    return f" ({bits} bits per pixel, {compression})"


def _camera_raw(data: bytes) -> str | None:
    """Return the kind of a camera RAW file, a TIFF file with a small preview; None for others."""
    if data[8:10] == b"CR":
        return "Canon CR2"
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    start = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[start : start + 2], order)
    first = start + 2
    entries = [data[place : place + 12] for place in range(first, first + 12 * count, 12)]
    tags = {int.from_bytes(entry[:2], order): entry[8:] for entry in entries}
    if _DNG_VERSION in tags:
        return "DNG"
    is_preview = int.from_bytes(tags.get(_SUBFILE_TYPE, b"")[:4], order) & 1
    if not (is_preview and _SUB_IFDS in tags and _MAKE in tags):
        return None
    maker = int.from_bytes(tags[_MAKE], order)
    return _MAKERS.get(data[maker : maker + 4].upper(), "TIFF based")


def _brands(data: bytes) -> tuple[bytes, bytes]:
    """Return the main brand of an ISO media file and the bytes of its compatible brands."""
    size = min(int.from_bytes(data[:4], "big"), 512)
    return data[8:12], data[16:size]


def _media_format(data: bytes) -> str | None:
    main, compatible = _brands(data)
    if main in _AVIF_BRANDS:
        return "AVIF"
    if main in _HEIF_BRANDS:
        return "HEIF"
    if main in _GENERIC_BRANDS:
        return "AVIF" if any(brand in compatible for brand in _AVIF_BRANDS) else "HEIF"
    return None


def _media_type(data: bytes) -> tuple[str, str]:
    main, _ = _brands(data)
    if main == b"crx ":
        return "a camera RAW file (Canon CR3)", _CAMERA_RAW
    if main == b"qt  ":
        return "a video (QuickTime)", _FRAME
    if main.startswith(b"M4A"):
        return "a sound file (M4A)", _TEXT
    return "a video (MP4)", _FRAME


def _describe_text(data: bytes) -> str | None:
    sample = data[:_SAMPLE].removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"%PDF-" in data[:1024]:
        return "This is a PDF. Export the page as PNG or JPEG."
    if sample[:5].lower() == b"data:":
        return _sentence("a data URL, not an image file", "Decode its base64 text, and send that.")
    if _SVG.search(sample):
        return _sentence("an SVG drawing", _EXPORT)
    if _HTML.search(sample):
        return _sentence("a web page (HTML)", _TEXT)
    if not _is_text(sample):
        return None
    if sample.startswith(b"<?xml"):
        return _sentence("an XML document", _TEXT)
    if _BASE64.fullmatch(b"".join(sample.split())):
        return _sentence("base64 text, not an image file", "Decode it, and send the result.")
    return _sentence("a text file, not an image", _TEXT)


def _is_text(sample: bytes) -> bool:
    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 3:  # else a character that the sample cuts
            return False
        text = sample[: error.start].decode()
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)


def _sentence(name: str, advice: str) -> str:
    return f"This is {name}. {advice}"
