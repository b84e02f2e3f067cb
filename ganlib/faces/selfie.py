"""The selfie painter: photo-like faces with soft light, natural colours and a busy background."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ganlib.faces.sketch import (BLACK, WHITE, Sketch, curve, draw_body, draw_brows, draw_eyes, draw_glasses, hair_cap,
                                 hairline, mirror, mix, mouth_shape, oval, ramp)

SKIN = (246, 212, 188), (234, 188, 158), (212, 160, 126), (176, 122, 90), (124, 82, 60), (88, 58, 44)
HAIR = (26, 21, 20), (50, 35, 28), (84, 56, 38), (124, 86, 56), (178, 136, 86), (222, 190, 136)
IRIS = (58, 36, 24), (84, 58, 38), (80, 104, 128), (86, 104, 76)
MUTED = ((36, 52, 98), (92, 40, 44), (190, 178, 158), (110, 116, 120), (64, 90, 62), (96, 74, 56), (30, 30, 36),
         (214, 210, 204), (120, 150, 186), (40, 76, 120), (150, 110, 80), (62, 64, 72))    # cloth, frames, rooms
HEAD = np.array([(0, -1), (0.42, -0.92), (0.66, -0.55), (0.7, -0.1), (0.68, 0.25), (0.53, 0.6), (0.29, 0.87),
                 (0.09, 1)])    # the right half of the outline
JAW = 0, 0, 0, 0, 0, 1, 1, 0    # how far a square jaw widens each point of the head


def draw_background(kind, grid, rng):
    """Out-of-focus surroundings at pixels grid (size, size, 2): float (size, size, 3) in 0 .. 255."""
    base, other = (MUTED[i] for i in rng.integers(len(MUTED), size=2))
    spots = (rng.random((22, 4)) * 48).astype(int).tolist()
    tile, left, mid = Image.new("RGB", (48, 48), base), spots[0][0], spots[1][0]
    pen, x = ImageDraw.Draw(tile), 0
    if kind in ("plain", "window"):
        pen.polygon([(0, 0), (left, 0), (mid, 48), (0, 48)], mix(base, other, 0.4))
    if kind == "window":
        pen.rectangle((mid, 4, mid + 8, 36), (222, 230, 238))
        pen.rectangle((mid + 11, 4, mid + 20, 36), (222, 230, 238))
    if kind == "outdoor":
        pen.rectangle((0, 0, 48, 22), (170, 200, 226))
    for a, b, c, d in spots:
        colour, r = mix(base, MUTED[d % len(MUTED)], 0.75), 2 + c // 8
        if kind == "bokeh":
            pen.ellipse((a - r, b - r, a + r, b + r), colour)
        elif kind == "outdoor":
            pen.ellipse((a - r, 18 + b // 2 - r, a + r, 22 + b // 2 + r), mix((48, 76, 40), (150, 160, 96), d / 48))
        elif kind == "shelf":
            pen.rectangle((x % 48, x // 48 * 14 + r, x % 48 + r, x // 48 * 14 + 12), colour)
            x += r + 2
    soft = tile.reduce(2 + left % 3).resize(grid.shape[:2], Image.Resampling.BICUBIC)
    slope = grid @ (rng.random(2, np.float32) - 0.5) / len(grid)
    return np.asarray(soft, np.float32) * (0.95 + slope[..., None])


def draw_light(face, grid, rng):
    """How strongly each pixel of grid (size, size, 2) is lit, (size, size, 1): 1 is the flat colour."""
    size, ink = len(grid), Sketch(face, len(grid), 1, "L", 128)
    away, dark = -1 if face["light_x"] > 0 else 1, int(122 - 40 * face["light_strength"])
    ink.fill(mirror([(0.5, 0.75), (0.46, 1.15), (0.1, 1.35)]), dark, 0)
    ink.pair(oval(0.3, -0.09, 0.2, 0.1), 108)
    ink.pair(np.array([(0.14, 0.3), (0.2, 0.32), (0.36, 0.52), (0.3, 0.54)]), 104)
    ink.pair(oval(0.4, 0.22, 0.15, 0.1), 144)
    ink.fill([(away * 0.06, -0.2), (away * 0.1, 0.1), (away * 0.2, 0.34), (away * 0.02, 0.36)], dark)
    ink.fill(oval(0, 0.4, 0.17, 0.045), dark - 12, 0.85)
    ink.fill(oval(-away * 0.04, 0.18, 0.06, 0.17), 164, 0.85)
    ink.fill(oval(0, 0.77, 0.16, 0.045), 108)
    ink.fill(oval(-away * 0.15, -0.4, 0.34, 0.13), 144)
    ink.fill(oval(-away * 0.25, -0.88, 0.4, 0.08), 158, 0)
    soft = np.asarray(ink.image.filter(ImageFilter.GaussianBlur(0.05 * ink.unit)), np.float32) / 128
    at = (grid - ink.origin.astype(np.float32)) @ np.linalg.inv(ink.axes).astype(np.float32)
    x, y = at[..., 0] - 0.2 * ink.sin, at[..., 1]
    slope = 0.45 * face["light_strength"] * (face["light_x"] * x + face["light_y"] * y)
    blotches = Image.fromarray(rng.standard_normal((size // 2, size // 2), np.float32)).resize((size, size))
    light = soft * np.clip(1.04 + slope - 0.25 * x * x - 0.08 * y * y, 0.4, 1.25)
    return (light * (1 + face["skin_texture"] * np.asarray(blotches)))[..., None]


def draw_hair(ink, face, hair, rng, front):
    """Hair behind the head or in front of it, with strands that run along its outline; none where it is cropped."""
    reach, volume = face["hair_length"], 0.12 * face["hair_volume"]
    if reach <= 0.05:
        return
    wide, top, depth, n = 0.74 + volume + 0.08 * reach, -1.03 - volume, *((0.12, 36) if front else (0, 20))
    tones = [mix(hair, (255, 236, 214) if s > 0 else BLACK, abs(s)) for s in (0.5 * rng.random(n) - 0.3).tolist()]
    if front:
        x = np.linspace(0.78, -0.78, 19)
        edge = np.stack([x, hairline(face, x) + 0.03 * rng.standard_normal(19)], 1)
        hair_cap(ink, edge, wide, top, hair, depth)
        x = (rng.random(n) * 2 - 1) * 0.78
        tips = np.stack([x, hairline(face, x) + 0.1 * (rng.random(n) - 0.6)], 1)
        roots = np.stack([face["part"] + 0.45 * (x - face["part"]), top + 0.06 + 0.1 * x**2], 1)
        middle = (roots + tips) / 2 + np.stack([0.25 * x, np.full(n, -0.1)], 1)
        t = np.linspace(0, 1, 6)[:, None, None]
        flows = ((1 - t) ** 2 * roots + 2 * t * (1 - t) * middle + t**2 * tips).transpose(1, 0, 2)    # (n, 6, 2)
    else:
        end = 0.05 + 1.9 * max(reach - 0.25, 0)
        half = np.array([(0, top), (0.46, 0.92 * top), (wide, -0.5), (wide + 0.02, -0.1),
                         (wide + 0.04 * reach, end / 2), (wide + 0.1 * reach, end), (0.3, end + 0.1)])
        ink.fill(curve(mirror(half)), mix(hair, BLACK, 0.25), depth)
        narrower = (0.72 + 0.3 * rng.random(n)) * np.tile([-1, 1], n // 2)
        flows = half[1:-1] * np.stack([narrower, np.ones(n)], 1)[:, None]    # (n, 5, 2)
    for flow, tone in zip(flows, tones):
        ink.line(flow, tone, 0.045, depth)


def draw_selfie(face, size, rng):
    """Paint a selfie: uint8 (size, size, 3) RGB; see ganlib.faces.draw_face."""
    skin, wide = ramp(SKIN, face["skin_tone"]), face["face_width"]
    hair = mix(ramp(HAIR, face["hair_shade"]), (60 + 150 * face["hair_shade"],) * 3, face["hair_grey"])
    cloth, iris, frame = MUTED[rng.integers(len(MUTED))], IRIS[rng.integers(4)], MUTED[rng.integers(6)]
    ink = Sketch(face, size)
    draw_hair(ink, face, hair, rng, front=False)
    draw_body(ink, 0.44, mix(skin, (90, 40, 30), 0.1), cloth, (232, 232, 236) if rng.random() < 0.5 else cloth)
    ink.pair(oval(0.73 * wide, 0.06, 0.09, 0.2), mix(skin, (150, 60, 50), 0.2), -0.05)
    head = (HEAD + np.outer(JAW, (0.09 * face["jaw"], 0))) * (wide, 1)
    ink.fill(curve(mirror(head)), skin, 0.12)
    if face["beard"] > 0:
        beard = np.concatenate([head[4:], [(0, 0.8), (0.25, 0.75), (0.3, 0.5), (0, 0.45), (0.3, 0.44), (0.52, 0.5)]])
        ink.pair(beard * 0.98, mix(skin, mix(hair, (60, 50, 46), 0.4), 0.7 * face["beard"]), 0.15)
    lips = mix(mix(skin, (130, 40, 40), 0.35), (190, 40, 60), 0.5 * face["lip_red"])
    ink.fill(mouth_shape(face, 0.6, 0.23, 0.18, lip=0.045), lips)
    ink.fill(mouth_shape(face, 0.6, 0.23, 0.18, k=0.85, lip=0.005), mix(lips, (40, 8, 10), 0.75))
    if face["mouth_open"] > 0.15:
        ink.fill(mouth_shape(face, 0.6, 0.23, 0.1, k=0.7), mix((244, 240, 232), skin, 0.1))
    ink.line([(-0.11, 0.36), (-0.05, 0.385), (0.05, 0.385), (0.11, 0.36)], mix(skin, (70, 25, 20), 0.5), 0.035, 0.85)
    opening = (0.165, 0.03 + 0.08 * face["eye_open"], 0.02 + 0.05 * face["eye_open"])
    discs = (0, 0, 0.085, 0.085, iris), (0, 0, 0.04, 0.04, (12, 9, 9)), (-0.03, -0.03, 0.025, 0.025, WHITE)
    draw_eyes(ink, face, 0.31, 0, *opening, discs, mix((246, 244, 240), skin, 0.1), mix(skin, (24, 12, 10), 0.8), 0.04)
    draw_brows(ink, face, 0.12, -0.2, 0.38, 0.045, mix(mix(hair, (40, 28, 22), 0.4), skin, 0.2))
    draw_hair(ink, face, hair, rng, front=True)
    if face["glasses"]:
        draw_glasses(ink, 0.02, 0.32, 0.22, 0.16, mix(frame, (20, 18, 18), 0.6))
    grid = np.stack(np.meshgrid(*2 * [np.arange(size, dtype=np.float32) + 0.5]), -1)    # x, y of the pixels' centres
    light = draw_light(face, grid, rng) * (1 + face["warmth"] * np.array([0.1, 0, -0.12], np.float32))
    picture = ink.over(draw_background(face["background"], grid, rng), light)
    return np.clip(picture + 3 * rng.standard_normal((size, size, 1), np.float32), 0, 255).astype(np.uint8)
