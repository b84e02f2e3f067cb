"""The CycleGAN generator: down, residual blocks, up (Zhu et al. 2017, arXiv 1703.10593, appendix
7.2)."""

from torch import Tensor, nn

from ganlib.models.common import InstanceNorm, ReflectionPad, check_divisible


class ResnetBlock(nn.Module):
    """y = x + F(x), F = two reflect-padded 3x3 convolutions; (B, c, H, W) -> (B, c, H, W). No
    activation after the sum."""

    def __init__(self, c: int):
        super().__init__()
        self.body = nn.Sequential(
            ReflectionPad(1),
            nn.Conv2d(c, c, 3),
            InstanceNorm(c),
            nn.ReLU(),
            ReflectionPad(1),
            nn.Conv2d(c, c, 3),
            InstanceNorm(c),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def up2(i: int, o: int, resize_conv: bool) -> tuple[nn.Module, ...]:
    """Layers (B, i, H, W) -> (B, o, 2H, 2W)."""
    if resize_conv:
        return nn.Upsample(scale_factor=2, mode="nearest"), ReflectionPad(1), nn.Conv2d(i, o, 3)
    return (nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1),)


class CycleGANGenerator(nn.Module):
    """ResNet generator: c7s1-ngf, a stride-2 convolution a level, n_blocks residual blocks, and
    back up.

    x (B, c_in, H, W) in [-1, 1] -> (B, c_out, H, W) in [-1, 1]; H and W divisible by 2**n_down,
    and 2 or more of them left at the bottleneck, else InputError. 7,837,699 parameters at ngf
    64. The way up is by transposed convolutions, as in the paper, or with resize_conv by
    enlarging first, which leaves no checkerboard (Odena et al., Distill 2016)."""

    def __init__(
        self,
        c_in: int = 3,
        c_out: int = 3,
        ngf: int = 64,
        n_down: int = 2,
        n_blocks: int = 6,
        resize_conv: bool = False,
    ):
        super().__init__()
        widths = [ngf * 2**i for i in range(n_down + 1)]
        self.n_down = n_down
        self.stem = nn.Sequential(
            ReflectionPad(3), nn.Conv2d(c_in, ngf, 7), InstanceNorm(ngf), nn.ReLU()
        )
        self.down = nn.Sequential(
            *[
                nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), InstanceNorm(o), nn.ReLU())
                for i, o in zip(widths, widths[1:])
            ]
        )
        self.blocks = nn.Sequential(*[ResnetBlock(widths[-1]) for _ in range(n_blocks)])
        self.up = nn.Sequential(
            *[
                nn.Sequential(*up2(i, o, resize_conv), InstanceNorm(o), nn.ReLU())
                for i, o in zip(widths[::-1], widths[-2::-1])
            ]
        )
        self.head = nn.Sequential(ReflectionPad(3), nn.Conv2d(ngf, c_out, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        check_divisible(self, x.shape[-2:], self.n_down)
        x = self.down(self.stem(x))  # (B, ngf * 2**n_down, H / 2**n_down, W / 2**n_down)
        x = self.blocks(x)
        return self.head(self.up(x))  # (B, c_out, H, W)
