"""The weights at the best validation so far."""

import math

from ganlib.models.build import pack_weights


class Best:
    """A copy of the weights at the lowest validation KID so far (mean of both domains, of the
    running means)."""

    def __init__(self):
        self.kid = math.inf
        self.step = None
        self.weights = None

    def offer(self, line, nets, emas):
        """Take the weights if this validation's KID is the lowest. With too few images for a KID
        the last ones are taken."""
        kid = self.kid
        if "kid_a" in line and "kid_b" in line:
            kid = (line["kid_a"] + line["kid_b"]) / 2
        if kid > self.kid:
            return
        self.kid = kid
        self.step = line["step"]
        self.weights = {}
        for name, state in pack_weights(nets, emas).items():
            self.weights[name] = {key: value.detach().clone() for key, value in state.items()}
