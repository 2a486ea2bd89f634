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

    `image` is a URL, a data URI or the content of a file, None where there is no preview. With a
    `key`, which must be unique on the page, the caption is a button. The `note` is a second line.
    """

    image: str | bytes | None
    caption: str
    alt: str
    key: str | None = None
    note: str | None = None


def show(
    key: str,
    count: int,
    tile: Callable[[int], Tile],
    *,
    page: str | None,
    on_page_change: OnPageChange,
) -> int | None:
    """Show one page of `count` tiles; return the index of the one whose button was clicked.

    `tile` is called for the tiles of that page only. `page` is a number from 1
    on, possibly invalid, and `on_page_change(key, page)` is called with the next one:
    `url_state.get(key)` and `url_state.put` keep it in the URL.
    """
    pages = -(-count // PAGE_SIZE)
    index = _page_index(page, pages)
    shown = range(index * PAGE_SIZE, min(count, (index + 1) * PAGE_SIZE))
    clicked = show_few([tile(i) for i in shown], key=f"tiles {key}")
    if pages > 1:
        _show_page_buttons(key, index, pages, on_page_change)
    return None if clicked is None else shown[clicked]


def show_few(tiles: Sequence[Tile], *, key: str = "tiles") -> int | None:
    """Show tiles that fit on one page; return the index of the one whose button was clicked.

    `key` starts with "tiles", for which page.css has rules. Two grids need different keys.
    """
    clicked = None
    has_buttons = any(tile.key for tile in tiles)
    with st.container(horizontal=True, gap="small", key=key if has_buttons else None):
        for index, tile in enumerate(tiles):
            if _show_tile(tile):
                clicked = index
    return clicked


def _show_tile(tile: Tile) -> bool:
    """Show a tile; return whether its button was clicked."""
    with st.container(width=TILE_WIDTH, gap=None):
        if tile.image is None:
            st.markdown(":material/broken_image: No preview")
        else:
            st.image(tile.image, width=TILE_WIDTH - 8, alt=tile.alt)
        if tile.key is None:
            is_clicked = False
            st.caption(escape(tile.caption))
        else:
            is_clicked = st.button(escape(tile.caption), key=tile.key, type="tertiary", wrap=True)
        if tile.note is not None:
            st.caption(escape(tile.note))
    return is_clicked


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
