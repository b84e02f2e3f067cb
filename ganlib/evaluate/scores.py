"""The scores: what each is, how it is taken, and its interval."""

import math

from ganlib.evaluate import distances as evaluate_distances

# Of the formulas: scores of another one are no longer the same scores
PROTOCOL_VERSION = 2
SEED = 0  # of subsets, resamples, patches and projections

# What each score is (its name without domain or direction), and whether more of it is better. In
# the order of tables.
SCORES = {
    "kid_probe": ("KID, probe", False),
    "fid_probe": ("FID, probe", False),
    "precision_probe": ("precision, probe", True),
    "recall_probe": ("recall, probe", True),
    "kid_inception": ("KID, Inception", False),
    "fid_inception": ("FID, Inception", False),
    "precision_inception": ("precision, Inception", True),
    "recall_inception": ("recall, Inception", True),
    "swd": ("sliced Wasserstein x 1000", False),
    "cycle": ("cycle error", False),
    "content": ("content distance", False),
    "agreement": ("attribute agreement", True),
    "psnr": ("PSNR to the truth, dB", True),
    "ssim": ("SSIM to the truth", True),
    "perceptual": ("perceptual distance to the truth", False),
}


# Of a family of scores: formula, range, which way is better; _a and _b judge fakes of that domain,
# _ab and _ba a direction
WHAT = {
    "kid": (
        "kernel distance of features of fakes and real images; 0 where no difference is left (may "
        "be a little below), smaller is better"
    ),
    "fid": (
        "Frechet distance of features of fakes and real images; 0 or more, smaller is better; too "
        "large for few images"
    ),
    "precision": "share of fakes among the real images, by features; 0 to 1, more is better",
    "recall": "share of real images among the fakes, by features; 0 to 1, more is better",
    "swd": (
        "sliced Wasserstein distance * 1000 of patches of a Laplacian pyramid; 0 or more, smaller "
        "is better"
    ),
    "cycle": "mean |rec - real| of pixels in [-1, 1]; 0 to 2, smaller is better",
    "content": (
        "distance of the probe's contents from input to fake; 0 the same, 1 two strangers of the "
        "two domains, smaller is better"
    ),
    "agreement": (
        "attributes read off the fake against the input's record, chance removed; 0 chance, 1 all, "
        "more is better"
    ),
    "psnr": "dB to the true counterpart, pixels in [-1, 1], 8 bits; more is better",
    "ssim": (
        "structural similarity to the true counterpart, pixels from 0 to 1, whole Gaussian windows "
        "of 11 pixels; -1 to 1, more is better"
    ),
    "perceptual": (
        "squared distance of the probe's normalised maps to the true counterpart; 0 to 4, smaller "
        "is better"
    ),
}
BOUNDS = {"fid": (0,), "precision": (0, 1), "recall": (0, 1)}
FID_PART, SHARE_PART = 0.75, 0.5  # of the images in a subset: for FID; for precision and recall


def said(part):
    """How an interval over subsets of `part` of the images is taken, for a protocol."""
    return (
        "95 % of what as many images give on average: 1.96 standard errors, "
        f"{evaluate_distances.RESAMPLES} subsets of {part:.0%} of the images"
    )


def realism(fake, real):
    """(measure, value, low, high) of each realism measure of two feature sets that their sizes
    allow; low and high are NaN where they allow no interval."""
    found, least = [], min(len(fake), len(real))
    if least >= 4:
        found.append(("kid", *evaluate_distances.kid(fake, real, SEED)))
    if least >= 2:
        error = math.nan
        if least >= 3:
            error = evaluate_distances.subsample(
                evaluate_distances.fid, fake, real, FID_PART, SEED
            ).item()
        found.append(("fid", *symmetric(evaluate_distances.fid(fake, real), error)))
    if least > evaluate_distances.NEIGHBOUR + 1:
        values, errors = evaluate_distances.precision_recall(fake, real), (math.nan, math.nan)
        if round(SHARE_PART * least) > evaluate_distances.NEIGHBOUR + 1:
            errors = evaluate_distances.subsample(
                evaluate_distances.precision_recall, fake, real, SHARE_PART, SEED
            )
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


def as_score(value, low, high, least=-math.inf, most=math.inf):
    """A score as metrics.json has it: rounded, its interval within what can be, None for NaN."""
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
