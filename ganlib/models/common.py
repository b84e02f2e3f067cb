"""What the networks share: the check of a size, and the weight initialisation."""

from torch import nn

from ganlib.files import InputError


def check_divisible(net, size, n_down):
    """Raise InputError unless H and W can be halved n_down times and leave 2 pixels or more a side."""
    factor = 2**n_down
    if any(side % factor or side < 2 * factor for side in size):
        raise InputError(f"image size {size[0]}x{size[1]}: {type(net).__name__} needs a height and a width that are "
                         f"multiples of {factor}, {2 * factor} or more")


def init_normal(net, std=0.02):
    """Draw every convolution and linear weight from N(0, std), biases 0 (junyanz `init_weights`); returns net.

    The packed query-key-value weight of the attention keeps its Xavier draw, as in uvcgan. Fourier positions are then
    scaled by their `init_gain`: at std 0.02 they are nearly invisible.
    """
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std * getattr(module, "init_gain", 1.0))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net
