"""Where a training stands, shown where somebody looks: a terminal, a notebook, or the report
runner's display."""

import json
import os
import sys
import time
from contextlib import suppress

from tqdm import tqdm

from ganlib.errors import in_one_line

LATER = 1.0  # seconds from which on work on images is shown: most of it has ended by then
EVERY = 60  # seconds between two lines in a file that takes what a job says
# environment: a file that takes a JSON line an update, for the process that started this one
FEED = "GANLIB_PROGRESS"
UNDER_WAY = []  # every Progress of this process, the innermost last
# The number of the cell whose bars were drawn last, and the output that they are drawn in
CELL = [None, None]


class Progress:
    """A line with steps done, steps per second and time left, redrawn in place; gone when the
    work is done. In a cell one within another is shown below it; in a terminal in its place.
    Where nobody looks, as in the log of a batch job, one each minute.

    folder: the run that is trained, for the report. initial: steps that were done before. Work
    on images is shown when it takes longer than LATER. An interrupt that ends the block is shown
    by Jupyter as one line that names the work."""

    def __init__(self, label, steps, folder=None, unit="steps", initial=0):
        self.label = label
        self.steps = steps
        self.folder = folder
        self.unit = unit
        self.initial = initial
        self.started = self.logged = time.perf_counter()
        self.done, self.shown, self.line = initial, 0.0, ""

    def __enter__(self):
        self.feed = os.environ.get(FEED)
        self.silent = os.environ.get("RANK", "0") != "0"  # of several processes one tells
        UNDER_WAY.append(self)
        self.update(self.initial)
        return self

    def add(self, n=1):
        """Count n more steps; shown ten times a second at most."""
        self.done += n
        if time.perf_counter() - self.shown > 0.1:
            self.update(self.done)

    def update(self, step):
        """Show that this many steps are done."""
        now = time.perf_counter()
        seconds = now - self.started
        self.done = step
        self.shown = now
        if self.silent or self.unit == "images" and seconds < LATER:
            return
        self.line = meter(self.label, step, self.steps, seconds, self.unit, self.initial)
        if self.feed:
            self.tell(seconds)
        elif in_kernel():
            draw()
        elif sys.stderr.isatty():
            say("\r" + self.line, end="\033[K")
        elif now - self.logged >= EVERY:
            self.logged = now
            say(self.line)

    def tell(self, seconds):
        """One update for the process that started this one."""
        # A full disk ends no training by this
        with suppress(OSError), open(self.feed, "a", encoding="utf-8") as file:
            print(
                json.dumps(
                    {
                        "label": self.label,
                        "step": self.done,
                        "steps": self.steps,
                        "seconds": seconds,
                        "folder": self.folder and str(self.folder),
                        "unit": self.unit,
                        "initial": self.initial,
                    }
                ),
                file=file,
            )

    def __exit__(self, kind, error, _):
        if isinstance(error, KeyboardInterrupt):
            in_one_line(
                error, f"stopped while {self.label} ({self.done:,} of {self.steps:,} {self.unit})"
            )
        UNDER_WAY.remove(self)
        if not self.line:
            return
        outer = UNDER_WAY[-1] if UNDER_WAY else None
        if self.feed:
            self.done = self.steps  # no longer what is running
            self.tell(time.perf_counter() - self.started)
            if outer and outer.line:
                outer.update(outer.done)
        elif in_kernel():
            draw()
        elif sys.stderr.isatty():
            say("\r" + (outer.line if outer else ""), end="\033[K")


def note_run(folder):
    """Name a run that is taken as it is, not trained now, to the report that this notebook is
    of; outside a report do nothing."""
    if os.environ.get(FEED):
        taken = Progress("taking a run", 1, folder, initial=1)
        taken.feed = os.environ[FEED]
        taken.tell(0.0)


def draw():
    """Show what is under way in the cell that runs, each in a line, in one output; an empty one
    when all is done, of which nothing is seen."""
    from IPython import get_ipython
    from IPython.display import display

    lines = [progress.line for progress in UNDER_WAY if progress.line]
    cell = get_ipython().execution_count
    shown = {"text/plain": "\n".join(lines)} if lines else {}
    if CELL[0] == cell:
        CELL[1].update(shown, raw=True)
    elif lines:
        # empty, as nbval compares what an output is at first
        CELL[:] = cell, display({}, raw=True, display_id=True)
        CELL[1].update(shown, raw=True)


def say(text, end="\n"):
    """Print to stderr, if it can be written: a full disk or a reader that has gone ends no work."""
    with suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def in_kernel():
    """Whether a notebook runs this (and not a terminal's IPython, nor a script that has imported
    it)."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def meter(label, step, steps, seconds, unit="steps", initial=0):
    """One line of text: label, bar, steps done, time taken, time left, steps per second."""
    return tqdm.format_meter(
        step, steps, seconds, ncols=100, prefix=label, unit=f" {unit}", initial=initial
    )
