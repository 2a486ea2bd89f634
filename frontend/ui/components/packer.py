"""Packs the files of an uploader into zips, in the browser, where they are too many for it."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

_packer = st.components.v2.component(
    "packer",
    html='<p role="status"></p>',
    css=(HERE / "countdown.css").read_text("utf-8"),
    js=(HERE / "packer.js").read_text("utf-8"),
)


def show(place: str, endings: Sequence[str], *, key: str) -> None:
    """Pack what is chosen in the uploader within the container of the key `place`.

    Only files with one of the `endings` are taken, and what zips there are only where `zip` is one
    of them; the uploader has to take zips in any case.
    """
    # A megabyte is more bytes to Streamlit: what is left is for the index of a zip.
    most = st.get_option("server.maxUploadSize") * 900_000
    _packer(key=key, data={"place": place, "endings": list(endings), "most": most})
