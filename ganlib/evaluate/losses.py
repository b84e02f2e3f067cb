"""Mean losses over images that nothing is learned from."""

import torch

from ganlib.config import MOST
from ganlib.data.domains import fixed_batches
from ganlib.losses import pass_through
from ganlib.show.progress import Progress

EVAL_BATCH = 32  # images of each domain at a time in validation and test


@torch.no_grad()
def mean_losses(nets, pair, cfg, amp, limit=None):
    """Mean losses, by name, over fixed pairs: A[i] with B[i], at most `limit` of them (None: all).
    A loss without a weight is not computed (losses.weighed), and not among them."""
    totals, n = {}, 0
    like = next(nets.g_ab.parameters())
    most = min(max(map(len, pair)), limit or MOST)
    with Progress("taking losses", most, unit="images") as progress:
        for batch in fixed_batches(pair, EVAL_BATCH, like.device, limit):
            real_a, real_b = [real.to(like.dtype) for real in batch]
            with amp:
                losses = pass_through(nets, real_a, real_b, cfg)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss * len(real_a)
            n += len(real_a)
            progress.add(len(real_a))
    return {name: float(total) / n for name, total in totals.items()}
