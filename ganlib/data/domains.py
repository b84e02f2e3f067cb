"""Two unpaired image domains, each in train, val and test: a folder, a zip, a data set of the hub,
or faces drawn in code.

Images are RGB. In memory they are uint8 (N, 3, H, W); networks see float32 in [-1, 1], and only
this module and `plots` know of 0 to 255."""

import hashlib
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ganlib.config import MOST, check_value
from ganlib.data.decode import CHUNK, FACTS, MAX_PIXELS, digest
from ganlib.data.ranges import FULL, check_value_range, to_lists
from ganlib.data.reading import read_files
from ganlib.errors import InputError, printable, shown
from ganlib.faces import DOMAINS, SPLITS, draw_counterparts, draw_faces
from ganlib.show.progress import Progress
from ganlib.system.files import expand

ROUNDING = 1e-3  # that floats may be beyond [-1, 1]


class Pair(NamedTuple):
    """Images of both domains in one split: uint8 (N, 3, H, W) each; N may differ, and A[i] has
    nothing to do with B[i]."""

    a: torch.Tensor
    b: torch.Tensor


class Stamp(NamedTuple):
    """A fingerprint and what it was taken of: the tensors themselves, how often each had been
    written to, the names of the domains as they are spelt, and by name the ranges of their
    values."""

    fingerprint: str
    images: tuple
    versions: tuple
    names: tuple
    ranges: dict


class Domains(NamedTuple):
    """A data set: two domains with their names, three splits, and what was noticed while it was
    read.

    Its images may be changed in memory, by _replace or in place. The fingerprint follows them,
    and so do the folders of runs and the probe. (What is written through the memory of a numpy
    array is not noticed: write to the tensor.)"""

    name: str
    domains: tuple[str, str]  # names of A and B
    train: Pair
    val: Pair
    test: Pair
    # What a reader should know: which domain is A, what was held out
    notes: list[str]
    # A row for each file (see decode.FACTS); those of a Pair in its order
    files: pd.DataFrame
    # By split, a DataFrame of each domain; None where nobody knows them
    attributes: dict[str, tuple] | None
    drawn: dict | None  # how built-in faces were drawn: size, n_eval, seed
    stamp: Stamp  # of the images as they were read
    # The arguments of load_domains that give it again, in another process
    loaded: dict | None = None
    value_ranges: dict | None = None  # by domain, black and white of more than 8 bits

    @property
    def changed(self):
        """Whether the images are others than those that the stamp was taken of."""
        images = [side for split in SPLITS for side in getattr(self, split)]
        return (
            any(x is not y for x, y in zip(images, self.stamp.images))
            or versions(images) != self.stamp.versions
        )

    @property
    def fingerprint(self):
        """sha256 of names and pixels. Of changed images it is taken anew each time that it is
        asked for (see settled)."""
        if not self.changed:
            return self.stamp.fingerprint
        known = []
        for domain, sides in zip(self.stamp.names, zip(self.train, self.val, self.test)):
            counts = [len(side) for side in sides]
            shape = sum(counts), *sides[0].shape[1:]
            known.append((domain, counts, shape, digest_all(sides)))
        return seal(known, self.stamp.ranges)

    def settled(self):
        """The same with a stamp of the images as they are now; where they were changed,
        load_domains cannot give it again."""
        if not self.changed:
            return self
        images = [side for split in SPLITS for side in getattr(self, split)]
        now = dict(fingerprint=self.fingerprint, images=tuple(images), versions=versions(images))
        return self._replace(stamp=self.stamp._replace(**now), loaded=None)

    def counts(self):
        """Images by domain (rows) and split (columns), as a DataFrame."""
        columns = {}
        for split in SPLITS:
            columns[split] = [len(side) for side in getattr(self, split)]
        return pd.DataFrame(
            columns,
            index=pd.Index([f"A: {self.domains[0]}", f"B: {self.domains[1]}"], name="domain"),
        )

    @property
    def skipped(self):
        """Files that are not used and why, as a DataFrame of file and reason."""
        return self.files.loc[self.files.reason != "", ["file", "reason"]].reset_index(drop=True)


def load_domains(
    data="builtin",
    image_size=64,
    domain_a="",
    builtin_a=400,
    builtin_b=440,
    builtin_eval=64,
    seed=0,
    strict=True,
    value_range="",
):
    """Read a data set: "builtin" faces, a folder, a zip file or "hf:OWNER/NAME", at image_size (a
    number, or height and width).

    data: path in one of four layouts (see sources.LAYOUTS); domain_a names the folder that is A,
    else the first by alphabet. builtin_*: images drawn for "builtin": train of A, train of B,
    and each of val and test per domain, with `seed`. Images keep their proportions: scaled by an
    antialiased filter to cover the size, the rest cropped off evenly. Above decode.CACHE_ABOVE
    bytes they lie on disk, mapped, and are not decoded again. Splits that are missing are made
    by content, near-duplicates together (see splits); for one folder a domain they are written
    down in a manifest. value_range: the values that are black and white in files of more than 8
    bits a pixel: [LOW, HIGH], or those by domain {NAME: [LOW, HIGH]}; "" for those of the
    manifest, else found, one range for all files of a domain (see ranges). 8-bit files are 0 to
    255. Raises InputError, one line that names the path or parameter. Unreadable images are
    skipped and listed in `skipped`; over 1 % of them, and at least 10, raise, unless strict is
    False (the doctor looks at such data too)."""
    size = take_size(image_size)
    if type(seed) is not int or not 0 <= seed < MOST:
        raise InputError(
            f"seed {shown(seed)}: expected a whole number, 0 or more, and less than {MOST:,}"
        )
    check_value("domain_a", domain_a, "")
    check_value("strict", strict, True)
    value_range = check_value_range(value_range)
    if not isinstance(data, (str, Path)) or not str(data):
        raise InputError(
            f'data {shown(data)}: expected "builtin", the path of a folder or zip, or hf:OWNER/NAME'
        )
    if data == "builtin":
        refuse_for_builtin(domain_a, value_range)
        try:
            images = draw_builtin(size, builtin_a, builtin_b, builtin_eval, seed)
        except MemoryError:
            raise InputError(
                f"builtin_a {builtin_a}, builtin_b {builtin_b}, builtin_eval {builtin_eval} at "
                f"image_size {image_size}: more than the memory holds; take fewer or smaller images"
            ) from None
    else:
        images = make_domains(*read_files(data, size, domain_a, strict, value_range))
    named = data == "builtin" or str(data).startswith("hf:")
    data = str(data) if named else str(expand(data, "data").resolve())
    return images._replace(
        loaded={
            "data": data,
            "image_size": list(size),
            "domain_a": domain_a,
            "builtin_a": builtin_a,
            "builtin_b": builtin_b,
            "builtin_eval": builtin_eval,
            "seed": seed,
            "strict": strict,
            "value_range": to_lists(value_range),
        }
    )


def take_size(image_size):
    """(height, width) of an image_size as it is given, a number or two; InputError for another."""
    size = tuple(image_size) if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise InputError(
            f"image_size {shown(image_size)}: expected one whole number of pixels, or height and "
            "width, for instance [48, 64]"
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"image_size {shown(image_size)}: expected {MAX_PIXELS:,} pixels at most")
    return size


def refuse_for_builtin(domain_a, value_range):
    """Raise InputError for what says nothing of the built-in faces."""
    if domain_a not in ("", DOMAINS[0]):
        raise InputError(
            f"domain_a {shown(domain_a)}: of the builtin faces A is {DOMAINS[0]}; leave "
            "domain_a empty"
        )
    if value_range:
        raise InputError(
            f"value_range {shown(value_range)}: the builtin faces have 8 bits; leave "
            "value_range empty"
        )


def check_builtin(size, n_a, n_b, n_eval):
    """Raise InputError for built-in faces that cannot be drawn: (height, width), and how many."""
    for name, n in [("builtin_a", n_a), ("builtin_b", n_b), ("builtin_eval", n_eval)]:
        if type(n) is not int or not 1 <= n < MOST:
            raise InputError(
                f"{name} {shown(n)}: expected a whole number of images, 1 or more, and less than "
                f"{MOST:,}"
            )
    if size[0] != size[1] or size[0] < 16:
        raise InputError(
            f"image_size {size[0]}x{size[1]}: builtin faces are square, 16 pixels or more a side; "
            "set image_size to one number"
        )


def draw_builtin(size, n_a, n_b, n_eval, seed):
    """The built-in faces as Domains, with the attributes that each was drawn from."""
    check_builtin(size, n_a, n_b, n_eval)
    arrays, tables, facts = {}, {}, []
    with Progress("drawing faces", n_a + n_b + 4 * n_eval, unit="images") as progress:
        for domain, n_train in zip(DOMAINS, (n_a, n_b)):
            for split in SPLITS:
                images, tables[split, domain] = draw_faces(
                    domain,
                    n_train if split == "train" else n_eval,
                    size[0],
                    seed,
                    split,
                    progress.add,
                )
                arrays.setdefault(domain, []).append(images.transpose(0, 3, 1, 2))
                facts += [
                    {
                        "split": split,
                        "domain": domain,
                        "file": f"{split}/{domain}/{i:05}.png",
                        "width": size[1],
                        "height": size[0],
                        "mode": "RGB",
                        "format": "drawn",
                        "bytes": x.nbytes,
                        "sha256": hashlib.sha256(x).hexdigest(),
                        "remark": "",
                        "reason": "",
                    }
                    for i, x in enumerate(images)
                ]
    arrays = {domain: np.concatenate(parts) for domain, parts in arrays.items()}
    attributes = {}
    for split in SPLITS:
        attributes[split] = tuple(tables[split, domain] for domain in DOMAINS)
    notes = [f"A is {DOMAINS[0]}, B is {DOMAINS[1]}: faces drawn in code with seed {seed}"]
    return make_domains(
        "builtin",
        DOMAINS,
        arrays,
        pd.DataFrame(facts, columns=FACTS),
        notes,
        {domain: digest(images) for domain, images in arrays.items()},
        {},
        attributes,
        {"size": size[0], "n_eval": n_eval, "seed": seed},
    )


def make_domains(name, domains, arrays, facts, notes, digests, ranges, attributes=None, drawn=None):
    """Put a Domains together: arrays of a domain hold train, val and test one after another, as
    the facts do. domains: their names as the folders are called, by which ranges go; everything
    else has them as they are printed. A range of values is in the fingerprint, but for that of
    all 16 bits, by which such files were always read."""
    spelt = domains
    domains = tuple(map(printable, domains))
    sides = {}
    for domain in domains:
        images = torch.from_numpy(arrays[domain])
        split = facts.split[(facts.domain == domain) & (facts.reason == "")]
        sides[domain] = dict(zip(SPLITS, images.split([int((split == s).sum()) for s in SPLITS])))
    pairs = []
    for split in SPLITS:
        pairs.append(Pair(*[sides[domain][split] for domain in domains]))
    known = []
    for called, domain in zip(spelt, domains):
        counts = [len(sides[domain][split]) for split in SPLITS]
        known.append((called, counts, tuple(arrays[domain].shape), digests[domain]))
    images = tuple(side for pair in pairs for side in pair)
    stamp = Stamp(seal(known, ranges), images, versions(images), tuple(spelt), ranges)
    return Domains(
        name,
        domains,
        *pairs,
        notes,
        facts,
        attributes,
        drawn,
        stamp,
        value_ranges={printable(called): ends for called, ends in ranges.items()},
    )


def seal(known, ranges):
    """The fingerprint of domains of which (name, images in each split, shape of all, digest) is
    known; a range of values that was chosen is in it too."""
    known = [
        side if ranges.get(side[0], FULL) == FULL else (*side, ranges[side[0]]) for side in known
    ]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def versions(images):
    """How often each tensor was written to in place, as torch counts it (not in inference mode)."""
    return tuple(0 if x.is_inference() else x._version for x in images)


def digest_all(sides):
    """decode.digest of the images of several tensors, one after another."""
    total = hashlib.sha256()
    for side in sides:
        for images in side.split(CHUNK):
            total.update(images.contiguous().cpu().numpy())
    return total.hexdigest()


def check_domains(data):
    """Raise InputError unless a Domains whose images were changed or made by hand is one that
    can be trained on and scored."""
    for split in SPLITS:
        for i, side in enumerate(getattr(data, split)):
            name = f"data {data.name}, {split}.{'ab'[i]}"
            if torch.is_tensor(side) and side.is_floating_point():
                raise InputError(
                    f"{name} of {side.dtype}: expected uint8 in 0 to 255; "
                    "ganlib.evaluate.translate.to_bytes makes it "
                    "of floats in [-1, 1]"
                )
            check_images(side, name)
            rows = len(data.attributes[split][i]) if data.attributes else len(side)
            if rows != len(side):
                raise InputError(
                    f"{name}: {len(side)} images and {rows} rows of attributes; change both, or "
                    "leave out what is known of the images by _replace(attributes=None, drawn=None)"
                )
            if data.drawn and split != "train" and len(side) != data.drawn["n_eval"]:
                raise InputError(
                    f"{name}: {len(side)} images, and {data.drawn['n_eval']} counterparts of them "
                    "are known; leave these out by _replace(drawn=None)"
                )


ADVICE = {  # where the channels are -> what to do about it
    "single": "images[None] makes a batch of a single image",
    "last": "images.permute(0, 3, 1, 2) puts the channels first",
    1: "images.expand(-1, 3, -1, -1) makes RGB of grey",
    4: "images[:, :3] leaves transparency out",
}


def check_images(images, name="images"):
    """Raise InputError unless images are a tensor (N, 3, H, W), N 1 or more, of uint8 or of
    floats in [-1, 1]."""
    if not torch.is_tensor(images):
        raise InputError(
            f"{name}: expected a tensor (N, 3, H, W), not a "
            f"{printable(type(images).__name__)[:100]}"
        )
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        kind = (
            "single"
            if len(shape) == 3
            else "last"
            if len(shape) == 4 and shape[3] in (1, 3, 4)
            else (*shape, 0, 0)[1]
        )
        advice = f"; {ADVICE[kind]}" if kind in ADVICE and 0 not in shape else ""
        raise InputError(
            f"{name} of shape {shape}: expected (N, 3, H, W), one image or more{advice}"
        )
    check_range(images, name)


def check_range(images, name="images"):
    """Raise InputError unless images are of uint8 or of floats in [-1, 1]."""
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(
            f"{name} of {images.dtype}: expected uint8 in 0 to 255, or floats in [-1, 1]"
        )
    low, high = map(float, images.aminmax()) if images.numel() else (0.0, 0.0)
    if not low <= high:
        raise InputError(f"{name}: a pixel is not a number (NaN); expected floats in [-1, 1]")
    if not -1 - ROUNDING <= low <= high <= 1 + ROUNDING:
        raise InputError(
            f"{name}: floats from {low:.4g} to {high:.4g}, expected [-1, 1]; x / 127.5 - 1 makes "
            "it of numbers in 0 to 255, 2 * x - 1 of numbers in 0 to 1, x.clamp(-1, 1) cuts off "
            "what is beyond"
        )


def load_truth(images, split="test"):
    """The right answers for built-in faces, for scoring only: a Pair whose `b` holds each face of A
    drawn as a selfie, and whose `a` each face of B drawn as anime: uint8 (N, 3, H, W), in the order
    of the images that they are the counterparts of.

    Not part of Domains, so that no training code can reach it. Raises InputError for files and
    for split "train"."""
    if images.drawn is None:
        raise InputError(
            f"data {images.name}: the counterparts of its images are known to nobody; expected "
            "builtin faces"
        )
    n = images.drawn["n_eval"]
    size = images.drawn["size"]
    seed = images.drawn["seed"]
    with Progress("drawing the true counterparts", 2 * n, unit="images") as progress:
        of_a, of_b = [
            torch.from_numpy(
                draw_counterparts(domain, n, size, seed, split, progress.add)
                .transpose(0, 3, 1, 2)
                .copy()
            )
            for domain in DOMAINS
        ]
    return Pair(of_b, of_a)


def to_float(images):
    """uint8 (..., H, W) -> float32 in [-1, 1], in NCHW, which a CPU computes faster: drawn and
    decoded images lie as they were made, channels last, and networks would keep to that. Floats
    in [-1, 1] keep their values (those in 0 to 1 cannot be told from them); InputError for
    anything else."""
    check_range(images)
    floats = images.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.div(127.5).sub(1) if images.dtype == torch.uint8 else floats


def pair_batches(pair, batch_size, seed, device, first=0, part=(0, 1), shift=0, flip=False):
    """Endless (real_a, real_b) batches in [-1, 1]. Partners are drawn anew each pass over A, by
    (seed, pass) alone; how images are moved and mirrored (see move), by (seed, batch).

    A domain with fewer images than needed is used again from another order; a last part of a
    batch is dropped. first: batches to leave out, of a run that goes on. part: (i, n) for the
    i-th of n equal parts of each batch."""
    a, b = [x.to(device) if fits(x, device) else x for x in pair]
    n = max(len(a), batch_size)
    a_pass = n // batch_size
    mine = batch_size // part[1]
    for i in count(first // a_pass):
        rng = np.random.default_rng([seed, i])
        orders = [torch.from_numpy(draw_order(len(x), n, rng)).to(x.device) for x in (a, b)]
        for k in range(first % a_pass if i == first // a_pass else 0, a_pass):
            at = k * batch_size + part[0] * mine
            batch = [
                to_float(x[order[at : at + mine]].to(device)) for x, order in zip((a, b), orders)
            ]
            if shift or flip:
                moves = np.random.default_rng([seed, i, k + 1])
                batch = [move(x, shift, flip, moves, batch_size, part[0] * mine) for x in batch]
            yield tuple(batch)


def move(images, shift, flip, rng, n, first):
    """Images (B, 3, H, W) moved by up to `shift` pixels each way, their borders mirrored, and with
    flip half of them mirrored left to right. They are those from `first` on of a batch of n, for
    all of which is drawn, so that a part of a batch is moved as in the whole."""
    mirrored = rng.random(n) < 0.5
    tops, lefts = rng.integers(0, 2 * shift + 1, (2, n))
    height, width = images.shape[-2:]
    wide = F.pad(images, (shift,) * 4, mode="reflect")
    moved = []
    for i, image in enumerate(wide, start=first):
        image = image[:, tops[i] : tops[i] + height, lefts[i] : lefts[i] + width]
        moved.append(image.flip(-1) if flip and mirrored[i] else image)
    return torch.stack(moved)


def fits(images, device):
    """Whether a domain may lie on the device: on a GPU, in an eighth of its memory."""
    return (
        torch.device(device).type != "cuda"
        or images.nbytes < torch.cuda.get_device_properties(device).total_memory / 8
    )


def draw_order(n_images, n, rng):
    """n indices below n_images: whole permutations, one after another, the last one cut."""
    return np.concatenate([rng.permutation(n_images) for _ in range(-(-n // n_images))])[:n]


def fixed_batches(pair, batch_size, device, limit=None):
    """(real_a, real_b) batches of A[i] with B[i], each pass alike; the smaller domain starts
    again at its end."""
    n = min(max(len(pair.a), len(pair.b)), limit or 10**9)
    for k in range(0, n, batch_size):
        index = torch.arange(k, min(k + batch_size, n))
        yield tuple(to_float(x[index % len(x)].to(device)) for x in pair)
