"""The selfie painter: photo-like faces with strands of hair, lit and set in a room by
ganlib.faces.light."""

import numpy as np
from PIL import Image, ImageFilter

from ganlib.faces.light import ASPECT, draw_background, draw_light
from ganlib.faces.sketch import (
    BLACK,
    LID,
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

SKIN = (
    (244, 204, 178),
    (236, 186, 154),
    (216, 162, 126),
    (176, 120, 86),
    (124, 82, 58),
    (86, 56, 42),
)
HAIR = (26, 22, 21), (50, 37, 30), (86, 60, 42), (126, 92, 60), (178, 140, 94), (224, 196, 146)
IRIS = {
    "brown": (54, 34, 24),
    "hazel": (88, 66, 38),
    "blue": (84, 108, 132),
    "green": (86, 104, 76),
}
HEAD = np.array(
    [
        (0, -1),
        (0.38, -0.93),
        (0.6, -0.6),
        (0.66, -0.15),
        (0.65, 0.2),
        (0.57, 0.54),
        (0.36, 0.86),
        (0.12, 1.0),
    ]
)  # the right half of the outline
# How far a square jaw widens each point of the head
JAW = np.array([0, 0, 0, 0, 0.02, 0.07, 0.09, 0.02])


def strand_tones(hair, n, rng):
    """Colours of n strands, lighter and darker than the hair."""
    return [
        mix(hair, (255, 236, 214) if s > 0 else BLACK, abs(s))
        for s in (rng.random(n) * 0.66 - 0.46).tolist()
    ]


def draw_back_hair(ink, face, hair, rng):
    """Hair behind the head, with strands that fall along its outline; none where it is cropped."""
    reach, (top, wide), n = face["hair_length"], hair_top(face), 26
    end = -0.45 + 2.3 * reach
    half = np.array(
        [
            (0, top),
            (0.5 * wide, 0.96 * top),
            (0.9 * wide, 0.74 * top),
            (wide, 0.35 * end - 0.39),
            (wide + 0.12 * reach, 0.75 * end - 0.15),
            (wide + 0.08 * reach, end),
            (0.45, end + 0.06),
        ]
    )
    ink.fill(curve(mirror(half)), mix(hair, BLACK, 0.35), 0)
    if reach > 0.3:
        side, out = np.tile([-1.0, 1.0], n // 2), 0.72 + 0.34 * rng.random(n)
        tip = np.stack([side * (wide + 0.16 * reach) * out, end + 0.3 * (rng.random(n) - 0.6)], 1)
        root, middle = (
            np.stack([side * wide * out, np.full(n, -0.6)], 1),
            np.stack([side * (wide + 0.1) * out, tip[:, 1] / 2], 1),
        )
        ink.strokes(bend(root, middle, tip), 0.035 * STRAND, strand_tones(hair, n, rng), 0)


def draw_front_hair(ink, face, hair, rng):
    """The cap down to the hairline, strands from the parting to it, and locks beside the face
    where it is long."""
    reach, (top, wide), n = face["hair_length"], hair_top(face), 84
    x = 0.74 - 1.48 * np.arange(19) / 18
    line = hairline(face, x, face["receding"]) + 0.06 * (rng.random(19) - 0.5)
    draw_cap(
        ink,
        np.stack([x, line], 1),
        top,
        wide,
        -0.05 + 0.2 * min(reach, 0.5),
        mix(hair, BLACK, 0.1),
        0.1,
    )
    x = (rng.random(n) * 2 - 1) * 0.76
    tip = np.stack([x, hairline(face, x, face["receding"]) + 0.16 * (rng.random(n) - 0.8)], 1)
    root = np.stack([face["part"] + 0.5 * (x - face["part"]), top + 0.03 + 0.25 * x * x], 1)
    middle = (root + tip) / 2 + np.stack([0.4 * (x - face["part"]), np.full(n, -0.08)], 1)
    ink.strokes(bend(root, middle, tip), 0.019 * STRAND, strand_tones(hair, n, rng), 0.12)
    if reach > 0.4:
        side, out = np.tile([-1.0, 1.0], 8), 0.72 + 0.16 * rng.random(16)
        tip = np.stack([side * out, -0.3 + 1.8 * (reach - 0.2) - 0.3 * rng.random(16)], 1)
        root, middle = (
            np.stack([side * 0.55, np.full(16, -0.72)], 1),
            np.stack([side * out * 1.08, np.full(16, -0.3)], 1),
        )
        ink.strokes(bend(root, middle, tip), 0.05 * STRAND, strand_tones(hair, 16, rng), 0.05)


def draw_eye(ink, face, side, skin):
    """One eye: white, iris with a catch light, lashes and the crease above."""
    centre, width, dark = np.array([side * 0.35, -0.07]), 0.175, mix(skin, (22, 12, 10), 0.82)
    opening = width, 0.015 + 0.085 * face["eye_open"], 0.01 + 0.05 * face["eye_open"]
    upper, lower = [
        np.stack([LID * width, lid(face, LID, width, h)], 1) * (side, 1)
        for h in (-opening[1], opening[2])
    ]
    iris = IRIS[face["iris"]]
    ink.fill(np.concatenate([upper, lower[::-1]]) + centre, mix((222, 216, 212), skin, 0.22))
    draw_iris(
        ink,
        face,
        centre,
        side,
        opening,
        (
            (0, 0, 0.078, 0.078, mix(iris, BLACK, 0.45)),
            (0, 0.01, 0.062, 0.062, iris),
            (0, 0, 0.034, 0.034, (10, 8, 8)),
            (0.025, -0.03, 0.018, 0.018, WHITE),
        ),
    )
    ink.fill(stroke(lower + centre, 0.009), mix(skin, dark, 0.45))
    ink.fill(stroke(upper + centre, 0.016), dark)
    ink.fill(stroke(upper[2:-1] * (1.05, 1) + centre - (0, 0.045), 0.009), mix(skin, dark, 0.4))


def draw_features(ink, face, skin, hair):
    """Mouth, nostrils, moustache, age lines, eyes and brows."""
    lips, dark = (
        mix(mix(skin, (140, 50, 48), 0.38), (186, 36, 56), 0.5 * face["lip_red"]),
        mix(skin, (60, 22, 18), 0.7),
    )
    opening = mouth_shape(face, 0.585, 0.27, 0.17, k=0.88, lip=0.004, lift=0.06)
    ink.fill(mouth_shape(face, 0.585, 0.27, 0.18, lip=0.046, lift=0.06), lips)
    ink.fill(opening, (58, 22, 20))
    if face["mouth_open"] > 0.12:
        ink.fill(
            mouth_shape(face, 0.585, 0.27, 0.12, k=0.8, lift=0.06), mix((226, 216, 204), skin, 0.25)
        )
    ink.pair(
        oval(0.065 + 0.02 * face["nose_width"], 0.385, 0.035, 0.02),
        mix(skin, (60, 22, 18), 0.6),
        0.84,
    )
    if face["moustache"] > 0.05:
        ink.pair(
            stroke(
                bend((0, 0.49), (0.16, 0.47), (0.27, 0.6)),
                (0.03 + 0.03 * face["moustache"]) * STRAND[::-1] + 0.01,
            ),
            mix(skin, mix(hair, BLACK, 0.2), 0.35 + 0.6 * face["moustache"]),
        )
    if face["age"] > 0.5:
        crease = mix(skin, dark, 0.9 * face["age"] - 0.4)
        for y in (-0.5, -0.4):
            ink.fill(
                stroke(bend((-0.3, y + 0.02), (0, y - 0.03), (0.3, y + 0.02)), 0.011 * STRAND),
                crease,
            )
        ink.pair(stroke(bend((0.47, -0.03), (0.52, 0.0), (0.57, 0.06)), 0.01 * STRAND), crease)
    for side in (-1, 1):
        draw_eye(ink, face, side, skin)
    draw_brows(ink, face, 0.14, -0.19, 0.43, 0.03, mix(mix(hair, (40, 28, 22), 0.5), skin, 0.25))


def draw_selfie(face, size, rng):
    """Paint a selfie: uint8 (size, size, 3) RGB; see ganlib.faces.draw_face."""
    skin = mix(ramp(SKIN, face["skin_tone"]), (206, 112, 90), 0.22 * face["skin_red"])
    full = min(0.5 + 5 * face["hair_length"], 1)  # cropped hair lets the skin through
    hair = mix(
        ramp(HAIR, face["hair_shade"]), (96 + 130 * face["hair_shade"],) * 3, face["hair_grey"]
    )
    cloth = tint(face["cloth_hue"], 0.35, 0.05 + 0.6 * face["cloth_shade"])
    ink = Sketch(face, size * (3 if size < 100 else 2), aspect=ASPECT)
    hair = mix(skin, hair, full)
    draw_back_hair(ink, face, hair, rng)
    draw_body(
        ink, 0.44, mix(skin, (90, 40, 30), 0.1), cloth, (224, 224, 228) if face["collar"] else None
    )
    ink.pair(oval(0.69 * face["face_width"], 0.06, 0.09, 0.2), mix(skin, (150, 60, 50), 0.3), 0.12)
    head = (HEAD + JAW[:, None] * (face["jaw"], 0)) * (face["face_width"], 1)
    ink.fill(curve(mirror(head)), skin, 0.3)
    draw_features(ink, face, skin, hair)
    draw_front_hair(ink, face, hair, rng)
    if face["glasses"]:
        draw_glasses(
            ink,
            -0.04,
            0.35,
            0.25,
            0.15,
            mix((16, 14, 14), (176, 150, 120), face["frame_shade"]),
            0.028,
        )
    picture = ink.over(draw_background(face, size, rng), draw_light(face, size, head, rng))
    noise = (
        rng.integers(0, 256, (3, size, size), np.uint8).sum(0, np.int16).astype(np.float32) - 383
    )
    grey = picture[..., 1:2]
    picture = grey + (picture - grey) * np.float32(0.4 + face["vividness"])
    photo = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    photo = photo.filter(ImageFilter.GaussianBlur(size / 64 * (0.15 + 0.3 * (1 - face["focus"]))))
    picture = (
        np.asarray(photo, np.float32)
        + (noise * np.float32(0.006 + 0.022 * face["grain"]))[..., None]
    )
    return through_jpeg(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), 88)
