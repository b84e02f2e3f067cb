"""A trained model as a call: a picture in, its translation out."""

import hashlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlib.data.decode import flatten, narrow, turn
from ganlib.data.domains import check_images, to_float
from ganlib.data.ranges import is_wide
from ganlib.device import default_device
from ganlib.errors import InputError, printable, shown
from ganlib.evaluate.translate import generate, to_bytes
from ganlib.runs.finished import load_run
from ganlib.system.files import expand
from ganlib.use.files import translate_files
from ganlib.use.packed import unpack

TILE = 4  # times the side of the images of the training: larger pictures are translated in parts


class Translator:
    """The generators of a finished run, of one that comes with ganlib, or of a file that was made
    of one (use.packed).

        translator = ganlib.load("reports/runs/NAME")
        selfie = translator(Image.open("anime.png"), to="B")
        translator.files("pictures/", "translated", to="B")

    It knows its name, domains (the names of A and B), image_size (height and width of its
    training), pairs (that it has seen; None where that is not known) and scores (of test images, by
    name; {} where they are not known). Weights are the running means. Raises InputError for a
    folder that holds no finished run, or one whose generators were not kept, and for a file that
    holds no model."""

    def __init__(self, run, device=None):
        path = expand(run, "run")
        if not path.exists():
            raise InputError(
                f"run {printable(path)}: not there; expected the folder of a finished run "
                "(`ganlib runs` lists them), or a model file"
            )
        if path.is_file():
            model = unpack(path, torch.device(device) if device else default_device())
            generators = model[:2]
            self.name = model.told["name"]
            self.domains = model.told["domains"]
            self.image_size = model.image_size
            self.pairs = model.told.get("pairs")
            self.scores = model.told.get("scores", {})
        else:
            run = load_run(path, device)
            if run.ema is None:
                raise InputError(
                    f"run folder {run.folder}: its generators were not kept; expected a run that "
                    "was trained here, or one of seed 0"
                )
            generators = run.ema[:2]
            self.name = run.folder.resolve().name
            self.domains = tuple(run.metrics["data"]["domains"])
            self.image_size = tuple(run.cfg.image_size)
            self.pairs = run.metrics["pairs"]
            self.scores = run.metrics.get("scores", {}).get("ema", {})
        self.nets = {"a": generators[1], "b": generators[0]}
        self.hash = digest(generators)

    def __call__(self, picture: Image.Image, to: str = "B") -> Image.Image:
        """A PIL picture of any size and mode -> its translation, RGB, of the same size. to: the
        name of a domain, or "A" or "B"; the picture is of the other one. It is turned as its EXIF
        says, and transparency laid on white; of more than 8 bits a pixel the range is found from
        this picture alone."""
        if not isinstance(picture, Image.Image):
            raise InputError(
                f"picture: expected a PIL image, not a {printable(type(picture).__name__)}; "
                "PIL.Image.open(FILE) opens one"
            )
        picture = turn(picture)[0]
        if is_wide(picture.mode):
            picture = narrow(picture, None)[0]
        pixels = np.asarray(flatten(picture)).transpose(2, 0, 1)
        made = self.translate(torch.from_numpy(pixels[None].copy()), to)[0]
        return Image.fromarray(made.permute(1, 2, 0).numpy())

    def translate(self, images: Tensor, to: str = "B") -> Tensor:
        """Images (N, 3, H, W), uint8 or float in [-1, 1], of any size, on the CPU -> theirs in the
        other domain, uint8 (N, 3, H, W). InputError for anything else.

        A size that the generator cannot take is padded by reflection, and cut back. Above TILE
        times the size of the training a picture is translated in tiles that overlap by a quarter,
        each blended into the next. (The networks normalise what they see as a whole, so tiles
        differ a little in colour: docs/use.md says how much.)"""
        check_images(images)
        net = self.nets[self.side(to)]
        images = to_float(images)
        height, width = images.shape[-2:]
        factor = 2 ** getattr(net, "n_down", 0)
        tile = TILE * max(self.image_size)
        padded = pad(images, factor)
        if max(height, width) <= tile:
            made = generate(net, padded)
        else:
            made = translate_tiles(net, padded, tile // factor * factor, factor)
        return to_bytes(made[..., :height, :width].clamp(-1, 1))

    def files(self, inputs, out, to: str = "B", resize: bool = False) -> dict[str, str]:
        """A folder of pictures, a file or a pattern, or a list of them, into the folder `out`, as
        `ganlib translate` does it (use.files.translate_files, which says what is refused). Returns
        {file: why it was left out, or ""}."""
        several = inputs if isinstance(inputs, list | tuple) else [inputs]
        return translate_files(self, several, out, to, resize)[0]

    def side(self, name: str) -> str:
        """ "a" or "b" of a domain's name; InputError for one that the model does not know."""
        known = dict(zip(self.domains, "ab"))
        letters = {"A": "a", "B": "b", "a": "a", "b": "b"}
        if name in known or name in letters:
            return (letters | known)[name]
        raise InputError(
            f"to {shown(name)}: expected the domain to translate to: A ({self.domains[0]}) or B "
            f"({self.domains[1]})"
        )


def digest(nets) -> str:
    """sha256 of the weights of networks."""
    found = hashlib.sha256()
    for net in nets:
        for value in net.state_dict().values():
            found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()


def pad(images: Tensor, factor: int) -> Tensor:
    """Images (N, 3, H, W) with their lower and right border mirrored, until both sides are
    multiples of a factor, and twice it or more."""
    more = []
    for side in images.shape[-2:]:
        more.append((0, max(2 * factor, -(-side // factor) * factor) - side))
    # numpy mirrors on where the picture is smaller than what is added, torch does not
    return torch.from_numpy(np.pad(images.numpy(), ((0, 0), (0, 0), *more), mode="reflect"))


def translate_tiles(net, images: Tensor, tile: int, factor: int) -> Tensor:
    """Images (N, 3, H, W) through a generator in tiles of a side, of which neighbours overlap by a
    quarter or more; there one fades into the other."""
    total = torch.zeros_like(images)
    weight = torch.zeros(images.shape[-2:])
    for top in starts(images.shape[-2], tile, factor):
        for left in starts(images.shape[-1], tile, factor):
            part = images[..., top : top + tile, left : left + tile]
            down, across = [fade(side, tile // 4) for side in part.shape[-2:]]
            share = down[:, None] * across  # (h, w)
            total[..., top : top + tile, left : left + tile] += share * generate(net, part)
            weight[top : top + tile, left : left + tile] += share
    return total / weight


def starts(side: int, tile: int, factor: int) -> list[int]:
    """Where tiles begin along a side: evenly, multiples of the factor, the last one at its end."""
    n = max(1, -(-(side - tile // 4) // (tile - tile // 4)))
    last = max(0, side - tile)
    return [round(last * i / max(1, n - 1) / factor) * factor for i in range(n)]


def fade(side: int, overlap: int) -> Tensor:
    """Weights along a tile: 1 in its middle, falling towards both ends."""
    near = torch.arange(side).add(1).minimum(torch.arange(side, 0, -1))
    return (near / (overlap + 1)).clamp(max=1)
