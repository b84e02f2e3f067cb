"""Which differences between models are established: a test over seeds whose error rate is known by
simulation.

tests/simulate_differences.py simulates it; docs/statistics.md says what came out, and what it
costs in seeds."""

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05  # of all comparisons of a table together
POWER = 0.8  # how often a number of seeds is to find a difference, to be named
MOST_SEEDS = 20  # a model: no larger number is named
# Standard errors of a KID: one far above so many is tested by its logarithm, one below as it is
NOISE = 5

# What is asked of two models, and the scores that answer it: each is the mean of both domains or
# directions.
QUESTIONS = {
    "realism": ("kid_probe_a", "kid_probe_b"),
    "faithfulness": ("content_ab", "content_ba"),
}
HEADLINE = QUESTIONS["realism"] + QUESTIONS["faithfulness"]
# Of both, less is better
MEASURES = {"realism": "typical KID", "faithfulness": "content distance"}


def plan_comparisons(table):
    """Pairs of models that answer a question: those of one recipe (does the architecture
    matter?) or of one architecture (does the recipe?). Where no two models have either in
    common, every pair."""
    models = table.drop_duplicates("model").set_index("model")
    pairs = list(combinations(models.index, 2))
    planned = []
    for one, other in pairs:
        if any(models.loc[one, name] == models.loc[other, name] for name in ("arch", "recipe")):
            planned.append((one, other))
    return planned or pairs


def smallest_error(table):
    """The smallest standard error of a KID in the table: how far a KID moves that is 0. NaN
    where no KID has an interval. It is taken from the lower half of the interval by 1.96, which
    is a little too much: that is of Student's t. Only a scale is made of it."""
    errors = np.array(
        [(table[name] - table[f"{name}_low"].astype(float)) / 1.96 for name in QUESTIONS["realism"]]
    )
    return errors[errors > 0].min() if (errors > 0).any() else np.nan


def even_out(kid, error):
    """KIDs on the scale that they are tested on, asinh(KID / (NOISE * error)): of a large KID
    its logarithm, as its spread over seeds grows with it; near 0 and below, where its spread is
    noise that does not grow, the KID itself. Without an error (NaN) the KID."""
    return np.arcsinh(kid / (NOISE * error)) if np.isfinite(error) else kid


def typical(values, error):
    """The KID that the mean of values of even_out stands for."""
    return float(NOISE * error * np.sinh(values.mean()) if np.isfinite(error) else values.mean())


def welch_parts(x, y):
    """What Welch's test is made of: the difference of the means of x (..., n) and y (..., m), its
    standard error, and the degrees of freedom, (...) each. NaN where neither side varies.

    differs: with fewer degrees of freedom where the two spreads differ, f^2 / (n + m - 2)
    instead of Welch's f: no fewer than the smaller set alone has, and no more than two of its
    size. At 3 to 5 seeds f is estimated too high, and up to 2 times too many equal pairs would
    get a small p."""
    n = x.shape[-1]
    m = y.shape[-1]
    # By hand: scipy's ttest_ind warns of seeds that agree
    a = x.var(-1, ddof=1) / n
    b = y.var(-1, ddof=1) / m
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    fewest = min(n, m) - 1
    freedom = np.clip(freedom**2 / (n + m - 2), fewest, 2 * fewest)
    return x.mean(-1) - y.mean(-1), np.sqrt(a + b), freedom


def welch(x, y):
    """p of Welch's two-sided t-test (1947), by welch_parts: x (..., n), y (..., m), n and m 2 or
    more -> (...). NaN where neither side varies."""
    difference, error, freedom = welch_parts(x, y)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = difference / error
    return 2 * stats.t.sf(np.abs(t), freedom)


def holm(p):
    """Holm's step-down adjustment (1979) of p-values (..., k) for their number along the last
    axis; NaN stay out."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, axis=-1)  # NaN come last
    left = np.count_nonzero(~np.isnan(p), axis=-1, keepdims=True) - np.arange(p.shape[-1])
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * left, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(1, stepped), -1)
    return adjusted


def differences(table):
    """The planned comparisons of a table of tables.gather in each of QUESTIONS, a row each, as a
    DataFrame.

    value_one, value_other: the typical KID of both domains (on the scale of even_out, and back),
    the mean content distance of both directions. effect: Hedges' g, the difference in units of
    the mean spread over seeds of the two, corrected for few seeds; less than 0 where `one` is
    better. p: by welch. p_adjusted: by Holm for all rows. established: p_adjusted below ALPHA.
    Two models of which one has a single seed are not tested (NaN)."""
    rows = []
    error = smallest_error(table)
    for one, other in plan_comparisons(table):
        for question, names in QUESTIONS.items():
            scores = table[list(names)].to_numpy(dtype=float)
            tested = (even_out(scores, error) if question == "realism" else scores).mean(axis=1)
            x, y = [tested[(table.model == model).to_numpy()] for model in (one, other)]
            values = [
                typical(side, error) if question == "realism" else side.mean() for side in (x, y)
            ]
            row = {
                "one": one,
                "other": other,
                "question": question,
                "value_one": values[0],
                "value_other": values[1],
            }
            rows.append(row | compare_pair(x, y, one, other))
    columns = ["one", "other", "question", "value_one", "value_other", "better", "effect", "p"]
    found = pd.DataFrame(rows, columns=columns)
    found["p_adjusted"] = holm(found.p.to_numpy(dtype=float))
    found["established"] = found.p_adjusted < ALPHA
    return found


def compare_pair(x, y, one, other):
    """What the seeds of two models say, x (n,) and y (m,), where less is better: {"better",
    "effect", "p"}."""
    difference = x.mean() - y.mean()
    better = (one if difference < 0 else other) if difference else None
    freedom = len(x) + len(y) - 2
    if min(len(x), len(y)) < 2 or np.ptp(x) == np.ptp(y) == 0:
        return {"better": better, "effect": np.nan, "p": np.nan}
    spread = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    return {
        "better": better,
        "effect": difference / spread * (1 - 3 / (4 * freedom - 1)),
        "p": float(welch(x, y)),
    }


@cache
def find_smallest(questions):
    """{seeds: the smallest difference, in spreads over seeds, that so many seeds of each model
    establish in POWER of tables of so many questions}.

    By 20,000 simulated pairs of normal scores of one spread, tested by welch. A single question
    gets ALPHA / questions (Bonferroni), which Holm's adjustment never falls short of."""
    rng = np.random.default_rng(0)
    smallest = {}
    for seeds in range(3, MOST_SEEDS + 1):
        one, other = rng.standard_normal((2, 20_000, seeds))
        difference, error, freedom = welch_parts(one, other)
        reached = stats.t.isf(ALPHA / questions / 2, freedom) * error - difference
        smallest[seeds] = np.quantile(reached, POWER)
    return smallest


def plan_seeds(effects):
    """How many seeds of each model would establish each difference of a table in POWER of cases,
    were it as large as Hedges' g says: a list of numbers, None where it takes more than
    MOST_SEEDS. effects: g of each question, NaN where it is not tested. g of few seeds is a rough
    guess, and so is the number."""
    effects = np.abs(np.asarray(effects, dtype=float))
    smallest = find_smallest(max(1, int(np.isfinite(effects).sum())))
    numbers = []
    for effect in effects:
        enough = [seeds for seeds, least in smallest.items() if least <= effect]
        numbers.append(min(enough, default=None))
    return numbers


def say_plan(unsure, needed, fewest, most):
    """What more seeds would do for some rows of `differences`, in words. needed: plan_seeds of all
    its rows; fewest, most: the seeds of the two models."""
    if fewest < 3:
        return "train 3 seeds each or more"
    if most >= MOST_SEEDS:
        return "if there is one, it is small against what chance does"
    numbers = []
    for i, question in zip(unsure.index, unsure.question):
        number = f"about {max(needed[i], fewest + 1)}" if needed[i] else f"more than {MOST_SEEDS}"
        each = "" if numbers else " seeds each"
        numbers.append(f"{number}{each} in {question}")
    told = ", ".join(numbers)
    return f"if they are as large as they look by so few, it would take {told}"


def conclude(table, found):
    """What the differences establish at this size and what they do not: a list of sentences."""
    seeds = table.groupby("model", sort=False).seed.nunique()
    if len(seeds) < 2:
        return ["One model: there is nothing to compare it with."]
    if found.p.isna().all() and seeds.nunique() == 1 and seeds.max() > 1:
        return [
            "Nothing is established: no score moves from seed to seed, so there is no spread to "
            "judge a difference by."
        ]
    if found.p.isna().all():
        few = "one seed" if seeds.max() == 1 else "too few seeds"
        return [
            f"Nothing is established: {few} a model, and how far a score moves from seed to seed "
            "is not known. Train 3 or more."
        ]
    lines = []
    needed = plan_seeds(found.effect)
    for (one, other), part in found.groupby(["one", "other"], sort=False):
        if part.p.isna().all():
            lines.append(
                f"Between {one} and {other} nothing is tested at {seeds[one]} and {seeds[other]} "
                "seeds: it takes 2 of each that differ, and better 3 or more."
            )
            continue
        lines += [say_established(row) for row in part[part.established].itertuples()]
        untested = part[part.p.isna()]
        unsure = part[part.p.notna() & ~part.established]
        if len(unsure):
            fewest, most = sorted((seeds[one], seeds[other]))
            many = f"{most} seeds each"
            if fewest < most:
                many = f"{seeds[one]} and {seeds[other]} seeds"
            plan = say_plan(unsure, needed, fewest, most)
            lines.append(
                f"Between {one} and {other} no difference is established in "
                f"{' and '.join(unsure.question)} at {many}; {plan}."
            )
        if len(untested):
            lines.append(
                f"Between {one} and {other} {' and '.join(untested.question)} is not tested: a "
                "score is missing, or none moves from seed to seed."
            )
    return lines


def sum_up(table, found):
    """The verdict of all differences in one sentence: what is established, or that nothing is."""
    lines = conclude(table, found)
    if len(lines) == 1:
        return lines[0]
    tested = int(found.p.notna().sum())
    said = []
    for row in found[found.established].itertuples():
        loser = row.one if row.better == row.other else row.other
        said.append(f"{row.better} is better than {loser} in {row.question}")
    if not said:
        return f"Of {tested} differences that were tested none is established."
    return f"Of {tested} differences that were tested, established: {'; '.join(said)}."


def say_established(row):
    """One established difference in words."""
    better = row.value_one
    worse = row.value_other
    loser = row.other
    if row.better == row.other:
        better, worse, loser = worse, better, row.one
    return (
        f"{row.better} is better than {loser} in {row.question} ({MEASURES[row.question]} "
        f"{better:.3g} against {worse:.3g}, effect {abs(row.effect):.1f}, p {row.p_adjusted:.2g})."
    )
