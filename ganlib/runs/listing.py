"""Which runs there are, and what is left over of others: read without torch."""

import os
import re
import shutil
import time
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open
from tabulate import tabulate

from ganlib.errors import InputError, printable
from ganlib.runs.folder import (
    EVENTS,
    FILES,
    LOG,
    STRIP_PART,
    TO_GO_ON,
    Damaged,
    check_head,
    find_checkpoints,
    find_missing,
    is_begun_anew,
    is_newer,
    load_config,
    read_json,
)
from ganlib.runs.kept import KEPT, MEANS, is_kept
from ganlib.system.files import HOME, RUNS, expand, find_holder, locked, raise_unwritable

DAY = 24 * 3600  # seconds
PART = r"\..+\.([0-9]+)\.part"  # what a process writes before it has its name
OF_A_BEGUN_RUN = rf"config\.json|\.lock|{LOG}|{STRIP_PART}|{EVENTS}|{PART}"


def list_runs(folders):
    """What is known of each run in the folders, a dict each (see look_at), the newest first.
    InputError for a folder that is not there."""
    found = [look_at(run) for folder in folders for run in find_runs(folder)]
    return sorted(found, key=lambda row: row["changed"], reverse=True)


def find_runs(folder):
    """The run folders in a folder, or itself where it is one. InputError where it is not there."""
    folder = expand(folder, "folder")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with runs, such as reports/runs")
    return [path for path in (folder, *sorted(folder.glob("[!.]*"))) if is_run(path)]


def is_run(folder):
    """Whether a folder looks as a run's, whole or not."""
    names = ("config.json", *FILES, MEANS)
    try:
        found = any((folder / name).is_file() for name in names)
        return found or bool(find_checkpoints(folder))
    except OSError:  # a folder that cannot be entered
        return False


def look_at(folder):
    """What is known of a run, as a dict. state: "finished", "kept" (in the repository), "in use"
    (by another process), "unfinished" (it can go on at `step`), "begun" (it has no checkpoint yet)
    or "damaged"; why: who uses it, or what is wrong with it. What is not known is None."""
    row = dict.fromkeys(("arch", "recipe", "data", "pairs", "pairs_done", "step", "steps"))
    row |= dict.fromkeys(("kid_probe_a", "kid_probe_b", "why"))
    row |= {"name": folder.name, "folder": str(folder), "changed": ""}
    try:
        row["changed"] = tell_time(folder)
        cfg = load_config(folder)
        fingerprint = read_json(folder / "config.json").get("data_fingerprint")
        if not isinstance(fingerprint, str):
            raise Damaged("config.json: not that of a run")
        row |= {"arch": cfg.arch, "recipe": cfg.recipe, "data": fingerprint[:8]}
        row |= {"steps": cfg.steps, "pairs": cfg.steps * cfg.batch_size}
        row |= find_state(folder)
        if row["state"] in ("finished", "kept"):
            row |= read_figures(folder) | {"step": cfg.steps}
        row["pairs_done"] = (row["step"] or 0) * cfg.batch_size
    except (InputError, OSError, Damaged) as error:
        why = str(error).removeprefix(f"run folder {folder}: ").replace(f"{folder}/", "")
        row |= {"state": "damaged", "why": why}
    return row


def find_state(folder):
    """The state of a run, as look_at has it, with its step and when it was reached. Damaged says
    what is wrong."""
    steps = {}
    for path in find_checkpoints(folder):
        if (step := path.stem.removeprefix("checkpoint-")).isdecimal():
            steps[path] = int(step)
    if holder := find_holder(folder / ".lock"):
        return {"state": "in use", "why": holder, "step": next(iter(steps.values()), None)}
    if is_kept(folder):
        return {"state": "kept", "changed": tell_time(folder / "metrics.json")}
    lost = find_missing(folder)
    if not lost and not is_begun_anew(folder):
        return {"state": "finished", "changed": tell_time(folder / FILES[0])}
    if steps:
        newest = find_whole(steps)
        return {"state": "unfinished", "changed": tell_time(newest), "step": steps[newest]}
    if len(lost) <= len(FILES):
        raise Damaged(f"no {' and no '.join(lost)} in it")
    return {"state": "begun"}


def find_whole(checkpoints):
    """The first checkpoint that is whole by its length; Damaged says what is wrong with the first
    one, where none is."""
    wrong = []
    for path in checkpoints:
        try:
            with open(path, "rb") as file:
                head = file.readline(200)
            check_head(head, path.stat().st_size - len(head))
            if (path.parent / LOG).exists():
                return path
            wrong.append(f"no {LOG} in it")
        except (OSError, Damaged) as error:
            wrong.append(f"{path.name}: {error}")
    raise Damaged(wrong[0])


def read_figures(folder):
    """Data set and KID of a run that is finished or kept. Damaged where a file is no longer whole,
    by its length."""
    if not (folder / "metrics.jsonl").exists():
        raise Damaged("no metrics.jsonl in it")
    for path in (folder / name for name in (*FILES, MEANS)):
        try:
            with safe_open(path, framework="np"):
                pass
        except FileNotFoundError:  # not kept
            continue
        except (OSError, SafetensorError) as error:
            raise Damaged(f"{path.name}: {error}") from None
    metrics = read_json(folder / "metrics.json")
    try:
        found = {"data": str(metrics["data"]["name"])}
        for name in ("kid_probe_a", "kid_probe_b"):
            score = metrics.get("scores", {"ema": {}})["ema"].get(name)
            found[name] = score and float(score["value"])
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Damaged("metrics.json: not the figures of a run") from None
    return found


def tell_time(path):
    """When a file was changed, as ISO 8601 has it."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%dT%H:%M:%S}"


def to_table(rows):
    """Dicts of look_at as a table for a terminal."""
    lines = []
    for row in rows:
        names = [printable(row[name] or "-") for name in ("name", "arch", "recipe", "data")]
        done = row["pairs_done"]
        pairs = "-" if done is None else f"{done:,} of {row['pairs']:,}"
        scores = [row["kid_probe_a"], row["kid_probe_b"]]
        scores = ["-" if score is None else f"{score:.3f}" for score in scores]
        lines.append([*names, pairs, *scores, tell_state(row)])
    heads = ["name", "arch", "recipe", "data", "pairs", "KID fake_a", "KID fake_b", "state"]
    return tabulate(lines, heads, disable_numparse=True)


def tell_state(row):
    """The state of a run in words."""
    return {
        "finished": f"finished on {row['changed'][:10]}",
        "kept": "kept in the repository",
        "in use": f"in use by {row['why']}",
        "unfinished": f"can go on at step {row['step']} of {row['steps']}",
        "begun": "stopped before its first checkpoint",
        "damaged": f"damaged: {row['why']}",
    }[row["state"]]


def clean(folders, remove):
    """What is left over of the runs in the folders, [(path, bytes, why)], one after another, each
    removed before, if asked. By default of ganlib's own runs, reports and cache. What another
    process holds, what is kept, and what is behind a symbolic link is left as it is. InputError for
    a folder that is not there, and for what cannot be removed."""
    places = []
    if not folders:
        places = [HOME, *sorted(path for path in HOME.glob("[!.]*") if path.is_dir())]
    of_runs = folders or filter(Path.exists, [RUNS])
    runs = [run for folder in of_runs for run in find_runs(folder)]
    for place in dict.fromkeys([*places, *runs]):
        found = find_leftovers(place)
        if not found:
            continue
        with locked(place / ".lock", f"folder {place}") if remove else nullcontext():
            for path, why in found:
                size = measure(path)
                if remove:
                    take_away(path)
                yield path, size, why


def find_leftovers(place):
    """What nobody needs any more of a run's folder, or of one that holds others: [(path, why)]."""
    inside = KEPT.resolve() in (place.resolve(), *place.resolve().parents)
    if inside or place.is_symlink() or find_holder(place / ".lock"):
        return []
    state = look_at(place)["state"] if is_run(place) else None
    found = []
    if state == "begun":
        names = [path.name for path in place.iterdir()]
        if all(re.fullmatch(OF_A_BEGUN_RUN, name) for name in names):
            return [(place, "a run that stopped before its first checkpoint")]
    if state == "finished":
        for pattern in TO_GO_ON:
            old = [path for path in place.glob(pattern) if not is_newer(path, place)]
            found += [(path, "the run is finished") for path in sorted(old)]
    for path in sorted(place.glob(".*")):
        writer = re.fullmatch(PART, path.name)
        # Outside a run no lock says that a process of another machine writes it
        old = state is not None or time.time() - path.lstat().st_mtime > DAY
        if writer and old and not Path("/proc", writer[1]).exists():
            found.append((path, "its process was killed"))
        # A report's, whose lock nobody holds
        if path.name.startswith(".running-") and (place / "steps.json").exists():
            found.append((path, "its report was killed"))
    return found


def measure(path):
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def take_away(path):
    """Remove a file or folder; InputError where that cannot be."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError as error:
        raise_unwritable(error, path)
