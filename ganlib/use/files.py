"""Files and folders of pictures through a model."""

import glob
import json
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from ganlib.data.decode import examine_file
from ganlib.errors import InputError, printable
from ganlib.show.progress import Progress, say
from ganlib.system.files import expand, locked, write_atomic

BATCH = 16  # pictures of one size that are translated at once
RECORD = "translated.json"  # in the folder of translations: by which model


def translate_files(translator, inputs, out, to="B", resize=False):
    """Translate pictures into the folder `out`, each as a PNG of its name; returns {file: why it
    was left out, or ""}.

    inputs: files, folders (with what lies below them, in folders of the same names) and patterns
    ("faces/*.jpg"). resize: pictures are first scaled and cropped to the size that the model was
    trained at. What is in `out` already is left as it is, so that an interrupted call goes on.

    Raises InputError where there is no picture, where two would have the same name, where `out` is
    among the inputs, and where it holds translations by another model."""
    translator.side(to)
    out = expand(out, "--out")
    pictures = find_pictures(inputs, out)
    told = dict.fromkeys(pictures, "")
    with locked(out / ".lock", f"folder {printable(out)}"):
        claim(out, translator, to, resize)
        missing = {file: place for file, place in pictures.items() if not place.exists()}
        with Progress("translating files", len(pictures), unit="files") as progress:
            progress.add(len(pictures) - len(missing))
            waiting = []  # of one size, until they are a batch
            largest = 0
            for file, place in missing.items():
                size = translator.image_size if resize else None
                pixels, facts = examine_file(str(file), lambda name: Path(name).read_bytes(), size)
                if pixels is None:
                    told[file] = facts["reason"]
                    progress.add()
                    continue
                if waiting and (waiting[0][1].shape != pixels.shape or len(waiting) == BATCH):
                    progress.add(write(translator, waiting, to))
                    waiting = []
                waiting.append((place, pixels))
                largest = max(largest, max(pixels.shape))
            if waiting:
                progress.add(write(translator, waiting, to))
    side = max(translator.image_size)
    if largest > 2 * side:
        say(
            f"pictures of up to {largest} pixels a side, by a model trained at {side}: it has not "
            "seen faces of that size; --resize brings them to its own"
        )
    return told


def find_pictures(inputs, out):
    """{file: where its translation goes} of all inputs."""
    places = {}
    for given in inputs:
        path = expand(given, "input")
        if path.is_dir():
            if out.resolve().is_relative_to(path.resolve()):
                raise InputError(
                    f"--out {printable(out)}: lies in the input {printable(path)}, so that "
                    "translations would be translated; choose a folder outside it"
                )
            found = {file: file.relative_to(path) for file in sorted(path.rglob("*"))}
        elif path.exists():
            found = {path: Path(path.name)}
        else:
            files = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
            found = {file: Path(file.name) for file in files}
        for file, name in found.items():
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                places[file] = out / name.with_suffix(".png")
        if not any(file in places for file in found):
            raise InputError(f"input {printable(given)}: no file there; expected pictures")
    check_places(places, out)
    return places


def check_places(places, out):
    """Raise InputError where two files would be written to one place, or one over an input."""
    sources = {}
    originals = {file.resolve() for file in places}
    for file, place in places.items():
        if place in sources:
            raise InputError(
                f"{printable(sources[place])} and {printable(file)}: both would be written to "
                f"{printable(place)}; translate them into folders of their own"
            )
        if place.resolve() in originals:
            raise InputError(
                f"--out {printable(out)}: {printable(place)} is an input, which is never "
                "written over; choose another folder"
            )
        sources[place] = file


def claim(out, translator, to, resize):
    """Note in a folder by what it is translated; InputError where it was another model, or
    another way."""
    mine = {
        "run": translator.folder.name,
        "to": translator.domains["ab".index(translator.side(to))],
        "resize": resize,
    }
    record = out / RECORD
    if record.exists():
        try:
            theirs = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if theirs != mine:
            raise InputError(
                f"--out {printable(out)}: holds translations of another model, direction or size "
                f"({RECORD} in it says which); choose another folder"
            )
    write_atomic(record, json.dumps(mine, indent=1))


def write(translator, waiting, to):
    """Translate pictures of one size and write them; returns how many."""
    images = torch.stack([torch.from_numpy(pixels) for _, pixels in waiting])
    for (place, _), made in zip(waiting, translator.translate(images, to)):
        content = BytesIO()
        Image.fromarray(made.permute(1, 2, 0).numpy()).save(content, "PNG")
        write_atomic(place, content.getvalue())
    return len(waiting)
