"""Spectral normalisation: convolutions that change their input by no more than a bounded factor
(Miyato et al. 2018, arXiv 1802.05957, section 2.1 and appendix A)."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-12  # of a singular value: a weight of zeros stays one
WARM = 20  # power iterations of a new layer; in training one a step is enough


class SpectralConv2d(nn.Conv2d):
    """nn.Conv2d whose weight, as a matrix (c_out, c_in * k * k), is divided by its largest singular
    value.

    u (c_out,) is near to the left singular vector of that value. A pass never changes it, so that
    passes can be taken in any number and order; renew does, once for each update of the weight."""

    def __init__(self, *sizes, **more):
        super().__init__(*sizes, **more)
        self.register_buffer("u", F.normalize(torch.randn(self.out_channels), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        exact = nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
        with exact:  # never in half precision
            # u W is the value times its right singular vector, which is of length 1
            value = torch.linalg.vector_norm(self.u @ self.weight.flatten(1))
            weight = self.weight / value.clamp_min(TINY)
        return self._conv_forward(x, weight, self.bias)

    @torch.no_grad()
    def renew(self, times: int = 1, held: Tensor | None = None) -> None:
        """Bring u nearer to the weight as it is now, by power iterations; unless `held` is true, as
        it is where a step was held back."""
        matrix = self.weight.flatten(1)
        for _ in range(times):
            new = F.normalize(matrix @ (self.u @ matrix), dim=0, eps=TINY**2)
            self.u.copy_(new if held is None else torch.where(held, self.u, new))


def renew(nets: tuple, times: int = 1, unless: Tensor | None = None) -> None:
    """Bring each spectral norm of these networks nearer to its weight, unless a number is 1;
    nothing for networks without one."""
    held = None if unless is None else unless > 0
    for net in nets:
        for module in net.modules():
            if isinstance(module, SpectralConv2d):
                module.renew(times, held)
