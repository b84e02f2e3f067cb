"""Both optimizers with their schedules."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from ganlib.config import TrainConfig
from ganlib.models.build import Nets
from ganlib.runs.signals import Stop


def build_optimizers(nets: Nets, cfg: TrainConfig) -> tuple[list, list]:
    """Adam for both generators, Adam for both discriminators (their losses share no weight, so one
    serves both).

    Returns both, and their schedules: constant until decay_from of the steps, then linear to 0.
    found_inf, one for both, is what fast_step.guard stops them by (torch's fused Adam skips its
    step for it).
    """
    # An interrupt waits: Adam imports a part of torch of which half cannot be imported again.
    with Stop():
        opts = [build_adam(nets[:2], cfg.lr_g, cfg), build_adam(nets[2:], cfg.lr_d, cfg)]
    device = next(nets.g_ab.parameters()).device
    opts[0].found_inf = opts[1].found_inf = torch.zeros((), dtype=torch.float32, device=device)

    def share_of_rate(step):
        falling = cfg.steps * (1 - cfg.decay_from)
        return min(1.0, (cfg.steps - step) / falling) if falling else 1.0

    return opts, [LambdaLR(opt, share_of_rate) for opt in opts]


def build_adam(nets: tuple, rate: float, cfg: TrainConfig) -> torch.optim.Adam:
    """Adam over the weights of two networks. On a GPU the rate is a tensor, so that a captured step
    sees it change."""
    weights = [p for net in nets for p in net.parameters()]
    device = weights[0].device
    captured = device.type == "cuda"
    if cfg.scale_lr:
        rate = rate * math.sqrt(cfg.batch_size)
    if captured:
        rate = torch.tensor(rate, device=device)
    return torch.optim.Adam(
        weights, lr=rate, betas=(float(cfg.beta1), 0.999), fused=True, capturable=captured
    )
