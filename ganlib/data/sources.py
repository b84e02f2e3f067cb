"""Where images come from: a folder, a zip or a data set of the Hugging Face hub, each as names and
a way to read one.

Nothing is unpacked and nothing that a name or a link points to outside is opened; what is
refused is listed with a reason."""

import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ganlib.data.formats import NAMED, TABLE, UNPACK, explain, is_image_name, kind_by_name
from ganlib.errors import InputError, printable
from ganlib.system.files import expand

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
SPLIT_WORDS = re.compile(
    r"(train(?:ing)?|val(?:id|idation)?|test(?:ing)?|tests|dev|eval(?:uation)?|hold[-_ "
    r"]?out|held[-_ ]?out)"
    # test, testA, test_images
    r"(?:[-_ ]?(?:set|images|imgs|data|split))?[-_ ]?[0-9]*(?:[-_ ]?[AB])?",
    re.IGNORECASE,
)
# No images, without an ending
PLAIN = re.compile(
    r"readme|licen[cs]e|copying|makefile|authors|changelog|checksums|md5|sha", re.IGNORECASE
)
LAYOUTS = (
    "expected SPLIT/DOMAIN/* or DOMAIN/SPLIT/* (train, val, test; any two domain names), trainA "
    "trainB valA valB testA testB, or one folder for each domain"
)
MAX_BYTES = 256 * 2**20  # of one file, as it unpacks
MAX_DEPTH = 50  # of folders below that of the data set
MANIFEST = "ganlib_manifest.csv"


class Source(NamedTuple):
    """The files of a data set. `files`: relative POSIX path -> what changes when the file does
    (size and time, or CRC)."""

    name: str
    files: dict[str, tuple]
    read: Callable[[str], bytes]
    refused: list[tuple[str, str]]  # (file, reason)
    manifest: Path | None  # where the splits of a flat data set are written down


def open_source(data):
    """The Source of a path, or of "hf:OWNER/NAME". InputError where there is none."""
    if str(data).startswith("hf:"):
        return open_hub(str(data)[3:])
    path = expand(data, "data")
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = error.strerror if isinstance(error, OSError) else printable(error)
        if not path.is_absolute():
            reason += f"; looked in {shorten(Path.cwd())}"
        raise InputError(
            f'data {shorten(data)}: no such folder or zip file ({reason}); expected "builtin", a '
            "folder, a zip or "
            "hf:OWNER/NAME"
        ) from None
    if stat.S_ISDIR(kind):
        return open_folder(path)
    try:
        if not stat.S_ISREG(kind):
            raise ValueError("not a regular file")  # a pipe would be read forever
        return open_zip(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise InputError(
            f"data {shorten(data)}: neither a folder nor a zip file that can be read "
            f"({printable(error)})"
        ) from None


def shorten(name, most=300):
    """A name from outside on one line, its end where it is long."""
    return clip(printable(name), most)


def clip(text, most=300):
    """The end of a text that is printable, where it is long."""
    return text if len(text) <= most else "..." + text[-most:]


def open_folder(path):
    """The regular files below a folder. Links are followed, but not back into a folder that they
    lie in."""
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
            except OSError as error:  # a link to nothing or to itself
                refused.append((relative(file), error.strerror))
                continue
            if not stat.S_ISREG(facts.st_mode):
                # A pipe would be read forever
                refused.append((relative(file), "neither a file nor a folder"))
            elif facts.st_size > MAX_BYTES:
                refused.append((relative(file), too_large(facts.st_size)))
            else:
                files[relative(file)] = facts.st_size, facts.st_mtime_ns
    return Source(
        printable(path.resolve().name),
        files,
        lambda name: (path / name).read_bytes(),
        refused,
        path / MANIFEST,
    )


def open_zip(path):
    """The files in a zip, read in place."""
    archive = zipfile.ZipFile(path)
    members = {}
    refused = []
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")  # as Windows writes them
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
    return Source(
        printable(path.name), files, read, refused, path.with_name(f"{path.name}.{MANIFEST}")
    )


def too_large(size):
    """The reason why a file of so many bytes is refused."""
    return f"{size:,} bytes, more than the {MAX_BYTES:,} that are read"


def open_hub(name):
    """A data set of the Hugging Face hub (or a local folder in that form): one image column and
    a label of two classes (or a column of two values, see label_column), or two image columns,
    in splits. Needs the package datasets (https://huggingface.co/docs/datasets)."""
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"data hf:{name}: needs the package datasets; install it: pip install 'datasets>=4'"
        ) from None
    if not name:
        raise InputError("data hf: names no data set; expected hf:OWNER/NAME, or hf:FOLDER")
    try:
        splits = datasets.load_dataset(str(expand(name, "data")) if name.startswith("~") else name)
    # The library raises its own, the hub's, requests' and the file system's
    except Exception as error:
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise InputError(
            f"data hf:{name}: cannot be had ({reason[:200]}); check the name and the network, or "
            "download it elsewhere and give its folder: hf:FOLDER"
        ) from None
    # "SPLIT/DOMAIN/000012.row" -> (split, row, image column); the tables with encoded images
    rows, raw, refused = {}, {}, []
    for split, table in splits.items():
        columns = [c for c, kind in table.features.items() if isinstance(kind, datasets.Image)]
        raw[split] = table
        for c in columns:
            raw[split] = raw[split].cast_column(c, datasets.Image(decode=False))
        if len(columns) == 2:
            rows |= {
                f"{split}/{c}/{i:06}.row": (split, i, c) for c in columns for i in range(len(table))
            }
            continue
        label = label_column(name, split, splits, columns)
        words = (
            table.features[label].names
            if isinstance(table.features[label], datasets.ClassLabel)
            else None
        )
        for i, value in enumerate(table[label]):
            if value in (None, "") or words and value < 0:
                refused.append((f"{split}/{i:06}.row", "no label"))
            else:
                # A part of a path
                domain = re.sub(r"[/\\]", "-", words[value] if words else str(value)).lstrip(".")
                rows[f"{split}/{domain}/{i:06}.row"] = split, i, columns[0]

    def read(file):
        split, row, column = rows[file]
        cell = raw[split][row][column]
        if cell is None:
            raise ValueError("no image in this row")
        path = Path(cell["path"] or "")
        if not cell["bytes"] and not (path.is_file() and path.stat().st_size <= MAX_BYTES):
            raise ValueError("no image in this row, and no file where it points")
        return cell["bytes"] or path.read_bytes()

    folder = expand(name, "data hf:")
    if folder.is_dir():  # the library passes over what it does not know
        loose = [
            f
            for f in open_folder(folder).files
            if (kind_by_name(f) or NAMED["zip"]).fix not in (TABLE, UNPACK)
        ]
        refused += [(f, explain(kind_by_name(f))) for f in loose]
    identity = {split: table._fingerprint for split, table in splits.items()}
    return Source(
        printable(name.rstrip("/").rpartition("/")[2]),
        {f: (identity[f.split("/")[0]],) for f in rows},
        read,
        refused,
        None,
    )


class Layout(NamedTuple):
    """Where the files of a data set belong. misplaced: images that contradict the folder they
    lie in, and that nobody may use without a word: (file, the splits that it may be in, what is
    wrong)."""

    # (split, domain) -> sorted paths; split "" where the layout has none
    groups: dict[tuple[str, str], list[str]]
    outside: list[str]  # files that have no place in it
    misplaced: list[tuple[str, tuple, str]]


def find_values(splits, column):
    """The values of a column in all splits together, but for empty ones."""
    found = set()
    for table in splits.values():
        if column in table.features:
            found |= set(table.unique(column))
    return found - {None, ""}


def label_column(name, split, splits, columns):
    """The column of a split that says the domain of each row: the one ClassLabel, or, without
    one, the one column of texts, whole numbers or truth values with two values in all splits
    together. InputError where there is none, or more than one."""
    import datasets

    features = splits[split].features
    labels = [c for c, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(columns) == 1 and not labels:
        plain = [
            c
            for c, kind in features.items()
            if re.match("string|large_string|bool|u?int", str(getattr(kind, "dtype", "")))
        ]
        labels = [c for c in plain if len(find_values(splits, c)) == 2]
    if len(columns) == 1 and len(labels) == 1:
        return labels[0]
    found = ", ".join(
        f"{c} ({getattr(kind, 'dtype', type(kind).__name__)})" for c, kind in features.items()
    )
    ways = (
        f"; these could all be the label: {', '.join(labels)}"
        if len(columns) == 1 and len(labels) > 1
        else ""
    )
    raise InputError(
        f"data hf:{shorten(name)}: {len(columns)} image columns and {len(labels)} label columns in "
        f"{printable(split)} ({shorten(found)}){ways}; expected two of images, or one of images "
        f"and one of labels: a ClassLabel, or two values"
    )


def group_files(files):
    """Sort paths by a layout, below one enclosing folder or none: a Layout, without hidden
    files. What is no image by its name makes a domain only where there are not two without it."""
    seen = {f: PurePosixPath(f).parts for f in sorted(files) if not f.endswith(MANIFEST)}
    for f in [f for f, parts in seen.items() if is_hidden(parts)]:
        del seen[f]
    best = Layout({}, list(seen), [])
    for meant in (is_image_name, may_be_image):
        found = find_layout(seen, [f for f in seen if meant(f)])
        if len({domain for _, domain in found.groups}) == 2:
            return found
        best = best if best.groups else found
    return best


def is_hidden(parts):
    """Whether a path, in parts, is of a file that its system keeps for itself."""
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def find_layout(seen, meant):
    """The Layout of files {path: its parts}: the first in which those that are meant as images
    are of two domains."""
    places = place_split, place_domain, place_flat
    splits, domains, flat = [
        (Attempt(place, 0, seen, meant), Attempt(place, 1, seen, meant)) for place in places
    ]
    for attempt in splits:
        if attempt.two and (attempt.depth == 0 or len({seen[f][0] for f in attempt.used}) == 1):
            return attempt.lay_out()
    for attempt in domains:
        beside = attempt.beside()
        if attempt.two and not (
            beside and all(attempt.found[f][0] == "train" for f in attempt.used)
        ):  # train may be what they show
            wrong = [
                (f, (), "lies in a domain's folder, but in none of its splits; move it there")
                for f in beside
            ]
            if splits[1].two:
                two = [printable(a.found[attempt.used[0]][1]) for a in (splits[1], attempt)]
                wrong.append(
                    (
                        attempt.used[0],
                        (),
                        f"may be of the domain {two[0]} or of {two[1]}; take one level of folders "
                        "away",
                    )
                )
            return attempt.lay_out(wrong)
    for attempts in (splits, flat):
        usable = [a for a in attempts if a.two] or [a for a in attempts if a.used]
        if usable:
            return usable[0].lay_out()
    return Layout({}, list(seen), [])


class Attempt:
    """A layout tried on files. found: {path: its place or None}; used: those meant as images
    that have one, of `domains`; two: whether these are two. depth: how many folders enclose it."""

    def __init__(self, place, depth, seen, meant):
        self.depth, self.seen, self.meant = depth, seen, meant
        self.found = {f: place(parts[depth:]) for f, parts in seen.items()}
        self.used = [f for f in meant if self.found[f]]
        self.domains = {self.found[f][1] for f in self.used}
        self.two = len(self.domains) == 2

    def beside(self):
        """Of DOMAIN/SPLIT, images in a domain's folder that are in none of its splits."""
        below = [f for f in self.meant if not self.found[f] and len(self.seen[f]) > self.depth + 1]
        return [f for f in below if self.seen[f][self.depth] in self.domains]

    def lay_out(self, wrong=()):
        """The Layout, and what more is wrong with it."""
        places = {self.found[f][:2] for f in self.used}
        places |= {
            where[:2]
            for f, where in self.found.items()
            if where and where[1] in self.domains and may_be_image(f)
        }
        groups = {}
        outside = []
        misplaced = list(wrong)
        for f, where in self.found.items():
            if not where or where[:2] not in places:
                outside.append(f)
                continue
            groups.setdefault(where[:2], []).append(f)
            held = [name for name in where[2] if splits_of(name) and "train" not in splits_of(name)]
            if held and where[0] in ("", "train") and may_be_image(f):
                misplaced.append(
                    (
                        f,
                        splits_of(held[0]),
                        f"lies in a folder {printable(held[0])}, but would be trained on; lay both "
                        "domains out alike, or move it",
                    )
                )
        if (
            all(split == "" for split, _ in groups)
            and self.two
            and all(map(splits_of, self.domains))
        ):
            misplaced.append(
                (
                    self.used[0],
                    (),
                    "lies in a folder called like a split, where those of two domains are looked "
                    "for",
                )
            )
        return Layout(groups, outside, misplaced)


def place_split(parts):
    """(split, domain, folders below) of a path whose first parts name split and domain, or None."""
    short = (
        re.fullmatch(r"([a-z]+)[_-]?([AB])", parts[0], re.IGNORECASE) if len(parts) > 1 else None
    )
    if short and short[1].lower() in SPLIT_NAMES:
        return SPLIT_NAMES[short[1].lower()], short[2].upper(), parts[1:-1]
    return (
        (SPLIT_NAMES[parts[0].lower()], parts[1], parts[2:-1])
        if len(parts) > 2 and parts[0].lower() in SPLIT_NAMES
        else None
    )


def place_domain(parts):
    """(split, domain, folders below) of a path whose first parts name domain and split, or None."""
    named = len(parts) > 2 and parts[1].lower() in SPLIT_NAMES and not splits_of(parts[0])
    return (SPLIT_NAMES[parts[1].lower()], parts[0], parts[2:-1]) if named else None


def place_flat(parts):
    """("", domain, folders below) of a path in a folder of its domain, or None."""
    return (
        ("", parts[0], parts[1:-1])
        if len(parts) > 1 and parts[0].lower() not in SPLIT_NAMES
        else None
    )


def splits_of(folder):
    """The splits that files in a folder of this name may be in; () for a name that says nothing
    of it."""
    word = SPLIT_WORDS.fullmatch(folder)
    return (
        ()
        if not word
        else (SPLIT_NAMES[word[1].lower()],)
        if word[1].lower() in SPLIT_NAMES
        else ("val", "test")
    )


def may_be_image(name):
    """Whether somebody may have meant a file as an image: by its ending, readable or not, or as
    it has none."""
    return (
        is_image_name(name)
        or kind_by_name(name) is not None
        or not (PurePosixPath(name).suffix or PLAIN.match(PurePosixPath(name).name))
    )
