"""Comparing runs: what may stand in one table, what a difference is worth, and the command line."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ganlib import InputError, loop
from ganlib.compare.__main__ import main
from ganlib.compare.tables import (
    gather,
    improved_since,
    seconds_to_kid,
    significant,
    tell_improved,
    validation_kid,
)
from ganlib.compare.tell import render
from ganlib.runs.finished import load_run, score_run

pytestmark = pytest.mark.slow  # all of them train, or start a kernel or workers


@pytest.fixture(scope="module")
def runs(faces, tmp_path_factory):
    """Folders of six finished runs: two models, three seeds."""
    from ganlib.config import TrainConfig

    folder = tmp_path_factory.mktemp("compared")
    return [
        loop.fit(
            TrainConfig.from_recipe(
                "cyclegan",
                image_size=32,
                arch=arch,
                ngf=4,
                ndf=4,
                batch_size=2,
                steps=4,
                epoch_steps=2,
                seed=seed,
                precision="float32",
            ),
            faces,
            folder / f"{arch}{seed}",
        ).folder
        for arch in ("cyclegan", "uvcgan")
        for seed in (0, 1, 2)
    ]


def edited(folder, tmp_path, change):
    """A copy of a run's config and metrics, changed."""
    copy = tmp_path / folder.name
    copy.mkdir(parents=True)
    (copy / "config.json").write_text((folder / "config.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    change(metrics)
    (copy / "metrics.json").write_text(json.dumps(metrics))
    return copy


def test_runs_that_differ_in_their_seed_are_one_model(runs):
    table = gather(runs)
    assert (
        list(table.model) == ["cyclegan 4, cyclegan"] * 3 + ["uvcgan 4, cyclegan"] * 3
        and list(table.seed) == [0, 1, 2] * 2
    )
    metrics = json.loads((runs[4] / "metrics.json").read_text())
    assert table.kid_probe_a[4] == metrics["scores"]["ema"]["kid_probe_a"]["value"]
    assert gather(runs, "raw").kid_probe_a[4] == metrics["scores"]["raw"]["kid_probe_a"]["value"]
    assert len(gather([runs[0], runs[0]])) == 1


def test_models_of_one_name_are_told_apart(runs, faces, tiny, tmp_path):
    other = loop.fit(tiny(steps=4, epoch_steps=2, lr_g=1e-3), faces, tmp_path / "other").folder
    assert list(gather([runs[0], other]).model) == [
        "cyclegan 4, cyclegan, lr_g 0.0002",
        "cyclegan 4, cyclegan, lr_g 0.001",
    ]
    longer = loop.fit(tiny(steps=6, epoch_steps=2), faces, tmp_path / "longer").folder
    assert list(gather([longer, runs[3]]).model) == [
        "cyclegan 4, cyclegan, steps 6",
        "uvcgan 4, cyclegan, steps 4",
    ], "unequal trainings show it"


def test_time_and_memory_of_other_devices_are_not_compared(runs, tmp_path):
    table = gather([runs[0], edited(runs[1], tmp_path, lambda m: m.update(device="another"))])
    assert (
        table[["pairs_per_second", "train_seconds", "memory_mib"]].isna().all(axis=None)
        and table.flops_per_pair.notna().all()
    )


@pytest.mark.parametrize(
    "family, key, value",
    [
        ("kid_probe", "hash", "another"),
        ("swd", "n", {"a": 9, "b": 5}),
        ("cycle", "data", "another"),
        ("fid_probe", "split", "val"),
        ("content", "seed", 1),
    ],
)
def test_scores_of_another_protocol_are_refused(runs, tmp_path, family, key, value):
    def change(metrics):
        metrics["protocols"][family][key] = value

    with pytest.raises(
        InputError, match=f"{family}: {key} is .* cannot be set in one table"
    ) as caught:
        gather([runs[0], edited(runs[1], tmp_path, change)])
    assert "\n" not in str(caught.value)


def test_what_cannot_be_compared_is_named(runs, tmp_path):
    with pytest.raises(InputError, match="none given; expected folders of finished runs"):
        gather([])
    with pytest.raises(
        InputError, match="cyclegan0: the same model and seed as .*cyclegan0; leave one of them out"
    ):
        gather([runs[0], edited(runs[0], tmp_path / "copy", lambda _: None)])
    with pytest.raises(
        InputError, match="no scores in its metrics.json; start its training again, which then only"
    ):
        gather([edited(runs[0], tmp_path, lambda m: m.pop("scores"))])
    (tmp_path / "cyclegan0" / "metrics.json").unlink()
    with pytest.raises(InputError, match="did not finish; leave it out"):
        gather([tmp_path / "cyclegan0"])


def test_score_that_one_run_lacks_is_missing_there(runs, tmp_path):
    def without(metrics):
        metrics["protocols"].pop("swd")
        [by.pop("swd_a") for by in metrics["scores"].values()]

    table = gather([runs[3], edited(runs[0], tmp_path, without)])
    assert table.swd_a.isna().tolist() == [False, True] and "-" in render(table, "markdown")


@pytest.mark.parametrize(
    "value, error, text",
    [
        (1234.5678, None, "1,235"),
        (0.012345, 0.0004, "0.0123 ± 0.0004"),
        (None, None, "-"),
        (float("nan"), None, "-"),
        (0.0, None, "0.00"),
        (12.345, float("nan"), "12.3"),
    ],
)
def test_numbers_have_three_digits(value, error, text):
    assert significant(value, error) == text


def test_command_line_prints_every_format(runs, capsys):
    folders = [str(folder) for folder in runs]
    assert main(folders) == 0
    text = capsys.readouterr().out
    assert (
        "cyclegan 4, cyclegan (3 seeds)" in text
        and "±" in text
        and "pairs/s" in text
        and "5 and 5 test images" in text
        and "\n- " in text
    )
    assert main([folders[0], "--format", "markdown"]) == 0
    assert "[" in (
        row := next(x for x in capsys.readouterr().out.splitlines() if x.startswith("| KID"))
    ) and row.endswith("|")
    assert main([*folders, "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert (
        latex.startswith(r"\begin{tabular}")
        and r"fake\_a $\downarrow$" in latex
        and "\n% - " in latex
    )
    assert main([*folders, "--format", "json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    assert (
        everything["weights"] == "ema"
        and len(everything["runs"]) == 6
        and [row["question"] for row in everything["differences"]] == ["realism", "faithfulness"]
        and everything["protocols"]["swd"]["n"] == {"a": 5, "b": 5}
    )
    assert main(["nowhere"]) == 2
    assert capsys.readouterr().err == (
        "error: run folder nowhere: no such folder; `ganlib runs` lists the runs that there are\n"
    )


def test_time_to_a_quality_counts_from_the_curve(runs):
    run = load_run(runs[0])
    history = pd.DataFrame(
        {"split": "val", "step": [1, 2, 3, 4], "kid_a": [4.0, 2, 3, 1], "kid_b": [4.0, 2, 3, 1]}
    )
    run = run._replace(history=history, metrics=run.metrics | {"train_seconds": 100.0})
    assert [seconds_to_kid(run, target) for target in (9, 2, 1)] == [25, 50, 100] and np.isnan(
        seconds_to_kid(run, 0.5)
    )
    assert list(validation_kid(run)) == [4, 2, 3, 1]


def test_run_is_scored_again_where_its_protocol_is_another(runs, faces, tmp_path):
    run = load_run(runs[0])
    stamp = (run.folder / "metrics.json").stat().st_mtime_ns
    assert (
        score_run(run, faces).metrics == run.metrics
        and (run.folder / "metrics.json").stat().st_mtime_ns == stamp
    )
    old = run.metrics["protocols"] | {
        "kid_probe": run.metrics["protocols"]["kid_probe"] | {"hash": "of an older probe"}
    }
    again = score_run(run._replace(metrics=run.metrics | {"protocols": old, "scores": {}}), faces)
    assert (
        again.metrics["scores"] == run.metrics["scores"]
        and again.metrics["protocols"] == run.metrics["protocols"]
    )


def test_scores_of_an_older_version_are_refused(runs, tmp_path):
    """All of one age too: they would be set side by side as if they were right."""

    def age(metrics):
        for protocol in metrics["protocols"].values():
            protocol["version"] = 1

    old = [edited(run, tmp_path, age) for run in runs[:2]]
    with pytest.raises(InputError, match="is of version 1 of the scores, expected 2; ") as caught:
        gather(old)
    assert "\n" not in str(caught.value)


def test_run_that_was_scored_by_an_older_version_is_scored_again(runs, faces):
    """Its file as an older ganlib left it: nothing of it is kept beside new scores."""
    run = load_run(runs[0])
    old = {name: protocol | {"version": 1} for name, protocol in run.metrics["protocols"].items()}
    wrong = {
        weights: {name: {"value": -1.0, "low": -1.0, "high": -1.0} for name in scores}
        for weights, scores in run.metrics["scores"].items()
    }
    path = run.folder / "metrics.json"
    path.write_text(json.dumps(run.metrics | {"protocols": old, "scores": wrong}))
    again = score_run(load_run(runs[0]), faces)
    assert again.metrics == run.metrics == json.loads(path.read_text())
    assert {protocol["version"] for protocol in again.metrics["protocols"].values()} == {2}


def test_table_says_what_no_run_has(runs):
    table = gather(runs[:1])
    assert "| - " in render(table.assign(memory_mib=np.nan), "markdown")


def history(kids):
    """A Run of which only the validations are asked: KIDs by step, the same in both domains."""
    rows = [{"split": "train", "step": 1, "kid_a": None, "kid_b": None}]
    for step, kid in kids.items():
        rows.append({"split": "val", "step": step, "kid_a": kid, "kid_b": kid})
    return SimpleNamespace(history=pd.DataFrame(rows), cfg=SimpleNamespace(batch_size=4))


def test_training_on_is_told_to_pay_only_where_chance_would_seldom_do_that():
    falls = history({1: 9.0, 2: 2.0, 3: 1.5, 4: 1.0})  # 4, 8, 12 and 16 pairs
    found = improved_since([falls], 10)
    assert found.to_dict("records") == [{"before": 2.0, "after": 1.0}]
    assert improved_since([falls], 12).before.tolist() == [1.5]
    assert "No run went on" in tell_improved(improved_since([falls], 16), 16)
    assert "No run went on" in tell_improved(improved_since([falls], 3), 3)
    told = tell_improved(improved_since([falls] * 5, 12), 12)
    assert "from 1.50 to 1.00" in told and "5 of 5 runs (which chance may do as well" in told
    rises = history({1: 1.0, 4: 2.0})
    assert "6 of 6 runs (chance alone would seldom" in tell_improved(
        improved_since([falls] * 6, 12), 12
    )
    assert "0 of 6 runs (chance alone would seldom" in tell_improved(
        improved_since([rises] * 6, 12), 12
    )
