"""The notebooks of a report, run one after another and rendered as one page."""

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

from ganlib.errors import InputError, printable
from ganlib.report.index import REPORTS, renew_index
from ganlib.report.page import INCOMPLETE, render
from ganlib.report.stale import ASKED, digest, inputs, know_data, read_steps, reason
from ganlib.show.progress import FEED, meter
from ganlib.system.files import NO_SPACE, locked, raise_unwritable, write_atomic
from ganlib.system.surroundings import prefer_own_kernel

PATIENCE = 5  # seconds that an interrupted notebook has to end by itself


def run(entries, out, title, resume, asked):
    """Execute the notebooks, write them and report.html to the folder `out`; returns the names of
    those that failed.

    asked: as `ask` has it. InputError where the folder holds a report that was asked for otherwise,
    unless it is to be resumed.

    A notebook that fails does not stop the others. Each is in `out`, and known to steps.json, as
    soon as it has ended; with resume, what is there and still holds is kept. After an interrupt
    the report of what there is is rendered all the same, beside a whole one, and
    KeyboardInterrupt raised. Trainings are kept in reports/runs whatever happens."""
    prefer_own_kernel()
    with locked(out / ".lock", f"report {printable(out)}"):
        # Of a process that was killed: it would hold the lock
        for left in [*out.glob(".running-*"), *out.glob(".*.part")]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        with tempfile.TemporaryDirectory(
            dir=out, prefix=".running-", ignore_cleanup_errors=True
        ) as work:
            feed = Path(work) / "progress.jsonl"
            feed.touch()
            steps = read_steps(out / "steps.json")
            if not resume:
                refuse_other(steps.get(ASKED), asked, out / "report.html", title)
            steps[ASKED] = asked
            stop = take_steps(entries, out, feed, steps, resume)
            ended = [
                entry for entry in entries if "seconds" in entry and entry["mark"] != "interrupted"
            ]
            page = write_page(entries, out, title, stop, len(ended))
    return tell_end(ended, len(entries), page, out / "report.html", stop)


def take_steps(entries, out, feed, steps, resume):
    """Run the notebooks one after another; returns the KeyboardInterrupt that broke it off, or
    None."""
    os.environ[FEED] = str(feed)
    try:
        for i, entry in enumerate(entries, 1):
            label = f"[{i}/{len(entries)}] {entry['name']}"
            take_step(entry, label, entries[: i - 1], out, feed, steps, resume)
    except KeyboardInterrupt as error:
        return error
    except BrokenPipeError:  # the reader of what is said here has gone
        return KeyboardInterrupt(signal.SIGPIPE)
    finally:
        del os.environ[FEED]
    return None


def write_page(entries, out, title, stop, ended):
    """Render what there is and return the path of the page: report.html or, after an interrupt and
    where a whole one is, one beside it. ended: how many notebooks have ended."""
    for entry in entries:
        if "seconds" not in entry:
            entry.update(mark="not run", error="interrupted before its turn", seconds=0, runs=[])
    page = report = out / "report.html"
    told = ""
    if stop:
        told = (
            f"it was interrupted when {ended} of {len(entries)} notebooks had ended; --resume runs "
            "the rest"
        )
        if is_whole_page(report):
            page = out / "report-incomplete.html"
    write_atomic(page, render(entries, title, told).encode(errors="backslashreplace"))
    if page == report:
        (out / "report-incomplete.html").unlink(missing_ok=True)
    if out.parent == REPORTS.resolve():
        renew_index()
    return page


def tell_end(ended, total, page, report, stop):
    """Say how a report ended, and return the names of the notebooks that failed; KeyboardInterrupt
    after an interrupt."""
    failed = [entry["name"] for entry in ended if entry["error"]]
    for entry in ended:
        if entry["error"]:
            print(f"error: {entry['name']}: {entry['error']}", file=sys.stderr)
    if stop:
        raise KeyboardInterrupt(
            *stop.args[:1] or [signal.SIGINT],
            f"{len(ended)} of {total} notebooks are in {printable(page)}"
            + (", report.html is left as it was" if page != report else "")
            + "; --resume runs the rest, and trainings go on where they were",
        )
    what = f"report, with {', '.join(failed)} failed" if failed else "report"
    print(f"{what}: {printable(report)}")
    return failed


def is_whole_page(page):
    """Whether there is a page, and not one that an interrupted report left."""
    return (
        page.exists()
        and INCOMPLETE not in page.read_text(encoding="utf-8", errors="replace")[:1000]
    )


def refuse_other(before, asked, page, title):
    """Raise InputError where a folder holds another report than the one asked for. before: how
    that was asked for, None where it is not known: then the page's title tells."""
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
        raise InputError(
            f"{page.parent}: holds a report of {printable(there)[:300]}; choose another folder by "
            "--out, or replace that report by --resume"
        )


def take_step(entry, label, before, out, feed, steps, resume):
    """Run one notebook, or keep what an earlier report made of it; its record goes to
    steps.json. before: the entries before it."""
    kept = out / f"{entry['name']}.ipynb"
    now = inputs(entry, before)
    if resume:
        why = reason(steps.get(entry["name"]), now, kept)
        told = "kept: nothing changed"
        if why:
            told = f"running{'' if why == 'missing' else ' again'}: {why}"
        print(f"{label}  {told}", flush=True)
        if not why:
            entry.update(
                {key: steps[entry["name"]][key] for key in ("error", "seconds", "runs")},
                mark="",
                executed=kept,
            )
            entry["digest"] = steps[entry["name"]]["executed"]
            return
    elif (why := reason(steps.get(entry["name"]), now, kept)).startswith("parameters"):
        print(f"{label}  replaces the one there: {why}", flush=True)
    execute(entry, feed, label)
    # The first that reads a folder writes its manifest
    now["data"][1] = know_data(entry["values"].get("data"))[1]
    if is_whole(entry["executed"]):
        os.replace(entry["executed"], kept)
        entry.update(executed=kept, digest=digest(kept.read_bytes()))
    steps[entry["name"]] = now | {
        "executed": entry.get("digest"),
        "error": entry["error"],
        "seconds": entry["seconds"],
        "runs": entry["runs"],
    }
    write_atomic(out / "steps.json", json.dumps(steps, indent=1))


def is_whole(path):
    """Whether a notebook can be read."""
    try:
        return bool(nbformat.read(path, as_version=4))
    except (OSError, ValueError):
        return False


def execute(entry, feed, label):
    """Run one notebook with papermill; adds executed (path), error (one line or None), mark,
    seconds and runs (folders)."""
    entry.update(executed=feed.with_name(f"{entry['name']}.ipynb"), error=None, mark="")
    begun = time.perf_counter()
    seen = feed.stat().st_size
    raised = []
    ended = Event()
    live = sys.stdout.isatty()

    def run_notebook():
        try:
            # Papermill fills in {}
            paths = [
                str(entry[end]).replace("{", "{{").replace("}", "}}")
                for end in ("notebook", "executed")
            ]
            papermill.execute_notebook(
                *paths,
                entry["parameters"],
                kernel_name="python3",
                progress_bar=False,
                # No warning of each kernel that starts
                extra_arguments=["--log-level=40"],
            )
        except Exception as error:  # whatever broke, the report is still rendered and says so
            raised.append(error)
        finally:
            # A Thread's own join, broken off by an interrupt, takes it for ended (Python 3.11)
            ended.set()

    # In a thread, so that Ctrl-C reaches us and not nbclient, which would take it for a kernel that
    # died.
    try:
        Thread(target=run_notebook, daemon=True).start()
        while not ended.wait(0.5 if live else 15):
            line = progress_line(label, feed, seen, begun)
            print(f"\r{line}\033[K" if live else line, end="" if live else "\n", flush=True)
    except (KeyboardInterrupt, OSError):  # or what is said of it cannot be written
        end_notebook(ended)
        entry.update(mark="interrupted", error="interrupted while it ran")
        raise
    finally:
        entry["seconds"] = time.perf_counter() - begun
        entry["runs"] = list(
            dict.fromkeys(update["folder"] for update in updates(feed, seen) if update["folder"])
        )
    if raised:
        entry.update(mark="failed", error=explain_failure(raised[0], entry["executed"]))
    print(
        f"{chr(13) + chr(27) + '[K' if live else ''}{label}  {'FAILED' if raised else 'done'} in "
        f"{entry['seconds']:.0f} s",
        flush=True,
    )


def explain_failure(error, path):
    """What broke a notebook, in one line; a disk that is full here, and not in the notebook, is
    raised as an InputError."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        raise_unwritable(error, error.filename or path.parents[1] / path.name)
    if isinstance(error, DeadKernelError):
        return (
            "DeadKernelError: the notebook's process was killed, as a system does that is short of "
            "memory"
        )
    name, text = (
        (error.ename, error.evalue)
        if hasattr(error, "ename")
        else (type(error).__name__, str(error))
    )
    return " ".join(f"{name}: {text}".split())


def end_notebook(ended):
    """End the notebook that runs (until the event): its cell is interrupted, so that what it has
    shown is written; what is left then is killed."""
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
    """The first Ctrl-C or SIGTERM raises KeyboardInterrupt with its number; the second ends this
    process and what it started at once."""

    # What ran at the first: a process whose parent has ended since is nobody's child by the second
    started = set()

    def second(number, frame):
        kill({*started, *psutil.Process().children(recursive=True)})
        os._exit(128 + number)

    def first(number, frame):
        started.update(psutil.Process().children(recursive=True))
        for each in handlers:
            signal.signal(each, second)
        raise KeyboardInterrupt(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # As a job in the background has it
    handlers = {
        number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN
    }
    for number in handlers:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def updates(feed, seen):
    """What trainings have told since the feed had `seen` bytes, as dicts; a line that is still
    being written waits."""
    with open(feed, "rb") as file:
        file.seek(seen)
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def progress_line(label, feed, seen, begun):
    """What is running now; time left and steps per second while something trains."""
    told = updates(feed, seen)
    if not told or told[-1]["step"] == told[-1]["steps"]:
        return f"{label}  running for {time.perf_counter() - begun:.0f} s"
    last = told[-1]
    return f"{label}  " + meter(
        last["label"],
        last["step"],
        last["steps"],
        last["seconds"],
        last["unit"],
        last.get("initial", 0),
    )
