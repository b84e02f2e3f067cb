"""Which images are for training, validation and test where a data set does not say: by content,
near-duplicates together, and written down once in a manifest."""

import hashlib
import io

import imagehash
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ganlib.data.ranges import check_range, is_wide
from ganlib.errors import InputError, printable
from ganlib.faces import SPLITS
from ganlib.show.progress import Progress
from ganlib.system.files import write_atomic

HELD_OUT = 0.1  # share of a domain that goes into each split that is missing
HASH_BITS = 8  # of 64 in which the perceptual hashes of near-duplicates may differ ...
DIFFERENCE = 0.17  # ... and how far their thumbnails may lie apart, in standard deviations


def fingerprints(images, rows=None):
    """What near-duplicates are found by: perceptual hashes (N,) uint64 (imagehash.phash) and
    thumbnails (N, 768) uint8, 16x16 pixels of RGB, of uint8 images (N, 3, H, W), or of those in
    the given rows."""
    rows = np.arange(len(images)) if rows is None else rows
    hashes = np.empty(len(rows), np.uint64)
    thumbs = np.empty((len(rows), 768), np.uint8)
    with Progress("taking fingerprints of the images", len(rows), unit="images") as progress:
        for i in range(0, len(rows), 256):
            part = torch.as_tensor(np.asarray(images[rows[i : i + 256]]))
            thumbs[i : i + 256] = F.adaptive_avg_pool2d(part.float(), 16).round().flatten(1).numpy()
            for k, x in enumerate(part.permute(0, 2, 3, 1).numpy()):
                bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(x))).hash
                hashes[i + k] = int("".join("1" if bit else "0" for bit in bits.flat), 2)
            progress.add(len(part))
    return hashes, thumbs


def near_duplicates(hashes, thumbs):
    """Pairs of images that show the same picture in another size, quality or brightness: int (K,
    2), i < j. Of images with equal thumbnails, the first is compared with the others. Images
    without contrast are like no other.

    Candidates have like hashes; between their thumbnails, each brought to mean 0 and standard
    deviation 1, the mean difference must be small. (Both bounds: by eye, on 8,000 real faces,
    and so that no two of 18,000 built-in ones are alike.)"""
    spread = np.concatenate(
        [np.zeros(0), *[thumbs[i : i + 4096].std(1) for i in range(0, len(thumbs), 4096)]]
    )
    first = (
        pd.Series(range(len(thumbs)))
        .groupby([thumb.tobytes() for thumb in thumbs])
        .transform("first")
        .to_numpy()
    )
    copies = np.flatnonzero((first < np.arange(len(first))) & (spread > 1))
    found = [np.stack([first[copies], copies], 1)]
    rows = np.flatnonzero((first == np.arange(len(first))) & (spread > 1))
    hashes = hashes[rows]
    thumbs = thumbs[rows]
    with Progress("looking for near-duplicates", len(rows), unit="images") as progress:
        for i in range(0, len(rows), 512):
            near = np.bitwise_count(hashes[i : i + 512, None] ^ hashes[None, i:]) <= HASH_BITS
            pairs = np.argwhere(near)
            pairs = pairs[pairs[:, 0] < pairs[:, 1]] + i
            for k in range(0, len(pairs), 4096):
                a, b = [standardise(thumbs[column]) for column in pairs[k : k + 4096].T]
                found.append(rows[pairs[k : k + 4096][np.abs(a - b).mean(1) < DIFFERENCE]])
            progress.add(len(hashes[i : i + 512]))
    return np.concatenate(found)


def standardise(thumbs):
    """Each thumbnail (K, 768) with mean 0 and standard deviation 1."""
    thumbs = thumbs.astype(np.float32)
    return (thumbs - thumbs.mean(1, keepdims=True)) / thumbs.std(1, keepdims=True)


def group(images, rows, digests):
    """Label (n,) of the group that each image in n rows is in: equal files and near-duplicates
    together, in chains too."""
    same = pd.Series(range(len(digests))).groupby(list(digests)).transform("first").to_numpy()
    pairs = np.concatenate(
        [near_duplicates(*fingerprints(images, rows)), np.stack([np.arange(len(same)), same], 1)]
    )
    links = coo_matrix(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(same), len(same))
    )
    return connected_components(links, directed=False)[1]


def assign(digests, groups, missing):
    """The split of each image: (n,) of str. A tenth, at least one, goes to each of the `missing`
    splits, whole groups only; the rest is train. It depends on the images' contents (their
    digests), not on names or order."""
    split = np.full(len(digests), "train", object)
    room = dict.fromkeys(missing, max(1, round(HELD_OUT * len(digests))))
    members = {}
    for i, label in enumerate(groups):
        members.setdefault(label, []).append(i)
    by_content = sorted(
        members.values(), key=lambda m: hashlib.sha256(min(digests[i] for i in m).encode()).digest()
    )
    for member in by_content:
        to = next((s for s in missing if room[s] >= len(member)), None)
        if to:
            split[member] = to
            room[to] -= len(member)
    # Where no group is as small as its room: the smallest that is left, as long as train keeps one
    for to in missing:
        left = [member for member in by_content if split[member[0]] == "train"]
        if not (split == to).any() and len(left) > 1:
            split[min(left, key=len)] = to
    return split


def read_manifest(path, files, strict=True):
    """{file as it is printed: (sha256, split, range)} of a manifest, None where there is none; the
    range of values (low, high) is None for a file that has none. InputError where it cannot be
    used, or, if strict, has files that are not there."""
    if path is None or not path.exists():
        return None
    again = "put it right, or delete it to split anew"
    try:
        if not path.is_file():
            raise ValueError("not a regular file")  # a pipe would be read forever
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        low, high = [table.get(name, [""] * len(table)) for name in ("low", "high")]
        ranges = map(read_range, low, high)
        rows = dict(zip(table["file"], zip(table["sha256"], table["split"], ranges)))
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"manifest {path}: expected a CSV with the columns file, sha256, split "
            f"({printable(error)}); {again}"
        ) from None
    if not rows:
        raise InputError(f"manifest {path}: no row in it; {again}")
    there = set(map(printable, files))
    for file, (_, split, _) in rows.items():
        if split not in SPLITS:
            raise InputError(
                f"manifest {path}: split {split!r} of {file}, expected one of {SPLITS}; {again}"
            )
        if strict and file not in there:
            raise InputError(
                f"manifest {path}: {file} is in it, but not in the data; put the file back, take "
                "its row out, or delete the manifest to split anew"
            )
    return {file: row for file, row in rows.items() if file in there}


def read_range(low, high):
    """(low, high) of two texts of a manifest, None for empty ones; ValueError for no range."""
    if low == high == "":
        return None
    if ends := check_range([float(low), float(high)]):
        return ends
    raise ValueError(f"low {low}, high {high}: no range")


def write_manifest(path, facts, ranges):
    """Write down which file is in which split, with its sha256, and for files of more than 8 bits
    the range of values of their domain (see ranges); a note where that cannot be done."""
    text = io.StringIO()
    used = facts[facts.reason == ""]
    table = used[["file", "sha256", "split"]]
    if ranges:
        kinds = zip(used.domain, used["mode"])
        ends = [ranges[domain] if is_wide(mode) else ("", "") for domain, mode in kinds]
        low, high = zip(*ends)
        table = table.assign(low=list(map(str, low)), high=list(map(str, high)))
    table.to_csv(text, index=False)
    try:
        write_atomic(path, text.getvalue())
    except (OSError, InputError) as error:
        return (
            f"the splits could not be written to {path} ({printable(error)}); they come from the "
            "files' contents, and stay as they are while the files and image_size do"
        )
    return (
        f"the splits are written down in {path.name} and stay as they are; delete it to split anew"
    )
