"""What the doctor finds in a data set, and what a training on it would cost."""

import time
from typing import NamedTuple

import pandas as pd
import torch

from ganlib.bench.memory import count_memory
from ganlib.config import STUDY_PAIRS, TrainConfig
from ganlib.data.domains import pair_batches, to_float
from ganlib.device import default_device, device_name, precision_context
from ganlib.doctor.checks import (
    ERROR,
    NOTE,
    WARNING,
    check_copies,
    check_files,
    check_likeness,
    check_quality,
    check_ranges,
    check_sizes,
    show_size,
)
from ganlib.doctor.looks import look_at
from ganlib.errors import InputError
from ganlib.evaluate.distances import sliced_wasserstein
from ganlib.faces import SPLITS
from ganlib.fast_step import Passes, train_step
from ganlib.models.build import build_nets
from ganlib.optim import build_optimizers
from ganlib.pool import ImagePool
from ganlib.show.plots import show_grid
from ganlib.show.progress import Progress

MARKS = {ERROR: "ERROR  ", WARNING: "warning", NOTE: "note   "}
MEASURED = 150  # images of each side in the distances


class Diagnosis(NamedTuple):
    """What was looked at (a row for each image, see looks.look_at), what was found, errors
    first, and how far apart the domains are: `told_apart` in 0 .. 1, `distance` of A from B, and
    of each from itself."""

    known: pd.DataFrame
    findings: list
    apart: dict


def examine(images):
    """Diagnose a Domains. Raises InputError for images of under 16 pixels a side, on which
    little can be seen."""
    size = tuple(images.train.a.shape[2:])
    if min(size) < 16:
        raise InputError(
            f"image_size {show_size(size)}: expected 16 pixels or more a side to look at"
        )
    known, features = look_at(images)
    findings = (
        check_files(images)
        + check_copies(known, images)
        + check_likeness(known, features, images)
        + check_sizes(known, size)
        + check_ranges(known, images)
        + check_quality(known, size)
    )
    few = [side[: 2 * MEASURED] for side in images.train]
    apart = {"told_apart": round(float((known.belongs[known.split == "train"] > 0).mean()), 4)}
    for name, x, y in (
        ("a_to_b", few[0][::2], few[1][::2]),
        ("a_to_a", few[0][::2], few[0][1::2]),
        ("b_to_b", few[1][::2], few[1][1::2]),
    ):
        n = min(len(x), len(y))
        apart[name] = (
            round(sliced_wasserstein(to_float(x[:n]), to_float(y[:n]))["mean"], 1)
            if n > 1
            else float("nan")
        )
    return Diagnosis(known, sorted(findings, key=lambda f: list(MARKS).index(f.level)), apart)


def list_kinds(images):
    """What the files of each domain are, a dict each: domain, number of images by split, width
    and height in pixels (smallest, median, largest), modes and formats with how often they
    occur."""
    used = images.files[images.files.reason == ""]
    kinds = []
    for domain in images.domains:
        part = used[used.domain == domain]
        kind = {"domain": domain}
        kind["images"] = {split: int((part.split == split).sum()) for split in SPLITS}
        for side in ("width", "height"):
            kind[side] = [int(x) for x in part[side].quantile([0, 0.5, 1])]
        kind["modes"] = part["mode"].value_counts().to_dict()
        kind["formats"] = part["format"].value_counts().to_dict()
        kinds.append(kind)
    return kinds


def to_table(findings):
    """The findings as a DataFrame to show."""
    return pd.DataFrame(
        [(f.level, f.check, f.text, f.fix) for f in findings],
        columns=["level", "check", "what", "what to do"],
    )


def offenders(images, known, finding, most=8):
    """A Figure of the first images of a Finding, pairs one above the other; None if it has none."""
    if not finding.rows:
        return None
    before = {key: rows.index[0] for key, rows in known.groupby(["side", "split"])}

    def image(row):
        side = known.side[row]
        split = known.split[row]
        return getattr(getattr(images, split), side)[row - before[side, split]]

    rows = (
        list(zip(*finding.rows[:most]))
        if isinstance(finding.rows[0], (list, tuple))
        else [finding.rows[:most]]
    )
    labels = [finding.check.replace("_", "\n"), "copy of"][: len(rows)]
    pictures = []
    for row in rows:
        pictures.append(torch.stack([image(r) for r in row]))
    return show_grid(pictures, labels, width=0.9 + 0.9 * max(len(rows[0]), 2))


def measure_cost(images, ngf=64, ndf=64, batch_size=1, device=None):
    """What a training of these images costs, by recipe cyclegan: steps of the real thing, the
    second one timed. A dict of seconds_per_pair, pairs_per_second, data_mib (the images) and
    training_mib (weights, gradients, Adam's state and what is kept for the backward pass;
    counted)."""
    device = torch.device(device) if device else default_device()
    cfg = TrainConfig.from_recipe(
        "cyclegan",
        image_size=tuple(images.train.a.shape[2:]),
        ngf=ngf,
        ndf=ndf,
        batch_size=batch_size,
    )
    nets = build_nets(cfg, device)
    training = []
    opts, _ = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, 0), ImagePool(cfg.pool_size, 1)
    batches = pair_batches(images.train, batch_size, 0, device)
    passes = Passes(precision_context(cfg.precision, device)[0])
    with Progress("timing a training step", 2) as progress:
        with count_memory(nets, device, training):
            train_step(nets, opts, pools, next(batches), cfg, passes)
        progress.add()
        began = time.perf_counter()
        train_step(nets, opts, pools, next(batches), cfg, passes)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = (time.perf_counter() - began) / batch_size
    return {
        "ngf": ngf,
        "batch_size": batch_size,
        "device": device_name(device),
        "seconds_per_pair": round(seconds, 4),
        "pairs_per_second": round(1 / seconds, 2),
        "training_mib": training[0],
        "data_mib": round(
            sum(side.nbytes for split in (images.train, images.val, images.test) for side in split)
            / 2**20
        ),
    }


def tell_cost(cost, pairs=STUDY_PAIRS):
    """The cost in a sentence."""
    minutes = cost["seconds_per_pair"] * pairs / 60
    duration = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    return (
        f"The study's training ({pairs:,} pairs at ngf {cost['ngf']}) takes about {duration} on "
        f"this machine ({cost['device']}: {cost['pairs_per_second']:.2g} pairs/s as busy as it is "
        f"now), {cost['training_mib']:,} MiB for the networks and {cost['data_mib']:,} MiB for the "
        "images. UVCGAN takes up to twice as long."
    )
