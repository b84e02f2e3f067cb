"""`ganlib check`: what is right is found right, what is broken is found out."""

import json

import pytest
import torch

from ganlib.bench import check, check_command
from ganlib.step import plain_step

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(check, "STEPS", 3)
    monkeypatch.setattr(check, "SMALL", check.SMALL | {"ngf": 4, "ndf": 4, "image_size": 24})


@pytest.mark.slow
def test_step_is_found_right_and_one_that_differs_is_found_out(monkeypatch):
    assert all(seen.ok for seen in check.check_steps("cyclegan", CPU))

    def other(nets, opts, pools, real_a, real_b, cfg):
        cfg = type(cfg)(**(vars(cfg) | {"lambda_cycle": 1.01 * cfg.lambda_cycle}))
        return plain_step(nets, opts, pools, real_a, real_b, cfg)

    monkeypatch.setattr(check, "plain_step", other)
    wrong = [seen.what for seen in check.check_steps("cyclegan", CPU) if not seen.ok]
    assert any("float64, losses" in what for what in wrong)
    assert any("float32, losses" in what for what in wrong)


@pytest.mark.slow
def test_rates_of_a_gpu_which_are_rounded_make_no_step_wrong(monkeypatch):
    """On a GPU a rate is a tensor of float32. What that rounds off grows to 6 % of a loss in 20
    steps of float64, if only one of two steps has it."""
    build = check.build_optimizers

    def rounded(nets, cfg):
        opts, schedules = build(nets, cfg)
        for opt, schedule in zip(opts, schedules):
            rate = float(torch.tensor(opt.defaults["lr"], dtype=torch.float32))
            opt.defaults["lr"] = opt.param_groups[0]["lr"] = schedule.base_lrs[0] = rate
        return opts, schedules

    monkeypatch.setattr(check, "STEPS", 20)
    monkeypatch.setattr(check, "build_optimizers", rounded)
    assert [seen for seen in check.check_steps("cyclegan", CPU) if not seen.ok] == []


def test_step_that_goes_on_with_what_is_not_finite_is_found_out(monkeypatch):
    assert all(seen.ok for seen in check.check_not_finite(CPU))
    monkeypatch.setattr("ganlib.fast_step.guard", lambda opts, losses: losses)
    assert not any(seen.ok for seen in check.check_not_finite(CPU))


def test_discriminators_that_do_not_notice_are_found_out(monkeypatch):
    build = check.build_optimizers

    def deaf(nets, cfg):
        opts, schedules = build(nets, cfg)
        opts[1].found_inf = torch.zeros(())
        return opts, schedules

    monkeypatch.setattr(check, "build_optimizers", deaf)
    assert not check.check_not_finite(CPU)[0].ok  # their weights are no numbers then


@pytest.mark.slow
def test_killed_run_is_found_equal(monkeypatch):
    run = check.KILLED_RUN | {"ngf": 4, "ndf": 4, "steps": 24, "epoch_steps": 12}
    monkeypatch.setattr(check, "KILLED_RUN", run)
    rows = check.check_killed(CPU)
    assert [(seen.value, seen.ok) for seen in rows] == [(0.0, True), (0.0, True)]


@pytest.mark.slow
def test_run_that_fails_is_told_with_what_it_said(monkeypatch):
    monkeypatch.setattr(check, "FACES", check.FACES | {"image_size": 31})
    rows = check.check_killed(CPU)
    assert not any(seen.ok for seen in rows) and "image_size" in rows[-1].what


def test_what_is_no_number_is_wrong():
    assert not check.row("", check.furthest(None, {}), 1.0).ok
    assert not check.row("", check.worst([0.0, float("nan")]), 1.0).ok


@pytest.mark.parametrize("value, status, said", [(0.5, 0, "all 1 are"), (2.0, 1, "1 of 1 are not")])
def test_command_tells_and_writes_what_was_found(
    tmp_path, monkeypatch, capsys, value, status, said
):
    found = {
        "rows": [check.row("a thing", value, 1.0)],
        "speed": [{"batch_size": 1, "error": "full"}],
    }
    monkeypatch.setattr(check, "check_machine", lambda device: found)
    assert check_command.main(["--device", "cpu", "--json", str(tmp_path / "c.json")]) == status
    out = capsys.readouterr().out
    assert said in out and ("WRONG  a thing" in out) == bool(status) and "batch   1: full" in out
    told = json.loads((tmp_path / "c.json").read_text())
    assert told["rows"][0]["value"] == value and "torch" in told["machine"]


def test_device_that_is_not_there_is_refused(capsys):
    assert check_command.main(["--device", "cuda:7"]) == 2
    assert "error: --device cuda:7" in capsys.readouterr().err
