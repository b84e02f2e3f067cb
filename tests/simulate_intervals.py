"""How often the intervals of the scores hold: the tables of docs/statistics.md.

    python tests/simulate_intervals.py kid 64 1000 --repetitions 200
    python tests/simulate_intervals.py realism 64 64 --repetitions 60   # FID, precision, recall too

Two sets of features of known distributions are drawn again and again and scored. Both are normal,
with variances that fall off like those of the probe's 480 features on built-in faces; one is moved,
as far as the wanted KID asks.
"""

import argparse

import pandas as pd
import torch
from scipy.optimize import brentq

from ganlib.evaluate import distances as evaluate_distances
from ganlib.evaluate import scores as evaluate_scores

WIDTH = 480  # features of the probe; the largest of their variances is 38, their sum 183
VARIANCES = 40 * torch.arange(1, WIDTH + 1.0).double() ** -1.2
KIDS = 0.0, 0.13, 0.5, 1.5


def move(kid):
    """How far a set of this true KID is moved, (WIDTH,): more along directions that vary more."""
    rng = torch.Generator().manual_seed(1)
    along = torch.randn(WIDTH, generator=rng).double() * VARIANCES.sqrt()
    return along * brentq(lambda far: true_kid(far * along) - kid, 0, 100) if kid else 0 * along


def true_kid(moved):
    """KID of N(0, C) and N(moved, C), exactly: by the moments of the kernel (x . y / d + 1)^3."""
    far, pairs = moved.square().sum() / WIDTH, VARIANCES.square().sum() / WIDTH**2
    once, twice = [(moved.square() * VARIANCES**k).sum() / WIDTH ** (k + 1) for k in (1, 2)]
    return float(3 * far + 3 * far**2 + far**3 + 6 * far * once + 3 * far * pairs + 6 * twice)


def simulate(measure, sizes, kid, repetitions, seed=0):
    """A row for each score of measure(x, y) -> [(name, value, low, high)], over many pairs of sets.

    covers: the share of intervals that hold the true value; below, above: of those that end below
    it or begin above it. width: that of the intervals over 2 * 1.96 deviations of the value. True
    is the KID; of other scores the mean over repetitions, which is what so many images give, as
    they depend on the number of images.
    """
    rng, moved, rows = torch.Generator().manual_seed(seed), move(kid), []
    for _ in range(repetitions):
        x, y = [torch.randn(n, WIDTH, generator=rng).double() * VARIANCES.sqrt() for n in sizes]
        rows += measure(x, y + moved)
    table, found = pd.DataFrame(rows, columns=["score", "value", "low", "high"]), []
    for name, table in table.groupby("score", sort=False):
        true = kid if name == "kid" else table.value.mean()
        below, above = (table.high < true).mean(), (table.low > true).mean()
        width = (table.high - table.low).mean() / (2 * 1.96 * table.value.std())
        found.append(
            {
                "score": name,
                "sizes": sizes,
                "true KID": kid,
                "mean": table.value.mean(),
                "covers": 1 - below - above,
                "below": below,
                "above": above,
                "width": width,
            }
        )
    return pd.DataFrame(found)


MEASURES = {
    "kid": lambda x, y: [("kid", *evaluate_distances.kid(x, y))],
    "realism": evaluate_scores.realism,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("sizes", type=int, nargs=2)
    parser.add_argument("--repetitions", type=int, default=200)
    options = parser.parse_args()
    for wanted in KIDS:
        table = simulate(MEASURES[options.measure], options.sizes, wanted, options.repetitions)
        print(table.round(3).to_string(header=not wanted, index=False), flush=True)
