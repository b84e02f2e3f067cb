"""The networks: two generators (one a direction) and the discriminator that they share."""

from ganlib.models.common import init_normal
from ganlib.models.cyclegan import CycleGANGenerator
from ganlib.models.discriminator import PatchDiscriminator
from ganlib.models.uvcgan import UVCGANGenerator
from ganlib.models.vit import PixelwiseViT

__all__ = [
    "CycleGANGenerator",
    "UVCGANGenerator",
    "PixelwiseViT",
    "PatchDiscriminator",
    "init_normal",
]
