"""Measures that hold between models, since no network of theirs is in them: distances of two
sets of images or features, each with how far it would move with other images. See judge for
which sets are measured."""

import math

import torch
import torch.nn.functional as F
from scipy import stats

# Patch side; patches an image and level; projections
PATCH, PER_IMAGE, DIRECTIONS = 7, 64, 256
KID_SUBSETS = 100
RESAMPLES = 100
SWD_RESAMPLES = 50
SWD_RESAMPLED_DIRECTIONS = 16
# The ball of a real image reaches to this neighbour (precision and recall)
NEIGHBOUR = 3
TINY = 1e-12  # instead of a divisor 0, where all images are equal
WINDOW = 11  # pixels a side of SSIM's window


def kid(x, y, seed=0):
    """Kernel Inception distance of two feature sets (Binkowski et al. 2018, 1801.01401): cubic
    kernel, unbiased, so it may be a little below 0. x (N, d), y (M, d) -> (value, low, high), as
    kid_interval has it.

    By torch-fidelity: the mean over 100 subsets of half the smaller set. ValueError for fewer than
    4 images.
    """
    from torch_fidelity.metric_kid import kid_features_to_metric  # half a second to import

    half = min(len(x), len(y)) // 2
    if half < 2:
        raise ValueError(f"KID of {len(x)} and {len(y)} images: expected 4 or more of each")
    found = kid_features_to_metric(
        x.cpu(),
        y.cpu(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=half,
        rng_seed=seed,
        verbose=False,
    )
    value = found["kernel_inception_distance_mean"]
    drawn = found["kernel_inception_distance_std"] ** 2 / KID_SUBSETS
    return (value, *kid_interval(x, y, value, drawn))


def kid_interval(x, y, value, drawn=0.0):
    """Interval of 95 % of the KID `value` of x (N, d) and y (M, d): (low, high). drawn: how much
    drawing subsets adds to its variance.

    A part of the variance is there at a true KID of 0 too, another one grows with the true KID. So,
    as Wilson (1927) has it for a share, the interval holds each KID that the value is not too far
    from by the variance at that KID: (value - kid)^2 <= t^2 (second + slope * kid). t is Student's
    for a fifth of the images, since the variance is itself estimated (chosen by simulation:
    docs/statistics.md).
    """
    first, second, bias = kid_variance(x, y)
    second = second + drawn
    above = max(value, 0.0)
    rough = first / max(above + bias, TINY)  # never below 0; too small where the KID is small
    sharp = (first - 2 * second) / max(above, 2 * second**0.5, TINY)  # right; unsteady there
    slope = max(rough, sharp)
    reach = float(stats.t.ppf(0.975, min(len(x), len(y)) / 5))
    lean = reach**2 * slope / 2
    half = (lean**2 + reach**2 * (slope * above + second)) ** 0.5
    return value + lean - half, value + lean + half


def kid_variance(x, y):
    """The parts of the variance of an unbiased KID of x (N, d) and y (M, d): (first, second, bias).

    KID is a U-statistic (Hoeffding 1948; Bounliphone et al. 2016, 1511.04581). second: the unbiased
    variance of its part of pairs, all there is where both distributions are equal. first: the
    variance of its part of single images, by the means of their kernels, which on average holds
    `second` twice on top. bias: by how much KID with the diagonals would be larger.
    """
    x, y, n, m = x.double().cpu(), y.double().cpu(), len(x), len(y)
    xx, yy, xy = [(a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    own = [kernel.diagonal().mean() for kernel in (xx, yy)]
    rows = [kernel.fill_diagonal_(0).sum(1) / (len(kernel) - 1) for kernel in (xx, yy)]
    first = 4 * ((rows[0] - xy.mean(1)).var() / n + (rows[1] - xy.mean(0)).var() / m)
    bias = sum((mine - row.mean()) / len(row) for mine, row in zip(own, rows))
    cross = xy - xy.mean(1, keepdim=True) - xy.mean(0) + xy.mean()
    cross = cross.square().sum() / ((n - 1) * (m - 1))
    second = 4 * cross / (n * m)
    second += 2 * (centred_square(xx) / (n * (n - 1)) + centred_square(yy) / (m * (m - 1)))
    return float(first), float(second), float(bias)


def centred_square(kernel):
    """Unbiased mean square of a kernel that is centred in both arguments, from its matrix (N, N) of
    diagonal 0 (U-centring: Szekely and Rizzo 2014, 1310.2926, section 3)."""
    n = len(kernel)
    rows = kernel.sum(1)
    centred = kernel - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0).square().sum() / (n * (n - 3))


def fid(x, y):
    """Frechet distance of two feature sets (Heusel et al. 2017, 1706.08500): x (N, d), y (M, d) ->
    value; biased for small N.

    The trace of the root of the covariances' product is the sum of the singular values of the
    product of their roots, which here are the centred features themselves: exact, in
    milliseconds, and no root of a d x d matrix that has none."""
    x = x.double()
    y = y.double()
    roots = [(f - f.mean(0)) / (len(f) - 1) ** 0.5 for f in (x, y)]
    spread = sum(root.square().sum() for root in roots)
    roots = [
        torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root for root in roots
    ]
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + spread - 2 * shared)


def precision_recall(fake, real):
    """Share of fakes among the real images, and of real images among the fakes (Kynkaanniemi et
    al. 2019, 1904.06991), by torch-fidelity: (N, d), (M, d) -> (precision, recall) in [0, 1].
    ValueError for fewer than 5 images."""
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    if min(len(fake), len(real)) <= NEIGHBOUR + 1:
        raise ValueError(
            f"precision and recall of {len(fake)} and {len(real)} images: expected {NEIGHBOUR + 2} "
            f"or more of each"
        )
    return calculate_precision_recall_full(fake.cpu(), real.cpu(), NEIGHBOUR)


def ssim(x, y, batch_size=64):
    """Structural similarity of each image to its counterpart (Wang et al. 2004,
    10.1109/TIP.2003.819861): x, y uint8 (N, C, H, W) -> (N,) in [-1, 1], 1 for equal ones.
    ValueError for images of fewer than 11 pixels a side.

    On pixels from 0 to 1, since it compares means and so changes with a shift; over the places
    where the whole Gaussian window is inside the image, as the authors have it. In float64, as
    the variances are differences of numbers that are nearly equal. The window is the product of a
    column and a row, so that two products of matrices take its means."""
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(
            f"SSIM of images of {tuple(x.shape[-2:])} pixels: expected {WINDOW} or more a side"
        )
    down, across = [windows(side) for side in x.shape[-2:]]
    least_mean, least_spread = 0.01**2, 0.03**2  # the paper's C1 and C2
    found = []
    for pair in zip(x.split(batch_size), y.split(batch_size)):
        p, q = [images.double() / 255 for images in pair]
        mean_x, mean_y, xx, yy, xy = [
            down @ part @ across.T for part in (p, q, p * p, q * q, p * q)
        ]
        var_x = xx - mean_x**2
        var_y = yy - mean_y**2
        covariance = xy - mean_x * mean_y
        of_means = (2 * mean_x * mean_y + least_mean) / (mean_x**2 + mean_y**2 + least_mean)
        of_spreads = (2 * covariance + least_spread) / (var_x + var_y + least_spread)
        found.append((of_means * of_spreads).mean((1, 2, 3)))
    return torch.cat(found)


def windows(side):
    """The weights of SSIM's Gaussian window (deviation 1.5 pixels) at each place where the whole of
    it is inside: (side - WINDOW + 1, side), each row adds up to 1."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    rows = torch.zeros(side - WINDOW + 1, side, dtype=torch.float64)
    for i, row in enumerate(rows):
        row[i : i + WINDOW] = weights
    return rows


def spread(n, most):
    """Indices of at most `most` of n, evenly spaced."""
    return torch.linspace(0, n - 1, min(n, most)).round().long()


def subsample(measure, x, y, part, seed=0):
    """Standard errors of measure(x, y), a number or several -> (k,) tensor: its deviations over
    RESAMPLES subsets, each `part` of both sets, drawn without replacement (delete-d jackknife: Shao
    and Wu 1989).

    Not a bootstrap: images that come up twice change these measures more than other images would.
    """
    rng = torch.Generator().manual_seed(seed)
    found = []
    kept = [round(part * len(s)) for s in (x, y)]
    for _ in range(RESAMPLES):
        chosen = [torch.randperm(len(s), generator=rng)[:k] for s, k in zip((x, y), kept)]
        found.append(measure(x[chosen[0]], y[chosen[1]]))
    scale = (min(kept) / (min(len(x), len(y)) - min(kept))) ** 0.5
    return scale * torch.tensor(found, dtype=torch.float64).reshape(RESAMPLES, -1).std(0)


def mean_interval(values):
    """Mean of a value an image (N,), NaN left out -> (value, low, high), an interval of 95 % by
    Student's t; NaN for one image."""
    values = values.double()[~torch.isnan(values)]
    mean = float(values.mean())
    half = math.nan
    if len(values) > 1:
        reach = float(stats.t.ppf(0.975, len(values) - 1))
        half = reach * float(values.std()) / len(values) ** 0.5
    return mean, mean - half, mean + half


def sliced_wasserstein(x, y, seed=0, with_error=False):
    """Sliced Wasserstein distance of two image sets over a Laplacian pyramid (Karras et al. 2018,
    1710.10196, sec. 5).

    x, y: (N, C, H, W) in [-1, 1], of the larger set as many as of the smaller, evenly spaced. ->
    {side of the level: distance * 1000, ..., "mean": their mean}; 0 for equal sets, smaller is
    nearer. Levels halve down to 16 pixels. y is the set to be like: its channels' means and
    deviations are the scale for both. Values depend on N: compare equal N only. with_error adds
    "error", the standard error of the mean by bootstrap over images, on fewer directions; NaN
    for one image."""
    n = min(len(x), len(y))
    x, y = [images[spread(len(images), n)] for images in (x, y)]
    rng = torch.Generator().manual_seed(seed)
    result = {}
    moved = torch.zeros(SWD_RESAMPLES, dtype=torch.float64)
    weights = [resample_weights(n, seed + i) for i in range(2)]
    for level_x, level_y in zip(laplacian_pyramid(x), laplacian_pyramid(y)):
        where = torch.rand(2, n, PER_IMAGE, generator=rng)
        # differs: the paper normalises each set by itself, and so cannot see a wrong colour,
        # brightness or contrast
        mean = level_y.mean((0, 2, 3), keepdim=True)
        deviation = level_y.std((0, 2, 3), keepdim=True).clamp(min=1e-8)
        patches = [cut_patches((level - mean) / deviation, where) for level in (level_x, level_y)]
        directions = F.normalize(torch.randn(patches[0].shape[1], DIRECTIONS, generator=rng), dim=0)
        projected = [p @ directions for p in patches]
        result[level_x.shape[-1]] = (
            1000 * (projected[0].sort(0).values - projected[1].sort(0).values).abs().mean().item()
        )
        if with_error:
            moved += resampled_wasserstein(
                *[p[:, :SWD_RESAMPLED_DIRECTIONS] for p in projected], *weights
            )
    result["mean"] = sum(result.values()) / len(result)
    if with_error:
        result["error"] = 1000 * float((moved / (len(result) - 1)).std()) if n > 1 else math.nan
    return result


def resample_weights(n, seed):
    """How often each of n images is in each of SWD_RESAMPLES bootstrap samples, as a share:
    (SWD_RESAMPLES, n)."""
    drawn = torch.randint(n, (SWD_RESAMPLES, n), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(SWD_RESAMPLES, n).scatter_add_(1, drawn, torch.ones(SWD_RESAMPLES, n)) / n


def resampled_wasserstein(p, q, weights_p, weights_q):
    """Mean Wasserstein distance of columns p to q, each (N * PER_IMAGE, k), once for each row of
    the images' weights: sorted once, it is the area between the two distribution functions. ->
    (SWD_RESAMPLES,)"""
    values, order = torch.cat([p, q]).sort(0)
    gaps = values.diff(dim=0)
    out = []
    for wp, wq in zip(weights_p, weights_q):
        w = (
            torch.cat([wp.repeat_interleave(PER_IMAGE), -wq.repeat_interleave(PER_IMAGE)])
            / PER_IMAGE
        )
        out.append((w[order].cumsum(0)[:-1].abs() * gaps).sum(0).mean())
    return torch.stack(out).double()


def laplacian_pyramid(images):
    """Detail at each size from the full one down, and the 16-pixel (or smallest) rest: a list of
    (N, C, h, w)."""
    images = images.float().cpu()
    levels = []
    while min(images.shape[-2:]) >= 32:
        small = F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
        levels.append(images - F.interpolate(small, size=images.shape[-2:], mode="bilinear"))
        images = small
    return levels + [images]


def cut_patches(level, where):
    """Patches at relative corners `where` (2, N, k) of a level (N, C, h, w) -> (N * k, C *
    PATCH**2)."""
    (n, _, h, w) = level.shape
    side = min(PATCH, *level.shape[-2:])
    top, left = [(where[i] * (size - side + 1)).long() for i, size in enumerate((h, w))]  # (N, k)
    steps = torch.arange(side)
    # (N, k, side, 1 or 1, side)
    rows = top[..., None, None] + steps[:, None]
    columns = left[..., None, None] + steps
    # (C, N, k, side, side)
    patches = level.transpose(0, 1)[:, torch.arange(n)[:, None, None, None], rows, columns]
    return patches.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)
