"""Runs set side by side: the table of their scores and costs."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy import stats

from ganlib.config import RECIPES
from ganlib.errors import InputError, one_line
from ganlib.evaluate.scores import PROTOCOL_VERSION, SCORES, family
from ganlib.runs.folder import load_config, read_json
from ganlib.system.files import expand

COSTS = {
    "parameters": "parameters of a generator",
    "flops_per_pair": "FLOPs a training pair",
    "pairs_per_second": "pairs/s",
    "train_seconds": "training, s",
    "memory_mib": "memory of training, MiB",
}


def gather(folders, weights="ema"):
    """One row a run, as a DataFrame: model, arch, recipe, seed, folder, the costs, and of each
    score NAME, NAME_low and NAME_high.

    Runs that differ in their seed alone are one model. A score that only some runs have is
    missing (NaN) in the others, and time and memory are where runs were made on different
    devices. Raises InputError for a folder that holds no finished run, one without scores, two
    runs of one model and seed (which would count one training twice), and where runs were scored
    by different protocols: the first difference is named."""
    if not folders:
        raise InputError(
            "runs: none given; expected folders of finished runs, such as reports/runs/*"
        )
    rows, configs, protocols, known = [], [], {}, {}
    for folder in dict.fromkeys(expand(folder, "run folder") for folder in folders):
        cfg, metrics = read_scored(folder, weights)
        for name, protocol in metrics["protocols"].items():
            refuse_another(name, *protocols.setdefault(name, (folder, protocol)), folder, protocol)
        if cfg in known:
            raise InputError(
                f"run folder {folder}: the same model and seed as {known[cfg]}; leave one of them "
                "out"
            )
        known[cfg] = folder
        configs.append(asdict(cfg))
        rows.append(tell_run(folder, cfg, metrics, weights))
    table = pd.DataFrame(rows)
    if table.device.nunique() > 1:
        table[["pairs_per_second", "train_seconds", "memory_mib"]] = np.nan
    table.insert(0, "model", name_models(configs))
    return table


def read_scored(folder, weights):
    """The config and metrics of a run that can stand in a table, or InputError that says why it
    cannot."""
    if one_line(folder).encode("utf-8") != str(folder).encode("utf-8", "surrogateescape"):
        raise InputError(
            f"run folder {folder}: a name that no table holds; rename it, in letters of UTF-8 "
            "without line breaks"
        )
    cfg = load_config(folder)
    if not (folder / "metrics.json").exists():
        raise InputError(
            f"run folder {folder}: no metrics.json in it, so the run did not finish; leave it "
            "out or train it again"
        )
    metrics = read_json(folder / "metrics.json")
    if "scores" not in metrics or "protocols" not in metrics:
        raise InputError(
            f"run folder {folder}: no scores in its metrics.json; start its training again, "
            "which then only scores it"
        )
    if "kid_probe_a" not in metrics["scores"][weights]:
        raise InputError(
            f"run folder {folder}: scored on {metrics['protocols']['kid_probe']['n']} test "
            "images; expected 4 or more of each domain, for a KID"
        )
    for name, protocol in metrics["protocols"].items():
        if protocol.get("version") != PROTOCOL_VERSION:
            raise InputError(
                f"run folder {folder}: {name} is of version {protocol.get('version')} of the "
                f"scores, expected {PROTOCOL_VERSION}; ganlib.loop.fit_or_load, with the run's "
                f"config and data, scores it anew without a training, as notebook 04 does"
            )
    return cfg, metrics


def tell_run(folder, cfg, metrics, weights):
    """The row of a run in a table of gather, without the model's name."""
    row = {"arch": cfg.arch, "recipe": cfg.recipe, "seed": cfg.seed, "folder": str(folder)}
    row["device"] = f"{metrics['device']}, {metrics['precision']}"
    for name in COSTS:
        row[name] = metrics["parameters"]["g_ab"] if name == "parameters" else metrics.get(name)
    for name, score in metrics["scores"][weights].items():
        row |= {name: score["value"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
    return row


def refuse_another(name, folder, protocol, other_folder, other):
    """Raise InputError unless two runs have a score by the same protocol."""
    for key in sorted(protocol.keys() | other.keys()):
        if protocol.get(key) != other.get(key):
            raise InputError(
                f"{name}: {key} is {protocol.get(key)!r} in {folder} and {other.get(key)!r} in "
                f"{other_folder}: scores of different protocols cannot be set in one table; "
                "compare runs of the same data and probe"
            )


def name_models(configs):
    """A name for each config that tells models apart: architecture, ngf and recipe; and what
    else differs, between two of one name or, of what no recipe fixes (such as the steps),
    between any two: models that were trained unequally show it."""

    fields = [field for field in configs[0] if field not in ("seed", "arch", "ngf", "recipe")]
    fixed = set().union(*RECIPES.values())
    shared = [field for field in fields if field not in fixed]
    short = [f"{config['arch']} {config['ngf']}, {config['recipe']}" for config in configs]
    names = []
    for name, config in zip(short, configs):
        told = [name]
        for field in fields:
            rivals = configs
            if field not in shared:
                rivals = [c for other, c in zip(short, configs) if other == name]
            if len({json.dumps(rival[field]) for rival in rivals}) > 1:
                told.append(f"{field} {config[field]}")
        names.append(", ".join(told))
    return names


def validation_kid(run):
    """KID of a Run's validations, mean of both domains, by the running means: a Series by step."""
    val = run.history[run.history.split == "val"].set_index("step")
    return (val.kid_a + val.kid_b) / 2


def improved_since(runs, pairs):
    """Whether training on pays: of Runs, the validation KID (mean of both domains) at the last
    validation up to so many pairs, and at the end, as a DataFrame of a row each: before, after.
    Runs without a validation up to there, or none after it, are left out."""
    rows = []
    for run in runs:
        kid = validation_kid(run).dropna()
        early = kid[kid.index * run.cfg.batch_size <= pairs]
        if len(early) and early.index[-1] < kid.index[-1]:
            rows.append({"before": early.iloc[-1], "after": kid.iloc[-1]})
    return pd.DataFrame(rows, columns=["before", "after"])


def tell_improved(found, pairs):
    """What improved_since found, in words, with an exact sign test over the runs."""
    if not len(found):
        return f"No run went on beyond {pairs:,} pairs."
    better = int((found.after < found.before).sum())
    p = stats.binomtest(better, len(found)).pvalue
    sure = "chance alone would seldom do that" if p < 0.05 else "which chance may do as well"
    return (
        f"From {pairs:,} pairs to the end the KID of the validation images, mean of both domains, "
        f"went from {found.before.mean():.2f} to {found.after.mean():.2f} in the mean; it fell in "
        f"{better} of {len(found)} runs ({sure}: sign test, p {p:.2g})."
    )


def seconds_to_kid(run, target):
    """Seconds that a Run trained (validation left out) until its validation KID was at or below
    the target; NaN if it never was."""
    kid = validation_kid(run)
    reached = kid.index[kid <= target]
    return run.metrics["train_seconds"] * reached[0] / run.cfg.steps if len(reached) else np.nan


def describe(name):
    """A score's name in words, with its domain or direction: "KID, probe, of fake_a", "content
    distance A to B"."""
    end = name.rsplit("_", 1)[1]
    return f"{SCORES[family(name)].title} " + (
        f"{end[0].upper()} to {end[1].upper()}" if len(end) == 2 else f"of fake_{end}"
    )


def score_columns(table):
    """The scores in a table of gather, in the order of SCORES."""
    return [
        name
        for name in table
        if name.rsplit("_", 1)[-1] in ("a", "b", "ab", "ba") and family(name) in SCORES
    ]


def significant(value, error=None):
    """A number in three significant digits, its spread in as many decimals; "-" where there is
    none."""
    if value is None or np.isnan(value):
        return "-"
    places = max(0, 2 - int(np.floor(np.log10(abs(value) or 1)))) if abs(value) < 1e6 else 0
    text = f"{value:,.{min(places, 4)}f}"
    return text if error is None or np.isnan(error) else f"{text} ± {error:,.{min(places, 4)}f}"
