"""Files and folders of pictures through a model."""

import glob
import hashlib
import json
import os
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ganlib.data.decode import examine_file
from ganlib.data.sources import is_hidden, open_folder
from ganlib.errors import InputError, printable
from ganlib.show.progress import Progress, say
from ganlib.system.files import expand, locked, write_atomic

BATCH = 16  # small pictures of one size are translated together, so many at once
BATCH_PIXELS = 2**20  # and larger ones fewer at once
RECORD = "translated.json"  # beside the translations: by which model, and of which files


class Job(NamedTuple):
    """A file that is to be translated."""

    file: Path
    digest: str  # sha256 of its content
    place: str  # of the translation, in the folder of all
    pixels: torch.Tensor | None  # uint8 (3, H, W)


def translate_files(translator, inputs, out, to="B", resize=False):
    """Translate pictures into the folder `out`, each as a PNG of its name; returns ({file: why it
    was left out, or ""}, how many were there from an earlier call). What is left out is said at
    once.

    inputs: files, folders (with what lies below them, in folders of the same names) and patterns
    ("faces/*.jpg"). resize: pictures are first scaled and cropped to the size that the model was
    trained at. A picture that `out` has the translation of already is left as it is, so that an
    interrupted call goes on.

    Raises InputError where an input is not there, where files of two inputs have the same name,
    where `out` is among the inputs, and where it holds something else: translations by another
    model, or files that are no translations."""
    translator.side(to)
    out = expand(out, "--out")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {printable(out)}: a file; expected a folder, or a new name")
    places, told = find_files(inputs, out)
    with locked(out / ".lock", f"folder {printable(out)}"):
        record = read_record(out, translator, to, resize)
        check_foreign(out, places, record)
        kept = 0
        warned = False
        waiting = []  # jobs that are translated together
        with Progress("translating files", len(places), unit="files") as progress:
            for file, place in places.items():
                job, why = open_file(file, out, place, record, translator, resize)
                told[str(file)] = why
                if why:
                    leave_out(file, why)
                elif job is None:
                    kept += 1
                if job is None:
                    progress.add()
                    continue
                if not warned and max(job.pixels.shape) > 2 * max(translator.image_size):
                    warned = True
                    warn_of_size(job, translator)
                if waiting and not fits_in(waiting, job):
                    write(translator, waiting, to, out, record)
                    progress.add(len(waiting))
                    waiting = []
                waiting.append(job)
            if waiting:
                write(translator, waiting, to, out, record)
                progress.add(len(waiting))
    return told, kept


def find_files(inputs, out):
    """({file: name of its translation}, {what was left out: why}) of all inputs."""
    names, told, seen = {}, {}, set()
    for given in inputs:
        path = expand(given, "input")
        if os.path.isdir(path):
            if out.resolve().is_relative_to(path.resolve()):
                raise InputError(
                    f"--out {printable(out)}: lies in the input {printable(path)}, so that "
                    "translations would be translated; choose a folder outside it"
                )
            source = open_folder(path)
            found = {}
            for name in sorted(source.files):
                if not is_hidden(Path(name).parts):
                    found[path / name] = name
            for name, why in source.refused:
                told[str(path / name)] = why
                leave_out(path / name, why)
        elif os.path.isfile(path):
            found = {path: path.name}
        else:
            found = {}
            for match in sorted(glob.glob(str(path), recursive=True)):
                inside = Path(match).resolve().is_relative_to(out.resolve())
                if os.path.isfile(match) and not inside:
                    found[Path(match)] = Path(match).name
        if not found:
            what = "no files in it" if os.path.isdir(path) else "no such file or folder"
            raise InputError(f"input {printable(given)}: {what}; expected pictures")
        for file, name in found.items():
            if file.resolve() not in seen:
                seen.add(file.resolve())
                names[file] = name
    return place_all(names, out), told


def place_all(names, out):
    """{file: name of its translation}: that of the file with .png for an ending, or after it where
    several would have the same. InputError where that does not tell two files apart, and where one
    would be written over an input."""
    usual = Counter(str(Path(name).with_suffix(".png")) for name in names.values())
    places = {}
    for file, name in names.items():
        place = str(Path(name).with_suffix(".png"))
        if usual[place] > 1 and Path(name).suffix != ".png":
            place = name + ".png"
        places[file] = place
    originals = {file.resolve() for file in names}
    first = {}
    for file, place in places.items():
        if place in first:
            raise InputError(
                f"{printable(first[place])} and {printable(file)}: both would be written to "
                f"{printable(out / place)}; translate them into folders of their own"
            )
        if (out / place).resolve() in originals:
            raise InputError(
                f"--out {printable(out)}: {printable(out / place)} is an input, which is never "
                "written over; choose another folder"
            )
        first[place] = file
    return places


def read_record(out, translator, to, resize):
    """What a folder holds: by which model, and {name: [file, sha256 of its content]}. InputError
    where it is another model, direction or size."""
    mine = {
        "run": translator.name,
        "weights": translator.hash,
        "to": translator.domains["ab".index(translator.side(to))],
        "resize": resize,
    }
    try:
        theirs = json.loads((out / RECORD).read_text(encoding="utf-8"))
        files = dict(theirs.pop("files"))
    except FileNotFoundError:
        return mine | {"files": {}}
    except (ValueError, KeyError, TypeError, AttributeError):
        theirs, files = {}, {}
    if theirs != mine:
        raise InputError(
            f"--out {printable(out)}: holds translations of another model, direction or size "
            f"({RECORD} in it says which); choose another folder"
        )
    return mine | {"files": files}


def check_foreign(out, places, record):
    """Raise InputError where a translation would be written over a file that is none."""
    for place in places.values():
        if (out / place).exists() and place not in record["files"]:
            raise InputError(
                f"{printable(out / place)}: is there, and no translation of this model; choose "
                "another folder for --out"
            )


def open_file(file, out, place, record, translator, resize):
    """(The Job of a file, or None where there is nothing to do; why it is left out, or "")."""
    source, known = record["files"].get(place, (str(file.resolve()), ""))
    if source != str(file.resolve()):
        return None, f"{printable(out / place)} is the translation of {printable(source)}"
    try:
        content = file.read_bytes()
    except OSError as error:
        return None, error.strerror
    digest = hashlib.sha256(content).hexdigest()
    if digest == known and (out / place).exists():
        return None, ""
    size = translator.image_size if resize else None
    pixels, facts = examine_file(str(file), lambda _: content, size)
    if pixels is None:
        return None, facts["reason"]
    if facts["remark"]:
        say(f"{printable(file)}: {facts['remark']}")
    pixels = np.require(pixels, requirements="W")  # of a single pixel it is read-only
    return Job(file, digest, place, torch.from_numpy(pixels)), ""


def leave_out(file, why):
    """Say that a file is not translated."""
    say(f"{printable(file)}: {why}; left out")


def warn_of_size(job, translator):
    """Say that a picture is much larger than those of the training."""
    height, width = job.pixels.shape[1:]
    side = max(translator.image_size)
    say(
        f"{printable(job.file)}, for one: {width}x{height} pixels, and the model was trained at "
        f"{side}; it has not seen images of that size. --resize brings pictures to its own"
    )


def fits_in(waiting, job):
    """Whether a job may join those that are waiting."""
    pixels = job.pixels.shape[1] * job.pixels.shape[2]
    same = job.pixels.shape == waiting[0].pixels.shape
    return same and len(waiting) < BATCH and (len(waiting) + 1) * pixels <= BATCH_PIXELS


def write(translator, jobs, to, out, record):
    """Translate pictures of one size and write them. The record comes first: what is in it and not
    there is translated again, and what is there and not in it is nobody's."""
    made = translator.translate(torch.stack([job.pixels for job in jobs]), to)
    for job in jobs:
        (out / job.place).unlink(missing_ok=True)
        record["files"][job.place] = [str(job.file.resolve()), job.digest]
    write_atomic(out / RECORD, json.dumps(record, indent=1))
    for job, pixels in zip(jobs, made):
        content = BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(content, "PNG")
        write_atomic(out / job.place, content.getvalue())
