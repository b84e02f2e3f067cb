"""A training that is watched from another notebook than the one that trains it: its losses and
faces, read from the run's folder and drawn in one place."""

import io
import time

import pandas as pd

from ganlib.errors import InputError, in_one_line
from ganlib.runs.finished import read_history
from ganlib.runs.folder import LOG
from ganlib.runs.listing import is_run, look_at, tell_state
from ganlib.show.live import show_in_place
from ganlib.show.strip import PART, STRIP, load_strip
from ganlib.show.training import draw_training
from ganlib.system.files import expand


def watch(folder, seconds=5.0, patience=30.0):
    """Draw the run in a folder in the cell that runs, anew every so many seconds while somebody
    trains it, and say in a line how it ended. A finished run is drawn once.

    A run that is not there yet, or that nobody trains yet, is waited for, `patience` seconds.
    InputError where none comes."""
    folder = expand(folder, "run folder")
    try:
        wait_for(folder, patience)
        drawn = None
        end = time.monotonic() + patience  # of waiting for one that trains it
        told = False
        while True:
            row = look_at(folder)  # before its files are read, so that the last picture has all
            under_way = row["state"] == "in use"
            seen = under_way, tell_version(folder / LOG), tell_version(folder / PART)
            if seen != drawn:
                draw(folder, row)
                drawn = seen
            if under_way:
                end = time.monotonic()  # when that one has ended, it is over
            elif row["state"] not in ("unfinished", "begun") or time.monotonic() > end:
                break
            elif not told:
                print(f"nobody trains {folder.name} now: waiting up to {patience:g} s for it")
                told = True
            time.sleep(seconds)
    except KeyboardInterrupt as stop:
        in_one_line(stop, f"run {folder.name} is not watched any more; who trains it goes on")
        raise
    print(f"run {folder.name}: {tell_state(row)}")


def wait_for(folder, patience):
    """Wait until a folder holds a run: a training writes there when it has its data."""
    end = time.monotonic() + patience
    told = False
    while not is_run(folder):
        others = folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*")))
        if is_run(folder):  # it has just begun
            break
        if others or time.monotonic() > end:
            raise InputError(
                f"run folder {folder}: no run in it; expected the folder of one that is being "
                "trained or is finished (`ganlib runs` lists them)"
            )
        if not told:
            print(f"run {folder.name} is not there yet: waiting up to {patience:g} s for it")
            told = True
        time.sleep(min(0.5, patience))


def tell_version(path):
    """When a file was written, and its size; None where it is not there."""
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_size


def draw(folder, row):
    """Draw what is known of a run, `row` of runs.listing.look_at: nothing before its first faces
    are there."""
    over = row["state"] in ("finished", "kept")
    history = read_history(folder) if over else read_part(folder / LOG)
    strip = load_strip(folder, STRIP if over else PART)
    if (strip or over) and row["steps"]:
        validations = history[history.split == "val"].to_dict("records")
        show_in_place(draw_training(history, validations, strip, row["steps"]))


def read_part(path):
    """The log of a training under way, a row each whole line: the last one may be half-written."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return pd.read_json(io.StringIO(text[: text.rindex("\n") + 1]), lines=True)
    except (OSError, ValueError):  # not there, without a line, or cut at this moment
        return pd.DataFrame({"split": [], "step": []})
