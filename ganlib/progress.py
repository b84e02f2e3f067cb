"""Where a training stands, shown where somebody looks: a terminal, a notebook, or the report runner's display."""

import json
import os
import sys
import time
from contextlib import suppress

from tqdm import tqdm

LEAST = 2000  # images to read or draw that take long enough for a line
EVERY = 60    # seconds between two lines in a file that takes what a job says
FEED = "GANLIB_PROGRESS"  # environment: a file that takes a JSON line an update, for the process that started this one


class Progress:
    """A line with steps done, steps per second and time left, redrawn in place; gone when the work is done. Where nobody looks, as in the log
    of a batch job, one each minute.

    folder: the run that is trained, for the report. initial: steps that were done before. Work of fewer than LEAST images is not worth a line. in_cell: not for work
    that is done on the first call only, as a cell's outputs are to be as many on the next."""

    def __init__(self, label, steps, folder=None, unit="steps", in_cell=True, initial=0):
        self.in_cell, self.initial = in_cell, initial
        self.label, self.steps, self.folder, self.unit, self.started = label, steps, folder, unit, time.perf_counter()
        self.done, self.shown, self.logged = 0, 0.0, self.started

    def __enter__(self):
        self.feed, self.cell = os.environ.get(FEED), None
        self.silent = self.unit == "images" and self.steps < LEAST or os.environ.get("RANK", "0") != "0"     # of several processes one tells
        if self.in_cell and not self.feed and not self.silent and in_kernel():
            from IPython.display import display
            self.cell = display({"text/plain": ""}, raw=True, display_id=True)
        self.update(self.initial)
        return self

    def add(self, n=1):
        """Count n more steps; shown ten times a second at most."""
        self.done += n
        if time.perf_counter() - self.shown > 0.1:
            self.shown = time.perf_counter()
            self.update(self.done)

    def update(self, step):
        """Show that this many steps are done."""
        seconds = time.perf_counter() - self.started
        if self.silent:
            return
        if self.feed:
            with suppress(OSError), open(self.feed, "a", encoding="utf-8") as file:      # a full disk ends no training by this
                print(json.dumps({"label": self.label, "step": step, "steps": self.steps, "seconds": seconds,
                                  "folder": self.folder and str(self.folder), "unit": self.unit, "initial": self.initial}), file=file)
        elif self.cell:
            self.cell.update({"text/plain": meter(self.label, step, self.steps, seconds, self.unit, self.initial)}, raw=True)
        elif sys.stderr.isatty():
            say("\r" + meter(self.label, step, self.steps, seconds, self.unit, self.initial), end="\033[K")
        elif not in_kernel() and time.perf_counter() - self.logged >= EVERY:
            self.logged = time.perf_counter()
            say(meter(self.label, step, self.steps, seconds, self.unit, self.initial))

    def __exit__(self, *error):
        if self.cell:
            self.cell.update({"text/plain": ""}, raw=True)
        elif not self.feed and not self.silent and sys.stderr.isatty():
            say("\r\033[K", end="")


def say(text, end="\n"):
    """Print to stderr, if it can be written: a full disk or a reader that has gone ends no work."""
    with suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def in_kernel():
    """Whether a notebook runs this (and not a terminal's IPython, nor a script that has imported it)."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def meter(label, step, steps, seconds, unit="steps", initial=0):
    """One line of text: label, bar, steps done, time taken, time left, steps per second."""
    return tqdm.format_meter(step, steps, seconds, ncols=100, prefix=label, unit=f" {unit}", initial=initial)
