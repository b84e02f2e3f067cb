"""What makes a selfie a photo: the room out of focus, and light on a round head with a nose,
casting soft shadows."""

from functools import lru_cache
from math import sqrt

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ganlib.faces.sketch import (
    BLACK,
    STRAND,
    Sketch,
    bend,
    curve,
    hairline,
    mirror,
    mix,
    oval,
    ramp,
    stroke,
    tint,
)

# From warm to cold backgrounds
ROOM = (126, 84, 52), (112, 98, 84), (108, 104, 100), (58, 84, 124)
ASPECT = 0.91  # how slim heads are, next to those of anime
RELIEF = 64  # pixels a side of the maps of height and light, whatever the picture's size
NEUTRAL = 160  # value of a map of light that leaves a colour as it is


def draw_background(face, size, rng):
    """Out-of-focus surroundings: float32 (size, size, 3) in 0 .. 255."""
    hue, shade, contrast, kind = [
        face["background" + part] for part in ("_hue", "_shade", "_contrast", "")
    ]
    base = ramp((BLACK, ramp(ROOM, hue), (236, 234, 228)), 0.1 + 0.9 * shade)
    tile = Image.new("RGB", (64, 64), base)
    pen = ImageDraw.Draw(tile)
    tones = [
        mix(
            base,
            tint(
                a,
                0.05 + 0.4 * b * b,
                min(max(0.1 + 0.7 * shade + (c - 0.5) * 0.9 * contrast, 0.02), 0.95),
            ),
            0.85,
        )
        for a, b, c in rng.random((6, 3)).tolist()
    ]
    spots = rng.integers(0, 64, (26, 4)).tolist()
    if kind == "window":
        pen.rectangle((spots[0][0] - 12, 0, spots[0][0] + 12, 44), (220, 226, 230))
    if kind == "outdoor":
        pen.rectangle((0, 0, 64, spots[0][1] // 2), tint(0.58, 0.35, 0.55 + 0.3 * shade))
        tones = [
            tint(0.2 + 0.12 * t, 0.3, 0.08 + 0.3 * shade + 0.15 * t)
            for t in (0.1, 0.4, 0.7, 0.9, 0.5, 0.2)
        ]
    round_ones = kind in ("blobs", "outdoor")
    for i, (a, b, c, d) in enumerate(spots[: 5 if kind in ("plain", "window") else 26]):
        small = 2 if i < 14 else 4  # first the large shapes, then what lies on them
        box, r = (
            (a - (8 + c // 2) // small, b - 40 // small, a + 16 // small, b + 80 // small),
            (8 + c // 3) // small,
        )
        if kind == "shelf":
            box = (a, b // 20 * 20, a + 3 + c // 8, b // 20 * 20 + 18)
        elif round_ones:
            box = (a - r, b - r, a + r, b + r)
        (pen.ellipse if round_ones else pen.rectangle)(box, tones[d % 6])
    tile = tile.filter(ImageFilter.GaussianBlur(0.4 + 1.4 * (1 - face["focus"])))
    return np.asarray(tile.resize((size, size), Image.Resampling.BICUBIC), np.float32)


@lru_cache(maxsize=1)
def pixel_centres():
    """x and y of the relief's pixels: float32 (RELIEF, RELIEF) each."""
    at = np.arange(RELIEF, dtype=np.float32) + np.float32(0.5)
    return np.broadcast_to(at, (RELIEF, RELIEF)), np.broadcast_to(at[:, None], (RELIEF, RELIEF))


def draw_relief(face):
    """Slopes along x and y of what stands out of the round head: nose, brows, cheeks, lips,
    chin."""
    ink, nose = Sketch(face, RELIEF, "L", 100, ASPECT), 0.85 + 0.3 * face["nose_width"]
    ink.pair(oval(0.4, 0.2, 0.19, 0.15), 124)
    ink.pair(oval(0.3, -0.22, 0.24, 0.07), 124)
    ink.pair(oval(0.3, -0.05, 0.19, 0.09), 74)
    ink.fill(mirror(np.array([(0.03, -0.2), (0.06, 0.05), (0.12 * nose, 0.3)])), 150)
    ink.fill(oval(0, 0.31, 0.12 * nose, 0.09), 190, 0.86)
    ink.fill(oval(0, 0.59, 0.22, 0.09), 128)
    ink.fill(oval(0, 0.73, 0.13, 0.03), 82)
    ink.fill(oval(0, 0.88, 0.15, 0.09), 128)
    soft = np.asarray(ink.image.filter(ImageFilter.GaussianBlur(0.05 * ink.unit)), np.int16)
    slope_x, slope_y = np.zeros_like(soft), np.zeros_like(soft)
    slope_x[:, 1:-1], slope_y[1:-1] = soft[:, 2:] - soft[:, :-2], soft[2:] - soft[:-2]
    return slope_x.astype(np.float32), slope_y.astype(np.float32)


def draw_glaze(face, outline):
    """What tints or darkens the colours with soft edges: uint8 (RELIEF, RELIEF, 3), 200 leaves
    them as they are."""

    def tone(strength, r=100, g=78, b=72):
        return mix((200, 200, 200), (r, g, b), strength)

    ink, age, red = (
        Sketch(face, RELIEF, "RGB", (200, 200, 200), ASPECT),
        face["age"],
        0.25 + 0.5 * face["skin_red"],
    )
    ink.fill(mirror([(0.5, 0.8), (0.48, 1.1), (0.1, 1.4)]), tone(0.6, 90, 70, 62), 0)
    ink.fill(curve(mirror(outline * 0.97)), tone(0), 0.3)
    x = np.arange(9) / 6 - 0.667
    if face["hair_length"] > 0.08:
        lower = np.stack([x, hairline(face, x, face["receding"]) + 0.12], 1)
        ink.fill(np.concatenate([lower, [(0.7, -1), (-0.7, -1)]]), tone(0.5), 0.3)
    beard = np.array(
        [
            (0.66, 0.15),
            (0.6, 0.52),
            (0.4, 0.84),
            (0.12, 1.02),
            (0, 1.02),
            (0, 0.72),
            (0.2, 0.74),
            (0.32, 0.6),
            (0.42, 0.42),
        ]
    )
    ink.pair(beard, tone(0.15 * (1 - face["lip_red"]) + 0.9 * face["beard"], 50, 46, 48), 0.2)
    ink.pair(oval(0.42, 0.26, 0.17, 0.14), tone(red * 0.5, 210, 150, 140))
    ink.pair(oval(0.35, -0.09, 0.21, 0.11), tone(0.6))
    ink.pair(oval(0.17, -0.07, 0.07, 0.09), tone(0.6))
    ink.pair(oval(0.31, 0.09, 0.15, 0.04), tone(0.15 + 0.45 * age))
    ink.fill(oval(0, 0.31, 0.1, 0.08), tone(red * 0.5, 210, 150, 140), 0.86)
    ink.fill(oval(0, 0.42, 0.17, 0.045), tone(0.6), 0.85)
    ink.fill(oval(0, 0.73, 0.15, 0.035), tone(0.4))
    fold = bend((0.16, 0.36), (0.32, 0.44), (0.36 + 0.04 * face["smile"], 0.68))
    ink.pair(stroke(fold, 0.035 * STRAND), tone(min(0.25 + 0.5 * age + 0.2 * face["smile"], 1)))
    return np.asarray(ink.image.filter(ImageFilter.GaussianBlur(0.035 * ink.unit)), np.float32)


def draw_light(face, size, outline, rng):
    """How strongly each pixel of head and body is lit: float32 (size, size, 3), 1 is the flat
    colour."""
    ink, (slope_x, slope_y) = Sketch(face, RELIEF, "L", 0, ASPECT), draw_relief(face)
    x, y = ink.locate(*pixel_centres())
    x, y = (
        (x + 0.25 * ink.turn_sin) / np.float32(0.86),
        (y + 0.1 + 0.25 * ink.nod) / np.float32(1.3),
    )
    z = np.sqrt(np.maximum(1 - x * x - y * y, np.float32(0.06)))
    x, y = x - slope_x * np.float32(0.016), y - slope_y * np.float32(0.016)
    length = np.sqrt(x * x + y * y + z * z)
    lx, ly, lz = 0.9 * face["light_x"], face["light_y"], 0.85
    norm = sqrt(lx * lx + ly * ly + lz * lz)
    lit = np.maximum((x * lx + y * ly + z * lz) / (length * norm), 0)
    half = sqrt(2 + 2 * lz / norm)
    shine = np.maximum((x * lx / norm + y * ly / norm + z * (lz / norm + 1)) / (length * half), 0)
    for _ in range(4):
        shine = shine * shine
    key = face["light_strength"]
    flat = 1.1 - 0.75 * key + 0.88 * key * lit
    light = flat[..., None] * draw_glaze(face, outline) * np.float32(NEUTRAL / 200)
    light += (1 - flat[..., None]) * np.array([16, 0, -6], np.float32) + 16 * face["gloss"] * shine[
        ..., None
    ]
    spots = rng.integers(0, 256, (RELIEF + 1, RELIEF + 1), np.uint8).astype(np.float32) - 128
    spots = spots[1:, 1:] + spots[:-1, 1:] + spots[1:, :-1] + spots[:-1, :-1]
    light *= (1 + np.float32(0.0002 * face["skin_texture"]) * spots)[..., None]
    light = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    gain = (
        (1.08 + 0.16 * face["exposure"])
        / NEUTRAL
        * (1 + face["warmth"] * np.array([0.08, 0, -0.12]))
    )
    return np.asarray(light, np.float32) * gain.astype(np.float32)
