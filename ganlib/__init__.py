"""ganlib: a lab for unpaired image translation. The notebooks tell the story; the modules hold
what they share.

    from ganlib.data.domains import load_domains    images: a folder, a zip, drawn in code
    from ganlib.config import TrainConfig           every choice of a run
    from ganlib.loop import fit                     train it
    from ganlib.runs.finished import load_run       load it again
    from ganlib.evaluate.judge import Judge         score its translations
    from ganlib.compare.tables import gather        set runs side by side
    from ganlib.show.plots import show_grid, plot_losses, plot_quality
    ganlib.load(RUN)(picture, to="B")               translate a picture

On top lies the core: config, models, losses, pool, step, fast_step, optim, loop. What serves it has
a folder of its own: data, faces, evaluate, runs, use, parallel, show, compare, report, bench,
doctor, lab, system.
"""

import os

# Who started this process: asked before torch is imported, which takes seconds (see launch).
PARENT = os.getppid()

from ganlib.errors import InputError
from ganlib.system.files import ROOT
from ganlib.system.surroundings import replace_unwritable, wait_briefly

wait_briefly()
replace_unwritable()

__all__ = ["ROOT", "InputError", "load"]


def load(run, device=None):
    """The generators of a finished run as a call: ganlib.load("RUN")(picture, to="B") translates a
    PIL picture of any size. See use.translator.Translator."""
    from ganlib.use.translator import Translator  # imports torch

    return Translator(run, device)
