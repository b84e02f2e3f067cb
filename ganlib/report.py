"""Run the notebooks in order with the parameters of a YAML file and render them as one report.

    python -m ganlib.report quick                    reports/quick.yaml -> reports/quick/report.html
    python -m ganlib.report full                     the study's sizes; made for a GPU
    python -m ganlib.report my.yaml -p steps 500     your own settings, one parameter changed
"""

import argparse
import ast
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import papermill
import yaml

from ganlib.config import check_value
from ganlib.files import ROOT, InputError, write_atomic
from ganlib.progress import FEED, meter
from ganlib.render import render

NOTEBOOKS = ROOT / "notebooks"


def main(arguments=None):
    """The command line; returns the exit status: 0, 1 where a notebook failed, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m ganlib.report", description=__doc__.splitlines()[0])
    parser.add_argument("settings", help="a name in reports/ (quick, full) or a YAML file")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="overrides",
                        help="set a parameter in every notebook that has it; may be given again")
    parser.add_argument("--out", type=Path, help="folder of the report; default reports/NAME, with the -p's added")
    options = parser.parse_args(arguments)
    try:
        path = find_settings(options.settings)
        entries = plan(path, dict(options.overrides))
        out = options.out or ROOT / "reports" / "-".join(
            [path.stem, *(slug(f"{name}-{Path(value).name}") for name, value in options.overrides)])
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror}; expected a folder that can be written") from None
        failed = run(entries, out.resolve(), path.stem)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\r\033[K" if sys.stderr.isatty() else "", end="", file=sys.stderr)
        print("interrupted: no report rendered, an earlier one is left as it was; finished trainings are kept",
              file=sys.stderr)
        return 130
    return 1 if failed else 0


def slug(text):
    """A text with everything that is awkward in a folder's name replaced."""
    return re.sub(r"[^\w.=+-]+", "_", text).strip("_")[:60]


def find_settings(name):
    """The YAML file of a name in reports/ or of a path; InputError where there is none."""
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else ROOT / "reports" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (ROOT / "reports").glob("*.yaml")))
        raise InputError(f"{name}: no such report settings; there are {known}, or give the path of a YAML file")
    return path


def plan(path, overrides):
    """The notebooks to run, as dicts of notebook (path), name, title, parameters; every parameter checked.

    The file holds `notebooks`, a list of {notebook, name, title, parameters}, and `common` parameters for all notebooks
    that have them. overrides: {name: text}, read as YAML unless the parameter is a text. Raises InputError for a notebook
    that is not there, a parameter that no notebook has (naming those there are), an override of what the file sets for
    single notebooks (their titles and comparison rest on it) and a value of another type than the notebook's default.
    """
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("notebooks"), list) or not settings["notebooks"]:
        raise InputError(f"{path}: expected a key `notebooks` with a list of notebooks to run")
    common, entries = settings.get("common") or {}, []
    for item in settings["notebooks"]:
        item = {"notebook": item} if isinstance(item, str) else item
        if not all(isinstance(part, dict) for part in (common, item, isinstance(item, dict) and item.get("parameters") or {})):
            raise InputError(f"{path}: expected `common`, `parameters` and each notebook as names with values")
        if unknown := sorted(set(item) - {"notebook", "name", "title", "parameters"}):
            raise InputError(f"{path}: {unknown[0]}: expected notebook, name, title or parameters")
        notebook = NOTEBOOKS / f"{item.get('notebook')}.ipynb"
        if not notebook.is_file():
            known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
            raise InputError(f"{path}: notebook {item.get('notebook')!r}: no such notebook; there are {known}")
        entries.append({"notebook": notebook, "name": item.get("name", notebook.stem), "title": item.get("title"),
                        "own": item.get("parameters") or {}, "defaults": default_parameters(notebook)})
    names = [entry["name"] for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: two notebooks are named {twice[0]}; give one of them another `name`")
    for source, given in (("-p", overrides), (path, common)):
        known = {name for entry in entries for name in entry["defaults"]}
        refuse_unknown(source, given, known, "no notebook has this parameter")
    if own := [name for name in overrides if any(name in entry["own"] for entry in entries)]:
        raise InputError(f"-p: {own[0]}: {path.name} sets it for single notebooks; change it in a copy of that file")
    for entry in entries:
        refuse_unknown(path, entry["own"], entry["defaults"], f"{entry['notebook'].stem} has no such parameter")
        given, defaults = common | entry.pop("own") | overrides, entry.pop("defaults")
        entry["parameters"] = {name: typed(name, value, defaults[name]) for name, value in given.items() if name in defaults}
    return entries


def refuse_unknown(source, given, known, what):
    """Raise InputError for the first parameter in given that is not known, listing those there are."""
    for name in given:
        if name not in known:
            raise InputError(f"{source}: {name}: {what}; there are {', '.join(sorted(known))}")


def typed(name, value, default):
    """The value of a parameter, a text read as YAML unless the default is a text; InputError if it is of another type."""
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = float(value) if type(default) is float else yaml.safe_load(value)   # YAML takes 5e-4 for a text
        except (ValueError, yaml.YAMLError):
            pass    # told below
    if isinstance(default, list):
        if not isinstance(value, list) or not value or any(type(item) is not type(default[0]) for item in value):
            raise InputError(f"{name} {value!r}: expected a list such as {default!r}")
    elif not (name == "image_size" and isinstance(value, list)):
        check_value(name, value, default)
    return value


def default_parameters(notebook):
    """{name: value} of a notebook's cell tagged `parameters`."""
    return {name: ast.literal_eval(found["default"]) for name, found in papermill.inspect_notebook(str(notebook)).items()}


def run(entries, out, title):
    """Execute the notebooks, write them and report.html to the folder `out`; returns the names of those that failed.

    A notebook that fails does not stop the others. Trainings are kept in reports/runs whatever happens.
    """
    started = time.time()
    with tempfile.TemporaryDirectory(dir=out, prefix=".running-", ignore_cleanup_errors=True) as work:
        feed = Path(work) / "progress.jsonl"
        feed.touch()
        os.environ[FEED] = str(feed)
        try:
            for i, entry in enumerate(entries, 1):
                execute(entry, Path(work), feed, f"[{i}/{len(entries)}] {entry['name']}")
        finally:
            del os.environ[FEED]
        write_atomic(out / "report.html", render(entries, title, time.time() - started))
        for entry in entries:
            os.replace(entry["executed"], out / f"{entry['name']}.ipynb")
    failed = [entry["name"] for entry in entries if entry["error"]]
    for entry in entries:
        if entry["error"]:
            print(f"error: {entry['name']}: {entry['error']}", file=sys.stderr)
    print(f"{'report, with ' + ', '.join(failed) + ' failed' if failed else 'report'}: {out / 'report.html'}")
    return failed


def execute(entry, work, feed, label):
    """Run one notebook with papermill; adds executed (path), error (one line or None), seconds and runs (folders)."""
    entry["executed"], entry["error"], begun, seen = work / f"{entry['name']}.ipynb", None, time.time(), feed.stat().st_size

    def run_notebook():
        try:
            papermill.execute_notebook(str(entry["notebook"]), str(entry["executed"]), entry["parameters"],
                                       kernel_name="python3", progress_bar=False,
                                       extra_arguments=["--log-level=40"])  # no warning of each kernel that starts
        except Exception as error:  # whatever broke, the report is still rendered and says so
            name, text = (error.ename, error.evalue) if hasattr(error, "ename") else (type(error).__name__, str(error))
            entry["error"] = " ".join(f"{name}: {text}".split())

    # In a thread, so that Ctrl-C reaches us and not nbclient, which would take it for a kernel that died. The kernel ends
    # by itself when this process has ended.
    worker = Thread(target=run_notebook, daemon=True)
    worker.start()
    live = sys.stdout.isatty()
    while worker.is_alive():
        worker.join(0.5 if live else 15)
        if worker.is_alive():
            line = progress_line(label, feed, seen, begun)
            print(f"\r{line}\033[K" if live else line, end="" if live else "\n", flush=True)
    entry["seconds"] = time.time() - begun
    entry["runs"] = list(dict.fromkeys(update["folder"] for update in updates(feed, seen) if update["folder"]))
    print(f"{chr(13) + chr(27) + '[K' if live else ''}{label}  {'FAILED' if entry['error'] else 'done'} in {entry['seconds']:.0f} s", flush=True)


def updates(feed, seen):
    """What trainings have told since the feed had `seen` bytes, as dicts; a line that is still being written waits."""
    with open(feed, "rb") as file:
        file.seek(seen)
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def progress_line(label, feed, seen, begun):
    """What is running now; time left and steps per second while something trains."""
    told = updates(feed, seen)
    if not told or told[-1]["step"] == told[-1]["steps"]:
        return f"{label}  running for {time.time() - begun:.0f} s"
    last = told[-1]
    return f"{label}  " + meter(last["label"], last["step"], last["steps"], last["seconds"], last["unit"])


def leave(status):
    """End the process; after Ctrl-C at once, since the notebook's thread may still wait for its kernel."""
    if status == 130:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main())
