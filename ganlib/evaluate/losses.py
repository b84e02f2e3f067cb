"""Mean losses over images that nothing is learned from."""

import torch

from ganlib.config import MOST
from ganlib.data.domains import fixed_batches
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.runs.log import LOSSES
from ganlib.show.progress import Progress

EVAL_BATCH = 32  # images of each domain at a time in validation and test


@torch.no_grad()
def evaluate(nets, pair, cfg, amp, limit=None):
    """Mean losses, by name, over fixed pairs: A[i] with B[i], at most `limit` of them (None:
    all). A loss without a weight is not computed (losses.weighed), and not among them."""
    totals, n, like = {}, 0, next(nets.g_ab.parameters())
    with Progress(
        "taking losses", min(max(map(len, pair)), limit or MOST), unit="images"
    ) as progress:
        for batch in fixed_batches(pair, EVAL_BATCH, like.device, limit):
            real_a, real_b = [real.to(like.dtype) for real in batch]
            with amp:
                g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
                d = discriminator_losses(nets, real_a, real_b, fake_a, fake_b)
            for name, loss in (g | d).items():
                totals[name] = totals.get(name, 0.0) + loss * len(real_a)
            n += len(real_a)
            progress.add(len(real_a))
    return {name: float(totals[name]) / n for name in LOSSES if name in totals}
