"""Look at a data set before training: python -m ganlib.doctor DATA

    python -m ganlib.doctor faces.zip                  what is wrong, and how to mend it
    python -m ganlib.doctor faces.zip --out FOLDER     also doctor.json and a picture of the offenders for each finding
    python -m ganlib.doctor faces.zip --json           JSON on standard output, for scripts

DATA is what the notebooks' parameter `data` takes: builtin, a folder, a zip or hf:OWNER/NAME. Exit status: 0 nothing to mend,
1 errors or warnings, 2 data that cannot be used at all.
"""

import argparse
import json
import re
import sys
import time
from math import isnan
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import torch

from ganlib.checks import (ERROR, NOTE, WARNING, Finding, check_copies, check_domains, check_files,
                           check_quality, check_ranges, check_sizes, look_at, show_size)
from ganlib.command import call
from ganlib.config import TrainConfig
from ganlib.cost import count_memory, default_device, device_name
from ganlib.data import load_domains, pair_batches, to_float
from ganlib.files import InputError, expand, printable, write_atomic
from ganlib.metrics import sliced_wasserstein
from ganlib.nets import build_nets
from ganlib.plots import show_grid
from ganlib.pool import ImagePool
from ganlib.progress import Progress
from ganlib.sources import shorten
from ganlib.splits import SPLITS
from ganlib.train import build_optimizers, precision_context, train_step

MARKS = {ERROR: "ERROR  ", WARNING: "warning", NOTE: "note   "}
SHOWN = 3       # offenders named on the terminal for each finding
MEASURED = 150  # images of each side in the distances
STUDY_PAIRS = 80_000    # the study's training: 20 epochs of 4,000 pairs at ngf 64


class Diagnosis(NamedTuple):
    """What was looked at (a row for each image, see checks.look_at), what was found, errors first, and how far apart the
    domains are: `told_apart` in 0 .. 1, `distance` of A from B, and of each from itself."""

    known: pd.DataFrame
    findings: list
    apart: dict


def examine(images):
    """Diagnose a Domains. Raises InputError for images of under 16 pixels a side, on which little can be seen."""
    size = tuple(images.train.a.shape[2:])
    if min(size) < 16:
        raise InputError(f"image_size {show_size(size)}: expected 16 pixels or more a side to look at")
    known, features = look_at(images)
    findings = (check_files(images) + check_copies(known, images) + check_domains(known, features, images)
                + check_sizes(known, size) + check_ranges(known, images)
                + check_quality(known, size))
    few = [side[:2 * MEASURED] for side in images.train]
    apart = {"told_apart": round(float((known.belongs[known.split == "train"] > 0).mean()), 4)}
    for name, x, y in (("a_to_b", few[0][::2], few[1][::2]), ("a_to_a", few[0][::2], few[0][1::2]), ("b_to_b", few[1][::2], few[1][1::2])):
        n = min(len(x), len(y))
        apart[name] = round(sliced_wasserstein(to_float(x[:n]), to_float(y[:n]))["mean"], 1) if n > 1 else float("nan")
    return Diagnosis(known, sorted(findings, key=lambda f: list(MARKS).index(f.level)), apart)


def parse_size(text):
    """The image_size that a text stands for: "64", or height and width as "32x48", "32,48" or "[32, 48]"."""
    numbers = re.fullmatch(r"\s*[\[(]?\s*([0-9]{1,9})(?:\s*[x×X,]\s*([0-9]{1,9}))?\s*[\])]?\s*", text, re.ASCII)
    if not numbers:
        raise InputError(f"--image-size {shorten(text, 100)}: expected a whole number of pixels, as 64, or height and width, as 32x48")
    return int(numbers[1]) if numbers[2] is None else [int(numbers[1]), int(numbers[2])]


def list_kinds(images):
    """What the files of each domain are, a dict each: domain, number of images by split, width and height in pixels (smallest,
    median, largest), modes and formats with how often they occur."""
    used = images.files[images.files.reason == ""]
    return [{"domain": domain, "images": {split: int((part.split == split).sum()) for split in SPLITS},
             **{side: [int(x) for x in part[side].quantile([0, 0.5, 1])] for side in ("width", "height")},
             "modes": part["mode"].value_counts().to_dict(), "formats": part["format"].value_counts().to_dict()}
            for domain, part in ((domain, used[used.domain == domain]) for domain in images.domains)]


def to_table(findings):
    """The findings as a DataFrame to show."""
    return pd.DataFrame([(f.level, f.check, f.text, f.fix) for f in findings], columns=["level", "check", "what", "what to do"])


def offenders(images, known, finding, most=8):
    """A Figure of the first images of a Finding, pairs one above the other; None if it has none."""
    if not finding.rows:
        return None
    before = {key: rows.index[0] for key, rows in known.groupby(["side", "split"])}

    def image(row):
        side, split = known.side[row], known.split[row]
        return getattr(getattr(images, split), side)[row - before[side, split]]

    rows = list(zip(*finding.rows[:most])) if isinstance(finding.rows[0], (list, tuple)) else [finding.rows[:most]]
    labels = [finding.check.replace("_", "\n"), "copy of"][:len(rows)]
    return show_grid([torch.stack([image(r) for r in row]) for row in rows], labels, width=0.9 + 0.9 * max(len(rows[0]), 2))


def measure_cost(images, ngf=64, ndf=64, batch_size=1, device=None):
    """What a training of these images costs: steps of the real thing, the second one timed. A dict of seconds_per_pair,
    pairs_per_second, data_mib (the images) and training_mib (weights, gradients, Adam's state and what is kept for the
    backward pass; counted)."""
    device = torch.device(device) if device else default_device()
    cfg = TrainConfig.from_recipe("default", image_size=tuple(images.train.a.shape[2:]), ngf=ngf, ndf=ndf, batch_size=batch_size)
    nets, training = build_nets(cfg, device), []
    opts, _ = build_optimizers(nets, cfg)
    pools, batches = (ImagePool(50, 0), ImagePool(50, 1)), pair_batches(images.train, batch_size, 0, device)
    amp, _ = precision_context(cfg.precision, device)
    with Progress("timing a training step", 2) as progress:
        with count_memory(nets, device, training):
            train_step(nets, opts, pools, *next(batches), cfg, amp)
        progress.add()
        began = time.perf_counter()
        train_step(nets, opts, pools, *next(batches), cfg, amp)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = (time.perf_counter() - began) / batch_size
    return {"ngf": ngf, "batch_size": batch_size, "device": device_name(device), "seconds_per_pair": round(seconds, 4),
            "pairs_per_second": round(1 / seconds, 2), "training_mib": training[0],
            "data_mib": round(sum(side.nbytes for split in (images.train, images.val, images.test) for side in split) / 2**20)}


def tell_cost(cost, pairs=STUDY_PAIRS):
    """The cost in a sentence."""
    minutes = cost["seconds_per_pair"] * pairs / 60
    duration = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    return (f"The study's training ({pairs:,} pairs at ngf {cost['ngf']}) takes about {duration} on this machine ({cost['device']}: "
            f"{cost['pairs_per_second']:.2g} pairs/s as busy as it is now), {cost['training_mib']:,} MiB for the networks and {cost['data_mib']:,} MiB for the "
            "images. UVCGAN takes up to twice as long.")


def tell(images, diagnosis, cost):
    """The diagnosis as text for a terminal."""
    lines = [f"{images.name}: {'; '.join(images.notes)}"]
    for letter, kind in zip("AB", list_kinds(images)):
        lowest, usual, highest = zip(kind["width"], kind["height"])
        sizes = "{}x{} pixels".format(*usual) + (" (all)" if lowest == highest else ", from {}x{} to {}x{}".format(*lowest, *highest))
        sizes += " (width x height)" * any(one != other for one, other in (lowest, usual, highest))
        counts, modes, formats = [", ".join(f"{n} {word}" for word, n in kind[of].items()) for of in ("images", "modes", "formats")]
        lines.append(f"{letter} ({kind['domain']}): {counts}; {sizes}; {modes}; {formats}")
    lines += [""]
    for f in diagnosis.findings:
        lines += [f"{MARKS[f.level]}  {f.check}: {f.text}", f"         to do: {f.fix}"]
        lines += ["         " + " = ".join([file] if isinstance(file, str) else file) for file in f.files[:SHOWN]]
        lines += [f"         ... and {len(f.files) - SHOWN} more (--json lists all)"] if len(f.files) > SHOWN else []
    apart = diagnosis.apart
    lines += ["" if diagnosis.findings else "nothing found that should be mended\n",
              f"The domains are told apart in {apart['told_apart']:.1%} of the cases by colours and edges alone; sliced Wasserstein "
              f"distance of A to B {apart['a_to_b']}, of A to itself {apart['a_to_a']}, of B to itself {apart['b_to_b']}."]
    return "\n".join(lines + ([tell_cost(cost)] if cost else []))


def to_json(images, diagnosis, cost):
    """The diagnosis as JSON text."""
    findings = [{"check": f.check, "level": f.level, "text": f.text, "fix": f.fix, "files": f.files} for f in diagnosis.findings]
    apart = {name: None if isnan(value) else value for name, value in diagnosis.apart.items()}     # JSON knows no NaN
    return json.dumps({"data": images.name, "domains": images.domains, "files": list_kinds(images), "notes": images.notes,
                       "findings": findings, "apart": apart, "cost": cost, "fingerprint": images.fingerprint}, indent=1)


def main(argv=None):
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m ganlib.doctor", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="builtin, a folder, a zip or hf:OWNER/NAME")
    parser.add_argument("--image-size", default="64", help="pixels a side that training will use (64), or height and width: 32x48, 32,48 or [32, 48]")
    parser.add_argument("--domain-a", default="", help="the domain that is A (the first by alphabet)")
    parser.add_argument("--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"),
                        help="values that are black and white in files of more than 8 bits (found)")
    parser.add_argument("--out", type=Path, help="a folder for doctor.json and a picture for each finding")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-cost", action="store_true", help="do not measure what training costs (some seconds)")
    args = parser.parse_args(argv)
    try:
        out = args.out and expand(args.out, "--out")
        images = load_domains(args.data, parse_size(args.image_size), args.domain_a, strict=False,
                              value_range=args.value_range or "")
        diagnosis = examine(images)
        cost = None
        try:
            cost = None if args.no_cost else measure_cost(images)
        except InputError as error:     # of a size that the networks do not take
            diagnosis.findings.insert(0, Finding("image_size", ERROR, str(error), "set another image_size", [], []))
        print(to_json(images, diagnosis, cost) if args.json else tell(images, diagnosis, cost))
        if out:
            save(out, images, diagnosis, cost)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 1 if any(f.level != NOTE for f in diagnosis.findings) else 0


def save(folder, images, diagnosis, cost):
    """Write doctor.json and a PNG of the offenders of each finding to the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plt.switch_backend("Agg")       # whatever the environment names, no window
        for old in folder.glob("doctor-[0-9][0-9]-*.png"):     # of an earlier look
            old.unlink()
        for i, finding in enumerate(diagnosis.findings):
            figure = offenders(images, diagnosis.known, finding)
            if figure is not None:
                figure.savefig(folder / f"doctor-{i + 1:02}-{finding.check}.png")
        write_atomic(folder / "doctor.json", to_json(images, diagnosis, cost))
    except OSError as error:
        raise InputError(f"--out {printable(folder)}: {error.strerror}; expected a folder that can be written, with room") from None


if __name__ == "__main__":
    sys.exit(call(main))
