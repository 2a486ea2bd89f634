"""Components that add to Streamlit's uploader: example images, pasted images, many files."""

import base64
from collections.abc import Callable, Sequence

import streamlit as st

from frontend.examples import Example
from frontend.ui import components

MAX_PASTE_BYTES = 20_000_000

_gallery = components.register(
    "gallery", '<p id="title"></p><div class="row" role="group" aria-labelledby="title"></div>'
)
_paste = components.register(
    "paste", '<p><span class="hint"></span> <span class="live" role="status"></span></p>'
)
_packer = components.register("packer", '<p role="status"></p>', css="countdown")


def show_gallery(
    title: str, images: Sequence[Example], *, key: str, on_pick: Callable[[], None]
) -> None:
    """Show images as buttons and call `on_pick` after a click."""
    items = []
    for image in images:
        content = base64.b64encode(image.content).decode()
        items.append({"alt": image.description, "src": f"data:{image.media_type};base64,{content}"})
    _gallery(key=key, data={"title": title, "images": items}, on_pick_change=on_pick)


def picked_index(key: str) -> int | None:
    """Return the index of the gallery image that was clicked last, or None."""
    index = (st.session_state.get(key) or {}).get("pick")
    return index if isinstance(index, int) else None


def show_paste_hint(*, key: str, on_paste: Callable[[], None]) -> None:
    """Show how to paste, and call `on_paste` after a paste anywhere on the page."""
    _paste(key=key, data={"max_bytes": MAX_PASTE_BYTES}, on_image_change=on_paste)


def pasted_image(key: str) -> tuple[str, bytes] | None:
    """Return the name and content of the pasted image; None if the browser sent no image."""
    value = (st.session_state.get(key) or {}).get("image")
    if not isinstance(value, dict):
        return None
    content = components.decode_data_url(value.get("data"), "data:", 2 * MAX_PASTE_BYTES)
    return None if content is None else (str(value.get("name") or "pasted image"), content)


def pack_uploads(container_key: str, extensions: Sequence[str], *, key: str) -> None:
    """Pack the files of the uploader in the container `container_key` into zips, in the browser.

    This applies to more files than Streamlit handles. Files without one of the `extensions` are
    ignored, zips included unless `zip` is one of them. The uploader must accept zips in any case.
    """
    # A megabyte is 1,048,576 bytes to Streamlit; the rest is reserved for the index of a zip.
    max_bytes = st.get_option("server.maxUploadSize") * 900_000
    data = {"container": container_key, "extensions": list(extensions), "max_bytes": max_bytes}
    _packer(key=key, data=data)
