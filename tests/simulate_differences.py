"""How often the test of differences errs, and what it finds, by simulation: a table, and with a
path the figure of the docs.

    python tests/simulate_differences.py      familywise error and power, 20,000 tables a figure;
                                              and how right the seeds are that are named to plan by
    python tests/simulate_differences.py docs/differences.png       the figure too
"""

import sys

import numpy as np
import pandas as pd

from ganlib.compare.significance import ALPHA, even_out, holm, plan_seeds, welch

# The spreads over seeds of four models: cyclegan default, uvcgan default, cyclegan seed, uvcgan
# seed.
SPREADS = {
    "equal": (1, 1, 1, 1),
    "as in the first committed table": (1, 0.7, 0.9, 1.3),
    "one four times the others'": (4, 1, 1, 1),
    "two four times the others'": (4, 4, 1, 1),
    "four times, in each comparison": (4, 1, 1, 4),
    "one eight times the others'": (8, 1, 1, 1),
    "eight times, in each comparison": (8, 1, 1, 8),
    "1, 2, 4 and 8": (1, 2, 4, 8),
}
PLANNED = ((0, 1), (2, 3), (0, 2), (1, 3))  # of one recipe, or of one architecture
TWO = ((0, 1),)
QUESTIONS = 2


def normal(rng, shape):
    """Scores whose spread over seeds is normal."""
    return rng.standard_normal(shape)


def skewed(rng, shape):
    """Scores with a long tail to one side: lognormal, of mean 0 and deviation 1."""
    return (rng.lognormal(0, 1, shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def collapsing(rng, shape):
    """Every fifth seed goes wrong, by ten deviations of the others."""
    return 0.3 * rng.standard_normal(shape) + 3.0 * (rng.random(shape) < 0.2)


def draw(rng, repeats, spreads, seeds, shape=normal, shared=0.0):
    """Scores of equal models, (repeats, QUESTIONS, models, seeds). shared: the part of the
    variance that a seed gives to all models."""
    own = shape(rng, (repeats, QUESTIONS, len(spreads), seeds))
    common = shape(rng, (repeats, QUESTIONS, 1, seeds))
    return (np.sqrt(1 - shared) * own + np.sqrt(shared) * common) * np.array(spreads)[:, None]


def draw_kid(rng, repeats, spreads, seeds, kid, error=0.02):
    """KIDs near 0 of equal models, as they are tested: a true one each run, `kid` times a
    lognormal factor of spreads / 10, and the error of the images: (repeats, QUESTIONS, models,
    seeds)."""
    true = kid * np.exp(draw(rng, repeats, spreads, seeds) / 10)
    return even_out(true + error * draw(rng, repeats, (1, 1, 1, 1), seeds), error)


def established(scores, pairs=PLANNED):
    """Which comparisons are established: scores (repeats, questions, models, seeds) -> (repeats,
    questions * pairs)."""
    p = [welch(scores[:, :, one], scores[:, :, other]) for one, other in pairs]
    return holm(np.concatenate(p, axis=1)) < ALPHA


def familywise(scores, pairs=PLANNED):
    """The share of tables of equal models in which anything is called established."""
    return established(scores, pairs).any(axis=1).mean()


def power(rng, repeats, difference, seeds, pairs=PLANNED):
    """How often a difference of so many deviations over seeds between the first two models is
    established."""
    scores = draw(rng, repeats, (1, 1, 1, 1), seeds)
    scores[:, 0, 0] += difference
    scores[:, 0, 2] += difference  # of the same architecture, so that no recipe differs
    return established(scores, pairs)[:, 0].mean()


def tabulate_errors(repeats=20_000, sizes=(3, 4, 5)):
    """Familywise errors, a row a case and a column a number of seeds, in per cent: a DataFrame."""
    rows = {}
    for name, spreads in SPREADS.items():
        for models, pairs in (("four models", PLANNED), ("two models", TWO)):
            rows[f"spread {name}", models] = [
                familywise(draw(np.random.default_rng(n), repeats, spreads, n), pairs)
                for n in sizes
            ]
    for kid in (0.003, 0.03, 0.3):
        for name in ("equal", "four times, in each comparison"):
            found = [
                familywise(draw_kid(np.random.default_rng(n), repeats, SPREADS[name], n, kid))
                for n in sizes
            ]
            rows[f"KID {kid} ± 0.02, spread {name}", "four models"] = found
    for label, shape in (("a long tail", skewed), ("every fifth seed collapses", collapsing)):
        for models, pairs in (("four models", PLANNED), ("two models", TWO)):
            equal = SPREADS["equal"]
            rows[label, models] = [
                familywise(draw(np.random.default_rng(n), repeats, equal, n, shape), pairs)
                for n in sizes
            ]
    shared = [
        draw(np.random.default_rng(n), repeats, SPREADS["equal"], n, shared=0.5) for n in sizes
    ]
    rows["half of the variance is the seed's", "four models"] = [
        familywise(scores) for scores in shared
    ]
    return 100 * pd.DataFrame(rows, index=[f"{n} seeds" for n in sizes]).T


def tabulate_power(repeats=20_000, differences=(2, 3, 4, 6, 8, 12), sizes=(2, 3, 4, 5, 6, 8)):
    """How often a difference of so many deviations is established, in per cent: a row a number
    of seeds and models."""
    rows = {}
    for models, pairs in (("four models", PLANNED), ("two models", TWO)):
        for n in sizes:
            rows[models, f"{n} seeds"] = [
                power(np.random.default_rng(n), repeats, d, n, pairs) for d in differences
            ]
    return 100 * pd.DataFrame(rows, index=differences).T


def tabulate_plans(repeats=2_000, differences=(0, 1.5, 3), sizes=(3, 4, 5)):
    """Of two models whose difference is not established: in how many tables, in per cent, the
    conclusion names a number of seeds, and in how many of those it is too small. A row a true
    difference, in deviations, and a number of seeds."""
    rows = {}
    for difference in differences:
        right = plan_seeds([difference] * QUESTIONS)[0]
        for n in sizes:
            scores = draw(np.random.default_rng(n), repeats, (1, 1), n)
            scores[:, :, 0] += difference
            one, other = scores[:, :, 0], scores[:, :, 1]
            spread = np.sqrt((one.var(-1, ddof=1) + other.var(-1, ddof=1)) / 2)
            effects = (one.mean(-1) - other.mean(-1)) / spread * (1 - 3 / (8 * n - 9))
            numbers = []
            for effect, found in zip(effects, established(scores, TWO)):
                planned = plan_seeds(effect)
                numbers += [planned[i] for i in range(QUESTIONS) if not found[i]]
            named = [max(number, n + 1) for number in numbers if number]
            few = [number < right for number in named] if right else [True] * len(named)
            rows[difference, f"{n} seeds"] = len(named) / len(numbers), np.mean(few)
    return 100 * pd.DataFrame(rows, index=["a number is named", "it is too small"]).T


def draw_figure(errors, powers, path):
    """Both tables as a picture of two panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), dpi=100, layout="constrained")
    four = errors.xs("four models", level=1)
    for marker, name in zip("osD", four.columns):
        left.plot(four[name], range(len(four)), marker, label=name, markersize=5)
    left.axvline(100 * ALPHA, color="0.35", linestyle=":", label="aim")
    left.set_yticks(range(len(four)), four.index, fontsize=7)
    left.set(xlim=(0, 8), xlabel="tables of four equal models with anything established, %")
    left.invert_yaxis()
    left.legend(fontsize=8)
    for name, row in powers.loc["four models"].iterrows():
        right.plot(row.index, row, marker="o", markersize=4, label=name)
    right.set(xlabel="difference, in deviations over seeds", ylabel="established, %", ylim=(0, 101))
    right.legend(fontsize=8)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    figure.savefig(path)


if __name__ == "__main__":
    found = tabulate_errors(), tabulate_power()
    for table in (*found, tabulate_plans()):
        print(table.round(1).to_string(), end="\n\n")
    if len(sys.argv) > 1:
        draw_figure(*found, sys.argv[1])
