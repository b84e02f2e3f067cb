"""ganlib: a lab for unpaired image translation. The notebooks tell the story; the modules hold what they share.

    from ganlib.data import load_domains       two image domains, from a folder, a zip or drawn in code
    from ganlib.config import TrainConfig      every choice of a run
    from ganlib.train import fit               train it
    from ganlib.runs import load_run           load it again
    from ganlib.judge import Judge             score its translations
    from ganlib.compare import gather          set runs side by side
    from ganlib.plots import show_grid, plot_losses, plot_quality
"""

import os

PARENT = os.getppid()       # who started this process: asked before torch is imported, which takes seconds (see distributed)

from ganlib.files import ROOT, InputError
from ganlib.surroundings import replace_unwritable

replace_unwritable()

__all__ = ["ROOT", "InputError"]
