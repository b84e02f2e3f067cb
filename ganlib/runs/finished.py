"""A finished run: loaded from its folder, and scored."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from ganlib.device import default_device
from ganlib.errors import InputError, printable, shown
from ganlib.evaluate.judge import Judge
from ganlib.evaluate.translate import translate
from ganlib.models.build import Nets, build_nets, load_weights
from ganlib.models.ema import build_ema
from ganlib.runs.folder import (
    FILES,
    LOG,
    WEIGHTS,
    clear,
    find_checkpoints,
    find_missing,
    is_newer,
    load_config,
    read_json,
    read_weights,
)
from ganlib.runs.kept import is_kept, load_means
from ganlib.show.progress import Progress, note_run
from ganlib.system.files import expand, locked, write_atomic


def reopen(folder, data, inception=None, device=None):
    """A finished Run, which is said, scored if it is not yet, and without what a process has
    left that was killed as it finished it."""
    run = load_run(folder, device)
    note_run(folder)
    day = datetime.fromtimestamp((folder / "weights.safetensors").stat().st_mtime)
    print(
        f"run {folder.name}: finished on {day:%Y-%m-%d %H:%M}, so it is loaded; to train it anew "
        "set resume to False",
        flush=True,
    )
    old = [
        path
        for path in (*find_checkpoints(folder), folder / LOG)
        if path.exists() and not is_newer(path, folder)
    ]
    if old or list(folder.glob(".*")):
        # Not where somebody trains it anew, nor where it is read only
        with suppress(InputError), locked(folder / ".lock", f"run folder {folder}"):
            clear(folder, checkpoints=bool(old))
    return score_run(run, data, inception)


SCORED = 2000  # test images of each domain at most, as time and memory grow with their square


class Run(NamedTuple):
    """A finished run: folder, config, networks, history (one row a step or epoch) and the figures
    of metrics.json.

    ema holds the generators that are used (and the discriminators), nets them as trained, best
    as ema at the best validation. Of a run that was kept small (runs.kept) there is only ema, or
    none of them."""

    folder: Path
    cfg: object
    nets: Nets | None
    ema: Nets | None
    best: Nets | None
    history: pd.DataFrame
    metrics: dict

    def translate(self, pair, weights="ema", idt=False):
        """evaluate.translate.translate of a Pair of images, uint8 or floats in [-1, 1], by the
        "ema", "raw" or "best" generators."""
        if weights not in WEIGHTS:
            raise InputError(
                f"weights {shown(weights)}: no such weights; there are {', '.join(WEIGHTS)}"
            )
        nets = {"ema": self.ema, "raw": self.nets, "best": self.best}[weights]
        if nets is None:
            raise InputError(
                f"run folder {self.folder}: its {weights} weights were not kept; expected a run "
                "that was trained here"
            )
        return translate(nets.g_ab, nets.g_ba, pair, idt)


def load_run(folder, device=None):
    """A finished Run from its folder; InputError where the folder holds none, or one that did
    not finish."""
    folder = expand(folder, "run folder")
    device = torch.device(device) if device else default_device()
    cfg = load_config(folder)
    if is_kept(folder):
        history = read_history(folder)
        metrics = read_json(folder / "metrics.json")
        return Run(folder, cfg, None, load_means(folder, cfg, device), None, history, metrics)
    if lost := find_missing(folder):
        raise InputError(
            f"run folder {folder}: no {' and no '.join(lost)} in it, so the run did not finish or "
            "has lost it; train it again"
        )
    loaded = []
    for name in FILES:
        nets = build_nets(cfg, device)
        emas = [build_ema(net) for net in nets[:2]]
        try:
            load_weights(nets, emas, read_weights(folder / name, device))
        # Torch and safetensors raise nearly anything for a file that is damaged
        except Exception as error:
            raise InputError(
                f"{folder / name}: not the weights of this run "
                f"({printable(' '.join(str(error).split()))[:100]}); train it again"
            ) from None
        loaded += [nets, Nets(*[ema.module for ema in emas], *nets[2:])]
    history = read_history(folder)
    metrics = read_json(folder / "metrics.json")
    return Run(folder, cfg, loaded[0], loaded[1], loaded[3], history, metrics)


def read_history(folder):
    """The log of a finished run, a row each line."""
    try:
        history = pd.read_json(folder / "metrics.jsonl", lines=True)
    except (OSError, ValueError):
        raise InputError(
            f"{folder / 'metrics.jsonl'}: missing or damaged; train the run again"
        ) from None
    # Without a weight it is not computed (losses.weighed)
    for name in {"cycle", "idt"} - set(history):
        history[name] = float("nan")
    return history


def score_run(run, data, inception=None):
    """The run with scores of its test translations in metrics.json: {"ema" | "raw" | "best":
    {name: value, low, high}}, and their protocols. A run that has them by the same protocols is
    left as it is."""
    data = data.settled()
    if run.nets is None:
        raise InputError(
            f"run folder {run.folder}: kept without all of its weights, so it cannot be scored; "
            "train it here"
        )
    config = read_json(run.folder / "config.json")
    if config.get("data_fingerprint") != data.fingerprint:
        raise InputError(
            f"run folder {run.folder}: trained on other images than {data.name}; score it on those "
            "it was trained on"
        )
    judge = Judge(data, "test", inception, SCORED, device=next(run.nets.g_ab.parameters()).device)
    protocols = json.loads(json.dumps(judge.protocols()))
    known = run.metrics.get("protocols", {})
    if all(known.get(name) == protocol for name, protocol in protocols.items()):
        return run
    scores = {}
    with Progress("scoring the test images", len(WEIGHTS), unit="sets of weights") as progress:
        for weights in WEIGHTS:
            scores[weights] = judge.score(run.translate(judge.pair, weights))
            progress.add()
    metrics = run.metrics | {"scores": scores, "protocols": protocols}
    write_atomic(run.folder / "metrics.json", json.dumps(metrics, indent=1))
    return run._replace(metrics=metrics)
