"""Both optimizers with their schedules."""

import math

import torch

from ganlib.runs.signals import Stop


def build_optimizers(nets, cfg):
    """Adam for both generators, Adam for both discriminators (their losses share no weight, so one
    serves both).

    Returns both, each with its schedule: constant until decay_from of the steps, then linear to
    0. On a GPU rates are tensors, so that a captured step sees them change. found_inf, one for
    both, is what `guard` stops them by (torch's fused Adam skips its step for it)."""
    scale = math.sqrt(cfg.batch_size) if cfg.scale_lr else 1.0
    device = next(nets[0].parameters()).device
    captured = device.type == "cuda"

    def rate(step):
        left = cfg.steps * (1 - cfg.decay_from)
        return min(1.0, (cfg.steps - step) / left) if left else 1.0

    # Imports a large part of torch, of which an interrupt would leave a half that cannot be
    # imported again
    with Stop():
        opts = [
            torch.optim.Adam(
                [p for net in pair for p in net.parameters()],
                lr=torch.tensor(lr * scale, device=device) if captured else lr * scale,
                betas=(cfg.beta1, 0.999),
                fused=True,
                capturable=captured,
            )
            for pair, lr in ((nets[:2], cfg.lr_g), (nets[2:], cfg.lr_d))
        ]
    opts[0].found_inf = opts[1].found_inf = torch.zeros((), dtype=torch.float32, device=device)
    return opts, [torch.optim.lr_scheduler.LambdaLR(opt, rate) for opt in opts]
