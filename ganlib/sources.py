"""Where images come from: a folder, a zip or a data set of the Hugging Face hub, each as names and a way to read one.

Nothing is unpacked and nothing that a name or a link points to outside is opened; what is refused is listed with a reason.
"""

import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from ganlib.files import InputError, expand, printable

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
               "test": "test", "testing": "test"}
LAYOUTS = ("expected SPLIT/DOMAIN/* (train, val, test; any two domain names), trainA trainB valA valB testA testB, "
           "or one folder for each domain")
MAX_BYTES = 256 * 2**20     # of one file, as it unpacks
MAX_DEPTH = 50              # of folders below that of the data set
MANIFEST = "ganlib_manifest.csv"


class Source(NamedTuple):
    """The files of a data set. `files`: relative POSIX path -> what changes when the file does (size and time, or CRC)."""

    name: str
    files: dict[str, tuple]
    read: Callable[[str], bytes]
    refused: list[tuple[str, str]]      # (file, reason)
    manifest: Path | None               # where the splits of a flat data set are written down


def open_source(data):
    """The Source of a path, or of "hf:OWNER/NAME". InputError where there is none."""
    if str(data).startswith("hf:"):
        return open_hub(str(data)[3:])
    path = expand(data, "data")
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:      # ValueError: a name with a NUL
        reason = error.strerror if isinstance(error, OSError) else printable(error)
        raise InputError(f"data {shorten(data)}: no such folder or zip file ({reason}); expected \"builtin\", a folder, a zip or "
                         "hf:OWNER/NAME") from None
    if stat.S_ISDIR(kind):
        return open_folder(path)
    try:
        if not stat.S_ISREG(kind):
            raise ValueError("not a regular file")      # a pipe would be read forever
        return open_zip(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise InputError(f"data {shorten(data)}: neither a folder nor a zip file that can be read ({printable(error)})") from None


def shorten(data):
    """The name of a data set on one line, its end where it is long."""
    return printable(data) if len(printable(data)) <= 300 else "..." + printable(data)[-300:]


def open_folder(path):
    """The regular files below a folder. Links are followed, but not back into a folder that they lie in."""
    files, refused, real = {}, [], {}

    def relative(name):
        return Path(name).relative_to(path).as_posix()

    def failed(error):
        refused.append((relative(error.filename), error.strerror))

    for top, folders, names in os.walk(path, followlinks=True, onerror=failed):
        real[top] = os.path.realpath(top)
        above = [str(folder) for folder in Path(top).parents]
        if any(Path(real[folder]).is_relative_to(real[top]) for folder in above if folder in real):
            refused.append((relative(top), "a link back to a folder that it lies in"))
            folders.clear()
            continue
        if len(above) - len(path.parents) > MAX_DEPTH:
            refused.append((relative(top), f"more than {MAX_DEPTH} folders deep"))
            folders.clear()
            continue
        folders.sort()
        for name in sorted(names):
            file = os.path.join(top, name)
            try:
                facts = os.stat(file)
            except OSError as error:    # a link to nothing or to itself
                refused.append((relative(file), error.strerror))
                continue
            if not stat.S_ISREG(facts.st_mode):
                refused.append((relative(file), "neither a file nor a folder"))     # a pipe would be read forever
            elif facts.st_size > MAX_BYTES:
                refused.append((relative(file), too_large(facts.st_size)))
            else:
                files[relative(file)] = facts.st_size, facts.st_mtime_ns
    return Source(path.resolve().name, files, lambda name: (path / name).read_bytes(), refused, path / MANIFEST)


def open_zip(path):
    """The files in a zip, read in place."""
    archive, members, refused = zipfile.ZipFile(path), {}, []
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")     # as Windows writes them
        parts = PurePosixPath(name).parts
        if name.endswith("/"):
            continue
        if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
            refused.append((name, "its name leaves the archive"))
        elif stat.S_ISLNK(info.external_attr >> 16):
            refused.append((name, "a link"))
        elif info.flag_bits & 1:
            refused.append((name, "encrypted"))
        elif info.file_size > MAX_BYTES:
            refused.append((name, too_large(info.file_size)))
        elif name in members:
            refused.append((name, "a second member of this name; the first is used"))
        else:
            members[name] = info

    def read(name):
        with archive.open(members[name]) as member:
            return member.read(MAX_BYTES + 1)

    files = {name: (info.CRC, info.file_size) for name, info in members.items()}
    return Source(path.name, files, read, refused, path.with_name(f"{path.name}.{MANIFEST}"))


def too_large(size):
    """The reason why a file of so many bytes is refused."""
    return f"{size:,} bytes, more than the {MAX_BYTES:,} that are read"


def open_hub(name):
    """A data set of the Hugging Face hub (or a local folder in that form): one image column and a label of two classes,
    or two image columns, in splits. Needs the package datasets (https://huggingface.co/docs/datasets)."""
    try:
        import datasets
    except ImportError:
        raise InputError(f"data hf:{name}: needs the package datasets; install it: pip install 'datasets>=4'") from None
    if not name:
        raise InputError("data hf: names no data set; expected hf:OWNER/NAME, or hf:FOLDER")
    try:
        splits = datasets.load_dataset(str(expand(name, "data")) if name.startswith("~") else name)
    except Exception as error:  # the library raises its own, the hub's, requests' and the file system's
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise InputError(f"data hf:{name}: cannot be had ({reason[:200]}); check the name and the network, or download "
                         "it elsewhere and give its folder: hf:FOLDER") from None
    rows, raw, refused = {}, {}, []   # "SPLIT/DOMAIN/000012.row" -> (split, row, image column); the tables with encoded images
    for split, table in splits.items():
        columns = [c for c, kind in table.features.items() if isinstance(kind, datasets.Image)]
        labels = [c for c, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
        raw[split] = table
        for c in columns:
            raw[split] = raw[split].cast_column(c, datasets.Image(decode=False))
        if len(columns) == 2:
            rows |= {f"{split}/{c}/{i:06}.row": (split, i, c) for c in columns for i in range(len(table))}
        elif len(columns) == 1 and len(labels) == 1:
            words = [re.sub(r"[/\\]", "-", word).lstrip(".") for word in table.features[labels[0]].names]    # a part of a path
            for i, label in enumerate(table[labels[0]]):
                if label is None or label < 0:
                    refused.append((f"{split}/{i:06}.row", "no label"))
                else:
                    rows[f"{split}/{words[label]}/{i:06}.row"] = split, i, columns[0]
        else:
            raise InputError(f"data hf:{name}: {len(columns)} image columns and {len(labels)} label columns in {split} "
                             f"({', '.join(table.features)}); expected two of images, or one of images and one of labels")

    def read(file):
        split, row, column = rows[file]
        cell = raw[split][row][column]
        if cell is None:
            raise ValueError("no image in this row")
        path = Path(cell["path"] or "")
        if not cell["bytes"] and not (path.is_file() and path.stat().st_size <= MAX_BYTES):
            raise ValueError("no image in this row, and no file where it points")
        return cell["bytes"] or path.read_bytes()

    identity = {split: table._fingerprint for split, table in splits.items()}
    return Source(name.rstrip("/").rpartition("/")[2], {f: (identity[f.split("/")[0]],) for f in rows}, read, refused, None)


def group_files(files):
    """Sort paths by a layout, below one enclosing folder or none: {(split, domain): sorted paths} (split "" where the
    layout has none), and the list of paths that have no place in it. Neither holds hidden files."""
    seen = sorted(f for f in files if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(f).parts)
                  and not f.endswith(MANIFEST))
    places = {}
    for place in (place_split, place_flat):
        for depth in (0, 1):
            found = {f: place(PurePosixPath(f).parts[depth:]) for f in seen}
            used = {found[f] for f in seen if found[f] and is_image_name(f)}
            if not places or len({domain for _, domain in used}) == 2:
                places = {f: where for f, where in found.items() if where in used}
            if len({domain for _, domain in used}) == 2:
                break
        if places:
            break
    groups = {}
    for f, where in places.items():
        groups.setdefault(where, []).append(f)
    return groups, [f for f in seen if f not in places]


def place_split(parts):
    """(split, domain) of a path whose first parts name them, or None."""
    short = re.fullmatch(r"([a-z]+)[_-]?([AB])", parts[0], re.IGNORECASE) if len(parts) > 1 else None
    if short and short[1].lower() in SPLIT_NAMES:
        return SPLIT_NAMES[short[1].lower()], short[2].upper()
    return (SPLIT_NAMES[parts[0].lower()], parts[1]) if len(parts) > 2 and parts[0].lower() in SPLIT_NAMES else None


def place_flat(parts):
    """("", domain) of a path in a folder of its domain, or None."""
    return ("", parts[0]) if len(parts) > 1 and parts[0].lower() not in SPLIT_NAMES else None


def is_image_name(name):
    """Whether the ending is that of an image, or of a row of a hub's data set."""
    ending = PurePosixPath(name).suffix.lower()
    return ending == ".row" or Image.registered_extensions().get(ending) in Image.OPEN
