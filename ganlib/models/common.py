"""What the networks share: the check of a size, normalisation and padding that are fast, and the
weight initialisation."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.errors import InputError


class InstanceNorm(nn.InstanceNorm2d):
    """nn.InstanceNorm2d that keeps channels_last, (B, C, H, W) -> the same layout; torch's own
    copies such maps to NCHW and back (pytorch issue 72341). No weights."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        var, mean = torch.var_mean(
            x.to(torch.promote_types(x.dtype, torch.float32)),
            dim=(2, 3),
            correction=0,
            keepdim=True,
        )
        return ((x - mean) * torch.rsqrt(var + self.eps)).to(x.dtype)


class ReflectionPad(nn.ReflectionPad2d):
    """nn.ReflectionPad2d that copies what it is given: autocast would turn bfloat16 into float32
    for it and back."""

    def forward(self, x: Tensor) -> Tensor:
        with (
            nullcontext()
            if x.dtype == torch.float32 or x.is_meta
            else torch.autocast(x.device.type, enabled=False)
        ):
            return F.pad(x, self.padding, mode="reflect")


def check_divisible(net: nn.Module, size: tuple[int, int], n_down: int) -> None:
    """Raise InputError unless H and W can be halved n_down times and leave 2 pixels or more a
    side."""
    factor = 2**n_down
    if any(side % factor or side < 2 * factor for side in size):
        near = "x".join(str(max(2 * factor, side // factor * factor)) for side in size)
        raise InputError(
            f"image size {size[0]}x{size[1]}: {type(net).__name__} needs a height and a width that "
            f"are multiples of {factor}, {2 * factor} or more; set image_size to {near}, for "
            f"instance"
        )


def init_normal(net: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw every convolution and linear weight from N(0, std), biases 0 (junyanz `init_weights`);
    returns net.

    The packed query-key-value weight of the attention keeps its Xavier draw, as in uvcgan.
    Fourier positions are then scaled by their `init_gain`: at std 0.02 they are nearly
    invisible."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std * getattr(module, "init_gain", 1.0))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net
