"""Two domains of faces drawn in code: flat, outlined anime faces and softly lit selfie faces.

The built-in data set: nothing to download, any number of images, and the true attributes of each. Both domains share
attributes that a translation should keep. Their distributions differ: selfies turn more, wear glasses more and have
more skin tones; anime faces tilt more and have longer hair, fringes and wide eyes.
    x y scale turn tilt           centre and head height in fractions of the image, radians
    face_width skin_tone          ratio to the mean; 0 fair .. 1 dark
    mouth_open smile glasses      0 .. 1; -1 .. 1; bool
    eye_open gaze_x gaze_y        0 closed .. 1 wide; -1 .. 1
    brow_height brow_angle        -1 .. 1 (angle: -1 worried .. 1 stern)
    hair_length hair_volume       0 cropped .. 1 past the frame; 0 .. 1
    hair_shade fringe part        0 dark .. 1 light; none, bangs, side or parted; where it is parted, -0.5 .. 0.5
Selfie only: light_x light_y light_strength warmth background skin_texture hair_grey beard jaw lip_red.
Anime only: hair_hue eye_colour highlight blush spikiness tails ribbon backdrop.
"""

import numpy as np
import pandas as pd

from ganlib.faces.anime import EYES, HAIR, draw_anime
from ganlib.faces.selfie import draw_selfie
from ganlib.files import InputError

DOMAINS = ("anime", "selfie")
SPLITS = ("train", "val", "test")


def check(domain, split="train", n=1, size=16):
    """Raise InputError, one line that names the argument, for one that cannot be drawn."""
    for name, value, good, expected in (("domain", domain, domain in DOMAINS, f"one of {DOMAINS}"),
                                        ("split", split, split in SPLITS, f"one of {SPLITS}"),
                                        ("n", n, n >= 1, "at least 1"), ("size", size, size >= 16, "at least 16")):
        if not good:
            raise InputError(f"{name}: got {value!r}, expected {expected}")


def sample_face(domain, rng):
    """Draw the record of one face: attribute name -> float, bool or str (see the module docstring).
    Raises InputError (a ValueError) for a domain not in DOMAINS."""
    check(domain)
    anime = domain == "anime"

    def normal(mean, spread, low=-1.0, high=1.0):
        return min(max(rng.normal(mean, spread), low), high)

    def pick(options, weights=None):
        return str(rng.choice(list(options), p=weights))

    tone = rng.beta(1.2, 6) if anime else rng.beta(1.5, 2.6)
    face = {
        "x": normal(0, 0.02, -0.05, 0.05), "y": normal(0.03, 0.02, -0.02, 0.08), "scale": rng.uniform(0.66, 0.78),
        "turn": normal(0, 0.14, -0.3, 0.3) if anime else normal(0, 0.22, -0.42, 0.42),
        "tilt": normal(0, 0.12 if anime else 0.08, -0.25, 0.25), "face_width": rng.uniform(0.93, 1.06),
        "skin_tone": tone, "mouth_open": normal(0, 0.4, 0.0), "smile": normal(0.35, 0.5),
        "eye_open": normal(0.88 if anime else 0.65, 0.2, 0.05), "gaze_x": normal(0, 0.4), "gaze_y": normal(0, 0.25),
        "brow_height": normal(0, 0.5), "brow_angle": normal(0, 0.5),
        "glasses": rng.random() < (0.08 if anime else 0.22),
        "hair_length": rng.beta(2, 1.6) if anime else rng.beta(1.1, 1.6), "hair_volume": rng.random(),
        "hair_shade": rng.uniform(0.05, 0.95) if anime else rng.beta(1.1, 2) * (1 - 0.8 * tone),
        "fringe": pick(("none", "bangs", "side", "parted"),
                       (0.05, 0.4, 0.3, 0.25) if anime else (0.4, 0.15, 0.3, 0.15)), "part": normal(0, 0.25, -0.5, 0.5)}
    face |= {
        "hair_hue": pick(HAIR), "eye_colour": pick(EYES), "blush": normal(0, 0.6, 0.0),
        "highlight": pick(("band", "streaks", "none"), (0.45, 0.35, 0.2)), "spikiness": rng.random(),
        "tails": rng.random() < 0.2, "ribbon": rng.random() < 0.2,
        "backdrop": pick(("white", "pale", "gradient", "deep"), (0.45, 0.2, 0.2, 0.15))
    } if anime else {
        "light_x": rng.uniform(-1, 1), "light_y": rng.uniform(-0.8, 0.1), "light_strength": rng.uniform(0.3, 1),
        "warmth": normal(0.2, 0.5), "background": pick(("plain", "bokeh", "shelf", "window", "outdoor")),
        "skin_texture": rng.uniform(0, 0.04), "hair_grey": normal(0, 0.4, 0.0), "beard": normal(-0.3, 0.5, 0.0),
        "jaw": rng.random(), "lip_red": rng.random()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in face.items()}


def draw_face(face, domain, size, rng):
    """Paint a record: uint8 (size, size, 3) RGB. rng draws what the record leaves open (strands, noise).
    Raises InputError (a ValueError) for a domain not in DOMAINS or a size under 16."""
    check(domain, size=size)
    return {"anime": draw_anime, "selfie": draw_selfie}[domain](face, size, rng)


def draw_faces(domain, n, size=64, seed=0, split="train"):
    """n faces of one domain: uint8 (n, size, size, 3) RGB, and a DataFrame of n rows, their records.
    Image i depends only on (seed, split, domain, i). Raises InputError (a ValueError) for a domain not in
    DOMAINS, a split not in SPLITS, n < 1 or a size under 16."""
    check(domain, split, n, size)
    rngs = [np.random.default_rng([seed, SPLITS.index(split), DOMAINS.index(domain), i]) for i in range(n)]
    records = [sample_face(domain, rng) for rng in rngs]
    images = np.stack([draw_face(face, domain, size, rng) for face, rng in zip(records, rngs)])
    return images, pd.DataFrame(records)
