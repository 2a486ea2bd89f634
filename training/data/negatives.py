"""Negative training examples: images without a digit.

They represent what users upload by mistake: photographs (crops of three that scikit-learn and
matplotlib include, and dead-leaves scenes, whose statistics match those of photographs; Lee,
Mumford, Huang 2001), textures, text, letters, drawings, noise and blank images.
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

Brightness = NDArray[np.floating]  # 0-255

# Letters that do not resemble a digit, even slanted or poorly written.
LETTERS = "EFHKMNTVWXanmvwxÄÖÜΔΛΞΠΣΨΩЖЙЩЮ&%§€@#"


def draw_negative(rng: Generator) -> Image.Image:
    """Return a random image without a digit: mode RGB, 20 to 400 pixels per side."""
    return finish(choose_kind(rng)(rng), rng)


def choose_kind(rng: Generator) -> Callable[[Generator], Image.Image]:
    """Return one of the functions that draw images without a digit."""
    kinds = list(_KINDS)
    shares = np.array([_KINDS[kind] for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def finish(image: Image.Image, rng: Generator) -> Image.Image:
    """Return the image in mode RGB, some of them inverted or blurred."""
    image = image.convert("RGB")
    if rng.random() < 0.2:
        image = ImageOps.invert(image)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.5)))
    return image


def crop_photograph(rng: Generator) -> Image.Image:
    """Return a crop of a photograph, rotated, mirrored, and changed in brightness and color."""
    photographs = _load_photographs()
    whole = photographs[int(rng.integers(len(photographs)))]
    side = int(min(whole.size) * rng.uniform(0.08, 1) ** 1.5) + 16
    width, height = (min(int(side * rng.uniform(0.7, 1.4)), limit) for limit in whole.size)
    left = int(rng.integers(whole.width - width + 1))
    top = int(rng.integers(whole.height - height + 1))
    crop = whole.crop((left, top, left + width, top + height))
    crop = crop.resize(_random_size(rng, 60, 320), Image.Resampling.BILINEAR)
    crop = crop.transpose(Image.Transpose(int(rng.integers(0, 7))))
    if rng.random() < 0.3:
        crop = ImageOps.solarize(crop, int(rng.integers(64, 255)))
    crop = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.4, 1.6))
    crop = ImageEnhance.Contrast(crop).enhance(rng.uniform(0.4, 2.0))
    return ImageEnhance.Color(crop).enhance(rng.uniform(0, 2))


def draw_dead_leaves(rng: Generator) -> Image.Image:
    """Return overlapping ellipses and polygons of all sizes (the dead-leaves model)."""
    width, height = size = _random_size(rng, 60, 320)
    has_clouds = rng.random() < 0.5
    scene = draw_clouds(rng).resize(size) if has_clouds else _plain_page(size, rng)
    pen = ImageDraw.Draw(scene)
    palette = [random_color(rng) for _ in range(int(rng.integers(2, 9)))]
    for _ in range(int(10 ** rng.uniform(0.3, 2.3))):
        # Sizes follow an inverse cube law, like objects in photographs.
        reach = min(0.03 * rng.uniform(0.001, 1) ** -0.5, 0.7) * max(size)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        fill = palette[int(rng.integers(len(palette)))]
        if rng.random() < 0.5:
            radius_x, radius_y = reach * rng.uniform(0.3, 1, 2)
            pen.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=fill)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = np.stack((x + reach * np.cos(angles), y + reach * np.sin(angles)), axis=1)
            pen.polygon([(float(a), float(b)) for a, b in corners], fill=fill)
    if rng.random() < 0.5:
        grain = rng.normal(0, rng.uniform(2, 25), (height, width, 3))
        scene = _to_image(np.asarray(scene) + grain)
    return scene


def draw_clouds(rng: Generator) -> Image.Image:
    """Return noise whose power falls with frequency; it resembles clouds, marble, rough walls."""
    width, height = _random_size(rng, 40, 256)
    exponent = rng.uniform(0.4, 2.2)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    shape = (3 if rng.random() < 0.6 else 1, *frequency.shape)
    spectrum = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    waves = np.fft.irfft2(spectrum / frequency**exponent, s=(height, width))
    waves *= rng.uniform(10, 80) / waves.std()
    values: Brightness = waves.transpose(1, 2, 0) + rng.uniform(60, 200)
    if rng.random() < 0.2:  # two tones
        values = 255.0 * (values > np.median(values))
    return _to_image(np.broadcast_to(values, (height, width, 3)))


def draw_noise(rng: Generator) -> Image.Image:
    """Return independent random pixels: gray or color, uniform or normal, of any grain size."""
    width, height = _random_size(rng, 20, 256)
    shape = (height, width, 3 if rng.random() < 0.5 else 1)
    values: Brightness
    if rng.random() < 0.5:
        values = rng.normal(rng.uniform(40, 215), rng.uniform(3, 90), shape)
    elif rng.random() < 0.5:
        values = rng.integers(0, 256, shape).astype(np.float64)
    else:
        values = 255.0 * (rng.random(shape) < rng.uniform(0.001, 0.5))
    grain = _to_image(np.broadcast_to(values, (height, width, 3)))
    if rng.random() < 0.3:
        zoom = int(rng.integers(2, 8))
        grain = grain.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    return grain


def print_text(rng: Generator) -> Image.Image:
    """Return printed lines of words, letters and numbers of several digits."""
    font = random_font(rng, 10, 40)
    lines = [
        " ".join(random_word(rng) for _ in range(int(rng.integers(1, 8))))
        for _ in range(int(rng.integers(1, 9)))
    ]
    return _print("\n".join(lines), font, rng)


def print_letter(rng: Generator) -> Image.Image:
    """Return one printed letter or symbol."""
    return _print(LETTERS[int(rng.integers(len(LETTERS)))], random_font(rng, 20, 120), rng)


def draw_strokes(rng: Generator) -> Image.Image:
    """Return strokes that form no digit: scribbles, stars, hatching, boxes, faces."""
    side = int(rng.integers(60, 260))
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    width = int(rng.integers(1, max(3, side // 12)))
    kind = int(rng.integers(0, 5))
    if kind == 0:  # one long scribble
        path = np.cumsum(rng.normal(0, side / 6, (int(rng.integers(14, 60)), 2)), axis=0)
        _draw_stroke(pen, side * (0.1 + 0.8 * _scale_to_unit(path)), width)
    elif kind == 1:  # several strokes
        for _ in range(int(rng.integers(4, 14))):
            _draw_stroke(pen, rng.uniform(0.05, 0.95, (int(rng.integers(2, 5)), 2)) * side, width)
    elif kind == 2:  # a star of lines through the center
        for angle in np.arange(int(rng.integers(2, 7))) + rng.uniform(0, 1):
            reach = side * rng.uniform(0.25, 0.45) * np.array([np.cos(angle), np.sin(angle)])
            _draw_stroke(pen, np.stack((side / 2 - reach, side / 2 + reach)), width)
    elif kind == 3:  # a face
        pen.ellipse(_inset_box(side, 0.1), outline="black", width=width)
        for x in (0.35, 0.65):
            eye = _circle_box(side * x, side * 0.4, side * rng.uniform(0.05, 0.09))
            pen.ellipse(eye, fill="black")
        pen.arc(_inset_box(side, 0.28), rng.uniform(0, 40), rng.uniform(120, 180), "black", width)
    else:  # nested or crossed boxes
        for _ in range(int(rng.integers(2, 6))):
            x, y = np.sort(rng.uniform(0.05, 0.95, (2, 2)) * side, axis=1)
            pen.rectangle((x[0], y[0], x[1], y[1]), outline="black", width=width)
    return page


def draw_shapes(rng: Generator) -> Image.Image:
    """Return up to three filled shapes, or none, on a plain or shaded page."""
    size = _random_size(rng, 20, 200)
    page = _plain_page(size, rng)
    pen = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(-0.1, 0.6, 2) * size
        width = rng.uniform(0.2, 0.8) * min(size)
        height = width * rng.uniform(0.5, 1.5)  # a thin upright bar would be a 1
        shape = pen.rectangle if rng.random() < 0.6 else pen.ellipse
        shape((left, top, left + width, top + height), fill=random_color(rng))
    if rng.random() < 0.5:
        slope = np.linspace(0, rng.uniform(-120, 120), size[0])[None, :, None]
        page = _to_image(np.asarray(page) + slope)
    return page


def draw_specks(rng: Generator) -> Image.Image:
    """Return dots on white paper."""
    side = int(rng.integers(20, 120))
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    for x, y in rng.uniform(0, side, (int(rng.integers(1, 40)), 2)):
        pen.ellipse(_circle_box(x, y, rng.uniform(0.3, 0.04 * side)), fill="black")
    return page


# Relative frequency of each kind. Common uploads and hard negatives are the most frequent.
_KINDS: dict[Callable[[Generator], Image.Image], float] = {
    crop_photograph: 30,
    draw_dead_leaves: 24,
    draw_clouds: 10,
    draw_noise: 10,
    print_text: 10,
    print_letter: 4,
    draw_strokes: 8,
    draw_shapes: 6,
    draw_specks: 3,
}

# Images with strokes that resemble those of a digit.
WITH_STROKES = (print_text, print_letter, draw_strokes, draw_shapes, draw_specks)


@cache
def _load_photographs() -> tuple[Image.Image, ...]:
    hopper = get_sample_data("grace_hopper.jpg", asfileobj=False)
    china, flower = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    return china, flower, Image.open(hopper).convert("RGB")


@cache
def _font_file(family: str, weight: str) -> str:
    return str(findfont(FontProperties(family=family, weight=weight)))


def random_font(rng: Generator, smallest: int, largest: int) -> ImageFont.FreeTypeFont:
    family = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")[int(rng.integers(3))]
    weight = "bold" if rng.random() < 0.3 else "normal"
    return ImageFont.truetype(_font_file(family, weight), int(rng.integers(smallest, largest)))


def random_word(rng: Generator) -> str:
    letters = string.ascii_letters if rng.random() < 0.85 else string.digits
    return "".join(rng.choice(list(letters), int(rng.integers(2, 11))))


def _print(text: str, font: ImageFont.FreeTypeFont, rng: Generator) -> Image.Image:
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font)
    margin = int(rng.integers(1, 30))
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).multiline_text((margin - left, margin - top), text, "black", font)
    return page


def _draw_stroke(pen: ImageDraw.ImageDraw, points: NDArray[np.float64], width: int) -> None:
    pen.line([(float(x), float(y)) for x, y in points], "black", width, joint="curve")


def _scale_to_unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    scaled: NDArray[np.float64] = (points - low) / (high - low)
    return scaled


def _circle_box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _inset_box(side: int, margin: float) -> tuple[float, float, float, float]:
    return side * margin, side * margin, side * (1 - margin), side * (1 - margin)


def _random_size(rng: Generator, smallest: int, largest: int) -> tuple[int, int]:
    width, height = rng.integers(smallest, largest, 2)
    return int(width), int(height)


def _plain_page(size: tuple[int, int], rng: Generator) -> Image.Image:
    return Image.new("RGB", size, random_color(rng))


def random_color(rng: Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)


def _to_image(values: Brightness) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
