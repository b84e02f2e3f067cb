"""The weights at the best validation so far."""

import math

from ganlib.models.build import pack_weights


class Best:
    """A copy of the weights at the lowest validation KID so far (mean of both domains, of the
    running means)."""

    def __init__(self):
        self.kid, self.step, self.weights = math.inf, None, None

    def offer(self, line, nets, emas):
        """Take the weights if this validation's KID is the lowest. With too few images for a KID
        the last ones are taken."""
        kid = (
            (line["kid_a"] + line["kid_b"]) / 2 if "kid_a" in line and "kid_b" in line else self.kid
        )
        if kid <= self.kid:
            weights = pack_weights(nets, emas)
            self.kid, self.step = kid, line["step"]
            self.weights = {
                name: {k: v.detach().clone() for k, v in state.items()}
                for name, state in weights.items()
            }
