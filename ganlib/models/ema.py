"""Running means (EMA) of the generators' weights (Yazici et al. 2019, arXiv 1806.04498)."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def build_ema(net: nn.Module) -> AveragedModel:
    """The running mean of a network's weights over its steps: .module, of .n_averaged steps."""
    return AveragedModel(net)


@torch.no_grad()
def update_ema(ema: AveragedModel, net: nn.Module, decay: float) -> None:
    """Take a step's weights into the running mean. The decay warms up, (1 + t) / (10 + t) after t
    steps and `decay` at most, so that a short run is not the mean of its start. Not by
    update_parameters, which waits for the GPU (it sends the count there)."""
    t = int(ema.n_averaged)  # lies on the CPU
    if t == 0:
        decay = 0.0
    average = get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))
    average(list(ema.module.parameters()), list(net.parameters()), None)
    ema.n_averaged += 1
