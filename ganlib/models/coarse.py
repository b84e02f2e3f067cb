"""Coarse to fine: a generator at half the size with a network that refines what it makes, and a
discriminator that looks at two sizes (Wang et al. 2018, arXiv 1711.11585, sections 3.1, 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.errors import InputError
from ganlib.models.common import InstanceNorm, ReflectionPad, check_divisible
from ganlib.models.cyclegan import ResnetBlock


def half(x: Tensor) -> Tensor:
    """Images at half their size, by the mean of 2x2 pixels: (B, c, H, W) -> (B, c, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


class CoarseToFine(nn.Module):
    """A generator at half the size, whose images a small network enlarges and refines: two
    residual blocks of n channels, and what comes of them is added to the enlarged image.

    x (B, 3, H, W) in [-1, 1] -> the same; H and W even, and as `coarse` takes them when halved,
    else InputError. sees_input: whether the refining network is shown x too, at its full size.
    Before its first step it changes nothing. differs: the paper adds features of the coarse
    generator, not its image; with the image, what is coarse can be looked at by itself."""

    def __init__(self, coarse: nn.Module, n: int = 16, sees_input: bool = True):
        super().__init__()
        self.coarse = coarse
        self.n_down = 1 + getattr(coarse, "n_down", 0)  # how often its images are halved
        self.sees_input = sees_input
        self.stem = nn.Sequential(
            ReflectionPad(1), nn.Conv2d(6 if sees_input else 3, n, 3), InstanceNorm(n), nn.ReLU()
        )
        self.blocks = nn.Sequential(ResnetBlock(n), ResnetBlock(n))
        last = nn.Conv2d(n, 3, 3)
        last.init_gain = 0.0  # models.common.init_normal
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(ReflectionPad(1), last)

    def forward(self, x: Tensor) -> Tensor:
        check_divisible(self, x.shape[-2:], self.n_down)
        rough = self.coarse(half(x))  # (B, 3, H/2, W/2)
        rough = F.interpolate(rough, scale_factor=2, mode="bilinear")  # (B, 3, H, W)
        seen = torch.cat([rough, x], dim=1) if self.sees_input else rough
        return (rough + self.head(self.blocks(self.stem(seen)))).clamp(-1, 1)


class TwoSizes(nn.Module):
    """Two patch discriminators, one on the image and one on the image at half its size, whose
    patches have twice the side.

    x (B, 3, H, W) in [-1, 1] -> [(weight, score map)] of both; the weights add up to 1. Raises
    InputError where H or W leaves the second one no patch."""

    def __init__(self, fine: nn.Module, coarse: nn.Module, weight: float):
        super().__init__()
        self.fine = fine
        self.coarse = coarse
        self.weight = weight  # of the coarse one

    def forward(self, x: Tensor) -> list[tuple[float, Tensor]]:
        least = 2 * self.coarse.min_side
        if min(x.shape[-2:]) < least:
            raise InputError(
                f"image size {x.shape[-2]}x{x.shape[-1]}: discriminators of two sizes need a "
                f"height and a width of {least} or more; take fewer layers or a larger image_size, "
                "or set d_coarse to 0"
            )
        return [(1 - self.weight, self.fine(x)), (self.weight, self.coarse(half(x)))]
