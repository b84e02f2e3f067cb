"""What a training writes and keeps as it goes: its log, line by line, and its best weights."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path

import torch

from ganlib.checkpoint import NAME as CHECKPOINT
from ganlib.distributed import mean, rank
from ganlib.files import InputError, explain_no_space
from ganlib.nets import pack_weights

LOSSES = ("g", "g_adv", "cycle", "idt", "d_a", "d_a_real", "d_a_fake", "d_b", "d_b_real", "d_b_fake")


class Log:
    """metrics.jsonl.part of a run: one line a step (split "train") and one a validation, written as they come, by one process."""

    def __init__(self, folder, length=0):
        self.path, self.length, self.kept, self.lines = Path(folder) / "metrics.jsonl.part", length, [], []

    def __enter__(self):
        try:
            if self.length:     # of a run that goes on: what was written after its checkpoint is trained again
                self.lines = self.read()
                os.truncate(self.path, self.length)
            self.file = open(self.path if rank() == 0 else os.devnull, "a" if self.length else "w", buffering=1)
        except OSError as error:
            explain_no_space(error, self.path)
        return self

    def __exit__(self, *error):
        with suppress(OSError):     # what could not be written has been told by write
            self.file.close()

    def read(self):
        """The lines that the checkpoint knows of; InputError where they are no longer there."""
        known = self.path.read_bytes()[:self.length] if self.path.exists() else b""
        try:
            if len(known) == self.length:
                return [json.loads(line) for line in known.splitlines()]
        except ValueError:
            pass
        raise InputError(f"{self.path}: shorter or other than its checkpoint says; delete {CHECKPOINT} beside it to train from the start")

    def keep(self, epoch, step, losses):
        """Keep a step's losses on the device until the next flush."""
        self.kept.append((epoch, step, torch.stack([losses[name] for name in LOSSES])))

    def flush(self):
        """Fetch and write the kept steps (means over all processes); FloatingPointError names the first loss that is not finite."""
        values = mean(torch.stack([row for _, _, row in self.kept])).tolist()
        for (epoch, step, _), row in zip(self.kept, values):
            self.write("train", epoch, step, dict(zip(LOSSES, row)))
        self.kept = []

    def write(self, split, epoch, step, figures):
        """Write one line now: the losses, and whatever else there is. Returns it as a dict."""
        bad = [name for name in LOSSES if not math.isfinite(figures[name])]
        if bad:
            raise FloatingPointError(f"step {step}: {split} loss {bad[0]} is {figures[bad[0]]}; "
                                     "try lower rates lr_g and lr_d, or precision float32")
        line = {"split": split, "epoch": epoch, "step": step} | {name: round(value, 6) for name, value in figures.items()}
        try:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        except OSError as error:
            explain_no_space(error, self.path)
        self.lines.append(line)
        return line

    def size(self):
        """Bytes that are safely in the file."""
        os.fsync(self.file.fileno())
        return self.path.stat().st_size


class Best:
    """A copy of the weights at the lowest validation KID so far (mean of both domains, of the running means)."""

    def __init__(self):
        self.kid, self.step, self.weights = math.inf, None, None

    def offer(self, line, nets, emas):
        """Take the weights if this validation's KID is the lowest. With too few images for a KID the last ones are taken."""
        kid = (line["kid_a"] + line["kid_b"]) / 2 if "kid_a" in line and "kid_b" in line else self.kid
        if kid <= self.kid:
            weights = pack_weights(nets, emas)
            self.kid, self.step = kid, line["step"]
            self.weights = {name: {k: v.detach().clone() for k, v in state.items()} for name, state in weights.items()}
