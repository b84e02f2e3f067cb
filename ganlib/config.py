"""Every choice of a training run in one frozen dataclass, the two recipes, and the config file of a run folder."""

import hashlib
import json
import os
import re
import reprlib
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import yaml

from ganlib.files import InputError, expand, printable, write_atomic

MOST = 2**31        # every number is less: torch, numpy and the sums made with them overflow somewhere above
ARCHS = ("cyclegan", "uvcgan")

# `seed` is the study's recipe, fault for fault; `default` has the published fixes of what is wrong in it.
RECIPES = {
    "default": {},
    "seed": dict(d_layers=3, global_score=True, pool_size=0, lr_g=1e-3, lr_d=4e-3, scale_lr=False, beta1=0.9,
                 decay_from=1.0, init="torch", resize_conv=False, pre_norm=False, vit_norm=False),
}

# Fields that came after the first runs, and what those were trained with. A field at that value is no part of a digest
# (TrainConfig.name), and a config that lacks it has that value: so runs of before keep their folders. Every new field joins here.
ADDED = {"n_blocks": 6}

SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 3, 100, 100

STUDY_PAIRS = 80_000    # image pairs that a training of the study saw: 20 epochs of 4,000

# What the study reports on its test set: generator, discriminator A, discriminator B.
STUDY_TEST_LOSSES = {"cyclegan": {"g": 4.78456, "d_a": 0.17798, "d_b": 0.18013},
                     "uvcgan": {"g": 4.90497, "d_a": 0.18863, "d_b": 0.18398}}


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Build it with `from_recipe`; a value that cannot be used raises InputError."""

    arch: str = "cyclegan"              # both generators: "cyclegan" or "uvcgan"
    recipe: str = "default"             # the recipe that the fields below started from
    image_size: tuple[int, int] = (64, 64)  # height and width in pixels
    steps: int = 20_000                 # optimizer updates
    batch_size: int = 4                 # image pairs a step
    epoch_steps: int = 0                # steps between two validations (losses, KID, best weights); 0: a pass over domain A
    ngf: int = 64                       # channels of the generators' first layer
    ndf: int = 64                       # channels of the discriminators' first layer
    seed: int = 0                       # of weights, pairs and image pool
    precision: str = "auto"             # "float32", "bfloat16", or "auto": bfloat16 where the hardware has it
    d_layers: int = 2                   # discriminator: stride-2 layers; 2 see patches of 34 pixels, 3 of 70
    global_score: bool = False          # discriminator: average the score map before the loss (the study's way)
    pool_size: int = 50                 # earlier fakes kept to show the discriminators again; 0 for none
    lr_g: float = 2e-4                  # Adam's rate for both generators at batch 1
    lr_d: float = 2e-4                  # and for both discriminators
    scale_lr: bool = True               # rates grow with the square root of the batch (arXiv 2205.10287)
    beta1: float = 0.5                  # Adam's beta1; beta2 is 0.999
    decay_from: float = 0.5             # share of the steps at constant rates, which then fall linearly to 0
    init: str = "normal"                # weights from N(0, 0.02), or "torch" for torch's own
    ema: float = 0.999                  # decay of the running means of the generators' weights, once warmed up
    lambda_cycle: float = 10.0          # weight of the cycle loss; 0: neither it nor the identity loss is computed
    lambda_idt: float = 0.5             # weight of the identity loss, relative to lambda_cycle; 0: not computed
    resize_conv: bool = True            # cyclegan: enlarge, then convolve, instead of transposed convolutions
    pre_norm: bool = True               # uvcgan: blocks normalise first, with leaky ReLU
    vit_norm: bool = True               # uvcgan: LayerNorm in the transformer's blocks
    n_blocks: int = 6                   # cyclegan: residual blocks of a generator; the paper has 9 from 256 pixels on

    @classmethod
    def from_recipe(cls, /, recipe="default", **values):
        """The named recipe ("default" or "seed") with some fields changed; image_size may be one number."""
        if not isinstance(recipe, str) or recipe not in RECIPES:
            raise InputError(f"recipe {shown(recipe)}: no such recipe; there are {', '.join(RECIPES)}")
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise InputError(f"{printable(unknown[0])[:100]}: no such field of TrainConfig; there are {', '.join(sorted(names))}")
        size = values.get("image_size", (64, 64))
        values["image_size"] = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        return cls(recipe=recipe, **(RECIPES[recipe] | values))

    def __post_init__(self):
        for field in fields(self):
            if field.default is not MISSING and field.name != "image_size":
                check_value(field.name, getattr(self, field.name), field.default)
        if len(self.image_size) != 2 or any(type(side) is not int or not 1 <= side < MOST for side in self.image_size):
            raise InputError(f"image_size {shown(self.image_size)}: expected one whole number of pixels, or height and width, for instance [48, 64]")
        for name, choices in [("arch", ARCHS), ("recipe", tuple(RECIPES)), ("init", ("normal", "torch")),
                              ("precision", ("auto", "float32", "bfloat16"))]:
            if getattr(self, name) not in choices:
                raise InputError(f"{name} {shown(getattr(self, name))}: no such {name}; there are {', '.join(choices)}")
        for name in ("steps", "batch_size", "ngf", "ndf", "d_layers"):
            if not 1 <= getattr(self, name) < MOST:
                raise InputError(f"{name} {shown(getattr(self, name))}: expected 1 or more, and less than {MOST:,}")
        for name in ("seed", "epoch_steps", "pool_size", "lr_g", "lr_d", "lambda_cycle", "lambda_idt", "beta1", "decay_from",
                     "ema", "n_blocks"):
            if not 0 <= getattr(self, name) < MOST:
                raise InputError(f"{name} {shown(getattr(self, name))}: expected 0 or more, and less than {MOST:,}")
        for name in ("beta1", "decay_from", "ema"):
            if getattr(self, name) > 1 or (name != "decay_from" and getattr(self, name) == 1):
                raise InputError(f"{name} {getattr(self, name)}: expected a share between 0 and 1")
        if self.arch != "cyclegan" and self.n_blocks != ADDED["n_blocks"]:
            raise InputError(f"n_blocks {shown(self.n_blocks)}: only the generators of arch cyclegan have residual blocks; "
                             f"leave n_blocks out for {self.arch}")

    def name(self, fingerprint):
        """Folder name of a run: architecture, recipe, and a digest of every field (but those of ADDED that are as they
        were before there was a choice) and of the data's fingerprint."""
        fields = {name: value for name, value in asdict(self).items() if name not in ADDED or value != ADDED[name]}
        key = json.dumps(fields, sort_keys=True) + fingerprint
        return f"{self.arch}-{self.recipe}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def read_job(path):
    """A YAML file for `python -m ganlib.train`: {"train": fields of TrainConfig, "data": arguments of load_domains, "folder",
    "inception", "accumulate", "resume"} -> the same with a TrainConfig; InputError for what is not of these."""
    job = read_yaml(path)
    if not isinstance(job, dict) or not all(job.get(name) is None or isinstance(job[name], dict) and all(isinstance(key, str) for key in job[name]) for name in ("train", "data")):
        raise InputError(f"{path}: expected `train` with fields of TrainConfig and `data` with parameters such as image_size")
    defaults = {"train": {}, "data": {}, "folder": "", "inception": "", "accumulate": 1, "resume": True}
    if unknown := sorted(key if isinstance(key, str) else shown(key) for key in set(job) - set(defaults)):
        raise InputError(f"{path}: {printable(unknown[0])[:100]}: no such key; there are {', '.join(defaults)}")
    job = defaults | {name: value for name, value in job.items() if value is not None}
    job |= {name: take_value(name, job[name], defaults[name]) for name in ("folder", "inception", "accumulate", "resume")}
    job |= {name: str(expand(job[name], name)) for name in ("folder", "inception") if job[name]}
    train = take_fields(job["train"])
    size = take_value("image_size", job["data"].get("image_size", train.get("image_size", 64)), 64)
    cfg = TrainConfig.from_recipe(**({"image_size": size} | train))
    check_pieces(cfg.batch_size, job["accumulate"])
    return job | {"train": cfg, "data": job["data"] | {"image_size": size}}


class PlainLoader(yaml.SafeLoader):
    """YAML's plain values, without aliases (*NAME): by them a few lines stand for more than any memory holds, or for themselves.

    As in YAML 1.2, 5e-4 is a number, and yes, no, on, off, 1:30, 010 and 2024-01-01 are texts (PyYAML has YAML 1.1, where they are truths,
    90, 8 and a date); take_value makes truths and numbers of texts where these are expected. A name that is given twice is an error.
    """

    yaml_implicit_resolvers = {}

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise ValueError(f"*{self.peek_event().anchor} in it: expected the values themselves")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = [part.value for part, _ in node.value if isinstance(part, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice} is in it twice: expected each name once")
        return super().construct_mapping(node, deep)


for tag, pattern, begins in (
        ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"), ("null", "null|Null|NULL|~|", "nN~"), ("int", "-?(0|[1-9][0-9]*)", "-0123456789"),
        ("float", r"-?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?|-?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-.0123456789")):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"({pattern})$"), [*begins, *[""] * (tag == "null")])


def parse_yaml(text):
    """The plain values that a YAML text stands for; ValueError, one line, where it is none."""
    try:
        return yaml.load(text, Loader=PlainLoader)
    except Exception as error:  # PyYAML raises nearly anything for odd texts: a RecursionError, an AttributeError
        mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(line + printable(" ".join(said.split()))[:100] or type(error).__name__) from None


def read_yaml(path):
    """What a YAML file says, in plain values; InputError where it cannot be read."""
    try:
        return parse_yaml(expand(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the path of a YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a YAML file that can be read ({reason})") from None


def shown(value):
    """repr of a value for an error: on one line and cut short, however long or deep it is."""
    try:
        return SHORT.repr(value)[:200]
    except ValueError:      # Python writes no number of thousands of digits
        return f"a {type(value).__name__} too long to show"


def check_value(name, value, like):
    """Raise InputError unless value has the type of `like` (a whole number may stand for a float)."""
    expected = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}[type(like)]
    if not (type(value) is type(like) or (type(like) is float and type(value) is int)):
        example = f", for instance {like!r}" if like != "" else " in quotes"
        raise InputError(f"{name} {shown(value)}: expected {expected}{example}")
    if type(value) is int and abs(value) >= MOST:
        raise InputError(f"{name} {shown(value)}: expected a number below {MOST:,}")


TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def take_value(name, value, like):
    """The value as one of the kind of `like`, the example; InputError where it stands for none.

    Texts are taken as what they stand for: "60", "5e-4", "[0, 1]", "no". 1e3 is a whole number, and 2026 is a text where one is expected.
    A list is of the kind of the first item of `like`.
    """
    if name == "image_size":
        return take_size(value)
    if isinstance(like, str):
        value = str(value) if type(value) is int else os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(value, str):
            raise InputError(f"{name} {shown(value)}: expected a text; put it in quotes, or give it to papermill by -r instead of -p")
    if isinstance(like, list):
        return take_list(name, value, like)
    if isinstance(like, dict):
        try:
            value = parse_yaml(value) if isinstance(value, str) else value
        except ValueError:
            pass    # told below
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InputError(f"{name} {shown(value)}: expected names with values, for instance {like!r}")
        return value
    if isinstance(value, str) and isinstance(like, bool):
        value = TRUTHS.get(value.strip().lower(), value)
    elif isinstance(value, str) and isinstance(like, (int, float)):
        value = read_number(value, like)
    if type(like) is int and type(value) is float and value.is_integer():
        value = int(value)
    check_value(name, value, like)
    return value


def take_size(value):
    """An image_size: one whole number, or a list of height and width."""
    for like in (64, [64]):
        try:
            return take_value("size", value, like)
        except InputError:
            pass    # told below
    raise InputError(f"image_size {shown(value)}: expected one whole number of pixels, or height and width, for instance [48, 64]")


def take_fields(values):
    """Values for fields of TrainConfig, each taken as of its field's kind; other names are left as they are."""
    examples = {field.name: field.default for field in fields(TrainConfig)}
    return {name: take_value(name, value, examples[name]) if name in examples else value for name, value in values.items()}


def read_number(text, like):
    """The number that a text stands for, a whole one where `like` is one and it can be; else the text."""
    for kind in (int, float) if type(like) is int else (float,):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def take_list(name, value, like):
    """A list of one item or more, each taken as the first one of `like`, from a list, a tuple or the text of a list."""
    try:
        value = parse_yaml(value) if isinstance(value, str) else value
    except ValueError:
        pass    # told below
    if not isinstance(value, (list, tuple)) or not value:
        raise InputError(f"{name} {shown(value)}: expected a list, for instance {like!r}")
    try:
        return [take_value(name, item, like[0]) for item in value]
    except InputError as error:
        raise InputError(f"{name} {shown(value)}: expected a list such as {like!r}; in it: {error}") from None


def check_pieces(batch_size, accumulate, processes=1):
    """Raise InputError unless a batch can be split into this many pieces, over this many processes."""
    for name, n in (("accumulate", accumulate), ("processes", processes)):
        if type(n) is not int or n < 1:
            raise InputError(f"{name} {shown(n)}: expected a whole number, 1 or more")
    if batch_size % (accumulate * processes):
        pieces = f"accumulate {accumulate}" + (f" and {processes} processes" if processes > 1 else "")
        raise InputError(f"{pieces}: expected whole numbers that together divide the batch of {batch_size} pairs; or set another batch_size")


def claim_run_folder(folder, cfg, fingerprint):
    """Write config.json into a run folder, new or of the same config and data; else InputError shows the difference."""
    path = Path(folder) / "config.json"
    mine = plain_config(cfg) | {"data_fingerprint": fingerprint}
    if path.exists():
        try:
            theirs = read_json(path)
        except InputError:
            if not list(Path(folder).glob("checkpoint-*.pt")):      # which have the config too
                raise
        else:
            show_difference(f"run folder {folder}", theirs, mine)
            return      # as the folder may be one that is only read
    write_atomic(path, json.dumps(mine, indent=1))


def plain_config(cfg):
    """A TrainConfig as a dict of what JSON and YAML have."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(cfg).items()}


def show_difference(name, theirs, mine):
    """Raise InputError unless two dicts, that of the file `name` and that of the run to train, are the same."""
    theirs, mine = ADDED | theirs, ADDED | mine
    changed = [f"other images (data_fingerprint {str(theirs.get(key))[:8]} there, {str(mine.get(key))[:8]} now)" if key == "data_fingerprint" else
               f"{printable(key)[:100]} {shown(theirs.get(key))} there, {shown(mine.get(key))} now"
               for key in sorted(mine.keys() | theirs.keys()) if theirs.get(key) != mine.get(key)]
    if changed:
        raise InputError(f"{name} holds another config ({'; '.join(changed)}): choose another folder or delete that one")


def read_json(path):
    """The dict in a JSON file; InputError where there is none in it."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise InputError(f"{path}: not a JSON file of ganlib; delete its folder and train again") from None


def load_config(folder):
    """The TrainConfig that a run folder was trained with; InputError where there is none."""
    path = expand(folder, "run folder") / "config.json"
    if not path.exists():
        raise InputError(f"run folder {folder}: no config.json in it; expected the folder of a run of ganlib")
    values = read_json(path)
    values.pop("data_fingerprint", None)
    return TrainConfig.from_recipe(**(ADDED | values))
