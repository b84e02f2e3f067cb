"""Two domains of faces drawn in code, anime and selfies, each from a record of true attributes.

The built-in data set: nothing to download, any number of images, the same bytes for the same seed
on any machine. Two painters draw any record, so every face has a counterpart in the other domain:
what a translation should have made. Train is unpaired: its two domains hold different people, and
their counterparts are not given out.

SHARED attributes are seen in both domains, but are distributed otherwise (selfies: more turned,
more glasses, more skin tones, shorter hair, narrower eyes; anime: more tilted, longer hair and
fringes, lighter hair):
    x y scale                 centre of the head and its height, in fractions of the image
    turn tilt nod             radians; positive is to the picture's right, clockwise and down
    face_width skin_tone      ratio to the mean; 0 fair .. 1 dark
    mouth_open smile          0 .. 1; -1 .. 1
    eye_open eye_slant        0 closed .. 1 wide; -1 drooping .. 1 rising outwards
    gaze_x gaze_y             -1 .. 1, right and down
    brow_height brow_angle    -1 .. 1 (angle: -1 worried .. 1 stern)
    brow_weight               0 thin .. 1 bushy
    glasses frame_shade       bool; 0 black .. 1 pale
    hair_length hair_volume   0 cropped .. 1 past the frame; 0 .. 1
    hair_shade fringe part    0 dark .. 1 light; none, bangs, side or parted; where, -0.5 .. 0.5
    cloth_hue cloth_shade     0 .. 1; 0 dark .. 1 light
    collar                    bool, white
ANIME_ONLY is seen in anime alone; from 0 to 1 unless it is a name or bool:
    hair_hue eye_hue iris_size lashes highlight hair_gradient spikiness tails ribbon ribbon_hue
    blush cel_shadow outline (width of the lines) backdrop backdrop_hue
SELFIE_ONLY is seen in selfies alone; from 0 to 1 unless it is a name or bool:
    skin_red skin_texture gloss age jaw nose_width lip_red beard moustache receding hair_grey iris
    light_x light_y (where the light is, -1 .. 1, right and down) light_strength
    warmth exposure (both -1 .. 1) vividness (of the colours) focus grain
    background background_hue background_shade background_contrast
"""

import os
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from ganlib.errors import InputError
from ganlib.faces.anime import draw_anime
from ganlib.faces.records import ANIME_SPECS, SELFIE_SPECS, SHARED_SPECS, sample_record
from ganlib.faces.selfie import draw_selfie

DOMAINS = ("anime", "selfie")
SPLITS = ("train", "val", "test")
CHUNK = 50  # faces that a process draws at a time
SHARED = tuple(SHARED_SPECS)
ANIME_ONLY = tuple(ANIME_SPECS)
SELFIE_ONLY = tuple(SELFIE_SPECS)


def check(domain, split="train", n=1, size=16, seed=0, splits=SPLITS):
    """Raise InputError, one line that names the argument, for one that cannot be drawn."""
    for name, value, good, expected in (
        ("domain", domain, domain in DOMAINS, f"one of {DOMAINS}"),
        ("split", split, split in splits, f"one of {splits}"),
        ("n", n, n >= 1, "at least 1"),
        ("size", size, size >= 16, "at least 16"),
        ("seed", seed, seed >= 0, "at least 0"),
    ):
        if not good:
            raise InputError(f"{name}: got {value!r}, expected {expected}")


def sample_face(domain, rng):
    """Draw the record of one face: attribute name -> float, bool or str (see the module docstring).
    Raises InputError (a ValueError) for a domain not in DOMAINS."""
    check(domain)
    return sample_record(domain == "anime", iter(rng.random(256).tolist()).__next__)


def draw_face(face, domain, size, rng):
    """Paint a record: uint8 (size, size, 3) RGB. rng draws what the record leaves open (strands,
    spots, noise). Raises InputError (a ValueError) for a domain not in DOMAINS or a size under
    16."""
    check(domain, size=size)
    return {"anime": draw_anime, "selfie": draw_selfie}[domain](face, size, rng)


def draw_faces(domain, n, size=64, seed=0, split="train", tick=None):
    """n faces of one domain: uint8 (n, size, size, 3) RGB, and a DataFrame of n rows, their
    records. Image i depends only on (seed, split, domain, i); tick(k), if given, is called when
    k more are drawn. Raises InputError (a ValueError) for a domain not in DOMAINS, a split not
    in SPLITS, n < 1, a size under 16 or a negative seed."""
    import pandas as pd  # takes long, and is not needed for the command's --help

    check(domain, split, n, size, seed)
    images = np.empty((n, size, size, 3), np.uint8)
    records = []
    for drawn in draw_on_all_cores([(domain, i, size, seed, split) for i in range(n)]):
        for image, face in drawn:
            images[len(records)] = image
            records.append(face)
        if tick:
            tick(len(drawn))
    return images, pd.DataFrame(records)


def draw_counterparts(domain, n, size=64, seed=0, split="test", tick=None):
    """The faces that draw_faces shows for these arguments, drawn in the other domain: uint8 (n,
    size, size, 3) RGB. Raises InputError (a ValueError) as draw_faces does, and for split
    "train": counterparts are for scoring only."""
    check(domain, split, n, size, seed, ("val", "test"))
    images = []
    for drawn in draw_on_all_cores([(domain, i, size, seed, split, True) for i in range(n)]):
        images += [image for image, _ in drawn]
        if tick:
            tick(len(drawn))
    return np.stack(images)


def draw_on_all_cores(tasks):
    """What draw_numbered makes of each task, in their order, in lists of up to CHUNK; a process
    for each core where there are many."""
    parts = [tasks[i : i + CHUNK] for i in range(0, len(tasks), CHUNK)]
    cores = min(len(os.sched_getaffinity(0)), len(parts) // 4)
    if cores < 2:
        yield from map(draw_part, parts)
        return
    # Forked, since other ways run a script's own lines again, and the painters need no thread of
    # this process.
    with ProcessPoolExecutor(
        cores, get_context("fork"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        try:
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                drawn = pool.map(draw_part, parts)
            yield from drawn
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def draw_part(tasks):
    """What draw_numbered makes of each task."""
    return [draw_numbered(*task) for task in tasks]


def draw_numbered(domain, i, size, seed, split, counterpart=False):
    """Face i of a domain, or its counterpart: the picture, uint8 (size, size, 3) RGB, and the
    record."""
    key = [seed, SPLITS.index(split), DOMAINS.index(domain), i]
    rng = np.random.default_rng(key)
    face = sample_face(domain, rng)
    if counterpart:
        domain = DOMAINS[1 - DOMAINS.index(domain)]
        rng = np.random.default_rng([*key, 1])
    return draw_face(face, domain, size, rng), face
