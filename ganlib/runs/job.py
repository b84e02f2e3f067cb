"""The YAML file that `python -m ganlib.train` takes."""

from dataclasses import fields
from pathlib import Path

from ganlib.config import TrainConfig, check_pieces, plain_config
from ganlib.errors import InputError, printable, shown
from ganlib.runs.folder import load_config
from ganlib.runs.parent import child_config, read_parent
from ganlib.system.files import expand
from ganlib.system.values import read_yaml, take_value


def read_job(path):
    """A YAML file for `python -m ganlib.train`: {"train": fields of TrainConfig, "data":
    arguments of load_domains, "init_from", "folder", "inception", "accumulate", "resume",
    "tensorboard"} -> the same with a TrainConfig; InputError for what is not of these. With
    init_from, a run or a model file, fields that are not named are as they are there."""
    job = read_yaml(path)
    if not isinstance(job, dict) or not is_named(job.get("train")) or not is_named(job.get("data")):
        raise InputError(
            f"{path}: expected `train` with fields of TrainConfig and `data` with parameters such "
            "as image_size"
        )
    defaults = {
        "train": {},
        "data": {},
        "init_from": "",
        "folder": "",
        "inception": "",
        "accumulate": 1,
        "resume": True,
        "tensorboard": False,
    }
    if unknown := sorted(
        key if isinstance(key, str) else shown(key) for key in set(job) - set(defaults)
    ):
        raise InputError(
            f"{path}: {printable(unknown[0])[:100]}: no such key; there are {', '.join(defaults)}"
        )
    job = defaults | {name: value for name, value in job.items() if value is not None}
    job |= {
        name: take_value(name, job[name], defaults[name])
        for name in ("init_from", "folder", "inception", "accumulate", "resume", "tensorboard")
    }
    for name in ("init_from", "folder", "inception"):
        if job[name]:
            job[name] = str(expand(job[name], name))
    train = take_fields(job["train"])
    if job["init_from"] and job["folder"] and job["resume"]:
        train = find_own(job["folder"]) | train
    is_child = job["init_from"] and "parent" not in train  # and not told in whole, as by find_own
    parent = read_parent(job["init_from"]) if is_child else None
    usual = parent.cfg.image_size if parent else 64
    size = job["data"].get("image_size", train.get("image_size", usual))
    size = take_value("image_size", size, 64)
    train = {"image_size": size} | train
    if parent:
        cfg = child_config(parent, **train)
    else:
        cfg = TrainConfig.from_recipe(**train)
    check_pieces(cfg.batch_size, job["accumulate"])
    return job | {"train": cfg, "data": job["data"] | {"image_size": size}}


def find_own(folder):
    """The fields of a run that is in a folder already and has a parent, by their names, so that it
    goes on without its parent; else {}."""
    if not (Path(folder) / "config.json").exists():
        return {}
    cfg = load_config(folder)
    return plain_config(cfg) if cfg.parent else {}


def take_fields(values):
    """Values for fields of TrainConfig, each taken as of its field's kind; other names are left
    as they are."""
    examples = {field.name: field.default for field in fields(TrainConfig)}
    return {
        name: take_value(name, value, examples[name]) if name in examples else value
        for name, value in values.items()
    }


def is_named(values):
    """Whether these are values by their names, or nothing."""
    if values is None:
        return True
    return isinstance(values, dict) and all(isinstance(name, str) for name in values)
