"""Explains a classification: a heat map of the parts of the image that decided.

A network that ends in global pooling and at most one linear layer explains itself: its ONNX graph
has a class activation map (Zhou et al. 2016, https://arxiv.org/abs/1512.04150) as second output.
Occlusion explains any other model.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

import numpy as np
from PIL import Image

from backend.inference import occlusion
from backend.inference.decoder import Decoder, LocatedInput
from backend.inference.errors import QueueFullError
from backend.inference.types import Floats, LabelScore, Region

MAX_SIDE: Final = 512  # pixels of the longer side of a heat map

T = TypeVar("T")
Decode = Callable[[Callable[[int], Any], bytes, str], Awaitable[Any]]

Method = Literal["class activation map", "occlusion"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A heat map of what influenced one label.

    `heatmap` is an 8-bit grayscale PNG with the proportions of the upright image and at most
    MAX_SIDE pixels a side; 0 is no influence, 255 the most.
    """

    method: Method
    label: str
    heatmap: bytes


class Explainer:
    """Explains classifications of one model. Use it from one event loop.

    `activation_map(row, label)` returns the class activation map (h, w) of an input (*input) for
    the label with the index `label`, or None. `predict(client, rows)` returns the probabilities
    (N, C) of the masked inputs (N, *input) of occlusion; it gets `batch_size()` of them at a time,
    so that they take turns with the images of other requests. `in_thread(work)` runs work in a
    thread, and `decode(work, data, client)` the decoding of an image file. `turn` is shared by all
    models of a network, which explain one classification at a time. `independent` is whether the
    probabilities of the labels are independent, and do not sum to 1.
    """

    def __init__(
        self,
        decoder: Decoder,
        activation_map: Callable[[Floats, int], Floats | None],
        predict: Callable[[str, Floats], Awaitable[Floats]],
        batch_size: Callable[[], int],
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        decode: Decode,
        turn: asyncio.Semaphore,
        *,
        independent: bool = False,
    ) -> None:
        self._decoder = decoder
        self._activation_map = activation_map
        self._predict = predict
        self._batch_size = batch_size
        self._in_thread = in_thread
        self._decode = decode
        self._turn = turn
        self._independent = independent

    async def explain(
        self,
        data: bytes,
        prediction: LabelScore,
        time_limit: float | None = None,
        client: str = "",
    ) -> Explanation | None:
        """Explain why an image file was classified as `prediction`.

        A coarser map is returned if `time_limit` seconds do not suffice for the finest, and None
        if they do not suffice for any, or if the queue is full. Raise ImageError for an image that
        cannot be used, ClosedError if no work is accepted, InferenceError if the model fails.
        """
        method: Method = "class activation map"
        heat: Floats | None = None
        with suppress(TimeoutError, QueueFullError):
            async with asyncio.timeout(time_limit):
                located: LocatedInput = await self._decode(
                    partial(self._decoder.locate, data), data, client
                )
                row = located.row
                async with self._turn:
                    heat = await self._in_thread(
                        partial(self._activation_map, row, prediction.index)
                    )
                    if heat is None:
                        method = "occlusion"
                        maps = occlusion.measure(
                            row,
                            self._decoder.spec,
                            prediction.index,
                            partial(self._predict, client),
                            self._batch_size(),
                            independent=self._independent,
                        )
                        async for each in maps:
                            heat = each
        if heat is None:
            return None
        png = await self._in_thread(partial(render, heat, located.region, located.size))
        return Explanation(method, prediction.label, png)


def render(heat: Floats, region: Region | None, size: tuple[int, int]) -> bytes:
    """Return a heat map of the model's input as a PNG of the whole image.

    `heat` (h, w) covers the `region` of an image of `size` (width, height); the image outside the
    region, and negative heat, become 0. Without a region, everything is 0.
    """
    scale = min(1.0, MAX_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    levels = np.zeros((height, width), dtype=np.float32)
    if region is not None:
        rows, columns = heat.shape
        left, right = region.left * width, region.right * width
        top, bottom = region.top * height, region.bottom * height
        x, y = columns / (right - left), rows / (bottom - top)
        large = Image.fromarray(heat.astype(np.float32)).transform(
            (width, height),
            Image.Transform.AFFINE,
            (x, 0, -left * x, 0, y, -top * y),
            Image.Resampling.BICUBIC,
        )
        levels = np.maximum(np.asarray(large), 0)
    if (most := float(levels.max())) > 0:
        levels = levels * (255 / most)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(levels).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
