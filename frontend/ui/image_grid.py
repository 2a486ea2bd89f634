"""A grid of small images with captions, divided into pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from frontend.ui.formatting import escape

PAGE_SIZE = 24
TILE_WIDTH = 96  # px: three fit next to each other on a phone

OnPageChange = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Tile:
    """An image, its caption and its alternative text.

    `image` is a URL or data URI, None where there is no preview.
    """

    image: str | None
    caption: str
    alt: str


def show(
    key: str,
    count: int,
    tile: Callable[[int], Tile],
    *,
    page: str | None,
    on_page_change: OnPageChange,
) -> None:
    """Show one page of `count` tiles; `tile` is called for the tiles of that page only.

    `page` is a number from 1 on, possibly invalid, and `on_page_change(key, page)` is called with
    the next one: `url_state.get(key)` and `url_state.put` keep it in the URL.
    """
    pages = -(-count // PAGE_SIZE)
    index = _page_index(page, pages)
    show_few([tile(i) for i in range(index * PAGE_SIZE, min(count, (index + 1) * PAGE_SIZE))])
    if pages > 1:
        _show_page_buttons(key, index, pages, on_page_change)


def show_few(tiles: Sequence[Tile]) -> None:
    """Show tiles that fit on one page."""
    with st.container(horizontal=True, gap="small"):
        for tile in tiles:
            _show_tile(tile)


def _show_tile(tile: Tile) -> None:
    with st.container(width=TILE_WIDTH, gap=None):
        if tile.image is None:
            st.markdown(":material/broken_image: No preview")
        else:
            st.image(tile.image, width=TILE_WIDTH - 8, alt=tile.alt)
        st.caption(escape(tile.caption))


def _show_page_buttons(key: str, index: int, pages: int, on_page_change: OnPageChange) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        turn = partial(on_page_change, key, str(index))
        st.button("Previous", key=f"{key} previous", disabled=index == 0, on_click=turn)
        st.markdown(f"Page {index + 1} of {pages}", width="content")
        turn = partial(on_page_change, key, str(index + 2))
        st.button("Next", key=f"{key} next", disabled=index + 1 == pages, on_click=turn)


def _page_index(page: str | None, pages: int) -> int:
    """Return the page counted from 0, within the existing pages."""
    text = page or ""
    number = int(text) if text.isdecimal() and len(text) < 9 else 1
    return max(0, min(number, pages) - 1)
