"""Intervals of 95 %: that they hold as often as they say, and what stands where there is none."""

import math

import pytest
import torch
from simulate_intervals import WIDTH, move, simulate, true_kid

from ganlib.evaluate import distances as evaluate_distances
from ganlib.evaluate.scores import as_score, realism, show_score, symmetric


def kid(x, y):
    """As distances.kid, but of the full sets at once: nearly what 100 subsets give, and quick."""
    xx, yy, xy = [(a @ b.T / WIDTH + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    means = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    value = float(sum(means) - 2 * xy.mean())
    return [("kid", value, *evaluate_distances.kid_interval(x, y, value))]


def scaled(measure, factor):
    """A measure whose intervals are so many times as wide."""

    def wider(x, y):
        return [
            (name, value, value + factor * (low - value), value + factor * (high - value))
            for name, value, low, high in measure(x, y)
        ]

    return wider


def holds(table):
    """Whether the intervals of a simulation hold as often as they should, at 200 repetitions."""
    return table.covers.between(0.89, 0.995).all() and table.width.between(0.8, 2).all()


@pytest.mark.parametrize("true", [0.0, 0.5])
@pytest.mark.parametrize("sizes", [(64, 64), (24, 96)])
def test_intervals_of_kid_hold(sizes, true):
    assert holds(simulate(kid, sizes, true, 200))


def test_intervals_of_kid_that_are_twice_or_half_as_wide_are_found_out():
    assert not holds(simulate(scaled(kid, 2), (64, 64), 0.5, 200))
    assert not holds(simulate(scaled(kid, 0.5), (64, 64), 0.5, 200))


@pytest.mark.parametrize("n", [4, 30])
def test_intervals_of_a_mean_hold(n):
    def mean(x, _):
        return [("mean", *evaluate_distances.mean_interval(x[:, 0]))]

    assert holds(simulate(mean, (n, 4), 0.0, 400))


def test_value_and_interval_are_of_the_same_kid():
    """The mean over subsets is the unbiased estimate, but for the subsets that are drawn."""
    rng = torch.Generator().manual_seed(0)
    x, y = [torch.randn(40, WIDTH, generator=rng).double() for _ in range(2)]
    y = y + move(0.5)
    value, low, high = evaluate_distances.kid(x, y)
    ((_, full, low_full, high_full),) = kid(x, y)
    assert value == pytest.approx(full, rel=0.03) and low < value < high
    assert low == pytest.approx(low_full, rel=0.1) and high == pytest.approx(high_full, rel=0.1)
    wider = evaluate_distances.kid_interval(x, y, value, drawn=0.1)
    assert wider[0] < low < high < wider[1]


def test_true_kid_of_the_simulation_is_the_one_of_large_sets():
    assert true_kid(move(1.5)) == pytest.approx(1.5)
    assert simulate(kid, (1000, 1000), 1.5, 3)["mean"].item() == pytest.approx(1.5, rel=0.1)


def test_few_images_have_no_interval():
    """Of one image nothing has an interval, of two not FID, of eight not precision."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 12, 20, generator=rng).double()
    found = {}
    for n in (1, 2, 3, 4, 8, 10):
        found[n] = {name: as_score(f"{name}_probe", *score) for name, *score in realism(x[:n], y)}
    assert not found[1] and list(found[2]) == ["fid"]
    assert found[2]["fid"]["low"] is found[2]["fid"]["high"] is None
    assert found[3]["fid"]["low"] < found[3]["fid"]["value"] < found[3]["fid"]["high"]
    assert math.isfinite(found[4]["kid"]["low"]) and found[8]["precision"]["low"] is None
    assert found[10]["precision"]["low"] < found[10]["precision"]["high"]
    one = as_score("cycle", *evaluate_distances.mean_interval(torch.tensor([0.5, math.nan])))
    assert one == {"value": 0.5, "low": None, "high": None} and show_score(one) == "0.50"
    images = torch.rand(1, 3, 16, 16)
    assert math.isnan(
        evaluate_distances.sliced_wasserstein(images, images.flip(2), with_error=True)["error"]
    )


def test_equal_values_have_an_interval_of_no_width():
    assert evaluate_distances.mean_interval(torch.full((4,), 0.25)) == (0.25, 0.25, 0.25)
    x = torch.ones(8, WIDTH).double()
    assert evaluate_distances.kid(x, x) == pytest.approx((0, 0, 0), abs=1e-9)


def test_an_interval_keeps_within_what_is_possible():
    score = as_score("recall_probe", *symmetric(0.9, 0.2))
    assert score == {"value": 0.9, "low": 0.508, "high": 1}
    assert show_score(score) == "0.90 [0.51, 1.00]"
