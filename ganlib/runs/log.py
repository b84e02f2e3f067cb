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
from ganlib.system.files import raise_unwritable

# Of steps at most: of a longer training every second, third, ... step is written.
LINES = 20_000


def find_stride(n, lines, every):
    """Each how-many-th of n lines to keep, so that about `lines` are left: a number that has no
    divisor in common with `every`, so that what only every so many-th line has is kept in as many
    of the others."""
    stride = -(-n // lines)
    while math.gcd(stride, every) > 1:
        stride += 1
    return stride


class Log:
    """metrics.jsonl.part of a run: one line a step (split "train") and one a validation, written
    as they come, by one process."""

    def __init__(self, folder, steps, length=0, idt_every=1):
        self.path = Path(folder) / LOG
        self.length = length
        self.stride = find_stride(steps, LINES, idt_every)
        # (epoch, step, names, values on their device) of steps that are not written yet
        self.kept = []
        self.names = []  # of the losses and gradients of a step, as the steps return them
        self.train = {}  # name: its value at each written step, NaN where a step has none
        self.rows = 0  # written steps
        self.val = {}  # the last validation
        self.sha256 = hashlib.sha256()
        self.board = None  # a runs.board.Board that is shown each written line, too

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
            raise_unwritable(error, self.path)
        return self

    def __exit__(self, *error):
        with suppress(OSError):  # what could not be written has been told by write
            self.file.close()

    def keep(self, epoch, step, losses):
        """Keep what a step returns on its device until the next flush."""
        self.names += [name for name in losses if name not in self.names]
        self.kept.append((epoch, step, list(losses), torch.stack(list(losses.values()))))

    def flush(self):
        """Fetch the kept steps (means over all processes) and write them; NotFinite names the
        values that are not finite."""
        values = mean(torch.cat([row for *_, row in self.kept])).tolist()
        for epoch, step, names, _ in self.kept:
            figures = dict(zip(names, values))
            values = values[len(names) :]
            self.write("train", epoch, step, figures)
        self.kept = []

    def write(self, split, epoch, step, figures):
        """Write one line now: the losses, and whatever else there is that is finite (no KID is,
        of images that are all alike). Returns it as a dict."""
        bad, finite = {}, {}
        for name, value in figures.items():
            if math.isfinite(value):
                finite[name] = round(value, 6)
            elif name in self.names:
                bad[name] = value
        if bad:
            raise NotFinite(step, split, bad)
        line = {"split": split, "epoch": epoch, "step": step} | finite
        if split == "train" and step % self.stride:
            return line
        text = json.dumps(line) + "\n"
        try:
            self.file.write(text)
            self.file.flush()
            self.sha256.update(text.encode())
        except OSError as error:
            raise_unwritable(error, self.path, len(text))
        self.remember(line)
        if self.board:
            self.board.add(line)
        return line

    def remember(self, line):
        """Keep what a line says in memory."""
        if line["split"] == "val":
            self.val = line
            return
        for name in set(line) - {"split"} - set(self.train):
            self.train[name] = array("d", [math.nan] * self.rows)
        for name, values in self.train.items():
            values.append(line.get(name, math.nan))
        self.rows += 1

    def table(self):
        """What evaluate.health looks at: a row for each written step, and the last validation."""
        steps = pd.DataFrame(self.train).assign(split="train")
        last = pd.DataFrame([self.val] if self.val else [])
        return pd.concat([steps, last], ignore_index=True)

    def state(self):
        """What is now safely in the file: {"bytes", "sha256"}."""
        try:
            if rank() == 0:
                os.fsync(self.file.fileno())
        except OSError as error:
            raise_unwritable(error, self.path)
        return {
            "bytes": self.path.stat().st_size if rank() == 0 else 0,
            "sha256": self.sha256.hexdigest(),
        }
