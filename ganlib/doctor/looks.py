"""How images look, in numbers, for the checks: a table of a row for each image."""

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from ganlib.faces import SPLITS
from ganlib.show.progress import Progress

with warnings.catch_warnings(action="ignore"):
    from cleanvision import Imagelab
    from cleanvision.issue_managers import image_property_issue_manager

# In a notebook its progress bars would be widgets, which redirect_stderr does not hold back
image_property_issue_manager.tqdm = tqdm

MEASURES = ["brightness", "contrast", "colourfulness", "sharpness"]
SIZE = 64  # images at a time


def look_at(images):
    """A row for each image, A before B and train, val, test in each: the facts of its file,
    side, the MEASURES, the scores of cleanvision and what the probe says; also the probe's
    features (N, F)."""
    files = images.files[images.files.reason == ""]
    known = pd.concat(
        [
            files[files.domain == domain].assign(side=side)
            for side, domain in zip("ab", images.domains)
        ],
        ignore_index=True,
    )
    parts = [
        part for k in (0, 1) for split in SPLITS for part in getattr(images, split)[k].split(SIZE)
    ]
    looks, features = [], []
    with Progress("looking at the images", len(known), unit="images") as progress:
        for part in parts:
            looks.append(measure_looks(part).join(score_by_cleanvision(part)))
            features.append(describe_looks(part))
            progress.add(len(part))
    known = known.join(pd.concat(looks, ignore_index=True))
    features = torch.cat(features)
    return known.assign(
        belongs=side_of_each(
            features, (known.side == "a").to_numpy(), (known.split == "train").to_numpy()
        )
    ), features


class Pictures(torch.utils.data.Dataset):
    """uint8 (N, 3, H, W) as the Pillow images that cleanvision wants."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return Image.fromarray(self.images[i].permute(1, 2, 0).numpy()), 0


def score_by_cleanvision(images):
    """cleanvision's scores in [0, 1] of darkness, brightness and information: a DataFrame of dark,
    light, low_information.

    Its other checks do not fit: blur is judged at full size there (at 64 pixels it misses most
    blurred images), grey by the file's mode alone, and near-duplicates must have the same hash."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Imagelab(torchvision_dataset=Pictures(images))
        lab.find_issues({"dark": {}, "light": {}, "low_information": {}}, n_jobs=1, verbose=False)
    return lab.issues[["dark_score", "light_score", "low_information_score"]].rename(
        columns=lambda c: c.removesuffix("_score")
    )


def measure_looks(images):
    """The MEASURES of images, a DataFrame: brightness (mean), contrast (standard deviation of
    the grey), colourfulness (mean range of the channels), all in 0 .. 1; sharpness: 98th
    percentile of the absolute Laplacian of the grey, over the contrast."""
    x = images.float() / 255
    grey = x.mean(1)
    contrast = grey.flatten(1).std(1)
    sharpness = laplace(grey).quantile(0.98, 1) / contrast.clamp(min=1 / 255)
    columns = x.mean((1, 2, 3)), contrast, (x.amax(1) - x.amin(1)).mean((1, 2)), sharpness
    return pd.DataFrame(torch.stack(columns, 1).numpy(), columns=MEASURES)


def laplace(grey):
    """Strength of the edges of grey images (N, H, W): the absolute Laplacian, (N, (H - 2) * (W -
    2)). (F.conv2d is slower here.)"""
    middle = grey[:, 1:-1, 1:-1]
    return (
        (
            4 * middle
            - grey[:, :-2, 1:-1]
            - grey[:, 2:, 1:-1]
            - grey[:, 1:-1, :-2]
            - grey[:, 1:-1, 2:]
        )
        .abs()
        .flatten(1)
    )


def describe_looks(images):
    """Features (N, 210) that tell drawings from photographs: an 8x8 thumbnail and quantiles of
    edges, saturation and brightness, by which the probe and the check of swapped domains go."""
    x = images.float()
    grey = x.mean(1)
    levels = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    edges, colour, light = [
        values.quantile(levels, 1).T
        for values in (laplace(grey), (x.amax(1) - x.amin(1)).flatten(1), grey.flatten(1))
    ]
    parts = (
        F.adaptive_avg_pool2d(x, 8).flatten(1) / 64,
        (edges + 1).log(),
        (colour + 1).log(),
        light / 64,
    )
    return torch.cat(parts, 1).double()


def side_of_each(features, is_a, is_train, folds=4):
    """How much each image looks like its own domain (about 1) or like the other (about -1),
    (N,): ridge regression on the features, fitted on train, and judging the training images by
    fits that did not see them."""
    x = (features - features.mean(0)) / (features.std(0) + 1e-6)
    x = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    y = torch.from_numpy(np.where(is_a, 1.0, -1.0))
    train = torch.tensor(is_train)
    fold = torch.where(train, torch.cumsum(train, 0) % folds, -1)
    out = torch.zeros(len(x)).double()
    for k in (-1, *range(folds)):
        fit = train & (fold != k)
        weight = torch.where(
            y[fit] > 0, 1 / (y[fit] > 0).sum().clamp(min=1), 1 / (y[fit] < 0).sum().clamp(min=1)
        )[:, None]
        normal = x[fit].T @ (x[fit] * weight) + 0.05 * torch.eye(x.shape[1]).double()
        out[fold == k] = (
            x[fold == k] @ torch.linalg.solve(normal, x[fit].T @ (y[fit, None] * weight))[:, 0]
        )
    return (out * y).numpy()
