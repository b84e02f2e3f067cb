"""Run the notebooks in order with the parameters of a YAML file and render them as one report.

    python -m ganlib.report quick                    reports/quick.yaml -> reports/quick/report.html
    python -m ganlib.report full                     the study's sizes; made for a GPU
    python -m ganlib.report my.yaml -p steps 500     your own settings, one parameter changed
    python -m ganlib.report quick --resume           only what is missing or changed since, or failed

Beside the page lie the executed notebooks and steps.json: what each was made from, by which --resume knows.
"""

import argparse
import ast
import html
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError

from ganlib.command import call
from ganlib.config import check_value, read_yaml, shown
from ganlib.files import NO_SPACE, NOTEBOOKS, ROOT, SETTINGS, InputError, expand, explain, locked, printable, write_atomic
from ganlib.parameters import PATHS, check_parameters
from ganlib.progress import FEED, meter
from ganlib.render import INCOMPLETE, render
from ganlib.steps import ASKED, digest, inputs, know_data, read_steps, reason
from ganlib.surroundings import prefer_own_kernel

PATIENCE = 5    # seconds that an interrupted notebook has to end by itself


def main(arguments=None):
    """The command line; returns the exit status: 0, 1 where a notebook failed, 2 for input that cannot be used and for a disk that
    is full, 130 after Ctrl-C, 143 after SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m ganlib.report", description=__doc__.splitlines()[0])
    parser.add_argument("settings", help="a name in reports/ (quick, full) or a YAML file")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="overrides",
                        help="set a parameter in every notebook that has it; may be given again")
    parser.add_argument("--out", type=Path, help="folder of the report; default reports/NAME, with the -p's added")
    parser.add_argument("--resume", action="store_true", help="run only the notebooks that are missing, failed or changed since")
    options = parser.parse_args(arguments)
    try:
        path = find_settings(options.settings)
        overrides = dict(options.overrides)
        entries, asked = plan(path, overrides), ask(path, overrides)
        out = expand(options.out, "--out") if options.out else ROOT / "reports" / name_folder(path, overrides)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out}: {error.strerror}; expected a folder that can be written") from None
        with stoppable():
            failed = run(entries, out.resolve(), path.stem, options.resume, asked)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {printable(error.filename or out)}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        number, told = (*(stop.args or [signal.SIGINT]), "no report rendered; --resume goes on from what is finished")[:2]
        print("\r\033[K" if sys.stderr.isatty() else "", end="", file=sys.stderr)
        print(f"interrupted: {told}", file=sys.stderr)
        return 128 + number
    return 1 if failed else 0


def slug(text):
    """A text with everything that is awkward in a folder's name replaced."""
    return re.sub(r"[^\w.=+-]+", "_", text).strip("_")[:60]


def ask(path, overrides):
    """What a report is asked for by, the same from any folder: its settings (a name in reports/, or a
    file) and the -p's, paths in full."""
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
    """The name of a report's folder: another for each settings file and each set of -p's, in whatever
    order. Where the words do not tell all, eight digits of a digest follow."""
    asked, given = ask(path, overrides), sorted(overrides.items())
    words = "-".join([path.stem, *(slug(f"{name}-{Path(value).name}") for name, value in given)])
    short = words.encode(errors="replace")[:100].decode(errors="ignore")
    if short == words and asked["settings"] == path.stem and all(is_plain(*pair) for pair in given):
        return words
    return f"{short}-{digest(json.dumps(asked))[:8]}"


def is_plain(name, value):
    """Whether a parameter can be read off a folder's name: no path, no odd character, no capital (some
    file systems know none), no dash before a letter, which would read as the next parameter."""
    odd = is_path(name, value) or slug(f"{name}-{value}") != f"{name}-{value}"
    return not odd and bool(re.fullmatch(r"(?!.*-[a-z_])[a-z0-9_.+=-]+", value))


def find_settings(name):
    """The YAML file of a name in reports/ or of a path; InputError where there is none."""
    path = expand(name, "settings") if Path(name).suffix in (".yaml", ".yml") else SETTINGS / f"{name}.yaml"
    if not os.path.isfile(path):
        known = ", ".join(sorted(p.stem for p in SETTINGS.glob("*.yaml")))
        raise InputError(f"{name}: no such report settings; there are {known}, or give the path of a YAML file")
    return path


def plan(path, overrides):
    """The notebooks to run, as dicts of notebook (path), name, title, parameters; every parameter checked.

    The file holds `notebooks`, a list of {notebook, name, title, parameters}, and `common` parameters for all notebooks
    that have them. overrides: {name: text}, taken as check_parameters does. Raises InputError for a notebook
    that is not there, a parameter that no notebook has (naming those there are), an override of what the file sets for
    single notebooks (their titles and comparison rest on it) and a value of another type than the notebook's default.
    """
    settings = read_yaml(path)
    if not isinstance(settings, dict) or not isinstance(settings.get("notebooks"), list) or not settings["notebooks"]:
        raise InputError(f"{path}: expected a key `notebooks` with a list of notebooks to run")
    common, entries = settings.get("common") or {}, []
    for item in settings["notebooks"]:
        item = {"notebook": item} if isinstance(item, str) else item
        if not all(isinstance(part, dict) for part in (common, item, isinstance(item, dict) and item.get("parameters") or {})):
            raise InputError(f"{path}: expected `common`, `parameters` and each notebook as names with values")
        if unknown := [key for key in item if key not in ("notebook", "name", "title", "parameters")]:
            raise InputError(f"{path}: {tell(unknown[0])}: expected notebook, name, title or parameters")
        known = sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))
        if item.get("notebook") not in known:       # none that lies elsewhere: what it holds is executed
            raise InputError(f"{path}: notebook {shown(item.get('notebook'))}: no such notebook; there are {', '.join(known)}")
        notebook = NOTEBOOKS / f"{item['notebook']}.ipynb"
        check_value("title", item.get("title") or "", "")
        check_value("name", item.get("name", notebook.stem), "")
        if not re.fullmatch(r"[^./][^/]{,99}", item.get("name", notebook.stem)) or not item.get("name", "-").isprintable():
            raise InputError(f"{path}: name {shown(item['name'])}: expected a name for a file")
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
        given = {name: value for name, value in given.items() if name in defaults}
        values = check_parameters(defaults | given, defaults)
        entry["parameters"] = {name: values[name] for name in given}
        entry["values"] = json.loads(json.dumps(values, default=str))   # as steps.json gives them back
    return entries


def refuse_unknown(source, given, known, what):
    """Raise InputError for the first parameter in given that is not known, listing those there are."""
    for name in given:
        if name not in known:
            raise InputError(f"{source}: {tell(name)}: {what}; there are {', '.join(sorted(known))}")


def tell(name):
    """A name in a YAML file as it stands in an error, which may be any value."""
    return printable(name)[:100] if isinstance(name, str) else shown(name)


def default_parameters(notebook):
    """{name: value} of a notebook's cell tagged `parameters`."""
    try:
        return {name: ast.literal_eval(found["default"]) for name, found in papermill.inspect_notebook(str(notebook)).items()}
    except Exception as error:      # papermill and nbformat raise nearly anything for a file that is no notebook
        raise InputError(f"{notebook.name}: its parameters cannot be read ({printable(' '.join(str(error).split()))[:100]}); expected a notebook whose "
                         "cell tagged `parameters` sets each to a plain value") from None


def run(entries, out, title, resume, asked):
    """Execute the notebooks, write them and report.html to the folder `out`; returns the names of those that failed.

    asked: as `ask` has it. InputError where the folder holds a report that was asked for otherwise,
    unless it is to be resumed.

    A notebook that fails does not stop the others. Each is in `out`, and known to steps.json, as soon as it has ended; with
    resume, what is there and still holds is kept. After an interrupt the report of what there is is rendered all the same, beside
    a whole one, and KeyboardInterrupt raised. Trainings are kept in reports/runs whatever happens.
    """
    prefer_own_kernel()
    with locked(out / ".lock", f"report {printable(out)}"):
        for left in [*out.glob(".running-*"), *out.glob(".*.part")]:    # of a process that was killed: it would hold the lock
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        with tempfile.TemporaryDirectory(dir=out, prefix=".running-", ignore_cleanup_errors=True) as work:
            feed, steps, stop = Path(work) / "progress.jsonl", read_steps(out / "steps.json"), None
            if not resume:
                refuse_other(steps.get(ASKED), asked, out / "report.html", title)
            steps[ASKED] = asked
            feed.touch()
            os.environ[FEED] = str(feed)
            try:
                for i, entry in enumerate(entries, 1):
                    take_step(entry, f"[{i}/{len(entries)}] {entry['name']}", entries[:i - 1], out, feed, steps, resume)
            except KeyboardInterrupt as error:
                stop = error
            except BrokenPipeError:     # the reader of what is said here has gone
                stop = KeyboardInterrupt(signal.SIGPIPE)
            finally:
                del os.environ[FEED]
            ended = [entry for entry in entries if "seconds" in entry and entry["mark"] != "interrupted"]
            for entry in entries:
                if "seconds" not in entry:
                    entry.update(mark="not run", error="interrupted before its turn", seconds=0, runs=[])
            page = report = out / "report.html"
            if stop and is_whole_page(report):
                page = out / "report-incomplete.html"
            told = f"it was interrupted when {len(ended)} of {len(entries)} notebooks had ended; --resume runs the rest" if stop else ""
            write_atomic(page, render(entries, title, told).encode(errors="backslashreplace"))
            if page == report:
                (out / "report-incomplete.html").unlink(missing_ok=True)
    failed = [entry["name"] for entry in ended if entry["error"]]
    for entry in ended:
        if entry["error"]:
            print(f"error: {entry['name']}: {entry['error']}", file=sys.stderr)
    if stop:
        raise KeyboardInterrupt(*stop.args[:1] or [signal.SIGINT], f"{len(ended)} of {len(entries)} notebooks are in {printable(page)}"
                                + (", report.html is left as it was" if page != report else "") + "; --resume runs the rest, and trainings go on where they were")
    print(f"{'report, with ' + ', '.join(failed) + ' failed' if failed else 'report'}: {printable(report)}")
    return failed


def is_whole_page(page):
    """Whether there is a page, and not one that an interrupted report left."""
    return page.exists() and INCOMPLETE not in page.read_text(encoding="utf-8", errors="replace")[:1000]


def refuse_other(before, asked, page, title):
    """Raise InputError where a folder holds another report than the one asked for. before: how that was
    asked for, None where it is not known: then the page's title tells."""
    there = None
    if before and before != asked:
        given = [f"-p {name} {value}" for name, value in before["parameters"].items()]
        there = " ".join([before["settings"], *given])
    elif not before and page.is_file():
        text = page.read_text(encoding="utf-8", errors="replace")[:2000]
        found = re.search("<title>(.*?)</title>", text)
        there = html.unescape(found[1]) if found else "another program"
        there = None if there == f"ganlib: {title}" else there
    if there:
        raise InputError(f"{page.parent}: holds a report of {printable(there)[:300]}; choose another "
                         "folder by --out, or replace that report by --resume")


def take_step(entry, label, before, out, feed, steps, resume):
    """Run one notebook, or keep what an earlier report made of it; its record goes to steps.json. before: the entries before it."""
    kept, now = out / f"{entry['name']}.ipynb", inputs(entry, before)
    if resume:
        why = reason(steps.get(entry["name"]), now, kept)
        print(f"{label}  {'running' + (why != 'missing') * ' again' + ': ' + why if why else 'kept: nothing changed'}", flush=True)
        if not why:
            entry.update({key: steps[entry["name"]][key] for key in ("error", "seconds", "runs")}, mark="", executed=kept)
            entry["digest"] = steps[entry["name"]]["executed"]
            return
    elif (why := reason(steps.get(entry["name"]), now, kept)).startswith("parameters"):
        print(f"{label}  replaces the one there: {why}", flush=True)
    execute(entry, feed, label)
    now["data"][1] = know_data(entry["values"].get("data"))[1]      # the first that reads a folder writes its manifest
    if is_whole(entry["executed"]):
        os.replace(entry["executed"], kept)
        entry.update(executed=kept, digest=digest(kept.read_bytes()))
    steps[entry["name"]] = now | {"executed": entry.get("digest"), "error": entry["error"], "seconds": entry["seconds"], "runs": entry["runs"]}
    write_atomic(out / "steps.json", json.dumps(steps, indent=1))


def is_whole(path):
    """Whether a notebook can be read."""
    try:
        return bool(nbformat.read(path, as_version=4))
    except (OSError, ValueError):
        return False


def execute(entry, feed, label):
    """Run one notebook with papermill; adds executed (path), error (one line or None), mark, seconds and runs (folders)."""
    entry.update(executed=feed.with_name(f"{entry['name']}.ipynb"), error=None, mark="")
    begun, seen, raised, ended, live = time.perf_counter(), feed.stat().st_size, [], Event(), sys.stdout.isatty()

    def run_notebook():
        try:
            paths = [str(entry[end]).replace("{", "{{").replace("}", "}}") for end in ("notebook", "executed")]  # papermill fills in {}
            papermill.execute_notebook(*paths, entry["parameters"], kernel_name="python3", progress_bar=False,
                                       extra_arguments=["--log-level=40"])  # no warning of each kernel that starts
        except Exception as error:  # whatever broke, the report is still rendered and says so
            raised.append(error)
        finally:
            ended.set()     # a Thread's own join, broken off by an interrupt, takes it for ended (Python 3.11)

    # In a thread, so that Ctrl-C reaches us and not nbclient, which would take it for a kernel that died.
    try:
        Thread(target=run_notebook, daemon=True).start()
        while not ended.wait(0.5 if live else 15):
            line = progress_line(label, feed, seen, begun)
            print(f"\r{line}\033[K" if live else line, end="" if live else "\n", flush=True)
    except (KeyboardInterrupt, OSError):    # or what is said of it cannot be written
        end_notebook(ended)
        entry.update(mark="interrupted", error="interrupted while it ran")
        raise
    finally:
        entry["seconds"] = time.perf_counter() - begun
        entry["runs"] = list(dict.fromkeys(update["folder"] for update in updates(feed, seen) if update["folder"]))
    if raised:
        entry.update(mark="failed", error=explain_failure(raised[0], entry["executed"]))
    print(f"{chr(13) + chr(27) + '[K' if live else ''}{label}  {'FAILED' if raised else 'done'} in {entry['seconds']:.0f} s", flush=True)


def explain_failure(error, path):
    """What broke a notebook, in one line; a disk that is full here, and not in the notebook, is raised as an InputError."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        explain(error, error.filename or path.parents[1] / path.name)
    if isinstance(error, DeadKernelError):
        return "DeadKernelError: the notebook's process was killed, as a system does that is short of memory"
    name, text = (error.ename, error.evalue) if hasattr(error, "ename") else (type(error).__name__, str(error))
    return " ".join(f"{name}: {text}".split())


def end_notebook(ended):
    """End the notebook that runs (until the event): its cell is interrupted, so that what it has shown is written; what is left then
    is killed."""
    me = psutil.Process()
    started = me.children(recursive=True)
    for child in me.children():
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGINT)
    ended.wait(PATIENCE)
    kill({*started, *me.children(recursive=True)})
    ended.wait(PATIENCE)


def kill(processes):
    """Kill processes; those that have ended are passed over."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def stoppable():
    """The first Ctrl-C or SIGTERM raises KeyboardInterrupt with its number; the second ends this process and what it started at once."""
    def second(number, frame):
        kill(psutil.Process().children(recursive=True))
        os._exit(128 + number)

    def first(number, frame):
        for each in handlers:
            signal.signal(each, second)
        raise KeyboardInterrupt(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}   # as a job in the background has it
    for number in handlers:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def updates(feed, seen):
    """What trainings have told since the feed had `seen` bytes, as dicts; a line that is still being written waits."""
    with open(feed, "rb") as file:
        file.seek(seen)
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def progress_line(label, feed, seen, begun):
    """What is running now; time left and steps per second while something trains."""
    told = updates(feed, seen)
    if not told or told[-1]["step"] == told[-1]["steps"]:
        return f"{label}  running for {time.perf_counter() - begun:.0f} s"
    last = told[-1]
    return f"{label}  " + meter(last["label"], last["step"], last["steps"], last["seconds"], last["unit"], last.get("initial", 0))


def leave(status):
    """End the process; after an interrupt at once, since the notebook's thread may still wait for its kernel."""
    if status > 128:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(call(main))
