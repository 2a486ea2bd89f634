"""Many small pictures with a few words each, a page at a time; the page is in the address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from frontend.state import url_state
from frontend.ui.formatting import plain

PAGE = 24
WIDTH = 96  # three fit beside each other on a phone


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture, as an address that a browser can load, and what is said of it.

    `says` is for those who do not see the picture; `words` stand below it.
    """

    picture: str | None
    words: str
    says: str


def show(name: str, count: int, tile: Callable[[int], Tile]) -> None:
    """Show a page of `count` tiles, with a way to the others; `name` is the page's in the address.

    Only the tiles of the page are asked for.
    """
    pages = -(-count // PAGE)
    page = _page(name, pages)
    with st.container(horizontal=True, gap="small"):
        for index in range(page * PAGE, min(count, (page + 1) * PAGE)):
            _show(tile(index))
    if pages > 1:
        _turn(name, page, pages)


def show_few(tiles: Sequence[Tile]) -> None:
    """Show tiles that fit on one page."""
    with st.container(horizontal=True, gap="small"):
        for tile in tiles:
            _show(tile)


def _show(tile: Tile) -> None:
    with st.container(width=WIDTH, gap=None):
        if tile.picture is None:
            st.markdown(":material/broken_image: No preview")
        else:
            st.image(tile.picture, width=WIDTH - 8, alt=tile.says)
        st.caption(plain(tile.words))


def _turn(name: str, page: int, pages: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Previous",
            key=f"{name} previous",
            disabled=page == 0,
            on_click=partial(url_state.put, name, str(page)),
        )
        st.markdown(f"Page {page + 1} of {pages}", width="content")
        st.button(
            "Next",
            key=f"{name} next",
            disabled=page + 1 == pages,
            on_click=partial(url_state.put, name, str(page + 2)),
        )


def _page(name: str, pages: int) -> int:
    """Return the page of the address, counted from 0."""
    said = url_state.get(name) or ""
    number = int(said) if said.isdecimal() and len(said) < 9 else 1
    return max(0, min(number, pages) - 1)
