"""steps.json of a report: what each of its notebooks was made from, and so what has to run
again."""

import hashlib
import json
import sys
from pathlib import Path

import nbformat

from ganlib.data.sources import MANIFEST, open_source
from ganlib.errors import InputError, printable

PACKAGE = Path(__file__).parents[1]
ASKED = "/"  # the key of what the report was asked for by; no notebook has such a name
# What a notebook was made from
RECORD = {
    "notebook": str,
    "parameters": dict,
    "package": str,
    "data": list,
    "after": dict,
    # What became of it
    "executed": (str, type(None)),
    "error": (str, type(None)),
    "seconds": (int, float),
    "runs": list,
}


def inputs(entry, before):
    """What the result of a notebook rests on: its cells, parameters, package and data, and the
    results of those before it, whose runs it may read."""
    cells = [
        [cell.cell_type, cell.source, cell.metadata.get("tags")]
        for cell in nbformat.read(entry["notebook"], as_version=4).cells
    ]
    package = [
        [path.relative_to(PACKAGE).as_posix(), digest(path.read_bytes())]
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    return {
        "notebook": digest(json.dumps(cells)),
        "parameters": entry["values"],
        "package": digest(json.dumps(package)),
        "data": know_data(entry["values"].get("data")),
        "after": {other["name"]: other.get("digest") for other in before},
    }


def know_data(data):
    """[files, manifest]: what tells of a data set that it has changed. Of a folder names, sizes
    and times count, as for make; of a zip the checksums in it; of one of the hub its name alone.
    The built-in faces are drawn from parameters by the package."""
    if not data or data == "builtin" or str(data).startswith("hf:"):
        return [str(data), None]
    try:
        source = open_source(data)
    except InputError as error:
        return [str(error), None]
    files = sorted(
        [name, facts] for name, facts in source.files.items() if not name.endswith(MANIFEST)
    )
    manifest = digest(source.manifest.read_bytes()) if source.manifest.is_file() else None
    return [digest(json.dumps([files, source.refused])), manifest]


def digest(content):
    """sha256 of bytes or text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def reason(old, now, kept):
    """Why a notebook has to run, from its record and what it would be made from now; "" where
    the notebook `kept` still holds."""
    if not old or not kept.is_file():
        return "missing"
    if old["error"]:
        return "it failed before"
    for what in ("notebook", "parameters", "package", "data"):
        if old[what] != now[what]:
            changes = (
                [
                    f"{name} {old[what].get(name)} -> {value}"
                    for name, value in now[what].items()
                    if old[what].get(name) != value
                ]
                if what == "parameters"
                else []
            )
            return f"{what} changed" + (f" ({', '.join(changes)})" if changes else "")
    if changed := [name for name, made in now["after"].items() if old["after"].get(name) != made]:
        return f"after {', '.join(changed)}"
    if gone := [folder for folder in old["runs"] if not Path(folder).is_dir()]:
        return f"its run {Path(gone[0]).name} is gone"
    return "" if digest(kept.read_bytes()) == old["executed"] else f"{kept.name} was changed"


def read_steps(path):
    """{name: record} of the notebooks that were run into this folder; empty, and told, where the
    file is damaged."""
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))
        records = [step for name, step in steps.items() if name != ASKED]
        whole = all(isinstance(step[key], kind) for step in records for key, kind in RECORD.items())
        if whole and is_asked(steps.get(ASKED)):
            return steps
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass  # told below
    print(f"{printable(path)}: damaged, so nothing is known of an earlier report", file=sys.stderr)
    return {}


def is_asked(asked):
    """Whether this is what a report was asked for by, or None, as in those of earlier versions."""
    return asked is None or (
        isinstance(asked["settings"], str) and isinstance(asked["parameters"], dict)
    )
