"""Two unpaired image domains, each in train, val and test: a folder, a zip, or faces drawn in code.

Images are RGB. In memory they are uint8 (N, 3, H, W); networks see float32 in [-1, 1], and only this module and `plots`
know of 0 to 255.
"""

import hashlib
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from ganlib.faces import DOMAINS, draw_faces
from ganlib.files import InputError

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
               "test": "test", "testing": "test"}
HELD_OUT = 0.1  # share of train that stands in for a split that is missing
LAYOUTS = "expected SPLIT/DOMAIN/* (train, val, test; any two domain names) or trainA trainB valA valB testA testB"


class Pair(NamedTuple):
    """Images of both domains in one split: uint8 (N, 3, H, W) each; N may differ, and A[i] has nothing to do with B[i]."""

    a: torch.Tensor
    b: torch.Tensor


class Domains(NamedTuple):
    """A data set: two domains with their names, three splits, and what was noticed while it was read."""

    name: str
    domains: tuple[str, str]                # names of A and B
    train: Pair
    val: Pair
    test: Pair
    notes: list[str]                        # what a reader should know: which domain is A, what was held out
    skipped: pd.DataFrame                   # unreadable images: file, reason
    attributes: dict[str, tuple] | None     # by split, a DataFrame of each domain; None where nobody knows them
    fingerprint: str                        # sha256 of names and pixels

    def counts(self):
        """Images by domain (rows) and split (columns), as a DataFrame."""
        return pd.DataFrame({split: [len(side) for side in getattr(self, split)] for split in SPLITS},
                            index=pd.Index([f"A: {self.domains[0]}", f"B: {self.domains[1]}"], name="domain"))


def load_domains(data="builtin", image_size=64, domain_a="", builtin_a=400, builtin_b=440, builtin_eval=64, seed=0):
    """Read a data set: "builtin" faces, a folder, or a zip file, at image_size (one number, or height and width).

    data: path in one of two layouts (see LAYOUTS); domain_a names the folder that is A, else the first by alphabet.
    builtin_*: images drawn for "builtin": train of A, train of B, and each of val and test per domain, with `seed`.
    Images keep their proportions: scaled by an antialiased filter to cover the size, the rest cropped off evenly.
    Raises InputError, one line that names the path or parameter. Unreadable images are skipped and listed in `skipped`;
    over 1 % of them, and at least 10, raise.
    """
    size = tuple(image_size) if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise InputError(f"image_size {image_size!r}: expected one whole number of pixels, or height and width")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed {seed!r}: expected a whole number, 0 or more")
    if not isinstance(data, (str, Path)) or not str(data):
        raise InputError(f"data {data!r}: expected \"builtin\" or the path of a folder or zip")
    if data == "builtin":
        return draw_builtin(size, builtin_a, builtin_b, builtin_eval, seed)
    return read_domains(Path(data).expanduser(), size, domain_a)


def draw_builtin(size, n_a, n_b, n_eval, seed):
    """The built-in faces as Domains, with the attributes that each was drawn from."""
    for name, n in [("builtin_a", n_a), ("builtin_b", n_b), ("builtin_eval", n_eval)]:
        if type(n) is not int or n < 1:
            raise InputError(f"{name} {n!r}: expected a whole number of images, 1 or more")
    if size[0] != size[1] or size[0] < 16:
        raise InputError(f"image_size {size[0]}x{size[1]}: builtin faces are square, 16 pixels or more a side")
    images, attributes = {}, {}
    for split in SPLITS:
        drawn = [draw_faces(domain, n if split == "train" else n_eval, size[0], seed, split)
                 for domain, n in zip(DOMAINS, (n_a, n_b))]
        images[split] = Pair(*[torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() for x, _ in drawn])
        attributes[split] = tuple(table for _, table in drawn)
    notes = [f"A is {DOMAINS[0]}, B is {DOMAINS[1]}: faces drawn in code with seed {seed}"]
    return make_domains("builtin", DOMAINS, images, notes, [], attributes)


def read_domains(path, size, domain_a):
    """Domains from a folder or zip: find the layout, decode every image once, hold out the splits that are missing."""
    files, read = open_source(path)
    groups = group_files(files, path)
    names = sorted({domain for _, domain in groups})
    if len(names) != 2:
        raise InputError(f"{path}: {len(names)} domain{'s' * (len(names) != 1)} ({', '.join(names) or 'none'}), "
                         f"expected two; {LAYOUTS}")
    if domain_a and domain_a not in names:
        raise InputError(f"domain_a {domain_a!r}: no such domain in {path}; there are {names[0]} and {names[1]}")
    if domain_a == names[1]:
        names.reverse()
    notes = [f"A is {names[0]}, B is {names[1]}" + ("" if domain_a else " (by alphabet; domain_a chooses)")]
    decoded, skipped, total = {}, [], 0
    for split in SPLITS:
        for domain in names:
            listed = groups.get((split, domain), [])
            decoded[split, domain], bad = decode_all(listed, read, size)
            skipped += bad
            total += len(listed)
    if len(skipped) >= 10 and len(skipped) > total / 100:
        raise InputError(f"{path}: {len(skipped)} of {total} images cannot be read, more than 1 %; the first: "
                         f"{skipped[0][0]} ({skipped[0][1]}); mend or remove them")
    for domain in names:
        if not len(decoded["train", domain]):
            raise InputError(f"{path}: no readable image of domain {domain} in train; expected at least one")
        for split in ("val", "test"):
            if not len(decoded[split, domain]):
                decoded["train", domain], decoded[split, domain] = hold_out(decoded["train", domain], domain, path)
                notes.append(f"{domain} has no {split}: {len(decoded[split, domain])} images of train are held out")
    if skipped:
        notes.append(f"{len(skipped)} of {total} images could not be read and were skipped")
    images = {split: Pair(*[torch.from_numpy(decoded[split, domain]) for domain in names]) for split in SPLITS}
    return make_domains(path.name, tuple(names), images, notes, skipped, None)


def make_domains(name, domains, images, notes, skipped, attributes):
    """Put a Domains together and fingerprint it."""
    digest = hashlib.sha256(repr(domains).encode())
    for split in SPLITS:
        for side in images[split]:
            digest.update(repr(tuple(side.shape)).encode())
            digest.update(side.numpy())
    return Domains(name, tuple(domains), *[images[split] for split in SPLITS], notes,
                   pd.DataFrame(skipped, columns=["file", "reason"]), attributes, digest.hexdigest())


def open_source(path):
    """(names of the files below a folder or in a zip, as relative POSIX paths, and a function name -> bytes)."""
    if path.is_dir():
        files = [Path(top, name) for top, _, names in os.walk(path, followlinks=True) for name in names]
        return [p.relative_to(path).as_posix() for p in files], lambda f: (path / f).read_bytes()
    if not path.exists():
        raise InputError(f"data {path}: no such folder or zip file; expected \"builtin\", a folder or a zip")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"data {path}: neither a folder nor a zip file that can be read ({error})") from None
    return [f for f in archive.namelist() if not f.endswith("/")], archive.read


def group_files(files, path):
    """{(split, domain): sorted image files}, in either layout, below one enclosing folder or none."""
    image_endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    images = [f for f in files if PurePosixPath(f).suffix.lower() in image_endings
              and not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(f).parts)]
    groups, depth = {}, 0
    for depth in (0, 1):
        for f in sorted(images):
            parts = PurePosixPath(f).parts[depth:]
            short = re.fullmatch(r"([a-z]+)[_-]?([AB])", parts[0], re.IGNORECASE) if len(parts) > 1 else None
            if len(parts) > 2 and parts[0].lower() in SPLIT_NAMES:
                groups.setdefault((SPLIT_NAMES[parts[0].lower()], parts[1]), []).append(f)
            elif short and short[1].lower() in SPLIT_NAMES:
                groups.setdefault((SPLIT_NAMES[short[1].lower()], short[2].upper()), []).append(f)
        if groups:
            return groups
    raise InputError(f"data {path}: no images found in a layout that is known; {LAYOUTS}")


def decode_all(names, read, size):
    """Decode files to uint8 (N, 3, H, W); also the list of (file, reason) of those that cannot be read."""
    def decode(content):
        try:
            return decode_image(content(), size)
        except Exception as error:  # Pillow's decoders raise nearly anything on broken files
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(decode, [lambda f=f: read(f) for f in names]))
    good = [image for image in results if not isinstance(image, str)]
    bad = [(name, reason) for name, reason in zip(names, results) if isinstance(reason, str)]
    return np.stack(good) if good else np.zeros((0, 3, *size), np.uint8), bad


def decode_image(content, size):
    """Any image that Pillow reads -> uint8 (3, H, W) RGB: EXIF orientation applied, transparency laid on white."""
    with Image.open(BytesIO(content)) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):   # 16 bits of grey, or numbers: convert("RGB") would clip them to white
            values = np.asarray(image, dtype=np.float64)
            top = 65535.0 if image.mode.startswith("I") else 1.0 if values.max() <= 1 else 255.0
            image = Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert("RGB"), (size[1], size[0]), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def hold_out(train, domain, path):
    """Split a fixed tenth (at least one) off train: (the rest, held out). The choice depends on the number alone."""
    n = max(1, round(HELD_OUT * len(train)))
    if len(train) <= n:
        raise InputError(f"{path}: {len(train)} readable images of domain {domain} in train; expected 3 or more, or "
                         "images in val and test")
    order = np.random.default_rng(0).permutation(len(train))
    return train[np.sort(order[n:])], train[np.sort(order[:n])]


def to_float(images):
    """uint8 (..., H, W) -> float32 in [-1, 1]."""
    return images.float().div(127.5).sub(1)


def pair_batches(pair, batch_size, seed, device):
    """Endless (real_a, real_b) batches in [-1, 1]. Partners are drawn anew each pass over A, by (seed, pass) alone.

    A domain with fewer images than needed is used again from another order; a last part of a batch is dropped.
    """
    a, b = pair.a.to(device), pair.b.to(device)
    n = max(len(a), batch_size)
    for i in count():
        rng = np.random.default_rng([seed, i])
        order_a, order_b = [torch.from_numpy(draw_order(len(x), n, rng)).to(device) for x in (a, b)]
        for k in range(0, n - batch_size + 1, batch_size):
            yield to_float(a[order_a[k:k + batch_size]]), to_float(b[order_b[k:k + batch_size]])


def draw_order(n_images, n, rng):
    """n indices below n_images: whole permutations, one after another, the last one cut."""
    return np.concatenate([rng.permutation(n_images) for _ in range(-(-n // n_images))])[:n]


def fixed_batches(pair, batch_size, device, limit=None):
    """(real_a, real_b) batches of A[i] with B[i], each pass alike; the smaller domain starts again at its end."""
    n = min(max(len(pair.a), len(pair.b)), limit or 10**9)
    for k in range(0, n, batch_size):
        index = torch.arange(k, min(k + batch_size, n))
        yield tuple(to_float(x[index % len(x)].to(device)) for x in pair)
