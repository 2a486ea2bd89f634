"""What is fuzzed: our own parsers, each with samples, its documented errors and its invariants.

An invariant is an assertion in the function of the target.
"""

import math
import struct
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from backend.api.clients import client_of
from backend.api.compat import pixel_inputs
from backend.api.errors import (
    BodyTooLargeError,
    HeadTooLargeError,
    MalformedRequestError,
    MissingFileError,
    TargetTooLongError,
)
from backend.api.multipart import FormParser, Upload, parse_boundary, parse_single_part
from backend.inference.decoder import Decoder
from backend.inference.errors import ArtifactError, ImageError, PixelsError
from backend.inference.images import completeness, file_types, icc, media_boxes, png
from backend.inference.images.decoding_cost import estimate_cost
from backend.inference.images.image_reader import ImageReader
from backend.inference.images.loading import decode
from backend.inference.images.opening import open_image
from backend.inference.images.pixel_count import count_pixels
from backend.inference.models import artifact
from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.keys import parse_keys
from backend.server.heads import find_end, parse_head
from backend.sources.address import parse_address, redact
from frontend.datasets.archives import extract
from tests.fuzz import heads, samples
from tests.fuzz.structured import controlled
from tests.fuzz.target import Target

MAX_PIXELS: Final = 1_000_000
BOUNDARY: Final = b"x-boundary"
_MAX_PART_BYTES: Final = 10_000


def _decode(data: bytes) -> None:
    image = decode(data, max_pixels=MAX_PIXELS)
    assert image.mode == "RGB"
    assert image.width * image.height <= MAX_PIXELS


def _open(data: bytes) -> None:
    for min_side in (None, 8):
        image = open_image(data, max_pixels=MAX_PIXELS, min_side=min_side)
        assert min(image.size) > 0


@cache
def _digit_decoder() -> Decoder:
    return Decoder(DigitPreprocess(), ImageReader(MAX_PIXELS))


def _decode_digit(data: bytes) -> None:
    decoder = _digit_decoder()
    rows = decoder.decode(data).rows
    assert rows.shape == (1, *DigitPreprocess().input_shape)
    assert all(map(math.isfinite, rows.ravel()))
    decoder.decode_tiny(data)


def _read_headers(data: bytes) -> None:
    """Read what is read beside Pillow. Whatever the content, none of these functions raises."""
    form = file_types.detect(data)
    assert file_types.describe_unsupported(data)
    assert isinstance(file_types.describe_variant(data), str)
    for name in {form or "PNG", "JPEG", "TIFF", "JPEG2000", "ICO", "AVIF", "HEIF"}:
        completeness.ends_early(data, name)
    assert completeness.count_jpeg_scans(data) >= 1
    assert 0 <= completeness.count_jpeg_2000_halvings(data) <= 32
    media_boxes.read_nclx(data)
    media_boxes.are_item_types_text(data)
    media_boxes.are_complete(data)
    png.read_cicp(data)
    png.is_complete(data)
    png.remove_damaged_metadata(data)


def _build_profiles(data: bytes) -> None:
    """Build the profiles that any numbers in a file may describe."""
    numbers = struct.unpack("<9d", data[:72].ljust(72, b"\0"))
    icc.coded_profile(*data[:2].ljust(2, b"\0"))
    for profile in (icc.gamma_profile(numbers[0], numbers[1:]),
                    icc.chromaticities_profile(numbers[1:])):  # fmt: skip
        assert profile is None or len(profile) > 128


def _estimate(data: bytes) -> None:
    """Estimate the cost of a file from its header, which never fails."""
    for min_side in (None, 8):
        cost = estimate_cost(data, MAX_PIXELS, min_side)
        assert math.isfinite(cost.seconds)
        assert cost.seconds >= 0
        assert cost.memory >= 0
    assert 0 <= count_pixels(data, MAX_PIXELS) <= 4 * MAX_PIXELS


def _parse_head(data: bytes) -> None:
    """Find the end of a head that arrives byte by byte, and take the body in pieces."""
    end = find_end(data, 0)
    for size in range(1, len(data)):
        if found := find_end(data[:size], max(0, size - 1)):
            assert found == end == size
            break
    if not end:
        return
    head = parse_head(data[:end])
    assert len(head.data) <= end
    taken = []
    for piece in (1, 7, len(data)):
        body, rest, count = parse_head(data[:end]).body, bytearray(), 0
        for start in range(end, len(data), piece):
            rest += data[start : start + piece]
            while body and not body.is_complete and rest and (size := body.take(rest)):
                assert size <= len(rest)
                del rest[:size]
                count += size
        taken.append(count)
    assert len(set(taken)) == 1, "the body depends on how it arrives"


def _parse_form(data: bytes) -> None:
    """Parse a form in one piece, in small pieces and with the fast parser, which must agree."""
    size = 1 + data[-1] if data else 1
    fast = parse_single_part(data, BOUNDARY, _MAX_PART_BYTES)
    results: list[list[Upload] | None] = []
    for chunk in (len(data) or 1, size):
        form = FormParser(BOUNDARY, _MAX_PART_BYTES)
        try:
            for start in range(0, len(data), chunk):
                form.write(data[start : start + chunk])
            results.append(form.finish())
        except MalformedRequestError:
            results.append(None)
    whole, pieces = results
    assert whole == pieces, "the result depends on how the form arrives"
    assert fast is None or whole == [fast], "the fast parser disagrees"


def _parse_boundary(data: bytes) -> None:
    assert parse_boundary(data.decode("latin-1"))


def _parse_pixels(data: bytes) -> None:
    spec = DigitPreprocess()
    _, rows = pixel_inputs.parse_pixels(data, spec)
    if isinstance(rows, list):  # image files
        assert all(rows)
        return
    assert rows.shape[1:] == spec.input_shape
    assert all(map(math.isfinite, rows.ravel()))


def _find_drawing(data: bytes) -> None:
    pixel_inputs.decode_data_url(pixel_inputs.find_data_url(data))


def _parse_address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):  # of urlsplit
        assert "://" not in text or "@" not in urlsplit(redact(text)).netloc
    parse_address(text, Path("models"))


def _read_manifest(data: bytes) -> None:
    """Read a model folder with a manifest and weights, separated by a marker."""
    manifest, _, weights = data.partition(samples.SEPARATOR)
    with tempfile.TemporaryDirectory(prefix="prism-fuzz-") as name:
        folder = Path(name)
        (folder / artifact.MANIFEST).write_bytes(manifest)
        (folder / artifact.WEIGHTS).write_bytes(weights)
        with suppress(ArtifactError):
            artifact.count_elements(folder / artifact.WEIGHTS)
        artifact.read(folder)


@dataclass
class _File:
    content: bytes
    name: str = "upload.zip"

    def getvalue(self) -> bytes:
        return self.content


def _extract(data: bytes) -> None:
    images, problems = extract(_File(data))
    assert images or problems


def _find_client(data: bytes) -> None:
    headers = [(b"x-forwarded-for", line) for line in data.split(b"\n")]
    for proxies in (0, 1, 3):
        client = client_of({"headers": headers, "client": ("192.0.2.1", 1)}, proxies)
        assert client
        assert not set(client) & set("\r\n\0 ")


def _parse_keys(data: bytes) -> None:
    parse_keys(data.decode("utf-8", "replace"))


_images = partial(
    Target, samples=samples.image_samples, errors=(ImageError,), tokens=samples.IMAGE_TOKENS
)
TARGETS: Final = {
    target.name: target
    for target in (
        _images("images", _decode),
        _images("open", _open),
        _images("digits", _decode_digit),
        _images("headers", _read_headers, errors=(png.TooManyChunksError,)),
        _images("costs", _estimate, errors=()),
        *(
            Target(f"structured-{kind}", controlled(kind, run), samples.choice_samples, errors)
            for kind, run, errors in (
                *((kind, _decode, (ImageError,)) for kind in ("png", "tiff", "media", "icon")),
                ("zip", _extract, ()),
                ("json", _parse_pixels, (BodyTooLargeError, MalformedRequestError, PixelsError)),
            )
        ),
        Target("profiles", _build_profiles, samples.profile_samples),
        Target("forms", _parse_form, samples.form_samples, tokens=samples.FORM_TOKENS),
        Target(
            "boundaries", _parse_boundary, samples.boundary_samples,
            (MalformedRequestError,), samples.FORM_TOKENS,
        ),
        Target(
            "pixels", _parse_pixels, samples.pixel_samples,
            (BodyTooLargeError, MalformedRequestError, PixelsError), samples.JSON_TOKENS,
        ),
        Target(
            "drawings", _find_drawing, samples.drawing_samples,
            (BodyTooLargeError, MalformedRequestError, MissingFileError), samples.JSON_TOKENS,
        ),
        Target(
            "addresses", _parse_address, samples.address_samples,
            (ArtifactError,), samples.ADDRESS_TOKENS,
        ),
        Target(
            "manifests", _read_manifest, samples.manifest_samples,
            (ArtifactError,), samples.JSON_TOKENS,
        ),
        Target("zips", _extract, samples.zip_samples, tokens=samples.ZIP_TOKENS),
        Target("clients", _find_client, samples.client_samples, tokens=samples.ADDRESS_TOKENS),
        Target("keys", _parse_keys, samples.key_samples, (ValueError,), samples.ADDRESS_TOKENS),
        Target(
            "framing", _parse_head, samples.head_samples,
            (HeadTooLargeError, MalformedRequestError, TargetTooLongError), samples.HEAD_TOKENS,
        ),
        Target("heads", heads.send, samples.head_samples, tokens=samples.HEAD_TOKENS),
        Target("heads-h11", heads.send_h11, samples.head_samples, tokens=samples.HEAD_TOKENS),
    )
}  # fmt: skip


def stop() -> None:
    """Stop the servers that some targets started."""
    heads.stop()
