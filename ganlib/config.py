"""Every choice of a training run in one frozen dataclass, the two recipes, and the config file
of a run folder."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields

from ganlib.errors import InputError, printable, shown

# Every number is less: torch, numpy and the sums made with them overflow somewhere above
MOST = 2**31
ARCHS = ("cyclegan", "uvcgan")

# `seed` is the study's recipe, fault for fault; `default` has the published fixes of what is wrong
# in it.
RECIPES = {
    "default": {},
    "seed": dict(
        d_layers=3,
        global_score=True,
        pool_size=0,
        lr_g=1e-3,
        lr_d=4e-3,
        scale_lr=False,
        beta1=0.9,
        decay_from=1.0,
        init="torch",
        resize_conv=False,
        pre_norm=False,
        vit_norm=False,
    ),
}

# Fields that came after the first runs, and what those were trained with. A field at that value is
# no part of a digest (TrainConfig.name), and a config that lacks it has that value: so runs of
# before keep their folders. Every new field joins here.
ADDED = {"n_blocks": 6}

STUDY_PAIRS = 80_000  # image pairs that a training of the study saw: 20 epochs of 4,000

# What the study reports on its test set: generator, discriminator A, discriminator B.
STUDY_TEST_LOSSES = {
    "cyclegan": {"g": 4.78456, "d_a": 0.17798, "d_b": 0.18013},
    "uvcgan": {"g": 4.90497, "d_a": 0.18863, "d_b": 0.18398},
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Build it with `from_recipe`; a value that cannot be used raises
    InputError."""

    arch: str = "cyclegan"  # both generators: "cyclegan" or "uvcgan"
    recipe: str = "default"  # the recipe that the fields below started from
    image_size: tuple[int, int] = (64, 64)  # height and width in pixels
    steps: int = 20_000  # optimizer updates
    batch_size: int = 4  # image pairs a step
    # Steps between two validations (losses, KID, best weights); 0: a pass over domain A
    epoch_steps: int = 0
    ngf: int = 64  # channels of the generators' first layer
    ndf: int = 64  # channels of the discriminators' first layer
    seed: int = 0  # of weights, pairs and image pool
    # "float32", "bfloat16", or "auto": bfloat16 where the hardware has it
    precision: str = "auto"
    # discriminator: stride-2 layers; 2 see patches of 34 pixels, 3 of 70
    d_layers: int = 2
    # discriminator: average the score map before the loss (the study's way)
    global_score: bool = False
    # Earlier fakes kept to show the discriminators again; 0 for none
    pool_size: int = 50
    lr_g: float = 2e-4  # Adam's rate for both generators at batch 1
    lr_d: float = 2e-4  # and for both discriminators
    # Rates grow with the square root of the batch (arXiv 2205.10287)
    scale_lr: bool = True
    beta1: float = 0.5  # Adam's beta1; beta2 is 0.999
    # Share of the steps at constant rates, which then fall linearly to 0
    decay_from: float = 0.5
    init: str = "normal"  # weights from N(0, 0.02), or "torch" for torch's own
    # Decay of the running means of the generators' weights, once warmed up
    ema: float = 0.999
    # Weight of the cycle loss; 0: neither it nor the identity loss is computed
    lambda_cycle: float = 10.0
    # Weight of the identity loss, relative to lambda_cycle; 0: not computed
    lambda_idt: float = 0.5
    # cyclegan: enlarge, then convolve, instead of transposed convolutions
    resize_conv: bool = True
    pre_norm: bool = True  # uvcgan: blocks normalise first, with leaky ReLU
    vit_norm: bool = True  # uvcgan: LayerNorm in the transformer's blocks
    # cyclegan: residual blocks of a generator; the paper has 9 from 256 pixels on
    n_blocks: int = 6

    @classmethod
    def from_recipe(cls, /, recipe="default", **values):
        """The named recipe ("default" or "seed") with some fields changed; image_size may be one
        number."""
        if not isinstance(recipe, str) or recipe not in RECIPES:
            raise InputError(
                f"recipe {shown(recipe)}: no such recipe; there are {', '.join(RECIPES)}"
            )
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise InputError(
                f"{printable(unknown[0])[:100]}: no such field of TrainConfig; there are "
                f"{', '.join(sorted(names))}"
            )
        size = values.get("image_size", (64, 64))
        values["image_size"] = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        return cls(recipe=recipe, **(RECIPES[recipe] | values))

    def __post_init__(self):
        for field in fields(self):
            if field.default is not MISSING and field.name != "image_size":
                check_value(field.name, getattr(self, field.name), field.default)
        if len(self.image_size) != 2 or any(
            type(side) is not int or not 1 <= side < MOST for side in self.image_size
        ):
            raise InputError(
                f"image_size {shown(self.image_size)}: expected one whole number of pixels, or "
                "height and width, for instance [48, 64]"
            )
        for name, choices in [
            ("arch", ARCHS),
            ("recipe", tuple(RECIPES)),
            ("init", ("normal", "torch")),
            ("precision", ("auto", "float32", "bfloat16")),
        ]:
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name} {shown(getattr(self, name))}: no such {name}; there are "
                    f"{', '.join(choices)}"
                )
        for name in ("steps", "batch_size", "ngf", "ndf", "d_layers"):
            if not 1 <= getattr(self, name) < MOST:
                raise InputError(
                    f"{name} {shown(getattr(self, name))}: expected 1 or more, and less than "
                    f"{MOST:,}"
                )
        for name in (
            "seed",
            "epoch_steps",
            "pool_size",
            "lr_g",
            "lr_d",
            "lambda_cycle",
            "lambda_idt",
            "beta1",
            "decay_from",
            "ema",
            "n_blocks",
        ):
            if not 0 <= getattr(self, name) < MOST:
                raise InputError(
                    f"{name} {shown(getattr(self, name))}: expected 0 or more, and less than "
                    f"{MOST:,}"
                )
        for name in ("beta1", "decay_from", "ema"):
            if getattr(self, name) > 1 or (name != "decay_from" and getattr(self, name) == 1):
                raise InputError(f"{name} {getattr(self, name)}: expected a share between 0 and 1")
        if self.arch != "cyclegan" and self.n_blocks != ADDED["n_blocks"]:
            raise InputError(
                f"n_blocks {shown(self.n_blocks)}: only the generators of arch cyclegan have "
                "residual blocks; "
                f"leave n_blocks out for {self.arch}"
            )

    def name(self, fingerprint):
        """Folder name of a run: architecture, recipe, and a digest of every field (but those of
        ADDED that are as they were before there was a choice) and of the data's fingerprint."""
        fields = {
            name: value
            for name, value in asdict(self).items()
            if name not in ADDED or value != ADDED[name]
        }
        key = json.dumps(fields, sort_keys=True) + fingerprint
        return f"{self.arch}-{self.recipe}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def check_value(name, value, like):
    """Raise InputError unless value has the type of `like` (a whole number may stand for a
    float)."""
    expected = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}[
        type(like)
    ]
    if not (type(value) is type(like) or (type(like) is float and type(value) is int)):
        example = f", for instance {like!r}" if like != "" else " in quotes"
        raise InputError(f"{name} {shown(value)}: expected {expected}{example}")
    if type(value) is int and abs(value) >= MOST:
        raise InputError(f"{name} {shown(value)}: expected a number below {MOST:,}")


def check_pieces(batch_size, accumulate, processes=1):
    """Raise InputError unless a batch can be split into this many pieces, over this many
    processes."""
    for name, n in (("accumulate", accumulate), ("processes", processes)):
        if type(n) is not int or n < 1:
            raise InputError(f"{name} {shown(n)}: expected a whole number, 1 or more")
    if batch_size % (accumulate * processes):
        pieces = f"accumulate {accumulate}" + (
            f" and {processes} processes" if processes > 1 else ""
        )
        raise InputError(
            f"{pieces}: expected whole numbers that together divide the batch of {batch_size} "
            "pairs; or set another batch_size"
        )


def plain_config(cfg):
    """A TrainConfig as a dict of what JSON and YAML have."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(cfg).items()
    }
