"""The log of a training, line by line."""

import hashlib
import json
import math
import os
from array import array
from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch

from ganlib.errors import NotFinite
from ganlib.parallel.ranks import mean, rank
from ganlib.runs.folder import LOG
from ganlib.system.files import explain

LOSSES = (
    "g",
    "g_adv",
    "cycle",
    "idt",
    "d_a",
    "d_a_real",
    "d_a_fake",
    "d_b",
    "d_b_real",
    "d_b_fake",
)
GRADS = ("grad_g", "grad_d")  # size of the gradient of both generators, of both discriminators
# Of steps at most: of a longer training every second, third, ... step is written
LINES = 20_000
# What watch reads of a step, and so all that is kept of it in memory
WATCHED = ("step", "d_a", "d_b", "cycle")


class Log:
    """metrics.jsonl.part of a run: one line a step (split "train") and one a validation, written
    as they come, by one process."""

    def __init__(self, folder, steps, length=0):
        self.path, self.length, self.kept, self.stride = (
            Path(folder) / LOG,
            length,
            [],
            -(-steps // LINES),
        )
        self.train, self.val, self.sha256 = (
            {name: array("d") for name in WATCHED},
            {},
            hashlib.sha256(),
        )

    def __enter__(self):
        try:
            # Of a run that goes on: what was written after its checkpoint is trained again
            if self.length and rank() == 0:
                known = self.path.read_bytes()[: self.length]
                for line in known.splitlines():
                    self.remember(json.loads(line))
                self.sha256.update(known)
                os.truncate(self.path, self.length)
            self.file = open(
                self.path if rank() == 0 else os.devnull,
                "a" if self.length else "w",
                buffering=1,
                encoding="utf-8",
            )
        except OSError as error:
            explain(error, self.path)
        return self

    def __exit__(self, *error):
        with suppress(OSError):  # what could not be written has been told by write
            self.file.close()

    def keep(self, epoch, step, told):
        """Keep a step's losses (those that are computed, see losses.weighed) and gradients on
        the device until the next flush."""
        self.names = [name for name in LOSSES + GRADS if name in told]
        self.kept.append((epoch, step, torch.stack([told[name] for name in self.names])))

    def flush(self):
        """Fetch the kept steps (means over all processes) and write them; NotFinite names the
        values that are not finite."""
        values = mean(torch.stack([row for _, _, row in self.kept])).tolist()
        for (epoch, step, _), row in zip(self.kept, values):
            self.write("train", epoch, step, dict(zip(self.names, row)))
        self.kept = []

    def write(self, split, epoch, step, figures):
        """Write one line now: the losses, and whatever else there is that is finite (no KID is,
        of images that are all alike). Returns it as a dict."""
        if bad := {
            name: figures[name]
            for name in LOSSES + GRADS
            if not math.isfinite(figures.get(name, 0.0))
        }:
            raise NotFinite(step, split, bad)
        line = {"split": split, "epoch": epoch, "step": step} | {
            name: round(value, 6) for name, value in figures.items() if math.isfinite(value)
        }
        if split == "train" and step % self.stride:
            return line
        text = json.dumps(line) + "\n"
        try:
            self.file.write(text)
            self.file.flush()
            self.sha256.update(text.encode())
        except OSError as error:
            explain(error, self.path, len(text))
        self.remember(line)
        return line

    def remember(self, line):
        """Keep of a line what is watched."""
        if line["split"] == "val":
            self.val = line
        else:
            for name in WATCHED:
                self.train[name].append(line.get(name, math.nan))

    def table(self):
        """What watch.warn looks at: a row for each written step, and the last validation."""
        return pd.concat(
            [
                pd.DataFrame(self.train).assign(split="train"),
                pd.DataFrame([self.val] if self.val else []),
            ],
            ignore_index=True,
        )

    def state(self):
        """What is now safely in the file: {"bytes", "sha256"}."""
        try:
            if rank() == 0:
                os.fsync(self.file.fileno())
        except OSError as error:
            explain(error, self.path)
        return {
            "bytes": self.path.stat().st_size if rank() == 0 else 0,
            "sha256": self.sha256.hexdigest(),
        }
