"""The parameters of the notebooks: their kinds and limits, checked in one place before anything
else runs."""

import re
from contextlib import suppress
from dataclasses import fields

from ganlib.config import TrainConfig, check_pieces
from ganlib.data.ranges import check_value_range, to_lists
from ganlib.errors import InputError, printable, shown
from ganlib.runs.job import take_fields
from ganlib.system.files import check_home, expand
from ganlib.system.values import parse_yaml, take_value

# {name: a value of its kind}. A notebook's parameter of another name is not checked, but for the
# fields of TrainConfig.
PARAMETERS = {field.name: field.default for field in fields(TrainConfig)} | {
    "data": "builtin",
    "domain_a": "",
    "image_size": 64,
    "builtin_a": 64,
    "builtin_b": 72,
    "builtin_eval": 16,
    "lr": 2e-4,
    "processes": 1,
    "accumulate": 1,
    "resume": True,
    "inception": "",
    "tensorboard": False,
    "runs": "",
    "seeds": [0, 1, 2],
    "scheduler": "",
    "models": [{"arch": "cyclegan", "recipe": "default", "ngf": 8}],
    "timed_steps": 3,
    "speed": "",
    "value_range": "",
    "settings": {"lambda_idt": 0.5},
    "model_path": "",
    "pictures": "",
    "to": "B",
}
PATHS = ("data", "inception", "runs", "speed", "model_path", "pictures")
LEAST = {
    "builtin_a": 1,
    "builtin_b": 1,
    "builtin_eval": 1,
    "lr": 0,
    "processes": 1,
    "accumulate": 1,
    "timed_steps": 1,
}


def check_parameters(given, like=PARAMETERS):
    """{name: value} of those names in `given` that `like` has an example of, each of its example's
    kind and within its limits.

    given: what a person, papermill or a report gave; a text that stands for a number, a list or
    a truth ("5e-4", "[0, 1]", "no") is taken as that, and a whole number as a text where one is
    expected (papermill reads a folder's name 2026 as one); in a path ~ is the home folder. A
    notebook calls it first of all: globals().update(check_parameters(globals())). Raises
    InputError, one line that names the parameter."""
    check_injected(given.get("In", []))
    values = {name: take_parameter(name, given[name], like[name]) for name in like if name in given}
    known = {
        name: value
        for name, value in values.items()
        if type(like[name]) is type(PARAMETERS.get(name))
    }
    check_home()
    for name, value in known.items():
        check_limits(name, value)
        if name in PATHS and value.startswith("~"):
            values[name] = str(expand(value, name))
    if "accumulate" in known and "batch_size" in known:
        check_pieces(known["batch_size"], known["accumulate"], known.get("processes", 1))
    if "seeds" in known:
        check_seeds(known["seeds"], known.get("seed", 0))
    if "settings" in known:
        values["settings"] = check_settings(known["settings"], given)
    if "models" in known:
        values["models"] = check_models(known["models"], known.get("seed", 0))
    return values


def check_injected(cells):
    """Raise InputError for a parameter that papermill was given and that the notebook has not:
    papermill itself only warns. cells: what a kernel has run. The first cell has the
    parameters of the notebook; papermill adds a second one, with those that it was given."""
    if len(cells) < 3 or not cells[2].startswith("# Parameters\n"):
        return
    known, given = map(assigned, cells[1:3])
    for name in given:
        if known and name not in known:
            raise InputError(
                f"{printable(name)[:100]}: no such parameter of this notebook; there are "
                f"{', '.join(known)}"
            )


def assigned(text):
    """The names that the lines of a cell give a value."""
    return re.findall(r"(?m)^(\w+) *(?::[^=\n]+)?=(?!=)", text)


def take_parameter(name, value, like):
    """take_value, but that value_range, a text by its default, may be a list or lists by name."""
    if name != "value_range":
        return take_value(name, value, like)
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        with suppress(ValueError):  # told below
            value = parse_yaml(value)
    return to_lists(check_value_range(value))


def check_limits(name, value):
    """Raise InputError for a value that is too small, or that no TrainConfig takes."""
    if name in LEAST and not LEAST[name] <= value < float("inf"):
        raise InputError(f"{name} {shown(value)}: expected {LEAST[name]} or more")
    if name == "data" and not value:
        raise InputError(
            "data '': expected \"builtin\", the path of a folder or zip, or hf:OWNER/NAME"
        )
    if name in {field.name for field in fields(TrainConfig)}:
        TrainConfig.from_recipe(**{name: value})


def check_seeds(seeds, seed):
    """Raise InputError for seeds of which two are the same, and for one that is no seed when it
    is added to `seed`."""
    if twice := [s for s in seeds if seeds.count(s) > 1]:
        raise InputError(
            f"seeds {shown(seeds)}: {twice[0]} is in it twice; expected different ones, for "
            "instance [0, 1, 2]"
        )
    for s in seeds:
        try:
            TrainConfig.from_recipe(seed=seed + s)
        except InputError as error:
            raise InputError(
                f"seeds {shown(seeds)}: {s} and seed {seed} together: {error}"
            ) from None


def check_settings(settings, given):
    """Further fields of TrainConfig, their values taken as those fields'. InputError for one
    that is a parameter in `given`."""
    taken = take_fields(settings)
    for name in settings:
        if name in given or name == "arch":
            raise InputError(
                f"settings: {name}: expected another field of TrainConfig; this notebook has "
                f"{'its own' if name == 'arch' else 'a parameter of that name, so set that'}"
            )
    try:
        TrainConfig.from_recipe(**taken)
    except InputError as error:
        raise InputError(f"settings {shown(settings)}: {error}") from None
    return taken


def check_models(models, seed=0):
    """The models to compare, each a dict of fields of TrainConfig, their values taken as those
    fields', and of seeds where it is trained with others than all. InputError for two alike."""
    configs = []
    for i, model in enumerate(models):
        try:
            for name, instead in (("seed", "seeds"), ("image_size", "image_size")):
                if name in model:
                    raise InputError(
                        f"{name}: all models have the same; set the parameter {instead} of the "
                        "notebook"
                    )
            own = dict(model)
            seeds = own.pop("seeds", None)
            models[i] = take_fields(own)
            configs.append(TrainConfig.from_recipe(**models[i]))
            if seeds is not None:
                models[i]["seeds"] = take_value("seeds", seeds, [0])
                check_seeds(models[i]["seeds"], seed)
        except InputError as error:
            raise InputError(f"models: number {i + 1}, {shown(model)}: {error}") from None
        if configs[i] in configs[:i]:
            raise InputError(
                f"models: number {i + 1} is number {configs.index(configs[i]) + 1} once more; "
                "leave one of them out"
            )
    return models
