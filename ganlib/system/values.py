"""Plain values from YAML and from texts: what a user wrote, taken as of the kind that is
expected."""

import os
import re

import yaml

from ganlib.config import check_value
from ganlib.errors import InputError, printable, shown
from ganlib.system.files import expand


class PlainLoader(yaml.SafeLoader):
    """YAML's plain values, without aliases (*NAME): by them a few lines stand for more than any
    memory holds, or for themselves.

    As in YAML 1.2, 5e-4 is a number, and yes, no, on, off, 1:30, 010 and 2024-01-01 are texts
    (PyYAML has YAML 1.1, where they are truths, 90, 8 and a date); take_value makes truths and
    numbers of texts where these are expected. A name that is given twice is an error."""

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
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "null|Null|NULL|~|", "nN~"),
    ("int", "-?(0|[1-9][0-9]*)", "-0123456789"),
    (
        "float",
        r"-?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.?)([eE][-+]?[0-9]+)?|-?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-.0123456789",
    ),
):
    PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"({pattern})$"), [*begins, *[""] * (tag == "null")]
    )


def parse_yaml(text):
    """The plain values that a YAML text stands for; ValueError, one line, where it is none."""
    try:
        return yaml.load(text, Loader=PlainLoader)
    # PyYAML raises nearly anything for odd texts: a RecursionError, an AttributeError
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(
            line + printable(" ".join(said.split()))[:100] or type(error).__name__
        ) from None


def read_yaml(path):
    """What a YAML file says, in plain values; InputError where it cannot be read."""
    try:
        return parse_yaml(expand(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the path of a YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not a YAML file that can be read ({reason})") from None


TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def take_value(name, value, like):
    """The value as one of the kind of `like`, the example; InputError where it stands for none.

    Texts are taken as what they stand for: "60", "5e-4", "[0, 1]", "no". 1e3 is a whole number,
    and 2026 is a text where one is expected. A list is of the kind of the first item of `like`."""
    if name == "image_size":
        return take_size(value)
    if isinstance(like, str):
        value = (
            str(value)
            if type(value) is int
            else os.fspath(value)
            if isinstance(value, os.PathLike)
            else value
        )
        if not isinstance(value, str):
            raise InputError(
                f"{name} {shown(value)}: expected a text; put it in quotes, or give it to "
                "papermill by -r instead of -p"
            )
    if isinstance(like, list):
        return take_list(name, value, like)
    if isinstance(like, dict):
        try:
            value = parse_yaml(value) if isinstance(value, str) else value
        except ValueError:
            pass  # told below
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InputError(
                f"{name} {shown(value)}: expected names with values, for instance {like!r}"
            )
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
            pass  # told below
    raise InputError(
        f"image_size {shown(value)}: expected one whole number of pixels, or height and width, for "
        "instance [48, 64]"
    )


def read_number(text, like):
    """The number that a text stands for, a whole one where `like` is one and it can be; else the
    text."""
    for kind in (int, float) if type(like) is int else (float,):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def take_list(name, value, like):
    """A list of one item or more, each taken as the first one of `like`, from a list, a tuple or
    the text of a list."""
    try:
        value = parse_yaml(value) if isinstance(value, str) else value
    except ValueError:
        pass  # told below
    if not isinstance(value, (list, tuple)) or not value:
        raise InputError(f"{name} {shown(value)}: expected a list, for instance {like!r}")
    try:
        return [take_value(name, item, like[0]) for item in value]
    except InputError as error:
        raise InputError(
            f"{name} {shown(value)}: expected a list such as {like!r}; in it: {error}"
        ) from None
