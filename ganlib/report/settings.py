"""The settings of a report: which notebooks run, with which parameters."""

import ast
import json
import os
import re
from difflib import get_close_matches
from pathlib import Path

import papermill

from ganlib.config import check_value
from ganlib.errors import InputError, printable, shown
from ganlib.lab.parameters import PATHS, check_parameters
from ganlib.report.stale import digest
from ganlib.system.files import NOTEBOOKS, SETTINGS, expand
from ganlib.system.values import read_yaml


def slug(text):
    """A text with everything that is awkward in a folder's name replaced."""
    return re.sub(r"[^\w.=+-]+", "_", text).strip("_")[:60]


def ask(path, overrides):
    """What a report is asked for by, the same from any folder: its settings (a name in reports/,
    or a file) and the -p's, paths in full."""
    own = path.resolve().parent == SETTINGS.resolve()
    given = dict(sorted(overrides.items()))
    for name, value in given.items():
        if is_path(name, value):
            given[name] = os.path.abspath(expand(value, name))
    return {"settings": path.stem if own else str(path.resolve()), "parameters": given}


def is_path(name, value):
    """Whether a parameter's text is the path of a file or folder."""
    return name in PATHS and value not in ("", "builtin", "fetch") and not value.startswith("hf:")


def name_folder(path, overrides):
    """The name of a report's folder: another for each settings file and each set of -p's, in
    whatever order. Where the words do not tell all, eight digits of a digest follow."""
    asked = ask(path, overrides)
    given = sorted(overrides.items())
    words = "-".join([path.stem, *(slug(f"{name}-{Path(value).name}") for name, value in given)])
    short = words.encode(errors="replace")[:100].decode(errors="ignore")
    if short == words and asked["settings"] == path.stem and all(is_plain(*pair) for pair in given):
        return words
    return f"{short}-{digest(json.dumps(asked))[:8]}"


def is_plain(name, value):
    """Whether a parameter can be read off a folder's name: no path, no odd character, no capital
    (some file systems know none), no dash before a letter, which would read as the next
    parameter."""
    odd = is_path(name, value) or slug(f"{name}-{value}") != f"{name}-{value}"
    return not odd and bool(re.fullmatch(r"(?!.*-[a-z_])[a-z0-9_.+=-]+", value))


def find_settings(name):
    """The YAML file of a name in reports/ or of a path; InputError where there is none."""
    path = (
        expand(name, "settings")
        if Path(name).suffix in (".yaml", ".yml")
        else SETTINGS / f"{name}.yaml"
    )
    if not os.path.isfile(path):
        known = ", ".join(sorted(p.stem for p in SETTINGS.glob("*.yaml")))
        raise InputError(
            f"{name}: no such report settings; there are {known}, or give the path of a YAML file"
        )
    return path


def plan(path, overrides):
    """The notebooks to run, as dicts of notebook (path), name, title, parameters; every parameter
    checked.

    The file holds `notebooks`, a list of {notebook, name, title, parameters}, and `common`
    parameters for all notebooks that have them. overrides: {name: text}, taken as
    check_parameters does. Raises InputError for a notebook that is not there, a parameter that
    no notebook has (naming those there are), an override of what the file sets for single
    notebooks (their titles and comparison rest on it) and a value of another type than the
    notebook's default."""
    settings = read_yaml(path)
    if (
        not isinstance(settings, dict)
        or not isinstance(settings.get("notebooks"), list)
        or not settings["notebooks"]
    ):
        raise InputError(f"{path}: expected a key `notebooks` with a list of notebooks to run")
    common = settings.get("common") or {}
    entries = []
    for item in settings["notebooks"]:
        item = {"notebook": item} if isinstance(item, str) else item
        own = item.get("parameters") or {} if isinstance(item, dict) else {}
        if not all(isinstance(part, dict) for part in (common, item, own)):
            raise InputError(
                f"{path}: expected `common`, `parameters` and each notebook as names with values"
            )
        entries.append(read_entry(path, item))
    names = [entry["name"] for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"{path}: two notebooks are named {twice[0]}; give one of them another `name`"
        )
    for source, given in (("-p", overrides), (path, common)):
        known = {name for entry in entries for name in entry["defaults"]}
        refuse_unknown(source, given, known, "no notebook has this parameter")
    single = {name for entry in entries for name in entry["own"]}
    if own := [name for name in overrides if name in single]:
        raise InputError(
            f"-p: {own[0]}: {path.name} sets it for single notebooks; change it in a copy of that "
            "file"
        )
    for entry in entries:
        refuse_unknown(
            path, entry["own"], entry["defaults"], f"{entry['notebook'].stem} has no such parameter"
        )
        given = common | entry.pop("own") | overrides
        defaults = entry.pop("defaults")
        given = {name: value for name, value in given.items() if name in defaults}
        values = check_parameters(defaults | given, defaults)
        entry["parameters"] = {name: values[name] for name in given}
        # As steps.json gives them back
        entry["values"] = json.loads(json.dumps(values, default=str))
    return entries


def read_entry(path, item):
    """One notebook of a settings file, a dict of what stands there, as a dict of notebook (path),
    name, title, own (its parameters there) and defaults. InputError, one line, for what is not
    as expected."""
    expected = ("notebook", "name", "title", "parameters")
    if unknown := [key for key in item if key not in expected]:
        raise InputError(
            f"{path}: {show_name(unknown[0])}: expected notebook, name, title or parameters"
        )
    known = sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
    # None that lies elsewhere: what it holds is executed
    if item.get("notebook") not in known:
        raise InputError(
            f"{path}: notebook {shown(item.get('notebook'))}: no such notebook; there are "
            f"{', '.join(known)}"
        )
    notebook = NOTEBOOKS / f"{item['notebook']}.ipynb"
    name = item.get("name", notebook.stem)
    check_value("title", item.get("title") or "", "")
    check_value("name", name, "")
    if not re.fullmatch(r"[^./][^/]{,99}", name) or not name.isprintable():
        raise InputError(f"{path}: name {shown(name)}: expected a name for a file")
    return {
        "notebook": notebook,
        "name": name,
        "title": item.get("title"),
        "own": item.get("parameters") or {},
        "defaults": default_parameters(notebook),
    }


def refuse_unknown(source, given, known, what):
    """Raise InputError for the first parameter in given that is not known, listing those there
    are."""
    for name in given:
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"{source}: {show_name(name)}: {what}{meant}; there are {', '.join(sorted(known))}"
            )


def show_name(name):
    """A name in a YAML file as it stands in an error, which may be any value."""
    return printable(name)[:100] if isinstance(name, str) else shown(name)


def default_parameters(notebook):
    """{name: value} of a notebook's cell tagged `parameters`."""
    try:
        return {
            name: ast.literal_eval(found["default"])
            for name, found in papermill.inspect_notebook(str(notebook)).items()
        }
    # Papermill and nbformat raise nearly anything for a file that is no notebook
    except Exception as error:
        raise InputError(
            f"{notebook.name}: its parameters cannot be read "
            f"({printable(' '.join(str(error).split()))[:100]}); expected a notebook whose cell "
            "tagged `parameters` sets each to a plain value"
        ) from None
