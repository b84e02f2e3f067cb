"""The same faces through a training, kept in the folder of its run."""

import io
import json

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin

from ganlib.errors import InputError
from ganlib.system.files import expand, write_atomic

FACES = 4  # of each domain
MOMENTS = 8  # of a training that are kept, at most; its start and its end are among them
MOST_SIDE = 128  # pixels a side of a face that is kept; larger ones are made smaller
STRIP = "strip.png"  # of a finished run
PART = f"{STRIP}.part"  # of one that is being trained


class Strip:
    """The same four faces of each domain at some moments of a training, as uint8 (N, 3, H, W):
    `real` has A before B, and `fakes`, one for each of `steps`, what the generators make of them.

    On disk it is a PNG, a row of faces for `real` and one for each moment."""

    def __init__(self, real, n_a, steps=(), fakes=()):
        self.real, self.n_a = real, n_a  # of the N faces the first n_a are of A
        self.steps = list(steps)
        self.fakes = list(fakes)

    @classmethod
    def of(cls, pair):
        """An empty one of the first faces of a Pair of images."""
        return cls(first_faces(pair), min(FACES, len(pair[0])))

    def add(self, step, fakes):
        """Keep the faces of a step: fakes are (fake_b, fake_a), in the order of the Pair."""
        self.steps.append(step)
        self.fakes.append(first_faces(fakes))

    def until(self, step, keeps=lambda step: True):
        """The part of it up to a step, of those steps that `keeps` is true of."""
        part = Strip(self.real, self.n_a)
        for kept, faces in zip(self.steps, self.fakes):
            if kept <= step and keeps(kept):
                part.steps.append(kept)
                part.fakes.append(faces)
        return part

    def save(self, path):
        """Write it, whole or not at all."""
        rows = torch.stack([self.real, *self.fakes])  # (rows, N, 3, H, W)
        sheet = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (rows * H, N * W, 3)
        known = PngImagePlugin.PngInfo()
        content = io.BytesIO()
        known.add_text(
            "ganlib", json.dumps({"steps": self.steps, "n": len(self.real), "n_a": self.n_a})
        )
        Image.fromarray(sheet.numpy()).save(content, "PNG", pnginfo=known)
        write_atomic(path, content.getvalue())


def load_strip(folder, name=STRIP):
    """The Strip of a run folder; None where the run has kept none, as those before there were
    any. InputError where the file is damaged."""
    path = expand(folder, "run folder") / name
    if not path.exists():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            known = json.loads(image.text["ganlib"])
            sheet = torch.from_numpy(np.array(image.convert("RGB")))  # (rows * H, N * W, 3)
        steps = [int(step) for step in known["steps"]]
        n_a = int(known["n_a"])
        height = len(sheet) // (len(steps) + 1)
        n = int(known["n"])
        rows = sheet.unflatten(0, (len(steps) + 1, height)).unflatten(2, (n, -1))
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"{path}: no strip of faces ({error})") from None
    rows = rows.permute(0, 2, 4, 1, 3).contiguous()  # (rows, N, 3, H, W)
    return Strip(rows[0], n_a, steps, rows[1:])


def first_faces(pair):
    """The first faces of two batches of images, one after another: uint8 (N, 3, H, W)."""
    faces = torch.cat([side[:FACES].cpu() for side in pair])
    if faces.is_floating_point():  # in [-1, 1]
        faces = faces.float().nan_to_num().add(1).mul(127.5).round().clamp(0, 255).byte()
    if max(faces.shape[-2:]) > MOST_SIDE:
        scale = MOST_SIDE / max(faces.shape[-2:])
        size = [max(1, round(scale * side)) for side in faces.shape[-2:]]
        faces = F.interpolate(faces.float(), size, mode="area").round().byte()
    return faces
