"""The UVCGAN generator as the study builds it: a U-Net with a pixel-wise ViT at the bottom
(arXiv 2203.02557)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.models.common import InstanceNorm, ReflectionPad, check_divisible
from ganlib.models.vit import PixelwiseViT


def conv_block(i: int, o: int, pre_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions, i -> o -> o channels, size unchanged.

    pre_norm is uvcgan's order (norm, convolution, leaky ReLU); without it the study's
    (convolution, norm, ReLU)."""
    if pre_norm:
        return nn.Sequential(
            InstanceNorm(i),
            nn.Conv2d(i, o, 3, padding=1),
            nn.LeakyReLU(),
            InstanceNorm(o),
            nn.Conv2d(o, o, 3, padding=1),
            nn.LeakyReLU(),
        )
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1),
        InstanceNorm(o),
        nn.ReLU(),
        nn.Conv2d(o, o, 3, padding=1),
        InstanceNorm(o),
        nn.ReLU(),
    )


class EncoderBlock(nn.Module):
    """(B, i, H, W) -> (B, o, H/2, W/2) and the skip (B, o, H, W)."""

    def __init__(self, i: int, o: int, pre_norm: bool):
        super().__init__()
        self.conv = conv_block(i, o, pre_norm)
        self.down = nn.Conv2d(o, o, 2, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.conv(x)
        return self.down(skip), skip


class DecoderBlock(nn.Module):
    """(B, i, H, W) and the skip (B, o, 2H, 2W) -> (B, o, 2H, 2W)."""

    def __init__(self, i: int, o: int, pre_norm: bool):
        super().__init__()
        self.up = nn.Conv2d(i, o, 3, padding=1)
        self.conv = conv_block(2 * o, o, pre_norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(F.interpolate(x, scale_factor=2, mode="nearest"))  # (B, o, 2H, 2W)
        return self.conv(torch.cat([x, skip], dim=1))


class UVCGANGenerator(nn.Module):
    """U-Net with skips taken before each downsampling and a PixelwiseViT in place of the residual
    blocks.

    x (B, c_in, H, W) in [-1, 1] -> (B, c_out, H, W) in [-1, 1]; H and W divisible by 2**n_down,
    and 2 or more of them left at the bottleneck, else InputError. 12,043,399 parameters at ngf
    64 without vit_norm."""

    def __init__(
        self, c_in=3, c_out=3, ngf=64, n_down=2, pre_norm=True, vit_norm=False, pos_init_gain=1.0
    ):
        super().__init__()
        widths = [ngf * 2**i for i in range(n_down + 2)]
        self.n_down = n_down
        self.stem = nn.Sequential(
            ReflectionPad(3), nn.Conv2d(c_in, ngf, 7), InstanceNorm(ngf), nn.ReLU()
        )
        self.down = nn.ModuleList(
            [EncoderBlock(i, o, pre_norm) for i, o in zip(widths, widths[1:-1])]
        )
        bottom = widths[-2]
        self.vit = PixelwiseViT(
            bottom,
            features=bottom,
            ffn_features=4 * bottom,
            norm=vit_norm,
            pos_init_gain=pos_init_gain,
        )
        self.bottleneck = conv_block(bottom, widths[-1], pre_norm)
        self.up = nn.ModuleList(
            [DecoderBlock(i, o, pre_norm) for i, o in zip(widths[::-1], widths[-2:0:-1])]
        )
        # differs: tanh instead of uvcgan's sigmoid, so that all images live in [-1, 1]
        self.head = nn.Sequential(ReflectionPad(3), nn.Conv2d(widths[1], c_out, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        check_divisible(self, x.shape[-2:], self.n_down)
        x = self.stem(x)
        skips = []
        for block in self.down:
            x, skip = block(x)
            skips.append(skip)
        # (B, ngf * 2**(n_down + 1), H / 2**n_down, W / 2**n_down)
        x = self.bottleneck(self.vit(x))
        for block in self.up:
            x = block(x, skips.pop())
        return self.head(x)  # (B, c_out, H, W)
