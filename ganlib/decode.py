"""From image files to arrays of one size: each file is decoded once, into memory or, if there are many, onto disk."""

import hashlib
import json
import os
import re
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import get_ident

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

from ganlib.files import CACHE, NO_SPACE, InputError, explain, printable, write_atomic

CACHE_ABOVE = 256 * 2**20   # bytes of pixels in memory; a larger data set lies on disk, decoded, and is mapped
VERSION = 1                 # of what decode_image makes of a file: another one does not read the cache of this one
CHUNK = 256                 # images in work at a time, so that memory does not grow with the data set
MAX_PIXELS = 100_000_000    # of one image before it is scaled
Image.init()
FORMATS = [kind for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
           if kind in Image.OPEN]   # none that starts a program, as EPS does
FACTS = ["split", "domain", "file", "width", "height", "mode", "format", "bytes", "sha256", "remark", "reason"]


def decode_image(content, size):
    """The bytes of an image -> uint8 (3, H, W) RGB of size (H, W), and what is known of the file (a dict, see FACTS).

    EXIF orientation is applied, transparency laid on white, the first frame taken; proportions are kept: scaled by an
    antialiased filter to cover the size, the rest cropped off evenly. Raises nearly anything on a broken file.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        facts, remarks = {"width": image.width, "height": image.height, "mode": image.mode, "format": image.format}, []
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} that are decoded")
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            remarks.append(f"first of {image.n_frames} frames")
        if image.getexif().get(0x0112, 1) not in (0, 1):
            remarks.append("turned as its EXIF says")
        image = ImageOps.exif_transpose(image)
        facts |= {"width": image.width, "height": image.height}
        if image.mode.startswith(("I", "F")):   # 16 bits of grey, or numbers: convert("RGB") would clip them to white
            values = np.nan_to_num(np.asarray(image, dtype=np.float64))
            top = 65535.0 if image.mode.startswith("I;") or values.max() > 255 else 255.0 if image.mode == "I" or values.max() > 1 else 1.0
            image = Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                remarks.append("transparent, laid on white")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert("RGB"), (size[1], size[0]), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)), facts | {"remark": "; ".join(remarks)}


def examine_file(name, read, size):
    """decode_image of a named file: (pixels or None, its facts); the reason says why there are no pixels."""
    facts = {"file": printable(name), "reason": ""}
    try:
        content = read(name)
        facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        pixels, more = decode_image(content, size)
        return pixels, facts | more
    except UnidentifiedImageError:
        reason = "empty" if not content else f"no image ({', '.join(FORMATS)}), or broken at its start"
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        reason = str(error) or type(error).__name__
    return None, facts | {"reason": printable(re.sub(r" at 0x[0-9a-f]+", "", reason.split("\n")[0]))[:200]}


def allocate(n, size, folder, name):
    """Room for n images: an array in memory, or a file in the folder mapped into memory."""
    shape = (n, 3, *size)
    if folder is None or n == 0:
        return np.empty(shape, np.uint8)
    with open(folder / name, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))   # a full disk is told now, not by a killed process
    return np.memmap(folder / name, np.uint8, "r+", shape=shape)


def decode_all(names, read, size, folder, name, tick):
    """Decode files in their order: (uint8 (N, 3, H, W) of those that could be read, the facts of all)."""
    out, facts, n = allocate(len(names), size, folder, name), [], 0
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")     # of Pillow, about oddities of files that it reads all the same
        for i in range(0, len(names), CHUNK):
            for pixels, found in pool.map(lambda f: examine_file(f, read, size), names[i:i + CHUNK]):
                facts.append(found)
                if pixels is not None:
                    out[n] = pixels
                    n += 1
            tick(len(names[i:i + CHUNK]))
    return out[:n], facts


def reorder(images, order, folder, name):
    """images[order] without a second copy in memory of what lies on disk."""
    if (order == np.arange(len(order))).all():
        return images[:len(order)]
    out = allocate(len(order), images.shape[2:], folder, name)
    for i in range(0, len(order), CHUNK):
        out[i:i + CHUNK] = images[order[i:i + CHUNK]]
    if isinstance(images, np.memmap):
        os.unlink(images.filename)
    return out


def digest(images):
    """sha256 of the pixels, in steps, so that what lies on disk is not all read at once."""
    total = hashlib.sha256()
    for i in range(0, len(images), CHUNK):
        total.update(np.ascontiguousarray(images[i:i + CHUNK]))
    return total.hexdigest()


class Cache:
    """A folder of reports/cache for the decoded images of one data set, at one size, as its files are now.

    Built under another name and renamed when it is whole. Small data sets have none. Any of them may be deleted. others:
    the files that are not decoded, with the reason.
    """

    def __init__(self, source, plan, others, size):
        key = json.dumps([VERSION, size, [(*entry, source.files[entry[2]]) for entry in plan], others])    # ASCII: any name will do
        name = re.sub(r"[^A-Za-z0-9]+", "-", source.name)[:40]
        self.folder = CACHE / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        self.part = self.folder.with_name(f".{self.folder.name}.{get_ident()}.{os.getpid()}.part")
        self.images, self.needed = len(plan), len(plan) * 3 * size[0] * size[1]
        self.wanted = self.needed > CACHE_ABOVE

    def __enter__(self):
        if not self.wanted:
            return None
        for part in CACHE.glob(".*.part"):      # of processes that were killed
            if not Path("/proc", part.name.split(".")[-2]).exists():
                shutil.rmtree(part, ignore_errors=True)
        try:
            self.part.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{self.part.parent}: cannot be written ({error.strerror}); {self.needed / 1e9:.1f} GB of "
                             "decoded images go there: make it writable, or a link to a place that is") from None
        return self.part

    def __exit__(self, kind, error, trace):
        shutil.rmtree(self.part, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            explain(error, f"{self.folder} ({self.needed / 1e9:.1f} GB of decoded images)", self.needed)

    def save(self, final, arrays, facts, notes):
        """Give back what was decoded, with its digests; if it lies in the part folder, keep that as the Cache `final`."""
        digests = {domain: digest(images) for domain, images in arrays.items()}
        if self.wanted:
            for images in arrays.values():
                if isinstance(images, np.memmap):
                    images.flush()
            parts = {domain: (Path(getattr(images, "filename", "")).name, images.shape) for domain, images in arrays.items()}
            write_atomic(self.part / "cache.json", json.dumps({"arrays": parts, "notes": notes, "digests": digests,
                                                               "facts": facts.to_dict("list")}))
            return self.move(final, self.part) or (arrays, facts, notes, digests)
        return arrays, facts, notes, digests

    def move(self, final, folder=None):
        """Rename this Cache, or the folder, to be the Cache `final`; what that holds then, or None."""
        if final.read() is None:
            shutil.rmtree(final.folder, ignore_errors=True)     # damaged, if there is one
        with suppress(OSError):     # another process was quicker: its folder is the same
            (folder or self.folder).rename(final.folder)
        return final.read()

    def load(self):
        """(arrays by domain, mapped from disk; facts; notes; digests), or None where there is none, or one that is damaged."""
        return self.read() if self.wanted else None

    def read(self):
        """What load gives, of a Cache that may be smaller than those that are wanted."""
        try:
            kept = json.loads((self.folder / "cache.json").read_text(encoding="utf-8"))
            arrays = {domain: map_images(self.folder / Path(name).name, shape) for domain, (name, shape) in kept["arrays"].items()}
            return arrays, pd.DataFrame(kept["facts"], columns=FACTS), kept["notes"], kept["digests"]
        except Exception:   # what is damaged is nearly anything
            return None


def map_images(path, shape):
    """The images (N, 3, H, W) in a file of the cache; what is changed in them is changed in memory alone."""
    return np.memmap(path, np.uint8, "c", shape=tuple(shape)) if shape[0] else np.empty(shape, np.uint8)
