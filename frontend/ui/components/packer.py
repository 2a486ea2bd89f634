"""Packs the files of an uploader into zips in the browser, if they are too many for Streamlit."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

FOLDER = Path(__file__).parent

_packer = st.components.v2.component(
    "packer",
    html='<p role="status"></p>',
    css=(FOLDER / "countdown.css").read_text("utf-8"),
    js=(FOLDER / "packer.js").read_text("utf-8"),
)


def show(container_key: str, extensions: Sequence[str], *, key: str) -> None:
    """Pack the files of the uploader in the container `container_key`.

    Files without one of the `extensions` are ignored, zips included unless `zip` is one of them.
    The uploader must accept zips in any case.
    """
    # A megabyte is 1,048,576 bytes to Streamlit; the rest is reserved for the index of a zip.
    max_bytes = st.get_option("server.maxUploadSize") * 900_000
    _packer(
        key=key,
        data={"container": container_key, "extensions": list(extensions), "max_bytes": max_bytes},
    )
