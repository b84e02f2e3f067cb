"""The anime painter: cel-shaded faces with thin outlines, tall glossy eyes and hair in pointed
locks."""

import numpy as np
from PIL import Image, ImageFilter

from ganlib.faces.sketch import (
    LID,
    LOCK,
    PAIR,
    STRAND,
    WHITE,
    Sketch,
    bend,
    curve,
    draw_body,
    draw_brows,
    draw_cap,
    draw_glasses,
    draw_iris,
    hair_top,
    hairline,
    lid,
    mirror,
    mix,
    mouth_shape,
    oval,
    ramp,
    stroke,
    through_jpeg,
    tint,
)

SKIN = (255, 241, 230), (254, 226, 206), (244, 204, 174), (214, 162, 124), (168, 112, 82)
HAIR = {
    "pink": (0.94, 0.62),
    "red": (0.985, 0.52),
    "brown": (0.06, 0.36),
    "gold": (0.115, 0.55),
    "green": (0.4, 0.32),
    # hue, saturation
    "teal": (0.5, 0.4),
    "blue": (0.62, 0.42),
    "violet": (0.73, 0.36),
    "ash": (0.66, 0.1),
}
EYES = {
    "blue": (0.6, 0.75),
    "green": (0.4, 0.6),
    "red": (0.97, 0.65),
    "amber": (0.1, 0.7),
    "violet": (0.76, 0.55),
    "teal": (0.5, 0.7),
    "brown": (0.04, 0.45),
}  # hue, saturation
SHEEN = np.array([0, 0.3, 0.9, 1, 0.5, 0.1, 0, 0])[:, None]  # half widths of the light on a lock
HEAD = np.array(
    [
        (0, -1),
        (0.5, -0.9),
        (0.73, -0.45),
        (0.73, 0.1),
        (0.66, 0.46),
        (0.4, 0.8),
        (0.13, 0.98),
        (0.02, 1.01),
    ]
)  # the right half of the outline


def hair_colours(face):
    """Hair, its shadow, its light and its outline."""
    hue, saturation = HAIR[face["hair_hue"]]
    shade = 0.2 + 0.58 * face["hair_shade"]
    hair = tint(hue, saturation, shade)
    return (
        hair,
        tint(hue, saturation, 0.6 * shade),
        tint(hue - 0.02, saturation, shade + 0.5 * (0.97 - shade)),
        tint(hue, 0.6 * saturation, 0.3 * shade),
    )


def anime_hair_top(face):
    """Hair in anime stands off the head."""
    top, wide = hair_top(face)
    return top - 0.1, wide + 0.08


def lock_shapes(face, rng):
    """The fringe as locks from the crown: roots, middles and tips (n, 2) each, from the sides
    inwards."""
    n, spiky, part = 9 + int(rng.integers(0, 3)), face["spikiness"], face["part"]
    x = (2 * np.arange(n) + 1) / n - 1
    x = 0.82 * np.where(np.arange(n) % 2, x, -x)  # both sides in turn
    x = x[np.argsort(-np.abs(x - part), kind="stable")] + 0.08 * (rng.random(n) - 0.5)
    top, _ = anime_hair_top(face)
    lean = 0.1 * (rng.random(n) - 0.5) + (0 if face["fringe"] == "bangs" else 0.16) * np.sign(
        x - part
    )
    tip = np.stack(
        [x + lean, hairline(face, x) + 0.28 + 0.22 * (rng.random(n) - 0.5) * (0.3 + spiky)], 1
    )
    root = np.stack([part + 0.45 * (x - part), top + 0.06 + 0.2 * x * x], 1)
    middle = np.stack([x * 1.12 + 0.12 * (x - part), (root[:, 1] + tip[:, 1]) / 2 - 0.12], 1)
    return root, middle, tip


def draw_locks(ink, shapes, width, colours, edge, rng, depth=0.1, outline=0.014):
    """Locks (root, middle, tip: (n, 2) each), outlined, each with a dark and a light strand on
    it."""
    (hair, shadow, light, line), n = colours, len(shapes[0])
    paths = bend(*shapes)
    jitter = (0.6 * rng.random((n, 2)) - 0.3)[..., None, None] * width * np.array([1.0, 0.3])
    for path, dark, lit in zip(paths, paths + jitter[:, 0], paths + jitter[:, 1]):
        ink.strokes(
            np.stack([path, path, dark, lit]),
            np.stack(
                [
                    (width + outline * edge) * LOCK,
                    width * LOCK - 0.004,
                    0.16 * width * STRAND,
                    0.36 * width * SHEEN,
                ]
            ),
            (mix(hair, line, 0.75), hair, mix(hair, shadow, 0.6), mix(hair, light, 0.5)),
            depth,
        )


def draw_back_hair(ink, face, colours, rng):
    """Hair behind the head: tails, and the fall of locks to its length."""
    (hair, shadow, _, line), reach, spiky = colours, face["hair_length"], face["spikiness"]
    top, wide = anime_hair_top(face)
    wide, end, edge = wide + 0.22, 0.3 + 1.9 * reach, 0.5 + face["outline"]
    dark = mix(hair, shadow, 0.6), shadow, hair, line
    if face["tails"]:
        for side in PAIR:
            shapes = [
                np.array([p, p]) * side for p in ((0.75, -0.7), (1.35, -0.5), (1.25, 0.6 + reach))
            ]
            draw_locks(ink, shapes, 0.24, colours, edge, rng, 0)
    half = [
        (0, top),
        (0.5 * wide, 0.96 * top),
        (0.9 * wide, 0.74 * top),
        (wide, -0.3),
        (wide + 0.02, 0.1),
        (0.8, 0.4),
    ]
    ink.fill(curve(mirror(half)), dark[0], 0, line, 0.02 * edge)
    n = 12
    side, out = np.tile([-1.0, 1.0], n // 2), np.repeat(1 - np.arange(n // 2) / 9, 2)
    tip = np.stack(
        [
            side * out * (wide + 0.1 * reach + 0.2 * spiky * rng.random(n)),
            end - (0.2 + 0.3 * spiky) * rng.random(n),
        ],
        1,
    )
    middle = np.stack([side * out * (wide + 0.16), np.full(n, -0.1) + 0.2 * reach], 1)
    draw_locks(
        ink,
        (np.stack([side * 0.5 * out, np.full(n, -0.8)], 1), middle, tip),
        0.17,
        dark,
        edge,
        rng,
        0,
    )


def draw_front_hair(ink, face, colours, shapes, rng):
    """The cap, the locks of the fringe and beside the face, and the highlight."""
    (hair, _, light, line), (top, wide), edge = colours, anime_hair_top(face), 0.5 + face["outline"]
    wide += 0.14
    x = 0.8 - 1.6 * np.arange(13) / 12
    draw_cap(
        ink,
        np.stack([x, hairline(face, x) + 0.02], 1),
        top,
        wide,
        0.0,
        hair,
        0.1,
        line,
        0.02 * edge,
    )
    reach = face["hair_length"]
    if reach > 0.15:
        for side in PAIR:
            ends = (
                np.array([(0.8, 0.15 + 0.9 * reach), (0.68, 0.0 + 0.8 * reach)])
                + 0.15 * rng.random((2, 2))
                - 0.07
            )
            draw_locks(
                ink,
                [
                    p * side
                    for p in (np.full((2, 2), (0.6, -0.75)), ends * (1.1, 0) + (0.08, -0.2), ends)
                ],
                0.1,
                colours,
                edge,
                rng,
            )
    draw_locks(ink, shapes, 0.18, colours, edge, rng)
    count = 15
    x, up = wide * (np.arange(count) / (count - 1) * 1.5 - 0.75), np.arange(count) % 2
    arc, glow = top + 0.3 + 0.4 * x * x, mix(light, WHITE, 0.45)
    if face["highlight"] == "band":
        upper, lower = (
            np.stack([x, arc - 0.03 * up], 1),
            np.stack([x, arc + 0.04 + 0.1 * up * rng.random(count)], 1),
        )
        ink.fill(np.concatenate([upper, lower[::-1]]), glow, 0.1)
    elif face["highlight"] == "streaks":
        x = x + 0.1 * (rng.random(count) - 0.5)
        root, tip = (
            np.stack([x * 0.9, arc - 0.16], 1),
            np.stack([x * 1.05, arc + 0.1 + 0.3 * rng.random(count)], 1),
        )
        ink.strokes(
            bend(root, (root + tip) / 2 * (1.04, 1), tip), 0.018 * STRAND, [glow] * count, 0.1
        )


def draw_eye(ink, face, side, dark):
    """One eye: white with the lid's shadow, an iris lit from below, catch lights and lashes."""
    centre, width, tall = np.array([side * 0.415, 0.13]), 0.22, 0.012 + 0.22 * face["eye_open"]
    opening, size = (width, tall, 0.012 + 0.18 * face["eye_open"]), 0.85 + 0.3 * face["iris_size"]
    upper, lower = [
        np.stack([LID * width, lid(face, LID, width, h)], 1) * (side, 1)
        for h in (-opening[1], opening[2])
    ]
    hue, saturation = EYES[face["eye_hue"]]
    tones = [tint(hue, saturation, lightness) for lightness in (0.1, 0.24, 0.42, 0.66)]
    ink.fill(np.concatenate([upper, lower[::-1]]) + centre, WHITE)
    ink.fill(np.concatenate([upper, upper[::-1] * (1, 0.6)]) + centre, (208, 204, 222))
    discs = (
        (0, 0, 0.15, 0.2, tones[0]),
        (0, 0.01, 0.132, 0.18, tones[1]),
        (0, 0.07, 0.12, 0.12, tones[2]),
        (0, 0.12, 0.085, 0.06, tones[3]),
        (0, -0.01, 0.06, 0.09, tones[0]),
        (-0.055, -0.085, 0.055, 0.06, WHITE),
        (0.06, 0.1, 0.028, 0.032, WHITE),
    )
    draw_iris(
        ink,
        face,
        centre,
        side,
        opening,
        [(dx, dy, rx * size, ry * size, colour) for dx, dy, rx, ry, colour in discs],
    )
    lash = 0.03 + 0.02 * face["lashes"]
    path = (
        np.concatenate([upper, [upper[-1] + (side * 0.05, 0.02 - 0.06 * face["lashes"])]])
        * (1.04, 1)
        + centre
    )
    ink.fill(
        stroke(
            path,
            lash
            * np.minimum(0.25 + np.arange(18) / 8, np.maximum(17 - np.arange(18), 0) / 3)[
                :, None
            ].clip(0, 1),
        ),
        dark,
    )
    ink.fill(stroke(lower[4:-1] + centre, 0.011), mix(dark, (200, 120, 110), 0.35))
    ink.fill(stroke(upper[3:-3] + centre - (0, 0.085), 0.007), mix(dark, (220, 150, 130), 0.5))


def draw_face_lines(ink, face, skin, shadow, edge, shapes):
    """Head with the cel shadows of fringe and jaw, blush, nose and mouth."""
    half = HEAD * (face["face_width"], 1)
    head, cheek = curve(mirror(half)), curve(half[3:], closed=False)
    ink.fill(head, skin, 0.25)
    soft = mix(skin, shadow, 0.35 + 0.65 * face["cel_shadow"])
    x = 0.75 - 1.5 * np.arange(13) / 12
    ink.fill(
        np.concatenate([[(-0.7, -0.8), (0.7, -0.8)], np.stack([x, hairline(face, x) + 0.14], 1)]),
        soft,
        0.1,
    )
    root, middle, tip = shapes
    ink.strokes(
        bend(root, middle, tip * (0.95, 1) + (0.03, 0.08)), 0.14 * LOCK, [soft] * len(tip), 0.1
    )
    ink.fill(np.concatenate([cheek, cheek[::-1] * (0.84, 0.97)]), soft, 0.25)
    ink.line(
        np.concatenate([head, head[:1]]),
        mix(skin, edge, 0.75),
        0.016 + 0.016 * face["outline"],
        0.25,
    )
    for k in (1, 0.75, 0.5):
        ink.pair(
            oval(0.42, 0.48, 0.16 * k, 0.09 * k),
            mix(skin, (250, 120, 124), 0.6 * face["blush"] * (1.25 - k)),
        )
    ink.fill(
        stroke(bend((0.02, 0.44), (0.05, 0.5), (-0.01, 0.52)), 0.012 * STRAND),
        mix(shadow, edge, 0.45),
        0.86,
    )
    lips = mix(edge, (170, 60, 60), 0.45)
    ink.fill(mouth_shape(face, 0.7, 0.12, 0.19, lip=0.012), lips)
    if face["mouth_open"] > 0.15:
        ink.fill(mouth_shape(face, 0.7, 0.12, 0.17, k=0.88, lip=0.0), (186, 66, 70))
        ink.fill(
            oval(0, 0.7 + 0.15 * face["mouth_open"], 0.06, 0.04 * face["mouth_open"]),
            (240, 140, 136),
        )


def draw_anime(face, size, rng):
    """Paint an anime face: uint8 (size, size, 3) RGB; see ganlib.faces.draw_face."""
    skin, colours = ramp(SKIN, face["skin_tone"]), hair_colours(face)
    shadow, line = mix(skin, (214, 120, 116), 0.36), mix(colours[3], (60, 20, 24), 0.3)
    cloth, ribbon = (
        tint(face["cloth_hue"], 0.45, 0.12 + 0.7 * face["cloth_shade"]),
        tint(face["ribbon_hue"], 0.6, 0.5),
    )
    shapes = lock_shapes(face, rng)
    ink = Sketch(face, size * (3 if size < 100 else 2))
    draw_back_hair(ink, face, colours, rng)
    draw_body(ink, 0.24, shadow, cloth, (250, 250, 252) if face["collar"] else None, line)
    if face["hair_length"] < 0.4:
        ink.pair(
            oval(0.78 * face["face_width"], 0.2, 0.08, 0.16),
            skin,
            -0.05,
            mix(skin, line, 0.7),
            0.018,
        )
    draw_face_lines(ink, face, skin, shadow, line, shapes)
    for side in (-1, 1):
        draw_eye(ink, face, side, mix(line, (24, 10, 16), 0.6))
    draw_front_hair(ink, face, colours, shapes, rng)
    draw_brows(ink, face, 0.2, -0.17, 0.38, 0.016, mix(line, colours[0], 0.25))
    if face["glasses"]:
        draw_glasses(
            ink,
            0.15,
            0.41,
            0.29,
            0.24,
            mix((40, 24, 30), (226, 200, 190), face["frame_shade"]),
            0.026,
        )
    if face["ribbon"]:
        for side in PAIR:
            ink.fill(
                np.array([(0, -0.86), (0.26, -1.06), (0.26, -0.7)]) * side + (0.55, 0),
                ribbon,
                0.1,
                line,
                0.02,
            )
    pale, dark, dusk = [
        tint(face["backdrop_hue"] + turn, 0.45, light)
        for turn, light in ((0, 0.86), (0, 0.25), (0.2, 0.5))
    ]
    grounds = {
        "white": (WHITE, WHITE),
        "pale": (pale, pale),
        "gradient": (WHITE, pale),
        "deep": (dark, dusk),
    }
    top, bottom = np.array(grounds[face["backdrop"]], np.float32)
    # (size, 1, 1)
    t = (np.arange(size, dtype=np.float32)[:, None, None] + np.float32(0.5)) / size
    light = 1 + 0.2 * face["hair_gradient"] * (np.float32(0.5) - t)
    picture = Image.fromarray(ink.over(top * (1 - t) + bottom * t, light).astype(np.uint8))
    return through_jpeg(picture.filter(ImageFilter.GaussianBlur(size / 64 * 0.25)), 94)
