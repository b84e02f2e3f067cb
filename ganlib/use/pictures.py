"""Pictures of a user as a batch: scaled and cropped to the size that a model knows."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganlib.data.decode import examine_file
from ganlib.data.sources import is_hidden, open_folder
from ganlib.errors import InputError, printable
from ganlib.show.progress import say
from ganlib.system.files import expand


def read_pictures(where, size: tuple[int, int], most: int = 8) -> Tensor:
    """The first pictures of a folder, by name, or one file -> uint8 (N, 3, H, W), N at most `most`,
    each scaled to cover (height, width) and cropped. A file that is no picture is named and left
    out. InputError where there is none."""
    path = expand(where, "pictures")
    if not path.exists():
        raise InputError(
            f"pictures {printable(path)}: not found; expected a folder of pictures, or one file"
        )
    files = [path]
    if path.is_dir():
        names = sorted(open_folder(path).files)
        files = [path / name for name in names if not is_hidden(Path(name).parts)]
    read = []
    for file in files:
        pixels = decode_picture(str(file), read_file, size)
        if pixels is not None:
            read.append(pixels)
        if len(read) == most:
            break
    if not read:
        raise InputError(f"pictures {printable(path)}: no picture there that can be read")
    return torch.stack(read)


def read_file(name: str) -> bytes:
    """The bytes of a file."""
    with open(name, "rb") as file:
        return file.read()


def decode_picture(name: str, read, size: tuple[int, int]) -> Tensor | None:
    """A picture -> uint8 (3, H, W), scaled to cover (height, width) and cropped; None for what is
    no picture, which is said. read: a function that gives the bytes of the file of that name."""
    pixels, facts = examine_file(name, read, size)
    if pixels is None:
        say(f"{printable(os.path.basename(name))}: {facts['reason']}; left out")
        return None
    return torch.from_numpy(np.ascontiguousarray(pixels))
