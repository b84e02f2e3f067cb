"""Every choice of a training run in one frozen dataclass, the recipes, and how a run is
executed."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace

from ganlib.errors import InputError, printable, shown

# Every number is less: torch, numpy and the sums made with them overflow somewhere above
MOST = 2**31
ARCHS = ("cyclegan", "uvcgan")

# `cyclegan` is the paper's (Zhu et al. 2017) with what was published later for it: running means,
# rates by the batch, no checkerboard. `default` is what a first search chose (docs/recipe.md, with
# what is open of it): discriminators of two patch sizes, which see colours, before all. `seed` is
# the study's, fault for fault.
RECIPES = {
    "default": dict(d_coarse=0.5, idt_every=4, flip=True, d_norm="spectral"),
    "cyclegan": {},
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
ADDED = {
    "n_blocks": 6,
    "d_coarse": 0.0,
    "coarse_until": 0.0,
    "refine": 16,
    "refine_input": True,
    "idt_every": 1,
    "shift": 0,
    "flip": False,
    "d_norm": "instance",
    "parent": "",
}

STUDY_PAIRS = 80_000  # image pairs that a training of the study saw: 20 epochs of 4,000

STUDY_FLAT = 12_000  # after so many, its third epoch, it saw nothing improve

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
    recipe: str = "cyclegan"  # the recipe that the fields below started from
    image_size: tuple[int, int] = (64, 64)  # height and width in pixels
    steps: int = 20_000  # optimizer updates
    batch_size: int = 4  # image pairs a step
    # Steps between two validations (losses, KID, best weights); 0: a pass over domain A
    epoch_steps: int = 0
    ngf: int = 64  # channels of the generators' first layer
    ndf: int = 64  # channels of the discriminators' first layer
    seed: int = 0  # of weights, pairs, image pool, and how images are moved and mirrored
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
    # Weight of a second discriminator of each domain, which sees images at half their size and so
    # patches of twice the side; the first one has the rest. 0: there is none
    d_coarse: float = 0.0
    # Share of the steps that train at half the size, generators and second discriminators; then
    # small networks are added that refine what the generators make. 0: none of that
    coarse_until: float = 0.0
    refine: int = 16  # channels of a refining network
    refine_input: bool = True  # whether it sees the image that is translated, too
    idt_every: int = 1  # steps from one identity loss to the next, whose weight is as many times
    # Pixels that an image is moved by at most, up or down and left or right; its border is mirrored
    shift: int = 0
    flip: bool = False  # mirror every other image, by chance
    # How the discriminators are normalised: "instance", each channel of each image by its own mean
    # and deviation, as in the paper; or "spectral", the weights by their largest singular value,
    # which leaves the colours of an image to be seen
    d_norm: str = "instance"
    # The run that the first weights come from, NAME@DIGEST (runs.parent); empty: drawn at random
    parent: str = ""

    @classmethod
    def from_recipe(cls, /, recipe: str = "default", **values) -> "TrainConfig":
        """The named recipe ("default", "cyclegan" or "seed") with some fields changed; image_size
        may be one number."""
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
            check_field(field.name, getattr(self, field.name), field.default)
        if self.arch != "cyclegan" and self.n_blocks != ADDED["n_blocks"]:
            raise InputError(
                f"n_blocks {shown(self.n_blocks)}: only the generators of arch cyclegan have "
                f"residual blocks; leave n_blocks out for {self.arch}"
            )
        if self.coarse_until and not self.d_coarse:
            raise InputError(
                f"coarse_until {shown(self.coarse_until)}: at half the size the second "
                "discriminators judge, and there are none; set d_coarse, to 0.5 for instance"
            )
        if self.coarse_until and not 0 < self.coarse_steps() < self.steps:
            raise InputError(
                f"coarse_until {shown(self.coarse_until)}: of {self.steps} steps it leaves none at "
                "half the size, or none at full size; take more steps, or another share"
            )
        if self.shift >= min(self.image_size):
            raise InputError(
                f"shift {shown(self.shift)}: expected less than the sides of the images, "
                f"{self.image_size[0]}x{self.image_size[1]}"
            )

    def coarse_steps(self) -> int:
        """How many of the steps train at half the size: the first ones."""
        return round(self.steps * self.coarse_until)

    def at_step(self, step: int) -> "TrainConfig":
        """What the losses of a step, from 1, are weighed by: the identity loss is taken in every
        idt_every-th one, and weighs as many times as much."""
        if self.idt_every == 1:
            return self
        taken = step % self.idt_every == 0
        return replace(self, lambda_idt=self.lambda_idt * self.idt_every if taken else 0.0)

    def name(self, fingerprint: str) -> str:
        """Folder name of a run: architecture, recipe, and a digest of every field (but those of
        ADDED that are as they were before there was a choice) and of the data's fingerprint."""
        told = asdict(self)
        for name, neutral in ADDED.items():
            if told[name] == neutral:
                del told[name]
        key = json.dumps(told, sort_keys=True) + fingerprint
        return f"{self.arch}-{self.recipe}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Execution:
    """How a run is executed, which is no part of what it is: its digest does not know of it."""

    device: str | None = None  # for instance "cuda:1"; None: the GPU if there is one, else the CPU
    # How many processes train together on this machine, each with a GPU of its own if there are
    # any. Each trains on its part of each batch.
    processes: int = 1
    # Pieces of a batch that are computed one after another: the same step in less memory.
    accumulate: int = 1
    # True: load what is in the folder where it is finished, which a line says, and score it anew
    # where it was scored by another protocol; of a training that was interrupted go on from the
    # newest whole checkpoint: the run is then the one that was never interrupted, to the last bit
    # on a CPU with as many threads. Where it goes on with other threads, processes, accumulate,
    # precision, processor or torch, that is said and kept in metrics.json (resumed_otherwise).
    # False: train from the start. A finished run in the folder is replaced when this one is
    # finished, an unfinished one at once.
    resume: bool = True
    # Where the weights of the parent are: the folder of a run, or a model file (runs.parent)
    init_from: str = ""
    # Seconds between two checkpoints; the first is written after the first step.
    checkpoint_seconds: float = 60
    # Whether the log is also written as TensorBoard reads it (RUN/tensorboard, runs.board)
    tensorboard: bool = False


# What a field may be: one of some names ...
CHOICES = {
    "arch": ARCHS,
    "recipe": tuple(RECIPES),
    "init": ("normal", "torch"),
    "precision": ("auto", "float32", "bfloat16"),
    "d_norm": ("instance", "spectral"),
}
# ... or a number, 0 or more but for these, ...
LEAST = {
    "steps": 1,
    "batch_size": 1,
    "ngf": 1,
    "ndf": 1,
    "d_layers": 1,
    "refine": 1,
    "idt_every": 1,
}
# ... and less than MOST; of these a share: the highest, and whether it may be reached.
SHARES = {
    "beta1": (1, False),
    "decay_from": (1, True),
    "ema": (1, False),
    "d_coarse": (1, True),
    "coarse_until": (1, False),
}


def check_field(name, value, default) -> None:
    """Raise InputError unless a value can be that of a field of TrainConfig."""
    if name == "image_size":
        check_size(value)
        return
    check_value(name, value, default)
    if name in CHOICES and value not in CHOICES[name]:
        known = ", ".join(CHOICES[name])
        raise InputError(f"{name} {shown(value)}: no such {name}; there are {known}")
    if type(default) in (int, float):
        least = LEAST.get(name, 0)
        if not least <= value < MOST:
            told = f"{name} {shown(value)}: expected {least} or more, and less than {MOST:,}"
            raise InputError(told)
    if name in SHARES:
        most, reached = SHARES[name]
        if value > most or (value == most and not reached):
            raise InputError(f"{name} {value}: expected a share between 0 and 1")


def check_size(size) -> None:
    """Raise InputError unless this is (height, width) in pixels."""
    sides = [type(side) is int and 1 <= side < MOST for side in size]
    if len(sides) != 2 or not all(sides):
        raise InputError(
            f"image_size {shown(size)}: expected one whole number of pixels, or height and width, "
            "for instance [48, 64]"
        )


def check_value(name: str, value, like) -> None:
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


def check_pieces(batch_size: int, accumulate: int, processes: int = 1) -> None:
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


def plain_config(cfg: TrainConfig) -> dict:
    """A TrainConfig as a dict of what JSON and YAML have."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(cfg).items()
    }
