"""The list of all reports and runs: a table, and reports/index.html."""

import html
import json

import pytest

from ganlib.config import TrainConfig, plain_config
from ganlib.report import index, runner
from ganlib.report.page import INCOMPLETE, render, tell_trainings


@pytest.fixture
def make(tmp_path):
    """make(NAME, trainings, ...): a report of that name, as a page below tmp_path."""

    def write(name, trainings=(), mark="", incomplete=""):
        folder = tmp_path / name
        folder.mkdir()
        runs = []
        for i, (arch, seed, kids) in enumerate(trainings):
            run = {"arch": arch, "recipe": "default", "seed": seed, "pairs": 1440, "steps": 360}
            run |= {"precision": "float32", "wall_seconds": 9, "pairs_per_second": 3.0}
            counts = [[1, 1, 1], [1, 1, 1]]
            data = {"name": "my <set>", "fingerprint": "f", "domains": "ab", "counts": counts}
            run |= {"data": data, "device": "cpu", "scores": {"ema": {}}}
            for domain, kid in zip("ab", kids):
                run["scores"]["ema"][f"kid_probe_{domain}"] = {"value": kid}
            (folder / f"run{i}").mkdir()
            (folder / f"run{i}/metrics.json").write_text(json.dumps(run))
            runs.append(folder / f"run{i}")
        entry = {"name": "04", "title": None, "notebook": folder / "none", "mark": mark}
        entry |= {"error": "broke", "runs": runs, "seconds": 1, "parameters": {}}
        (folder / "04.ipynb").write_text(
            '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
        )
        entry["executed"] = folder / "04.ipynb"
        page = render([entry], name, incomplete)
        (folder / "report.html").write_text(page)

    return write


def test_each_report_is_told_with_its_models_and_scores(make, tmp_path):
    seeds = [("cyclegan", 0, (0.5, 0.1)), ("cyclegan", 1, (0.7, 0.3)), ("uvcgan", 0, (0.25, 2))]
    make("seeds", seeds)
    make("none")
    make("broken", mark="failed")
    make("stopped", incomplete="it was interrupted")
    (tmp_path / "empty").mkdir()
    rows = {row["report"]: row for row in index.list_reports(tmp_path)}
    assert set(rows) == {"seeds", "none", "broken", "stopped"}
    of_seeds = rows["seeds"]
    assert of_seeds.pop("rendered").endswith(" UTC")
    assert of_seeds == {
        "report": "seeds",
        "models": "cyclegan, default (2 runs); uvcgan, default",
        "data": "my <set>",
        "pairs": "1,440; 1,440",
        "KID of fake_a": "0.60; 0.25",
        "KID of fake_b": "0.20; 2.00",
        "state": "whole",
    }
    assert rows["none"]["models"] is None and rows["none"]["state"] == "whole"
    assert rows["broken"]["state"] == "04 failed" and rows["stopped"]["state"] == "incomplete"


@pytest.mark.parametrize(
    "told", [None, '{"', "{}", "[]", '{"rendered": 1, "failed": [], "trainings": [{"arch": "x"}]}']
)
def test_page_that_says_nothing_of_itself_is_still_listed(tmp_path, told):
    head = "" if told is None else f'<meta name="ganlib-summary" content="{html.escape(told)}">'
    (tmp_path / "no page/report.html").mkdir(parents=True)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/report.html").write_text(f"<html>{head}<title>x</title>{INCOMPLETE}</head>")
    (row,) = index.list_reports(tmp_path)
    assert row["report"] == "old" and row["state"] == "made by another ganlib"


def test_index_is_a_page_of_links_and_no_report_is_a_sentence(make, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "RUNS", tmp_path / "none")
    monkeypatch.setattr(index, "KEPT", tmp_path / "none")
    path = tmp_path / "index.html"
    index.renew_index(tmp_path)
    assert path.read_text().count("yet: ") == 2
    make("a & b", [("cyclegan", 0, (0.5, 0.1))])
    index.renew_index(tmp_path)
    page = path.read_text()
    reports = index.to_text(index.list_reports(tmp_path), "none")
    assert '<a href="a &amp; b/report.html">a &amp; b</a>' in page
    assert "my &lt;set&gt;" in page and "my <set>" in reports and "<script" not in page
    assert "None" not in page and "None" not in reports


def test_report_in_the_folder_of_reports_renews_the_index(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "REPORTS", tmp_path)
    written = []
    monkeypatch.setattr(runner, "renew_index", lambda: written.append(1))
    for place in ("mine", "elsewhere/mine"):
        (tmp_path / place).mkdir(parents=True)
        assert runner.run([], (tmp_path / place).resolve(), "mine", False, {}) == []
    assert written == [1]


def test_damaged_run_and_a_folder_that_cannot_be_written_end_no_report(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "runs/bad").mkdir(parents=True)
    cfg = plain_config(TrainConfig.from_recipe()) | {"data_fingerprint": "f"}
    (tmp_path / "runs/bad/config.json").write_text(json.dumps(cfg))
    (tmp_path / "runs/bad/weights.safetensors").write_text("cut")
    monkeypatch.setattr(index, "RUNS", tmp_path / "runs")
    (row,) = [row for row in index.describe_runs() if row["run"] == "bad"]
    assert row["pairs"] is None and row["state"].startswith("damaged")
    (tmp_path / "file").write_text("")
    index.renew_index(tmp_path / "file")
    said = capsys.readouterr().err
    assert said.startswith("warning: no index of the reports: ") and said.count("\n") == 1


@pytest.mark.parametrize("many", [1, 2])
def test_front_says_what_its_models_were_trained_on(make, tmp_path, many):
    """Also where a run is named by two notebooks, it is one training."""
    make("seeds", [("cyclegan", seed, (0.5, 0.1)) for seed in range(many)])
    runs = sorted((tmp_path / "seeds").glob("run*"))
    told = tell_trainings([{"runs": runs}, {"runs": runs[:1]}])
    start = {1: "Models from one training of 1,440 pairs in 9 seconds, on cpu."}
    start[2] = "Models from 2 trainings of 1,440 pairs, each in 9 seconds, on cpu."
    assert start[many] in told and "my &lt;set&gt;" in told
    assert tell_trainings([{"runs": []}]) == ""
