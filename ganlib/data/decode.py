"""From image files to arrays of one size: each file is decoded once, into memory or, if there
are many, onto disk."""

import hashlib
import json
import os
import re
import shutil
import warnings

import numpy as np
import pandas as pd

from ganlib.data import formats, tiff

pass
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import get_ident

from PIL import Image, ImageOps, UnidentifiedImageError

from ganlib.data.ranges import CLIPPED, NOT_FINITE, find_range, is_wide, measure_spans, scale
from ganlib.errors import InputError, printable
from ganlib.system.files import CACHE, NO_SPACE, raise_unwritable, write_atomic

# Bytes of pixels in memory; a larger data set lies on disk, decoded, and is mapped
CACHE_ABOVE = 256 * 2**20
# Of what decode_image makes of a file: another one does not read the cache of this one
CACHE_VERSION = 1
# Images in work at a time, so that memory does not grow with the data set
CHUNK = 256
MAX_PIXELS = 100_000_000  # of one image before it is scaled
Image.init()
FORMATS = [
    kind
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
    if kind in Image.OPEN
]  # none that starts a program, as EPS does
FACTS = [
    "split",
    "domain",
    "file",
    "width",
    "height",
    "mode",
    "format",
    "bytes",
    "sha256",
    "remark",
    "reason",
]


TURN = Image.Transpose
TURNS = {
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_270,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_90,
}  # of EXIF


def decode_image(content, size, value_range=None):
    """The bytes of an image -> uint8 (3, H, W) RGB of size (H, W), and what is known of the file (a
    dict, see FACTS). size None: that of the file.

    EXIF orientation is applied, transparency laid on white, the first frame taken; proportions
    are kept: scaled by an antialiased filter to cover the size, the rest cropped off evenly. Of
    a file of more than 8 bits a pixel the values LOW .. HIGH of value_range are black .. white
    (None: those of this file alone, see ranges), and the dict holds more: its `values` (low,
    high) and the `range` taken. Raises nearly anything on a broken file."""
    try:
        return decode_pixels(content, size, value_range)
    except Exception as error:
        bare = strip_png(content)
        if bare is None:
            raise
        try:
            pixels, facts = decode_pixels(bare, size, value_range)
        except Exception:
            raise error from None
        remarks = [facts["remark"], "broken or too large texts in it, left out"]
        return pixels, facts | {"remark": "; ".join(filter(None, remarks))}


def decode_pixels(content, size, value_range):
    """What decode_image does, of a file whose parts are all sound."""
    with Image.open(BytesIO(content), formats=formats.openers(content, FORMATS)) as image:
        facts = {
            "width": image.width,
            "height": image.height,
            "mode": image.mode,
            "format": image.format,
        }
        remarks = []
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"{image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} that are "
                "decoded"
            )
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            remarks.append(f"first of {image.n_frames} frames")
        if image.format == "TIFF":
            remarks += tiff.mend(image)
        if image.format == "PNG" and content[24:25] == b"\x10" and not is_wide(image.mode):
            remarks.append(tiff.UPPER)
        image, turned = turn(image)
        facts |= {"width": image.width, "height": image.height}
        remarks += turned
        if is_wide(image.mode):  # convert("RGB") would clip it to white
            image, clipped, more = narrow(image, value_range)
            facts |= more
            remarks += clipped
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                remarks.append("transparent, laid on white")
        image = flatten(image)
        if size:
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), facts | {
            "remark": "; ".join(remarks)
        }


def flatten(image):
    """An image of 8 bits a channel as RGB, what is transparent in it laid on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def turn(image):
    """(The image, loaded, as its EXIF wants it turned; remarks). Broken EXIF turns nothing."""
    try:
        orientation = image.getexif().get(0x0112)
        if orientation is None and image.info.get("exif"):
            Image.Exif().load(image.info["exif"])  # broken in a JPEG, Pillow does not say so
    except Exception:  # of bytes that are no EXIF, nearly anything
        image.load()
        return image, ["its EXIF is broken, not turned"]
    image.load()
    if orientation in (None, 0, 1):
        return image, []
    if orientation not in TURNS:
        return image, ["its EXIF has an orientation that is none, not turned"]
    if image.format != "TIFF":  # which Pillow turns
        image = image.transpose(TURNS[orientation])
    return image, ["turned as its EXIF says"]


def narrow(image, value_range):
    """An image of more than 8 bits a pixel as one of 8: (the image, remarks, its values and the
    range that was taken)."""
    values = np.asarray(image)
    if image.format == "TIFF" and tiff.is_unsigned(image):
        values = values.view(np.uint32)
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("no value in it is a finite number")
    span = measure_spans(values[finite])
    low, high = value_range or find_range([span])
    remarks = [] if finite.all() else [NOT_FINITE]
    if (values[finite] < low).any() or (values[finite] > high).any():
        remarks.append(CLIPPED)
    pixels = scale(values, (low, high))
    if image.format == "TIFF" and tiff.is_white_zero(image):
        pixels = 255 - pixels
    return Image.fromarray(pixels), remarks, {"values": span, "range": (low, high)}


def strip_png(content):
    """A PNG without all that is not needed for its pixels (texts, EXIF, profiles, frames), or None
    where it is no PNG."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    kept = [content[:8]]
    at = 8
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def examine_file(name, read, size, value_range=None):
    """decode_image of a named file: (pixels or None, its facts); the reason says why there are
    no pixels."""
    facts = {"file": printable(name), "reason": ""}
    content = b""
    try:
        content = read(name)
        facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if formats.is_raw(name, content):
            raise UnidentifiedImageError
        pixels, more = decode_image(content, size, value_range)
        return pixels, facts | more
    except UnidentifiedImageError:
        kind = formats.find_kind(name, content, FORMATS)
        facts |= {"format": kind.name} if kind else {}
        unknown = f"no image ({', '.join(FORMATS)}), or broken at its start"
        reason = formats.explain(kind) if kind else tiff.explain(content) or unknown
        reason = reason if content else "empty"
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        reason = tiff.explain(content) or str(error) or type(error).__name__
    return None, facts | {
        "reason": printable(re.sub(r" at 0x[0-9a-f]+", "", reason.split("\n")[0]))[:200]
    }


def allocate(n, size, folder, name):
    """Room for n images: an array in memory, or a file in the folder mapped into memory."""
    shape = (n, 3, *size)
    if folder is None or n == 0:
        return np.empty(shape, np.uint8)
    with open(folder / name, "wb") as file:
        # A full disk is told now, not by a killed process
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))
    return np.memmap(folder / name, np.uint8, "r+", shape=shape)


def decode_all(names, read, size, folder, name, tick, value_range=None):
    """Decode files in their order: (uint8 (N, 3, H, W) of those that could be read, the facts of
    all). Without a value_range those of more than 8 bits are each read by its own (see rescale)."""
    out = allocate(len(names), size, folder, name)
    facts = []
    n = 0
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        # Of Pillow, about oddities of files that it reads all the same
        warnings.simplefilter("ignore")
        for i in range(0, len(names), CHUNK):
            part = names[i : i + CHUNK]
            for pixels, found in pool.map(lambda f: examine_file(f, read, size, value_range), part):
                facts.append(found)
                if pixels is not None:
                    out[n] = pixels
                    n += 1
            tick(len(part))
    return out[:n], facts


def rescale(images, facts, names, read, size, value_range, progress):
    """Decode those of decode_all's files again that it has read by another range than their
    domain's: in place, in images and facts."""
    slots = np.cumsum([not found["reason"] for found in facts]) - 1
    again = [i for i, found in enumerate(facts) if found.get("range", value_range) != value_range]
    progress.steps += len(again)
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for k in range(0, len(again), CHUNK):
            rows = again[k : k + CHUNK]
            part = [names[i] for i in rows]
            results = pool.map(lambda f: examine_file(f, read, size, value_range), part)
            for i, (pixels, found) in zip(rows, results):
                if pixels is None or found["sha256"] != facts[i]["sha256"]:
                    raise InputError(
                        f"{found['file']}: has changed while it was read; read the data again"
                    )
                images[slots[i]], facts[i] = pixels, found
            progress.add(len(rows))


def reorder(images, order, folder, name):
    """images[order] without a second copy in memory of what lies on disk."""
    if (order == np.arange(len(order))).all():
        return images[: len(order)]
    out = allocate(len(order), images.shape[2:], folder, name)
    for i in range(0, len(order), CHUNK):
        out[i : i + CHUNK] = images[order[i : i + CHUNK]]
    if isinstance(images, np.memmap):
        os.unlink(images.filename)
    return out


def digest(images):
    """sha256 of the pixels, in steps, so that what lies on disk is not all read at once."""
    total = hashlib.sha256()
    for i in range(0, len(images), CHUNK):
        total.update(np.ascontiguousarray(images[i : i + CHUNK]))
    return total.hexdigest()


class Cache:
    """A folder of reports/cache for the decoded images of one data set, at one size, as its files
    are now.

    Built under another name and renamed when it is whole. Small data sets have none. Any of them
    may be deleted. others: the files that are not decoded, with the reason. ranges: those of the
    values by domain, as far as they are known before (what is found comes from the files)."""

    def __init__(self, source, plan, others, size, ranges=None):
        key = [CACHE_VERSION, size, [(*entry, source.files[entry[2]]) for entry in plan], others]
        key = json.dumps(key + ([ranges] if ranges else []))  # ASCII: any name will do
        name = re.sub(r"[^A-Za-z0-9]+", "-", source.name)[:40]
        self.folder = CACHE / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        self.part = self.folder.with_name(f".{self.folder.name}.{get_ident()}.{os.getpid()}.part")
        self.images = len(plan)
        self.needed = len(plan) * 3 * size[0] * size[1]
        self.wanted = self.needed > CACHE_ABOVE

    def __enter__(self):
        if not self.wanted:
            return None
        for part in CACHE.glob(".*.part"):  # of processes that were killed
            if not Path("/proc", part.name.split(".")[-2]).exists():
                shutil.rmtree(part, ignore_errors=True)
        try:
            self.part.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"{self.part.parent}: cannot be written ({error.strerror}); "
                f"{self.needed / 1e9:.1f} GB of decoded images go there: make it writable, or a "
                "link to a place that is"
            ) from None
        return self.part

    def __exit__(self, kind, error, trace):
        shutil.rmtree(self.part, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise_unwritable(
                error, f"{self.folder} ({self.needed / 1e9:.1f} GB of decoded images)", self.needed
            )

    def save(self, final, arrays, facts, notes, ranges):
        """Give back what was decoded, with its digests; if it lies in the part folder, keep that
        as the Cache `final`."""
        digests = {domain: digest(images) for domain, images in arrays.items()}
        if self.wanted:
            for images in arrays.values():
                if isinstance(images, np.memmap):
                    images.flush()
            parts = {
                domain: (Path(getattr(images, "filename", "")).name, images.shape)
                for domain, images in arrays.items()
            }
            write_atomic(
                self.part / "cache.json",
                json.dumps(
                    {
                        "arrays": parts,
                        "notes": notes,
                        "digests": digests,
                        "facts": facts.to_dict("list"),
                        "ranges": ranges,
                    }
                ),
            )
            return self.move(final, self.part) or (arrays, facts, notes, digests, ranges)
        return arrays, facts, notes, digests, ranges

    def move(self, final, folder=None):
        """Rename this Cache, or the folder, to be the Cache `final`; what that holds then, or
        None."""
        if final.read() is None:
            shutil.rmtree(final.folder, ignore_errors=True)  # damaged, if there is one
        with suppress(OSError):  # another process was quicker: its folder is the same
            (folder or self.folder).rename(final.folder)
        return final.read()

    def load(self):
        """(arrays by domain, mapped from disk; facts; notes; digests; ranges), or None where there
        is none, or one that is damaged."""
        return self.read() if self.wanted else None

    def read(self):
        """What load gives, of a Cache that may be smaller than those that are wanted."""
        try:
            kept = json.loads((self.folder / "cache.json").read_text(encoding="utf-8"))
            arrays = {
                domain: map_images(self.folder / Path(name).name, shape)
                for domain, (name, shape) in kept["arrays"].items()
            }
            facts = pd.DataFrame(kept["facts"], columns=FACTS)
            if "ranges" not in kept and was_misread(facts):
                return None
            ranges = {domain: tuple(ends) for domain, ends in kept.get("ranges", {}).items()}
            return arrays, facts, kept["notes"], kept["digests"], ranges
        except Exception:  # what is damaged is nearly anything
            return None


def was_misread(facts):
    """Whether the files of a cache from before there were ranges may be read otherwise now."""
    return ((facts.reason != "") | (facts.format == "TIFF") | facts["mode"].map(is_wide)).any()


def map_images(path, shape):
    """The images (N, 3, H, W) in a file of the cache; what is changed in them is changed in
    memory alone."""
    return (
        np.memmap(path, np.uint8, "c", shape=tuple(shape))
        if shape[0]
        else np.empty(shape, np.uint8)
    )
