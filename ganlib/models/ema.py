"""Running means (EMA) of the generators' weights."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def build_ema(net):
    """The running mean of a network's weights over its steps (Yazici et al. 2019, 1806.04498):
    .module, of .n_averaged steps."""
    return AveragedModel(net)


@torch.no_grad()
def update_ema(ema, net, decay):
    """Take a step's weights into the running mean. The decay warms up, (1 + t) / (10 + t) after
    t steps and `decay` at most, so that a short run is not the mean of its start. Not by
    update_parameters, which waits for the GPU (it sends the count there)."""
    t = int(ema.n_averaged)  # lies on the CPU
    weights = [list(side.parameters()) for side in (ema.module, net)]
    get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)) if t else 0.0)(*weights, None)
    ema.n_averaged += 1
