"""Copies of networks made of torch's own layers: what the fast ones are tested against."""

import copy

import torch
from torch import nn

from ganlib.models.build import Nets
from ganlib.models.common import InstanceNorm, ReflectionPad
from ganlib.models.vit import ViTBlock


class PlainViTBlock(ViTBlock):
    """The block with torch's MultiheadAttention as it is."""

    def forward(self, z):
        q = self.norm1(z)
        z = z + self.rezero * self.attention(q, q, q, need_weights=False)[0]
        return z + self.rezero * self.ffn(self.norm2(z))


PLAIN = {
    InstanceNorm: nn.InstanceNorm2d,
    ReflectionPad: nn.ReflectionPad2d,
    ViTBlock: PlainViTBlock,
}


def plain_copy(nets: Nets) -> Nets:
    """Copies of networks, in their precision and NCHW, of torch's own layers and with the same
    weights."""
    nets = Nets(*[copy.deepcopy(net).to(memory_format=torch.contiguous_format) for net in nets])
    for net in nets:
        for module in net.modules():
            module.__class__ = PLAIN.get(type(module), type(module))
    return nets
