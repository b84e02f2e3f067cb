"""A training that can be watched in a notebook: the losses so far and the same faces, in one
picture that is drawn anew in its place."""

import base64
import io
import os
import time
from contextlib import suppress
from pathlib import Path

from ganlib.errors import InputError
from ganlib.show.progress import FEED, in_kernel
from ganlib.show.strip import MOMENTS, PART, STRIP, Strip, load_strip

WAIT = 2.0  # seconds between two pictures, and two of the newest faces on disk, at least
SHARE = 20  # drawing takes one part in so many of the time, at most
OUTPUT = [None, None]  # the number of the cell that a picture was drawn in last, and its output


class LiveTraining:
    """What a training shows while it runs. Its faces are kept in the run's folder wherever it
    runs (see Strip); the picture is drawn in a notebook only, where nobody else tells how far it
    is: in a terminal, and for a report, the line of Progress is all.

    pair: images of both domains, of which the first are the faces. Of many epochs (epoch_steps
    each) only some are kept: MOMENTS at most, of which the start and the end are two."""

    def __init__(self, folder, pair, steps, epoch_steps):
        self.folder = Path(folder)
        self.steps = steps
        self.every = epoch_steps * -(-steps // (epoch_steps * (MOMENTS - 1)))
        self.strip = Strip.of(pair)
        self.newest = None
        self.validations = {}
        self.drawn = self.saved = time.perf_counter()
        self.cost = 0.0
        self.watched = in_kernel() and not os.environ.get(FEED)

    def resume(self, begun):
        """Take up the faces that were kept up to this step, of a training that goes on from it."""
        with suppress(InputError):  # of a damaged file the faces are lost, and no more
            before = load_strip(self.folder, PART)
            if before and before.real.equal(self.strip.real):
                self.strip = before.until(begun, self.keeps)

    def keeps(self, step):
        """Whether the faces of a step are kept to the end."""
        return step % self.every == 0 or step in (0, self.steps)

    def due(self):
        """Whether the picture is so old that the curves should be drawn anew."""
        age = time.perf_counter() - self.drawn
        return self.watched and age > max(WAIT, SHARE * self.cost)

    def show(self, step, history, fakes=None):
        """Show where the training stands after a step. history: a table of the losses so far
        (columns split, step, and their names). fakes: (fake_b, fake_a), which begin with the
        translations of the faces, where there are new ones; on disk are those of some steps, and
        the newest, for whoever watches the folder."""
        if fakes is not None:
            self.newest = step, fakes
            if self.keeps(step):
                self.strip.add(step, fakes)
            if self.keeps(step) or time.perf_counter() - self.saved > WAIT:
                self.with_newest().save(self.folder / PART)
                self.saved = time.perf_counter()
        if not self.watched:
            return
        try:
            self.draw(step, history)
        except Exception as error:  # a picture that fails ends no training
            self.watched = False
            print(f"warning: the picture of the training is not drawn any more ({error})")

    def draw(self, step, history):
        """Draw the picture, in the place of the one before."""
        from ganlib.show.training import draw_training  # takes long to import

        began = time.perf_counter()
        for row in history[history.split == "val"].to_dict("records"):
            self.validations[row["step"]] = row
        validations = [*self.validations.values()]
        show_in_place(draw_training(history, validations, self.with_newest(), self.steps))
        self.drawn = time.perf_counter()
        self.cost = self.drawn - began

    def with_newest(self):
        """The faces that are kept, and the newest."""
        strip = self.strip
        if self.newest and self.newest[0] not in strip.steps:
            strip = Strip(strip.real, strip.n_a, strip.steps, strip.fakes)
            strip.add(*self.newest)
        return strip

    def finish(self):
        """Let the faces of this training be those of the run in its folder, which is finished. Its
        part goes with the checkpoints (runs.folder.clear)."""
        self.strip.save(self.folder / STRIP)

    def close(self):
        """Take the picture away: what is left to be seen of a run is drawn from its folder."""
        if self.watched:
            fill({})


def show_in_place(figure, quality=50):
    """Show a figure in the cell of a notebook that runs, in the place of the one before, as JPEG
    of this quality (1 to 95). The last one stays. Elsewhere nothing is shown."""
    import matplotlib.pyplot as plt  # takes long

    if in_kernel():
        content = io.BytesIO()
        figure.savefig(content, format="jpeg", dpi=figure.dpi, pil_kwargs={"quality": quality})
        fill({"image/jpeg": base64.b64encode(content.getvalue()).decode()})
    plt.close(figure)  # one of pyplot's would be shown once more


def fill(picture):
    """Fill the one output of this module in the cell that runs; {} for nothing."""
    from IPython import get_ipython
    from IPython.display import display

    cell = get_ipython().execution_count
    if OUTPUT[0] != cell:
        # empty, as nbval compares what an output is at first
        OUTPUT[:] = cell, display({}, raw=True, display_id=True)
    OUTPUT[1].update(picture, raw=True)
