"""A finished run and its folder:

    config.json          the TrainConfig, and the fingerprint of the data
    metrics.jsonl        a line a step (losses, sizes of the gradients) and one a validation (losses, KID, content distance, variety)
    weights.safetensors  networks and running means after the last step: g_ab.*, g_ba.*, d_a.*, d_b.*, ema_ab.*, ema_ba.*
    best.safetensors     the same at the validation with the lowest KID
    metrics.json         test losses, scores with their protocols, cost, warnings

While it trains, .lock, checkpoint-STEP.pt and metrics.jsonl.part; failed-step-STEP.pt where a loss was not finite.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from safetensors import torch as safetensors

from ganlib.config import load_config, read_json, shown
from ganlib.cost import default_device
from ganlib.files import InputError, expand, printable, write_atomic
from ganlib.judge import Judge, translate
from ganlib.nets import Nets, build_ema, build_nets, load_weights
from ganlib.progress import Progress

WEIGHTS = {"ema": "running means of the weights, after the last step", "raw": "the weights as they are, after the last step",
           "best": "running means at the validation with the lowest KID"}
FILES = ("weights.safetensors", "best.safetensors")
SCORED = 2000   # test images of each domain at most, as time and memory grow with their square


class Run(NamedTuple):
    """A finished run: folder, config, networks, history (one row a step or epoch) and the figures of metrics.json.

    ema holds the generators that are used (and the discriminators), nets them as trained, best as ema at the best validation.
    """

    folder: Path
    cfg: object
    nets: Nets
    ema: Nets
    best: Nets
    history: pd.DataFrame
    metrics: dict

    def translate(self, pair, weights="ema", idt=False):
        """judge.translate of a Pair of images, uint8 or floats in [-1, 1], by the "ema", "raw" or "best" generators."""
        if weights not in WEIGHTS:
            raise InputError(f"weights {shown(weights)}: no such weights; there are {', '.join(WEIGHTS)}")
        nets = {"ema": self.ema, "raw": self.nets, "best": self.best}[weights]
        return translate(nets.g_ab, nets.g_ba, pair, idt)


def save_weights(path, weights):
    """Write the dict of nets.pack_weights to a safetensors file, which holds tensors alone and runs nothing when it is read."""
    flat = {f"{net}.{key}": value.detach().cpu().contiguous() for net, state in weights.items() for key, value in state.items()}
    write_atomic(path, safetensors.save(flat, {"format": "pt"}))


def read_weights(path, device):
    """The dict of nets.pack_weights in a file of save_weights."""
    weights = {}
    for name, value in safetensors.load_file(path, device=str(device)).items():
        net, key = name.split(".", 1)
        if not value.is_floating_point() and key != "n_averaged":
            raise ValueError(f"{name} is of {value.dtype}")
        weights.setdefault(net, {})[key] = value
    return weights


def find_missing(folder):
    """The files that a folder lacks of those of a run that was trained to its end."""
    return [name for name in ("metrics.json", *FILES) if not (Path(folder) / name).exists()]


def is_finished(folder):
    """Whether a folder holds a run that was trained to its end (its scores may be missing)."""
    return not find_missing(folder)


def load_run(folder, device=None):
    """A finished Run from its folder; InputError where the folder holds none, or one that did not finish."""
    folder, device = expand(folder, "run folder"), torch.device(device) if device else default_device()
    cfg = load_config(folder)
    if lost := find_missing(folder):
        raise InputError(f"run folder {folder}: no {' and no '.join(lost)} in it, so the run did not finish or has lost it; train it again")
    loaded = []
    for name in FILES:
        nets = build_nets(cfg, device)
        emas = [build_ema(net) for net in nets[:2]]
        try:
            load_weights(nets, emas, read_weights(folder / name, device))
        except Exception as error:  # torch and safetensors raise nearly anything for a file that is damaged
            raise InputError(f"{folder / name}: not the weights of this run ({printable(' '.join(str(error).split()))[:100]}); train it again") from None
        loaded += [nets, Nets(*[ema.module for ema in emas], *nets[2:])]
    try:
        history = pd.read_json(folder / "metrics.jsonl", lines=True)
    except (OSError, ValueError):
        raise InputError(f"{folder / 'metrics.jsonl'}: missing or damaged; train the run again") from None
    for name in {"cycle", "idt"} - set(history):      # without a weight it is not computed (losses.weighed)
        history[name] = float("nan")
    return Run(folder, cfg, loaded[0], loaded[1], loaded[3], history, read_json(folder / "metrics.json"))


def score_run(run, data, inception=None):
    """The run with scores of its test translations in metrics.json: {"ema" | "raw" | "best": {name: value, low, high}}, and
    their protocols. A run that has them by the same protocols is left as it is."""
    data = data.settled()
    config = read_json(run.folder / "config.json")
    if config.get("data_fingerprint") != data.fingerprint:
        raise InputError(f"run folder {run.folder}: trained on other images than {data.name}; score it on those it was trained on")
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
