"""What would fail in every notebook of a report, told before the first of them runs."""

from dataclasses import fields

from ganlib.config import TrainConfig
from ganlib.data.domains import check_builtin, take_size
from ganlib.data.reading import count_files
from ganlib.errors import InputError, printable
from ganlib.models.build import check_sizes

ARCHS = {"02_cyclegan": "cyclegan", "03_uvcgan": "uvcgan"}  # of notebooks that train one only
FEWEST = 4  # images of each domain in val and in test that a comparison needs, for a KID


def check_beforehand(entries):
    """Raise InputError, one line, for a size that the networks cannot take, for data in which no
    two domains are found, and for too few images to compare models by. entries: as settings.plan
    has them."""
    for entry in entries:
        values = entry["values"]
        if "image_size" in values:
            for cfg in list_configs(entry["notebook"].stem, values):
                check_sizes(cfg)
        if "data" in values:
            check_data(entry["name"], values)


def list_configs(notebook, values):
    """A TrainConfig of each model that a notebook builds by parameters of these values."""
    models = values.get("models")
    if models is None:
        arch = values.get("arch", ARCHS.get(notebook))
        models = [{"arch": arch}] if arch else []
    own = {}
    for name in (field.name for field in fields(TrainConfig)):
        if name in values and name != "seed":
            own[name] = values[name]
    own |= values.get("settings", {})
    configs = []
    for model in models:
        chosen = {name: value for name, value in model.items() if name != "seeds"}
        configs.append(TrainConfig.from_recipe(**(own | chosen)))
    return configs


def check_data(name, values):
    """Raise InputError for data that a notebook of these parameters cannot use. Data sets of the
    hub are not asked: they would have to be fetched."""
    data = values["data"]
    if data.startswith("hf:"):
        return
    if data == "builtin":
        numbers = [values.get(name, 64) for name in ("builtin_a", "builtin_b", "builtin_eval")]
        check_builtin(take_size(values.get("image_size", 64)), *numbers)
        least, told = numbers[2], f"builtin_eval {numbers[2]}"
        enough = f"set it to {FEWEST} or more"
    else:
        counts = count_files(data, values.get("domain_a", ""))
        held_out = [n[split] for n in counts.values() for split in ("val", "test")]
        images = " and ".join(f"{sum(n.values())} of {printable(d)}" for d, n in counts.items())
        least = min(held_out)
        told = f"data {printable(data)}: {images}, which leaves {least} of a domain in val or test"
        enough = (
            f"take {10 * FEWEST} images of each or more, or folders of your own for val and test"
        )
    if "models" in values and least < FEWEST:
        raise InputError(
            f"{told}; {name} needs {FEWEST} or more of each domain in val and in test, for a KID: "
            f"{enough}"
        )
