"""Pictures without a digit, for the model to learn what it must not read.

They stand for what people send by mistake: photographs (crops of three that scikit-learn and
matplotlib carry, and scenes of leaves that cover each other, whose statistics are those of
photographs; Lee, Mumford, Huang 2001), textures, text, letters, drawings, noise and blanks.
"""

import string
from collections.abc import Callable
from functools import cache

import numpy as np
from matplotlib.cbook import get_sample_data
from matplotlib.font_manager import FontProperties, findfont
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from sklearn.datasets import load_sample_images

Levels = NDArray[np.floating]  # of brightness, 0-255

# Letters that nobody takes for a digit, not even slanted or badly written.
LETTERS = "EFHKMNTVWXanmvwxÄÖÜΔΛΞΠΣΨΩЖЙЩЮ&%§€@#"


def picture(rng: Generator) -> Image.Image:
    """A random picture without a digit, mode RGB, of 20 to 400 pixels a side."""
    kinds = list(_KINDS)
    shares = np.array([_KINDS[kind] for kind in kinds])
    made = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))](rng).convert("RGB")
    if rng.random() < 0.2:
        made = ImageOps.invert(made)
    if rng.random() < 0.2:
        made = made.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.5)))
    return made


def photograph(rng: Generator) -> Image.Image:
    """A crop of a photograph, turned, mirrored and in another light."""
    photographs = _photographs()
    whole = photographs[int(rng.integers(len(photographs)))]
    side = int(min(whole.size) * rng.uniform(0.08, 1) ** 1.5) + 16
    wide, tall = (min(int(side * rng.uniform(0.7, 1.4)), limit) for limit in whole.size)
    left, top = (
        int(rng.integers(whole.width - wide + 1)),
        int(rng.integers(whole.height - tall + 1)),
    )
    crop = whole.crop((left, top, left + wide, top + tall))
    crop = crop.resize(_size(rng, 60, 320), Image.Resampling.BILINEAR)
    crop = crop.transpose(Image.Transpose(int(rng.integers(0, 7))))
    if rng.random() < 0.3:
        crop = ImageOps.solarize(crop, int(rng.integers(64, 255)))
    crop = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.4, 1.6))
    crop = ImageEnhance.Contrast(crop).enhance(rng.uniform(0.4, 2.0))
    return ImageEnhance.Color(crop).enhance(rng.uniform(0, 2))


def leaves(rng: Generator) -> Image.Image:
    """Ellipses, polygons and bars of all sizes, each covering those before it."""
    width, height = size = _size(rng, 60, 320)
    scene = clouds(rng).resize(size) if rng.random() < 0.5 else Image.new("RGB", size, _color(rng))
    pen = ImageDraw.Draw(scene)
    palette = [_color(rng) for _ in range(int(rng.integers(2, 9)))]
    for _ in range(int(10 ** rng.uniform(0.3, 2.3))):
        # Sizes follow an inverse cube, as objects in photographs do.
        reach = min(0.03 * rng.uniform(0.001, 1) ** -0.5, 0.7) * max(size)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        fill = palette[int(rng.integers(len(palette)))]
        if rng.random() < 0.5:
            across, down = reach * rng.uniform(0.3, 1, 2)
            pen.ellipse((x - across, y - down, x + across, y + down), fill=fill)
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = np.stack((x + reach * np.cos(turns), y + reach * np.sin(turns)), axis=1)
            pen.polygon([(float(a), float(b)) for a, b in corners], fill=fill)
    if rng.random() < 0.5:
        grain = rng.normal(0, rng.uniform(2, 25), (height, width, 3))
        scene = _image(np.asarray(scene) + grain)
    return scene


def clouds(rng: Generator) -> Image.Image:
    """Noise whose power falls with the frequency: clouds, marble, rough walls."""
    width, height = _size(rng, 40, 256)
    fall = rng.uniform(0.4, 2.2)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    shape = (3 if rng.random() < 0.6 else 1, *frequency.shape)
    spectrum = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    waves = np.fft.irfft2(spectrum / frequency**fall, s=(height, width))
    waves *= rng.uniform(10, 80) / waves.std()
    values: Levels = waves.transpose(1, 2, 0) + rng.uniform(60, 200)
    if rng.random() < 0.2:  # two tones: islands and coasts
        values = 255.0 * (values > np.median(values))
    return _image(np.broadcast_to(values, (height, width, 3)))


def noise(rng: Generator) -> Image.Image:
    """Independent pixels, grey or colored, even or normal, of any grain."""
    width, height = _size(rng, 20, 256)
    shape = (height, width, 3 if rng.random() < 0.5 else 1)
    values: Levels
    if rng.random() < 0.5:
        values = rng.normal(rng.uniform(40, 215), rng.uniform(3, 90), shape)
    elif rng.random() < 0.5:
        values = rng.integers(0, 256, shape).astype(np.float64)
    else:
        values = 255.0 * (rng.random(shape) < rng.uniform(0.001, 0.5))
    grain = Image.fromarray(
        np.clip(np.broadcast_to(values, (height, width, 3)), 0, 255).astype("u1")
    )
    if rng.random() < 0.3:
        zoom = int(rng.integers(2, 8))
        grain = grain.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    return grain


def text(rng: Generator) -> Image.Image:
    """Lines of print: words, letters and numbers of several figures."""
    font = _font(rng, 10, 40)
    lines = [
        " ".join(_word(rng) for _ in range(int(rng.integers(1, 8))))
        for _ in range(int(rng.integers(1, 9)))
    ]
    return _printed("\n".join(lines), font, rng)


def letter(rng: Generator) -> Image.Image:
    """One letter or sign that is no digit."""
    return _printed(LETTERS[int(rng.integers(len(LETTERS)))], _font(rng, 20, 120), rng)


def drawing(rng: Generator) -> Image.Image:
    """Strokes that make no digit: scribbles, stars, hatching, boxes, faces, arrows."""
    side = int(rng.integers(60, 260))
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    width = int(rng.integers(1, max(3, side // 12)))
    kind = int(rng.integers(0, 5))
    if kind == 0:  # one long scribble
        way = np.cumsum(rng.normal(0, side / 6, (int(rng.integers(14, 60)), 2)), axis=0)
        _stroke(pen, side * (0.1 + 0.8 * _unit(way)), width)
    elif kind == 1:  # several strokes, anywhere
        for _ in range(int(rng.integers(4, 14))):
            _stroke(pen, rng.uniform(0.05, 0.95, (int(rng.integers(2, 5)), 2)) * side, width)
    elif kind == 2:  # a star of lines through the middle
        for turn in np.arange(int(rng.integers(2, 7))) + rng.uniform(0, 1):
            reach = side * rng.uniform(0.25, 0.45) * np.array([np.cos(turn), np.sin(turn)])
            _stroke(pen, np.stack((side / 2 - reach, side / 2 + reach)), width)
    elif kind == 3:  # a face
        pen.ellipse(_inside(side, 0.1), outline="black", width=width)
        for x in (0.35, 0.65):
            pen.ellipse(_around(side * x, side * 0.4, side * rng.uniform(0.05, 0.09)), fill="black")
        pen.arc(_inside(side, 0.28), rng.uniform(0, 40), rng.uniform(120, 180), "black", width)
    else:  # nested or crossed boxes
        for _ in range(int(rng.integers(2, 6))):
            x, y = np.sort(rng.uniform(0.05, 0.95, (2, 2)) * side, axis=1)
            pen.rectangle((x[0], y[0], x[1], y[1]), outline="black", width=width)
    return page


def block(rng: Generator) -> Image.Image:
    """A filled shape, a shadow or nothing at all on plain paper."""
    size = _size(rng, 20, 200)
    page = Image.new("RGB", size, _color(rng))
    pen = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(-0.1, 0.6, 2) * size
        across = rng.uniform(0.2, 0.8) * min(size)
        down = across * rng.uniform(0.5, 1.5)  # a thin upright bar is a 1
        shape = pen.rectangle if rng.random() < 0.6 else pen.ellipse
        shape((left, top, left + across, top + down), fill=_color(rng))
    if rng.random() < 0.5:
        slope = np.linspace(0, rng.uniform(-120, 120), size[0])[None, :, None]
        page = _image(np.asarray(page) + slope)
    return page


def specks(rng: Generator) -> Image.Image:
    """A few dots on white paper."""
    side = int(rng.integers(20, 120))
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    for x, y in rng.uniform(0, side, (int(rng.integers(1, 40)), 2)):
        pen.ellipse(_around(x, y, rng.uniform(0.3, 0.04 * side)), fill="black")
    return page


# How often each kind is drawn: most often what is sent most often, and what is hardest to tell.
_KINDS: dict[Callable[[Generator], Image.Image], float] = {
    photograph: 30,
    leaves: 24,
    clouds: 10,
    noise: 10,
    text: 10,
    letter: 4,
    drawing: 8,
    block: 6,
    specks: 3,
}


@cache
def _photographs() -> tuple[Image.Image, ...]:
    hopper = get_sample_data("grace_hopper.jpg", asfileobj=False)
    china, flower = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    return china, flower, Image.open(hopper).convert("RGB")


@cache
def _face(family: str, weight: str) -> str:
    return str(findfont(FontProperties(family=family, weight=weight)))


def _font(rng: Generator, smallest: int, largest: int) -> ImageFont.FreeTypeFont:
    family = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")[int(rng.integers(3))]
    weight = "bold" if rng.random() < 0.3 else "normal"
    return ImageFont.truetype(_face(family, weight), int(rng.integers(smallest, largest)))


def _word(rng: Generator) -> str:
    letters = string.ascii_letters if rng.random() < 0.85 else string.digits
    return "".join(rng.choice(list(letters), int(rng.integers(2, 11))))


def _printed(words: str, font: ImageFont.FreeTypeFont, rng: Generator) -> Image.Image:
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
        (0, 0), words, font
    )
    margin = int(rng.integers(1, 30))
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).multiline_text((margin - left, margin - top), words, "black", font)
    return page


def _stroke(pen: ImageDraw.ImageDraw, points: NDArray[np.float64], width: int) -> None:
    pen.line([(float(x), float(y)) for x, y in points], "black", width, joint="curve")


def _unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: NDArray[np.float64] = (points - low) / (high - low)
    return scaled


def _around(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _inside(side: int, margin: float) -> tuple[float, float, float, float]:
    return side * margin, side * margin, side * (1 - margin), side * (1 - margin)


def _size(rng: Generator, smallest: int, largest: int) -> tuple[int, int]:
    width, height = rng.integers(smallest, largest, 2)
    return int(width), int(height)


def _color(rng: Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)


def _image(values: Levels) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
