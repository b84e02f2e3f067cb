"""ganlib: a lab for unpaired image translation. The notebooks tell the story; the modules hold what they share.

    from ganlib.data import load_domains       two image domains, from a folder, a zip or drawn in code
    from ganlib.config import TrainConfig      every choice of a run
    from ganlib.train import fit, load_run     train it, or load it again
    from ganlib.plots import show_grid, plot_losses
"""

from ganlib.files import ROOT, InputError

__all__ = ["ROOT", "InputError"]
