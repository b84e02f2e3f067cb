"""The anime painter: cel-shaded faces with flat colours, outlines, tall eyes and clumped hair."""

import numpy as np

from ganlib.faces.sketch import (BLACK, PAIR, WHITE, Sketch, curve, draw_body, draw_brows, draw_eyes, draw_glasses,
                                 hair_cap, hairline, leaf, mirror, mix, mouth_shape, oval, ramp, tint)

SKIN = (255, 242, 232), (255, 228, 208), (246, 208, 178), (216, 164, 124), (168, 112, 80)
HAIR = {"pink": (0.94, 0.75), "red": (0.985, 0.62), "orange": (0.06, 0.7), "gold": (0.12, 0.72), "green": (0.38, 0.4),
        "teal": (0.5, 0.5), "blue": (0.61, 0.6), "violet": (0.74, 0.45), "ash": (0.66, 0.12)}    # hue, saturation
EYES = {"blue": (0.6, 0.75), "green": (0.38, 0.6), "red": (0.98, 0.7), "amber": (0.1, 0.75), "violet": (0.76, 0.6),
        "teal": (0.5, 0.7), "brown": (0.05, 0.45)}    # hue, saturation
IRIS = ((0, 0, 0.155, 0.24, 0.16), (0, 0.02, 0.135, 0.21, 0.34), (0, 0.08, 0.115, 0.14, 0.52),
        (0, 0.13, 0.085, 0.075, 0.72), (0, 0, 0.06, 0.1, 0.08))    # dx, dy, rx, ry, lightness
HEAD = np.array([(0, -1), (0.5, -0.9), (0.78, -0.4), (0.79, 0.15), (0.7, 0.5), (0.42, 0.82), (0.14, 0.99),
                 (0.02, 1.02)])    # the right half of the outline


def zigzag(face, rng):
    """The fringe from right to left: outline (4n + 1, 2) and valleys (n + 1, 2)."""
    n = int(rng.integers(5, 9))
    x = np.linspace(0.86, -0.86, n + 1)
    x[1:-1] += 0.05 * rng.standard_normal(n - 1)
    between, spiky = (x[1:] + x[:-1]) / 2, face["spikiness"]
    lean = 0.06 * rng.standard_normal(n) + (0 if face["fringe"] == "bangs" else 0.18 * np.sign(between - face["part"]))
    valley = np.stack([x, hairline(face, x) + 0.14 - 0.16 * spiky], 1)
    tip = np.stack([between + lean, hairline(face, between) + 0.26 + 0.2 * spiky * rng.random(n)], 1)
    down, up = (valley[:-1] + tip) / 2 + (0.03, 0.03), (tip + valley[1:]) / 2 + (-0.02, -0.02)
    return np.concatenate([valley[:1], np.stack([down, tip, up, valley[1:]], 1).reshape(-1, 2)]), valley


def draw_back_hair(ink, face, hair, edge, rng):
    """Hair behind the head: tails, spikes and the fall with its toothed end."""
    reach, spiky = face["hair_length"], face["spikiness"]
    wide, top, end = 0.88 + 0.14 * face["hair_volume"], -1.14 - 0.14 * face["hair_volume"], 0.3 + 1.7 * reach
    if face["tails"]:
        ink.pair(leaf((0.7, -0.62), (1.25, 0.4 + reach), 0.3, -0.25), hair, 0, edge)
    if spiky > 0.4:
        for y in np.linspace(-0.35, min(end, 1.1) - 0.35, 3):
            ink.pair(leaf((wide - 0.25, y - 0.2), (wide + 0.12 + 0.25 * spiky, y + 0.4), 0.2, -0.1), hair, 0, edge)
    half = [(0, top), (0.56, 0.92 * top), (wide, -0.5), (wide + 0.06, 0), (wide + 0.15 * reach, end)]
    x = np.linspace(wide, 0, 11)[1:]
    teeth = np.stack([x, end + 0.14 * (np.arange(10) % 2) + 0.15 * rng.random(10) * spiky - 0.1], 1)
    ink.fill(mirror(np.concatenate([curve(half, closed=False), teeth])), hair, 0, edge)


def draw_front_hair(ink, face, hair, edge, outline, valley):
    """Side locks, and the cap down to a fringe (see zigzag) with its partings and highlight."""
    light, top = mix(hair, WHITE, 0.6), -1.14 - 0.14 * face["hair_volume"]
    if face["hair_length"] > 0.25:
        ink.pair(leaf((0.8, -0.6), (0.84, 0.35 + 0.9 * face["hair_length"]), 0.13, -0.06), hair, 0.1, edge)
    hair_cap(ink, outline, 0.9 + 0.14 * face["hair_volume"], top, hair, 0.1, edge)
    for x, y in valley[1:-1]:
        ink.fill(leaf((x, y + 0.02), (0.6 * x, -0.85), 0.03, 0.06 * x), mix(hair, edge, 0.35), 0.1)
    x, up = np.linspace(-0.64, 0.64, 13), np.arange(13) % 2
    arc = top + 0.28 + 0.42 * x**2
    if face["highlight"] == "band":
        upper, lower = np.stack([x, arc - 0.04 * up], 1), np.stack([x, arc + 0.05 + 0.1 * up], 1)
        ink.fill(np.concatenate([upper, lower[::-1]]), light, 0.1)
    elif face["highlight"] == "streaks":
        for i in range(1, 12, 2):
            ink.fill(leaf((x[i], arc[i] - 0.06), (x[i] * 1.1, arc[i] + 0.22), 0.035), light, 0.1)


def draw_anime(face, size, rng):
    """Paint an anime face: uint8 (size, size, 3) RGB; see ganlib.faces.draw_face."""
    skin, hair = ramp(SKIN, face["skin_tone"]), tint(HAIR[face["hair_hue"]], 0.2 + 0.58 * face["hair_shade"])
    shadow, edge = mix(skin, (206, 110, 110), 0.32), mix(hair, (24, 12, 24), 0.72)
    cloth, ribbon = (tint((hue, 0.45), light) for hue, light in rng.uniform((0, 0.2), (1, 0.75), (2, 2)).tolist())
    fringe, valley = zigzag(face, rng)
    ink = Sketch(face, size)
    draw_back_hair(ink, face, mix(hair, edge, 0.25), edge, rng)
    draw_body(ink, 0.24, shadow, cloth, (252, 252, 252), edge)
    ink.pair(oval(0.8 * face["face_width"], 0.24, 0.09, 0.17), skin, -0.05, edge)
    half = HEAD * (face["face_width"], 1)
    head, cheek = curve(mirror(half)), curve(half[3:], closed=False)
    ink.fill(head, skin, 0.1)
    ink.fill(np.concatenate([[(-0.7, -0.6), (0.7, -0.6)], fringe * (0.86, 1) + (0, 0.1)]), shadow, 0.1)
    ink.fill(np.concatenate([cheek, cheek[::-1] * (0.86, 0.97)]), shadow, 0.1)
    ink.line(np.concatenate([head, head[:1]]), edge, 0.035, 0.1)
    ink.pair(oval(0.46, 0.57, 0.14, 0.06), mix(skin, (250, 120, 120), 0.5 * face["blush"]))
    ink.line([(0, 0.52), (0.025, 0.57)], mix(shadow, edge, 0.4), 0.03, 0.85)
    ink.fill(mouth_shape(face, 0.73, 0.11, 0.24, lip=0.01), (176, 52, 60), None, mix(edge, (120, 40, 40), 0.4), 0.025)
    if face["mouth_open"] > 0.3:
        ink.fill(oval(0, 0.7 + 0.22 * face["mouth_open"], 0.06, 0.05 * face["mouth_open"]), (240, 130, 130))
    tall = 0.02 + 0.25 * face["eye_open"]
    discs = [(*disc, tint(EYES[face["eye_colour"]], lightness)) for *disc, lightness in IRIS]
    discs += (-0.06, -0.1, 0.055, 0.07, WHITE), (0.07, 0.1, 0.03, 0.035, WHITE)
    draw_eyes(ink, face, 0.38, 0.25, 0.22, tall, 0.85 * tall, discs, WHITE, mix(edge, (16, 8, 16), 0.5), 0.07)
    draw_front_hair(ink, face, hair, edge, fringe, valley)
    draw_brows(ink, face, 0.2, -0.1, 0.38, 0.025, edge)
    if face["glasses"]:
        draw_glasses(ink, 0.27, 0.39, 0.29, 0.25, mix(ribbon, BLACK, 0.5))
    if face["ribbon"]:
        for side in PAIR:
            ink.fill(np.array([(0, -0.92), (0.26, -1.1), (0.26, -0.74)]) * side + (0.55, 0), ribbon, 0.1, edge)
    pale, dark, dusk = (tint((hue, 0.45), light) for hue, light in zip(rng.random(3), (0.87, 0.25, 0.5)))
    grounds = {"white": (WHITE, WHITE), "pale": (pale, pale), "gradient": (WHITE, pale), "deep": (dark, dusk)}
    top, bottom = np.array(grounds[face["backdrop"]], np.float32)
    t = (np.arange(size, dtype=np.float32)[:, None, None] + 0.5) / size    # (size, 1, 1): alike across the width
    return ink.over(top * (1 - t) + bottom * t).astype(np.uint8)
