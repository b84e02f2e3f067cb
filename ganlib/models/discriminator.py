"""The patch discriminator (PatchGAN: Isola et al. 2017, arXiv 1611.07004, section 3.2.2 and
appendix 6.1.2)."""

import torch
from torch import Tensor, nn

from ganlib.errors import InputError, shown
from ganlib.models.common import InstanceNorm
from ganlib.models.spectral import SpectralConv2d


class PatchDiscriminator(nn.Module):
    """A score for each patch: 4x4 convolutions, n_layers of stride 2 and two of stride 1.

    x (B, c_in, H, W) in [-1, 1] -> (B, 1, h, w), unbounded; h = w = 14 with two layers and 6
    with three at 64x64. With global_score the map is averaged to (B, 1), as the study does:
    locations may then cancel out. norm: "instance", or "spectral" for all weights but those of
    the last convolution (as in UVCGAN v2, arXiv 2303.16280). Raises InputError where H or W leaves
    no patch. 2,764,737 parameters with three layers at ndf 64, 662,977 with two."""

    def __init__(
        self,
        ndf: int = 64,
        n_layers: int = 2,
        global_score: bool = False,
        c_in: int = 3,
        norm: str = "instance",
    ):
        super().__init__()
        if norm not in ("instance", "spectral"):
            raise InputError(f"norm {shown(norm)}: no such norm; there are instance, spectral")
        conv = SpectralConv2d if norm == "spectral" else nn.Conv2d
        self.min_side = smallest_side(n_layers)
        self.global_score = global_score
        layers = [conv(c_in, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        c = ndf
        for i in range(1, n_layers + 1):
            o = ndf * min(2**i, 8)
            stride = 2 if i < n_layers else 1
            layers.append(conv(c, o, 4, stride=stride, padding=1))
            if norm == "instance":
                layers.append(InstanceNorm(o))
            layers.append(nn.LeakyReLU(0.2))
            c = o
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(c, 1, 4, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < self.min_side:
            raise InputError(
                f"image size {x.shape[-2]}x{x.shape[-1]}: this discriminator needs a height and a "
                f"width of {self.min_side} or more; take fewer layers or a larger image_size"
            )
        score = self.head(self.body(x))  # (B, 1, h, w)
        if not self.global_score:
            return score
        exact = torch.promote_types(score.dtype, torch.float32)
        return score.mean(dim=(2, 3), dtype=exact)  # (B, 1)


def smallest_side(n_layers: int) -> int:
    """The smallest H or W that PatchDiscriminator(n_layers=n_layers) can score: one patch, 2x2
    values to normalise."""
    return 3 * 2**n_layers
