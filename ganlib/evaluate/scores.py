"""The scores: one table of what each is, how it is taken, and its interval.

A new score of each image is a function of a Direction and a row of SCORES; what prints, compares
and keeps scores goes by the table.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.data.domains import to_float
from ganlib.evaluate import distances

# Of the formulas: scores of another one are no longer the same scores.
PROTOCOL_VERSION = 2
SEED = 0  # of subsets, resamples, patches and projections


class Direction(NamedTuple):
    """The translations of one direction, and the Judge whose images were translated."""

    judge: object  # evaluate.judge.Judge
    way: str  # "ab" or "ba"
    source: str  # "a" or "b"
    real: Tensor  # of the source, (N, 3, H, W) in [-1, 1]
    fake: Tensor  # (N, 3, H, W), uint8
    rec: Tensor | None  # in [-1, 1]; None where nothing was translated back
    contents: Tensor  # of the fakes, by the probe: (N, 64)


def cycle_error(x: Direction) -> Tensor | None:
    """How far an image there and back is from itself: (N,), 0 to 2."""
    if x.rec is None:
        return None
    return (x.rec - x.real).abs().mean((1, 2, 3))


def content_distance(x: Direction) -> Tensor:
    """How far a fake is from its input in what the probe knows of a face: (N,), 1 for strangers."""
    return (x.contents - x.judge.contents[x.source]).norm(dim=1) / x.judge.strangers


def attribute_agreement(x: Direction) -> Tensor | None:
    """The mean over the attributes that the probe reads well; None where it knows of none."""
    if x.judge.attributes is None or not x.judge.probe.readable:
        return None
    agreed = x.judge.agreements(x.fake, x.way).mean(axis=1)
    return torch.from_numpy(agreed.to_numpy(copy=True))  # pandas lends its own read-only


def psnr(x: Direction) -> Tensor | None:
    """Infinite for the counterpart itself, which then has none."""
    from torchmetrics.functional.image import peak_signal_noise_ratio  # 3 s to import

    if not x.judge.truth:
        return None
    pair = to_float(x.fake), to_float(x.judge.truth[x.way])
    return peak_signal_noise_ratio(*pair, data_range=2.0, reduction="none", dim=(1, 2, 3))


def ssim(x: Direction) -> Tensor | None:
    """Structural similarity to the true counterpart: (N,), -1 to 1."""
    return distances.ssim(x.fake, x.judge.truth[x.way]) if x.judge.truth else None


def perceptual_distance(x: Direction) -> Tensor | None:
    """Distance of the probe's maps to those of the true counterpart: (N,), 0 to 4."""
    if not x.judge.truth:
        return None
    return x.judge.probe.perceptual(to_float(x.fake), to_float(x.judge.truth[x.way]))


class Score(NamedTuple):
    """A row of the table of scores."""

    title: str  # in tables
    better: str  # "less" or "more"
    asks: str  # "realism" of the fakes of a domain; "faithfulness" or "truth" of a direction
    what: str  # formula, range, which way is better: a part of the protocol
    bounds: tuple = (-math.inf, math.inf)  # that its interval ends at
    of_images: Callable | None = None  # Direction -> (N,), or None where it cannot be taken
    by_probe: bool = False  # by which its protocol is another with another probe
    of_drawn: bool = False  # whether only built-in faces have it


# In the order of tables. A name is followed by _a or _b, whose fakes are judged, or by _ab or _ba,
# the direction; and one of features, before that, by what they are of: _probe or _inception.
OF_FEATURES = {
    "kid": Score(
        "KID",
        "less",
        "realism",
        "kernel distance of features of fakes and real images; 0 where no difference is left (may "
        "be a little below), smaller is better",
    ),
    "fid": Score(
        "FID",
        "less",
        "realism",
        "Frechet distance of features of fakes and real images; 0 or more, smaller is better; too "
        "large for few images",
        bounds=(0, math.inf),
    ),
    "precision": Score(
        "precision",
        "more",
        "realism",
        "share of fakes among the real images, by features; 0 to 1, more is better",
        bounds=(0, 1),
    ),
    "recall": Score(
        "recall",
        "more",
        "realism",
        "share of real images among the fakes, by features; 0 to 1, more is better",
        bounds=(0, 1),
    ),
}
SCORES = {}
for extractor in ("probe", "Inception"):
    for measure, score in OF_FEATURES.items():
        title = f"{score.title}, {extractor}"
        SCORES[f"{measure}_{extractor.lower()}"] = score._replace(title=title)
SCORES |= {
    "swd": Score(
        "sliced Wasserstein x 1000",
        "less",
        "realism",
        "sliced Wasserstein distance * 1000 of patches of a Laplacian pyramid; 0 or more, smaller "
        "is better",
        bounds=(0, math.inf),
    ),
    "cycle": Score(
        "cycle error",
        "less",
        "faithfulness",
        "mean |rec - real| of pixels in [-1, 1]; 0 to 2, smaller is better",
        of_images=cycle_error,
    ),
    "content": Score(
        "content distance",
        "less",
        "faithfulness",
        "distance of the probe's contents from input to fake; 0 the same, 1 two strangers of the "
        "two domains, smaller is better",
        of_images=content_distance,
        by_probe=True,
    ),
    "agreement": Score(
        "attribute agreement",
        "more",
        "faithfulness",
        "attributes read off the fake against the input's record, chance removed; 0 chance, 1 all, "
        "more is better",
        of_images=attribute_agreement,
        by_probe=True,
        of_drawn=True,
    ),
    "psnr": Score(
        "PSNR to the truth, dB",
        "more",
        "truth",
        "dB to the true counterpart, pixels in [-1, 1], 8 bits; more is better",
        of_images=psnr,
        of_drawn=True,
    ),
    "ssim": Score(
        "SSIM to the truth",
        "more",
        "truth",
        "structural similarity to the true counterpart, pixels from 0 to 1, whole Gaussian windows "
        "of 11 pixels; -1 to 1, more is better",
        of_images=ssim,
        of_drawn=True,
    ),
    "perceptual": Score(
        "perceptual distance to the truth",
        "less",
        "truth",
        "squared distance of the probe's normalised maps to the true counterpart; 0 to 4, smaller "
        "is better",
        of_images=perceptual_distance,
        by_probe=True,
        of_drawn=True,
    ),
}

FID_PART, SHARE_PART = 0.75, 0.5  # of the images in a subset: for FID; for precision and recall


def said(part):
    """How an interval over subsets of `part` of the images is taken, for a protocol."""
    return (
        "95 % of what as many images give on average: 1.96 standard errors, "
        f"{distances.RESAMPLES} subsets of {part:.0%} of the images"
    )


def realism(fake, real):
    """(measure, value, low, high) of each realism measure of two feature sets that their sizes
    allow; low and high are NaN where they allow no interval."""
    found = []
    least = min(len(fake), len(real))
    if least >= 4:
        found.append(("kid", *distances.kid(fake, real, SEED)))
    if least >= 2:
        error = math.nan
        if least >= 3:
            error = distances.subsample(distances.fid, fake, real, FID_PART, SEED).item()
        found.append(("fid", *symmetric(distances.fid(fake, real), error)))
    if least > distances.NEIGHBOUR + 1:
        values = distances.precision_recall(fake, real)
        errors = (math.nan, math.nan)
        if round(SHARE_PART * least) > distances.NEIGHBOUR + 1:
            errors = distances.subsample(distances.precision_recall, fake, real, SHARE_PART, SEED)
        for i, (name, images) in enumerate({"precision": fake, "recall": real}.items()):
            error = max(float(errors[i]), share_error(values[i], len(images)))
            found.append((name, *symmetric(values[i], error)))
    return found


def share_error(share, n):
    """The least standard error of a share of n images: Agresti and Coull's (1998), never 0."""
    share = (share * n + 2) / (n + 4)
    return (share * (1 - share) / (n + 4)) ** 0.5


def symmetric(value, error):
    """A value with its interval of 95 %, 1.96 standard errors to both sides."""
    return value, value - 1.96 * error, value + 1.96 * error


def as_score(name, value, low, high):
    """A score of the table as metrics.json has it: rounded, its interval within its bounds, None
    for NaN."""
    least, most = SCORES[name].bounds
    ends = max(low, least), min(high, most)
    low, high = [None if math.isnan(end) else round(end, 5) for end in ends]
    return {"value": round(value, 5), "low": low, "high": high}


def show_score(score):
    """A score with its interval as a text, "0.52 [0.40, 0.64]"; "0.52" where it has none."""
    text = f"{score['value']:.2f}"
    return text if score["low"] is None else f"{text} [{score['low']:.2f}, {score['high']:.2f}]"


def family(name):
    """A score's name without its domain or direction: kid_probe of kid_probe_a."""
    return name.rsplit("_", 1)[0]
