"""Which differences are called established: the test over seeds against scipy and by simulation,
and the words."""

import numpy as np
import pandas as pd
import pytest
import simulate_differences as simulation
from scipy import stats

from ganlib.compare.significance import (
    ALPHA,
    HEADLINE,
    conclude,
    differences,
    even_out,
    find_smallest,
    holm,
    plan_comparisons,
    plan_seeds,
    smallest_error,
    sum_up,
    welch,
)


def scores(one, other, error=0.02, **kid):
    """A table of two models of one recipe whose scores are all the same list; kid: other KIDs of
    both domains, by model."""
    rows = []
    for model, values in (("one", one), ("other", other)):
        for i, value in enumerate(values):
            row = {"model": model, "arch": model, "recipe": "default", "seed": i} | dict.fromkeys(
                HEADLINE, value
            )
            for name in HEADLINE[:2]:
                row[name] = kid.get(model, values)[i]
                row |= {
                    f"{name}_low": row[name] - 1.96 * error,
                    f"{name}_high": row[name] + 1.96 * error,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def test_p_is_welchs_with_fewer_degrees_of_freedom():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)) * 3, rng.normal(size=(50, 3)) + 1
    found = stats.ttest_ind(x, y, axis=1, equal_var=False)
    assert (welch(x, y) >= found.pvalue - 1e-12).all() and welch(x[0], y[0]) == welch(x, y)[0]
    fewer = np.clip(found.df**2 / 5, 2, 4)
    assert welch(x, y) == pytest.approx(2 * stats.t.sf(abs(found.statistic), fewer))
    # Of equal spread it is Student's
    alike = np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])
    assert welch(*alike) == pytest.approx(stats.ttest_ind(*alike).pvalue)
    assert np.isnan(welch(np.ones(3), np.zeros(3)))


def test_difference_is_established_where_it_is_large_against_the_spread():
    far, near = scores([1.0, 1.1, 0.9], [3.0, 3.1, 2.9]), scores([1.0, 2.0, 3.0], [2.0, 1.5, 3.2])
    found = differences(far)
    assert (
        list(found.question) == ["realism", "faithfulness"]
        and found.established.all()
        and (found.better == "one").all()
    )
    assert found.effect.iloc[1] == pytest.approx(-2 / 0.1 * (1 - 3 / 15), rel=1e-6)
    assert found.value_one.iloc[1] == pytest.approx(1.0) and found.value_other.iloc[
        1
    ] == pytest.approx(3.0)
    assert found.value_one.iloc[0] == pytest.approx(1.0, rel=0.01) and found.value_other.iloc[
        0
    ] == pytest.approx(3.0, rel=0.01)
    assert conclude(far, found)[0].startswith(
        "one is better than other in realism (typical KID 0.997 against 3, effect "
    )
    assert conclude(far, found)[1].startswith(
        "one is better than other in faithfulness (content distance 1 against 3, effect 16.0, p "
    )
    turned = scores([3.0, 3.1, 2.9], [1.0, 1.1, 0.9])
    assert conclude(turned, differences(turned))[1].startswith(
        "other is better than one in faithfulness (content distance 1 against 3"
    )
    found = differences(near)
    assert not found.established.any()
    assert conclude(near, found) == [
        "Between one and other no difference is established in realism and faithfulness at 3 seeds "
        "each; if they are as large as they look by so few, it would take more than 20 "
        "seeds each in realism, more than 20 in faithfulness."
    ]


def test_verdict_is_one_sentence_of_any_number_of_models():
    far = scores([1.0, 1.1, 0.9], [3.0, 3.1, 2.9])
    assert sum_up(far, differences(far)) == (
        "Of 2 differences that were tested, established: one is better than other in realism; one "
        "is better than other in faithfulness."
    )
    near = scores([1.0, 2.0, 3.0], [2.0, 1.5, 3.2])
    assert sum_up(near, differences(near)) == conclude(near, differences(near))[0]
    third = scores([1.1, 2.1, 2.5], []).assign(model="third", arch="third")
    three = pd.concat([near, third])
    assert sum_up(three, differences(three)) == (
        "Of 6 differences that were tested none is established."
    )


@pytest.mark.parametrize("questions", [1, 2, 8])
def test_smallest_difference_is_found_four_times_in_five(questions):
    """By other draws, and by Holm's adjustment, in a table in which nothing else differs."""
    rng = np.random.default_rng(1)
    for seeds, least in find_smallest(questions).items():
        if seeds in (3, 5, 9):
            x, y = rng.standard_normal((2, 20_000, questions, seeds))
            x[:, 0] += least
            alone = (welch(x, y) < ALPHA / questions)[:, 0].mean()
            assert alone == pytest.approx(0.8, abs=0.02)
            assert alone <= (holm(welch(x, y)) < ALPHA)[:, 0].mean() < alone + 0.02


def test_seeds_to_plan_are_the_fewest_and_of_each_question():
    smallest = find_smallest(2)
    effects = [smallest[7] + 1e-9, -smallest[5] - 1e-9]
    assert plan_seeds(effects) == [7, 5] and plan_seeds([effects[0] - 1e-3, np.nan, 9]) == [
        8,
        None,
        3,
    ]
    assert plan_seeds([1e-3]) == [None]
    assert find_smallest(8)[5] > smallest[5] > smallest[6], "more questions take more seeds"


def test_conclusion_names_the_seeds_of_each_question():
    """Realism that differs by much less than faithfulness, three seeds each."""
    apart = scores([1.0, 1.2, 1.4], [1.35, 1.55, 1.75])
    for name in HEADLINE[:2]:
        apart[name] = [1.0, 1.2, 1.4, 1.02, 1.22, 1.42]
    found = differences(apart)
    effects = found.set_index("question").effect
    realism, faithfulness = plan_seeds(effects)
    said = conclude(apart, found)[0]
    assert f"more than 20 seeds each in realism, about {faithfulness} in faithfulness." in said
    assert realism is None and 3 < faithfulness == plan_seeds([effects.faithfulness, 0])[0]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((2, 2), "at 2 seeds each; train 3 seeds each or more."),
        (
            (4, 3),
            "at 4 and 3 seeds; if they are as large as they look by so few, it would take ",
        ),
        ((3, 20), "at 3 and 20 seeds; if there is one, it is small against what chance does."),
        ((25, 25), "at 25 seeds each; if there is one, it is small against what chance does."),
    ],
)
def test_plan_depends_on_the_seeds_there_are(seeds, said):
    table = scores(*[list(np.linspace(1, 2, n) + shift) for n, shift in zip(seeds, (0, 0.01))])
    assert said in conclude(table, differences(table))[0]


def test_seeds_that_are_named_are_more_than_there_are():
    """Of four trainings that were unlucky: as large a difference is mostly found by three."""
    table = scores([1.0, 1.0, 1.0, 1.2], [1.2, 1.22, 1.25, 1.6])
    found = differences(table)
    assert not found.established.any()
    found["effect"] = 9.0
    assert conclude(table, found)[0].endswith(
        "about 5 seeds each in realism, about 5 in faithfulness."
    )


@pytest.mark.parametrize("below", [0.0, -0.003, 1e-9])
def test_one_kid_near_zero_neither_makes_nor_hides_a_difference(below):
    """It used to put all pairs on another scale: 0 established what p 0.13 does not, 1e-9 took
    all power away."""
    table = pd.concat(
        [
            scores([0.8, 1.0, 1.2], [0.9, 1.1, 1.5]),
            scores([below, 0.01, 0.02], []).assign(model="third", arch="third"),
        ]
    )
    found = differences(table).query("question == 'realism'").set_index(["one", "other"])
    alone = differences(table[table.model != "third"]).query("question == 'realism'")
    assert (
        found.p["one", "other"] == pytest.approx(alone.p.iloc[0])
        and not found.established["one", "other"]
    )
    assert found.established["one", "third"] and found.better["one", "third"] == "third"


def test_kid_is_tested_by_its_logarithm_only_far_above_its_noise():
    assert even_out(2.0, 0.01) - even_out(1.0, 0.01) == pytest.approx(np.log(2), abs=1e-2)
    near = even_out(np.array([-0.02, -0.01, 0.0, 0.01, 0.02]), 0.02)
    assert np.diff(near) == pytest.approx(np.full(4, 0.1), rel=0.03)
    assert even_out(np.array([0.5]), np.nan) == 0.5
    assert smallest_error(scores([1.0], [2.0], error=0.03)) == pytest.approx(0.03)
    assert np.isnan(smallest_error(scores([1.0], [2.0], error=np.nan))), (
        "a KID of so few images has no interval"
    )


def test_two_questions_are_asked_of_models_that_share_an_architecture_or_a_recipe():
    rows = [
        ("a", "cyclegan", "default"),
        ("b", "uvcgan", "default"),
        ("c", "cyclegan", "seed"),
        ("d", "uvcgan", "seed"),
    ]
    table = pd.DataFrame(rows, columns=["model", "arch", "recipe"])
    assert plan_comparisons(table) == [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    assert plan_comparisons(table[table.model.isin(["a", "d"])]) == [("a", "d")], (
        "the only pair that there is"
    )
    assert plan_comparisons(table[table.model == "a"]) == []


def test_spread_of_one_model_says_nothing_of_another():
    """Two seeds of one model that lie close establish nothing where the other's lie far apart,
    and the third's take no part."""
    table = pd.concat(
        [
            scores([1.0, 1.001], [1.5, 2.5]),
            scores([0.0, 0.0001], []).assign(model="third", arch="third"),
        ]
    )
    found = differences(table).set_index(["one", "other", "question"])
    alone = differences(table[table.model != "third"]).set_index(["one", "other", "question"])
    assert not found.established["one", "other", "faithfulness"]
    assert found.p["one", "other", "faithfulness"] == alone.p["one", "other", "faithfulness"]


def test_one_seed_establishes_nothing():
    table = scores([1.0], [3.0])
    found = differences(table)
    assert (
        found.p.isna().all()
        and not found.established.any()
        and "one seed a model" in conclude(table, found)[0]
    )
    uneven = differences(scores([1.0], [3.0, 3.1, 2.9]))
    assert uneven.p.isna().all() and not uneven.established.any(), (
        "one seed says nothing of its spread"
    )
    mixed = pd.concat(
        [scores([1.0, 1.1], [3.0]), scores([2.0, 2.1], []).assign(model="third", arch="third")]
    )
    said = conclude(mixed, differences(mixed))
    assert (
        "Between one and other nothing is tested at 2 and 1 seeds: it takes 2 of each that differ, "
        "and better 3 or more." in said
    )
    alone = table[table.model == "one"]
    assert len(differences(alone)) == 0 and conclude(alone, differences(alone)) == [
        "One model: there is nothing to compare it with."
    ]


def test_question_without_a_score_is_not_tested():
    table = scores([1.0, 1.1, 0.9], [3.0, 3.1, 2.9])
    table.loc[0, "content_ab"] = np.nan
    found = differences(table)
    assert found.p.isna().tolist() == [False, True] and np.isfinite(found.effect[0])
    assert conclude(table, found)[1] == (
        "Between one and other faithfulness is not tested: a score is missing, or none moves from "
        "seed to seed."
    )
    none = table.assign(
        **{f"{name}_low": pd.Series([None] * 6, dtype=object) for name in HEADLINE[:2]}
    )
    assert differences(none).value_one[0] == pytest.approx(1.0), (
        "a table in which no KID has an interval"
    )


def test_equal_scores_are_no_difference():
    table = scores([2.0, 2.0], [2.0, 2.0])
    found = differences(table)
    assert found.better.isna().all() and not found.established.any()
    assert differences(scores([0.1, 0.1, 0.1], [0.3, 0.3, 0.3])).p.isna().all(), (
        "the same from every seed"
    )
    assert conclude(table, found) == [
        "Nothing is established: no score moves from seed to seed, so there is no spread to judge "
        "a difference by."
    ]


@pytest.mark.parametrize(
    "name",
    [
        "equal",
        "one four times the others'",
        "one eight times the others'",
        "eight times, in each comparison",
    ],
)
@pytest.mark.parametrize(
    "pairs", [simulation.PLANNED, simulation.TWO], ids=["four models", "two models"]
)
def test_chance_establishes_one_table_in_twenty_at_most(name, pairs):
    """By the simulation of the docs, shorter: 3,000 tables of equal models; 1.2 % is three of
    its standard errors."""
    drawn = simulation.draw(np.random.default_rng(1), 3000, simulation.SPREADS[name], 3)
    assert 0.005 < simulation.familywise(drawn, pairs) < 0.05 + 0.012
    near = simulation.draw_kid(np.random.default_rng(2), 3000, simulation.SPREADS[name], 3, 0.03)
    assert simulation.familywise(near, pairs) < 0.05 + 0.012


def test_simulated_test_is_the_one_of_the_tables():
    """What the simulation calls established is what `differences` does, on tables whose KIDs are
    drawn as there."""
    rng, names = np.random.default_rng(3), ["a", "b", "c", "d"]
    kinds = [
        ("cyclegan", "default"),
        ("uvcgan", "default"),
        ("cyclegan", "seed"),
        ("uvcgan", "seed"),
    ]
    drawn = simulation.draw(rng, 40, (1, 1, 2, 4), 3)
    drawn[:, :, 1] += 8
    sure = simulation.established(drawn)
    for values, expected in zip(drawn, sure):
        rows = []
        for i, (model, (arch, recipe)) in enumerate(zip(names, kinds)):
            for seed in range(3):
                row = {
                    "model": model,
                    "arch": arch,
                    "recipe": recipe,
                    "seed": seed,
                } | dict.fromkeys(HEADLINE[:2], values[0, i, seed])
                rows.append(row | dict.fromkeys(HEADLINE[2:], values[1, i, seed]))
        table = pd.DataFrame(rows)
        for name in HEADLINE[:2]:  # no interval: KIDs are tested as they are
            table[f"{name}_low"] = table[f"{name}_high"] = np.nan
        found = differences(table).set_index(["one", "other", "question"]).established
        order = [("a", "b"), ("c", "d"), ("a", "c"), ("b", "d")]
        for k, pair in enumerate(order):
            assert (
                found[(*pair, "realism")] == expected[2 * k]
                and found[(*pair, "faithfulness")] == expected[2 * k + 1]
            )
    assert 0 < sure.mean() < 1


def test_holm_is_the_published_adjustment():
    """The example of Holm (1979) as every text book has it: 0.01, 0.04, 0.03, 0.005 -> 0.03,
    0.06, 0.06, 0.02."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, np.nan, 0.9])) == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert holm(np.array([[0.01, 0.5], [np.nan, 0.02]]))[1] == pytest.approx(
        [np.nan, 0.02], nan_ok=True
    )
