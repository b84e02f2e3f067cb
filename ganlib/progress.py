"""Where a training stands, shown where somebody looks: a terminal, a notebook, or the report runner's display."""

import json
import os
import sys
import time

from tqdm import tqdm

FEED = "GANLIB_PROGRESS"  # environment: a file that takes a JSON line an update, for the process that started this one


class Progress:
    """A line with steps done, steps per second and time left, redrawn in place; gone when the training is done."""

    def __init__(self, label, steps, folder):
        self.label, self.steps, self.folder, self.started = label, steps, folder, time.perf_counter()

    def __enter__(self):
        self.feed, self.cell = os.environ.get(FEED), None
        if not self.feed and "ipykernel" in sys.modules:
            from IPython.display import display
            self.cell = display({"text/plain": ""}, raw=True, display_id=True)
        self.update(0)
        return self

    def update(self, step):
        """Show that this many steps are done."""
        seconds = time.perf_counter() - self.started
        if self.feed:
            with open(self.feed, "a") as file:
                print(json.dumps({"label": self.label, "step": step, "steps": self.steps, "seconds": seconds,
                                  "folder": str(self.folder)}), file=file)
        elif self.cell:
            self.cell.update({"text/plain": meter(self.label, step, self.steps, seconds)}, raw=True)
        elif sys.stderr.isatty():
            print("\r" + meter(self.label, step, self.steps, seconds), end="\033[K", file=sys.stderr, flush=True)

    def __exit__(self, *error):
        if self.cell:
            self.cell.update({"text/plain": ""}, raw=True)
        elif not self.feed and sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def meter(label, step, steps, seconds):
    """One line of text: label, bar, steps done, time taken, time left, steps per second."""
    return tqdm.format_meter(step, steps, seconds, ncols=100, prefix=label, unit=" steps")
