"""Training: the step, the recipes, the run folder, and what happens when something is wrong."""

import dataclasses
import errno
import importlib
import json
import math
import os
import re
import signal
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from known import LOSSES

from ganlib import InputError, config, errors, fast_step, loop, losses, optim
from ganlib.config import RECIPES, Execution, TrainConfig
from ganlib.data.domains import Pair, to_float
from ganlib.device import out_of_memory
from ganlib.evaluate import losses as evaluate_losses
from ganlib.evaluate.health import find_warnings as warn
from ganlib.evaluate.judge import Judge
from ganlib.evaluate.translate import to_bytes, translate
from ganlib.models import build as models_build
from ganlib.models.build import load_weights, pack_weights
from ganlib.models.ema import build_ema, update_ema
from ganlib.pool import ImagePool
from ganlib.report.settings import default_parameters
from ganlib.runs import finished as runs_finished
from ganlib.runs import folder as runs_folder
from ganlib.runs.checkpoint import check_finite
from ganlib.show import plots as show_plots
from ganlib.show import progress as show_progress
from ganlib.system import files as system_files
from ganlib.system.files import NOTEBOOKS

CPU = torch.device("cpu")


def setup(cfg):
    torch.manual_seed(cfg.seed)
    nets = models_build.build_nets(cfg, CPU)
    opts, schedules = optim.build_optimizers(nets, cfg)
    return nets, opts, schedules, (ImagePool(cfg.pool_size, 0), ImagePool(cfg.pool_size, 1))


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("arch", ["cyclegan", "uvcgan"])
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_step_moves_every_network_and_reports_every_loss(tiny, arch, recipe):
    cfg = tiny(recipe, arch=arch)
    nets, opts, _, pools = setup(cfg)
    before = [weights(net) for net in nets]
    losses = fast_step.train_step(nets, opts, pools, torch.rand(2, 2, 3, 32, 32) * 2 - 1, cfg)
    assert set(losses) == {*LOSSES, "grad_g", "grad_d"}
    assert all(not torch.equal(weights(net), old) for net, old in zip(nets, before))
    assert losses["g"] == pytest.approx(
        float(losses["g_adv"] + 10 * (losses["cycle"] + 0.5 * losses["idt"])), rel=1e-5
    )
    assert losses["d_a"] == pytest.approx(
        float(losses["d_a_real"] + losses["d_a_fake"]) / 2, rel=1e-5
    )


@pytest.mark.parametrize("frozen", [0, 1])
def test_each_half_of_the_step_moves_only_its_networks(tiny, frozen):
    cfg = tiny()
    nets, opts, _, pools = setup(cfg)
    for group in opts[frozen].param_groups:
        group["lr"] = 0.0
    before = [weights(net) for net in nets]
    fast_step.train_step(nets, opts, pools, torch.rand(2, 2, 3, 32, 32) * 2 - 1, cfg)
    moved = [not torch.equal(weights(net), old) for net, old in zip(nets, before)]
    assert moved == ([False, False, True, True] if frozen == 0 else [True, True, False, False])


def test_discriminators_learn_nothing_from_the_generators_loss(tiny):
    cfg = tiny()
    nets, opts, _, pools = setup(cfg)
    between = []

    def look(*args):
        between.extend(p.grad for net in nets[2:] for p in net.parameters())
        return losses.discriminator_losses(*args)

    fast_step.train_step(
        nets,
        opts,
        pools,
        torch.rand(2, 2, 3, 32, 32) * 2 - 1,
        cfg,
        fast_step.Passes(discriminators=look),
    )
    assert between and all(grad is None for grad in between)
    assert all(p.grad is not None for net in nets for p in net.parameters())


@pytest.mark.slow
def test_two_images_of_each_domain_are_learned_by_heart(faces, tiny):
    cfg = tiny(ngf=8, ndf=8, steps=150, lr_g=2e-3, lambda_idt=1.0, decay_from=1.0)
    nets, opts, _, pools = setup(cfg)
    real_a, real_b = [part[:2].float() / 127.5 - 1 for part in faces.train]
    losses = [
        fast_step.train_step(nets, opts, pools, (real_a, real_b), cfg) for _ in range(cfg.steps)
    ]
    assert losses[-1]["cycle"] < 0.35 * losses[0]["cycle"]
    assert losses[-1]["idt"] < 0.35 * losses[0]["idt"]


@pytest.mark.slow
def test_two_runs_of_one_seed_are_equal_and_another_seed_is_not(faces, tiny, tmp_path):
    one, two, other = [
        loop.fit(tiny(seed=seed), faces, tmp_path / name)
        for name, seed in [("1", 3), ("2", 3), ("3", 4)]
    ]
    assert torch.equal(weights(one.nets.g_ab), weights(two.nets.g_ab))
    assert (tmp_path / "1/metrics.jsonl").read_text() == (tmp_path / "2/metrics.jsonl").read_text()
    assert one.metrics["test"] == two.metrics["test"]
    assert not torch.equal(weights(one.nets.g_ab), weights(other.nets.g_ab))


@pytest.mark.slow
def test_run_leaves_what_later_notebooks_read(faces, tiny, tmp_path):
    cfg = tiny(steps=7, epoch_steps=3)
    run = loop.fit(cfg, faces, tmp_path / "run")
    steps = run.history[run.history.split == "train"]
    assert list(steps.step) == list(range(1, 8)) and list(steps.epoch) == [1, 1, 1, 2, 2, 2, 3]
    assert list(run.history[run.history.split == "val"].step) == [3, 6, 7]
    again = runs_finished.load_run(tmp_path / "run")
    assert again.cfg == cfg and again.metrics == run.metrics
    assert torch.equal(weights(again.nets.d_b), weights(run.nets.d_b))
    assert again.metrics["test"] == pytest.approx(
        evaluate_losses.mean_losses(again.nets, faces.test, cfg, nullcontext()), rel=1e-5
    )
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "config.json",
        "metrics.json",
        "metrics.jsonl",
        "strip.png",
        "weights.safetensors",
    ]
    val = run.history[run.history.split == "val"]
    followed = [
        "kid_a",
        "kid_b",
        "content_ab",
        "content_ba",
        "correlation_ab",
        "correlation_ba",
        "variety_a",
        "variety_b",
    ]
    assert val[followed].notna().all(axis=None) and steps[followed].isna().all(axis=None)
    assert set(run.metrics["scores"]) == {"ema", "raw", "best"} and run.metrics["best_step"] == int(
        val.step[(val.kid_a + val.kid_b).idxmin()]
    )
    assert (
        run.metrics["flops_per_pair"] > 18 * run.metrics["flops_per_image"]
        and run.metrics["memory_mib"] > 0
    )


def test_evaluation_does_not_depend_on_the_batch_size(faces, tiny, monkeypatch):
    cfg = tiny()
    nets = setup(cfg)[0]
    whole = evaluate_losses.mean_losses(nets, faces.test, cfg, nullcontext())
    monkeypatch.setattr("ganlib.evaluate.losses.EVAL_BATCH", 2)
    assert evaluate_losses.mean_losses(nets, faces.test, cfg, nullcontext()) == pytest.approx(
        whole, rel=1e-4
    )


@pytest.mark.slow
def test_finished_run_is_reused_and_one_that_is_not_whole_is_not(faces, tiny, tmp_path, capsys):
    first = loop.fit_or_load(tiny(), faces, tmp_path)
    stamp = (first.folder / "weights.safetensors").stat().st_mtime_ns
    assert loop.fit_or_load(tiny(), faces, tmp_path).folder == first.folder
    assert (first.folder / "weights.safetensors").stat().st_mtime_ns == stamp
    (first.folder / "metrics.json").unlink()
    with pytest.raises(InputError, match="no metrics.json in it, so the run did not finish"):
        runs_finished.load_run(first.folder)
    assert (loop.fit_or_load(tiny(), faces, tmp_path).folder / "metrics.json").exists()
    capsys.readouterr()
    (first.folder / "best.safetensors").unlink()
    loop.fit_or_load(tiny(), faces, tmp_path)
    assert capsys.readouterr().out == (
        f"warning: run folder {first.folder}: the run in it was finished, but best.safetensors "
        "cannot be found; it is trained again\n"
    )


@pytest.mark.slow
def test_finished_run_is_trained_anew_only_where_that_is_asked_for(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    """By fit too; scores of another protocol are taken anew, and a new training that was stopped
    goes on."""
    first, step_on = loop.fit(tiny(), faces, tmp_path / "run"), fast_step.train_step
    metrics = json.loads((first.folder / "metrics.json").read_text())
    metrics["protocols"]["cycle"]["version"], metrics["scores"]["ema"] = 0, {}
    (first.folder / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr("ganlib.loop.train_step", None)  # not one step is taken
    again = loop.fit(tiny(), faces, first.folder)
    assert re.fullmatch(
        r"run run: finished on \d{4}-\d\d-\d\d \d\d:\d\d, so it is loaded; to train it anew set "
        r"resume to False\n",
        capsys.readouterr().out,
    )
    assert (
        again.metrics == first.metrics
        and json.loads((first.folder / "metrics.json").read_text()) == first.metrics
    )

    def stopped(*args, **kwargs):
        monkeypatch.setattr("ganlib.loop.train_step", step_on)
        signal.raise_signal(signal.SIGINT)
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", stopped)
    os.utime(first.folder / "weights.safetensors", (1, 1))
    with pytest.raises(KeyboardInterrupt):
        loop.fit(tiny(), faces, first.folder, Execution(resume=False))
    assert loop.fit(tiny(), faces, first.folder).metrics["resumed_at"] == [1]
    assert (
        loop.fit(tiny(), faces, first.folder, Execution(resume=False)).metrics["resumed_at"] == []
    )


@pytest.mark.slow
def test_run_that_breaks_off_leaves_the_finished_one_before_it(faces, tiny, tmp_path, monkeypatch):
    before = loop.fit(tiny(), faces, tmp_path / "run")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ganlib.loop.validate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(tiny(), faces, tmp_path / "run", Execution(resume=False))
    monkeypatch.undo()
    again = runs_finished.load_run(tmp_path / "run")
    assert again.metrics == before.metrics and again.history.equals(before.history)


@pytest.mark.slow
def test_folder_of_another_config_shows_the_difference(faces, tiny, tmp_path):
    loop.fit(tiny(steps=1), faces, tmp_path / "run")
    with pytest.raises(
        InputError,
        match=r"holds another config \(lr_g 0.0002 there, 0.001 now; steps 1 there, 2 now\)",
    ):
        loop.fit(tiny(steps=2, lr_g=1e-3), faces, tmp_path / "run")
    assert runs_finished.load_run(tmp_path / "run").metrics["steps"] == 1


def test_folder_with_a_broken_config_is_named(faces, tiny, tmp_path):
    (tmp_path / "config.json").write_text('{"arch": ')
    for attempt in (
        lambda: runs_finished.load_run(tmp_path),
        lambda: loop.fit(tiny(), faces, tmp_path),
    ):
        with pytest.raises(InputError, match="config.json: not a JSON file of ganlib"):
            attempt()


@pytest.mark.slow
def test_folder_of_other_data_is_refused(faces, tiny, tmp_path):
    loop.fit(tiny(steps=1), faces, tmp_path / "run")
    with pytest.raises(InputError, match="data_fingerprint"):
        loop.fit(
            tiny(steps=1),
            faces._replace(stamp=faces.stamp._replace(fingerprint="other")),
            tmp_path / "run",
        )


def test_full_disk_is_told_and_leaves_the_old_file_whole(tmp_path, monkeypatch):
    system_files.write_atomic(tmp_path / "metrics.json", "old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(system_files.os, "fsync", full)
    with pytest.raises(
        InputError,
        match=(
            r"metrics.json: no space left to write it \(3 bytes are needed, [\d,]+ are free\); "
            r"free some space"
        ),
    ):
        system_files.write_atomic(tmp_path / "metrics.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"


def test_full_disk_is_told_while_the_log_is_written(faces, tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/metrics.jsonl.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="metrics.jsonl.part: no space left to write it"):
        loop.fit(tiny(), faces, tmp_path / "run", Execution(resume=True))


def test_images_of_another_size_than_the_configs_are_refused(faces, tiny, tmp_path):
    with pytest.raises(
        InputError, match=r"image_size \(64, 64\): the data was loaded at \(32, 32\)"
    ):
        loop.fit(tiny(image_size=64), faces, tmp_path / "run")


def test_size_that_the_networks_cannot_take_stops_before_training(faces, tiny, tmp_path):
    small = faces._replace(
        **{
            split: Pair(*[part[..., :30, :30] for part in getattr(faces, split)])
            for split in ("train", "val")
        }
    )
    with pytest.raises(
        InputError,
        match="image size 30x30: CycleGANGenerator needs .*; set image_size to 28x28, for instance",
    ):
        loop.fit(tiny(image_size=30), small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_loss_that_is_not_finite_stops_with_its_name(faces, tiny, tmp_path, monkeypatch):
    def weights_that_are_not(nets, *args, generator_losses=losses.generator_losses, calls=[]):
        calls.append(1)
        if len(calls) == 3:
            next(nets.g_ab.parameters()).data.fill_(math.nan)
        return generator_losses(nets, *args)

    monkeypatch.setattr("ganlib.loop.generator_losses", weights_that_are_not)
    with pytest.raises(
        FloatingPointError, match="step 3: not finite in train: g nan, .*likely causes: "
    ):
        loop.fit(tiny(steps=20), faces, tmp_path / "run")
    assert not (tmp_path / "run/metrics.json").exists()


@pytest.mark.parametrize(
    "field, value, message",
    [
        (
            "recipe",
            "deflaut",
            "recipe 'deflaut': no such recipe; there are default, cyclegan, seed",
        ),
        ("arch", "pix2pix", "arch 'pix2pix': no such arch; there are cyclegan, uvcgan"),
        ("steps", 0, "steps 0: expected 1 or more"),
        ("steps", "many", "steps 'many': expected a whole number"),
        ("batch_size", 2.5, "batch_size 2.5: expected a whole number"),
        ("lr_g", math.nan, "lr_g nan: expected 0 or more"),
        ("precision", "half", "precision 'half': no such precision"),
        ("image_size", -1, "image_size"),
        ("image_size", (64, 64, 3), "image_size"),
        ("decay_from", 1.5, "decay_from 1.5: expected a share"),
        ("n_blocks", -1, "n_blocks -1: expected 0 or more"),
        ("n_blocks", 9.0, "n_blocks 9.0: expected a whole number"),
        ("seed", -1, "seed -1: expected 0 or more"),
        ("ngff", 8, "ngff: no such field of TrainConfig; there are"),
    ],
)
def test_config_names_what_it_cannot_use(field, value, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as caught:
        TrainConfig.from_recipe(**{field: value})
    assert "\n" not in str(caught.value)


def test_blocks_of_a_generator_that_has_none_are_refused():
    with pytest.raises(
        InputError,
        match=(
            "n_blocks 9: only the generators of arch cyclegan have residual blocks; leave n_blocks "
            "out"
        ),
    ):
        TrainConfig.from_recipe(arch="uvcgan", n_blocks=9)


# Names as they were when there was no field of config.ADDED: a digest that changes loses every run
# made before.
@pytest.mark.parametrize(
    "values, name",
    [
        ({}, "cyclegan-default-62775282"),
        ({"recipe": "seed"}, "cyclegan-seed-3b9887d4"),
        (
            dict(arch="uvcgan", ngf=8, ndf=32, steps=360, epoch_steps=72, lr_g=5e-4, lr_d=5e-4),
            "uvcgan-default-e3e2ac8d",
        ),
        (
            dict(arch="uvcgan", recipe="seed", image_size=(32, 48), lambda_idt=0.0, seed=3),
            "uvcgan-seed-5bb82d47",
        ),
    ],
)
def test_names_of_runs_stay_what_they_were(values, name):
    assert TrainConfig.from_recipe(**(config.ADDED | values)).name("0" * 64) == name


def test_fields_that_came_later_tell_runs_apart_unless_they_are_as_before():
    changed = {
        "n_blocks": 9,
        "d_coarse": 0.5,
        "coarse_until": 0.5,
        "refine": 8,
        "refine_input": False,
        "idt_every": 2,
        "shift": 1,
        "flip": True,
        "d_norm": "spectral",
        "parent": "run@0123456789ab",
    }
    assert set(changed) == set(config.ADDED)
    plain = TrainConfig.from_recipe("cyclegan", d_coarse=0.25)
    names = {plain.name("")}
    for field, value in changed.items():
        names.add(dataclasses.replace(plain, **{field: value}).name(""))
    assert len(names) == 1 + len(changed)


def test_every_field_that_came_later_is_known_as_such():
    first = {
        "arch",
        "recipe",
        "image_size",
        "steps",
        "batch_size",
        "epoch_steps",
        "ngf",
        "ndf",
        "seed",
        "precision",
        "d_layers",
        "global_score",
        "pool_size",
        "lr_g",
        "lr_d",
        "scale_lr",
        "beta1",
        "decay_from",
        "init",
        "ema",
        "lambda_cycle",
        "lambda_idt",
        "resize_conv",
        "pre_norm",
        "vit_norm",
    }
    assert {field.name for field in dataclasses.fields(TrainConfig)} == first | set(config.ADDED)


@pytest.mark.slow
def test_run_folder_of_before_a_field_was_added_is_the_same_run(faces, tiny, tmp_path):
    run = loop.fit(tiny(steps=2), faces, tmp_path)
    old = json.loads((tmp_path / "config.json").read_text())
    del old["n_blocks"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert runs_finished.load_run(tmp_path).cfg == run.cfg
    with pytest.raises(
        InputError, match=r"another config \(n_blocks 6 there, 9 now\): choose another folder"
    ):
        runs_folder.claim_run_folder(tmp_path, tiny(steps=2, n_blocks=9), faces.fingerprint)
    runs_folder.claim_run_folder(tmp_path, run.cfg, faces.fingerprint)
    runs_folder.show_difference(
        "a checkpoint", old, config.plain_config(run.cfg) | {"data_fingerprint": faces.fingerprint}
    )
    assert tiny(n_blocks=9).name("") != tiny(n_blocks=6).name("") == tiny().name("")


@pytest.mark.slow
def test_nine_blocks_are_the_papers_generator(faces, tiny, tmp_path):
    nets = models_build.build_nets(TrainConfig.from_recipe(n_blocks=9), torch.device("meta"))
    assert [sum(p.numel() for p in net.parameters()) for net in nets[:2]] == [11_378_179] * 2
    run = loop.fit(tiny(n_blocks=9, steps=2), faces, tmp_path)
    assert len(run.ema.g_ab.blocks) == 9 and runs_finished.load_run(tmp_path).cfg.n_blocks == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights, computed", [({"lambda_idt": 0.0}, {"cycle"}), ({"lambda_cycle": 0.0}, set())]
)
def test_run_without_a_loss_says_nothing_of_it(faces, tiny, tmp_path, weights, computed):
    run = loop.fit(tiny(steps=3, epoch_steps=2, **weights), faces, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for told in (*lines, run.metrics["test"]):
        assert {"cycle", "idt"} & set(told) == computed
    assert run.history.idt.isna().all() and run.history.cycle.notna().all() == bool(computed)
    panels = [
        panel
        for panel in show_plots.plot_losses(run.history, ["g_adv", "cycle", "idt"]).axes
        if panel.has_data()
    ]
    assert len(panels) == 1 + len(computed)
    assert warn(run.history, 3) == {}


def test_recipes_are_the_studys_and_the_published_one():
    study, default = TrainConfig.from_recipe("seed"), TrainConfig.from_recipe("cyclegan")
    assert (
        study.lr_g,
        study.lr_d,
        study.beta1,
        study.pool_size,
        study.global_score,
        study.d_layers,
    ) == (1e-3, 4e-3, 0.9, 0, True, 3)
    assert (
        default.lr_g,
        default.lr_d,
        default.beta1,
        default.pool_size,
        default.global_score,
        default.d_layers,
    ) == (2e-4, 2e-4, 0.5, 50, False, 2)
    assert (default.lambda_cycle, default.lambda_idt, default.init) == (10.0, 0.5, "normal")


@pytest.mark.parametrize(
    "recipe, start, middle, end", [("cyclegan", 4e-4, 4e-4, 4e-5), ("seed", 1e-3, 1e-3, 1e-3)]
)
def test_rates_are_constant_then_fall_linearly(tiny, recipe, start, middle, end):
    cfg = tiny(recipe, steps=20, batch_size=4)
    _, opts, schedules, _ = setup(cfg)
    rates = []
    for _ in range(cfg.steps):
        rates.append(opts[0].param_groups[0]["lr"])
        opts[0].step(), schedules[0].step()
    assert [rates[0], rates[10], rates[19]] == pytest.approx([start, middle, end])


def test_pool_returns_what_it_was_given_and_replays_half():
    pool = ImagePool(50, seed=0)
    images = torch.arange(4000.0).reshape(1000, 4, 1, 1, 1)
    returned = [pool.swap(batch) for batch in images]
    assert (
        torch.equal(torch.cat(returned[:12]), images[:12].flatten(0, 1)) and len(pool.images) == 50
    )
    fresh = sum(
        bool(torch.equal(out, batch))
        for got, given in zip(returned[13:], images[13:])
        for out, batch in zip(got, given)
    )
    assert 0.45 < fresh / (987 * 4) < 0.55
    assert set(torch.cat(returned).flatten().tolist()) <= set(range(4000))
    assert torch.equal(ImagePool(0, seed=0).swap(images[0]), images[0])


@pytest.mark.slow
def test_bfloat16_trains_near_float32(faces, tiny, tmp_path):
    exact, rounded = [
        loop.fit(tiny(precision=p), faces, tmp_path / p) for p in ("float32", "bfloat16")
    ]
    assert rounded.metrics["precision"] == "bfloat16"
    assert rounded.metrics["test"]["cycle"] == pytest.approx(
        exact.metrics["test"]["cycle"], rel=0.1
    )
    assert not torch.equal(weights(exact.nets.g_ab), weights(rounded.nets.g_ab))


@pytest.mark.slow
def test_metrics_are_json_that_says_what_was_run(faces, tiny, tmp_path):
    loop.fit(tiny(), faces, tmp_path / "run")
    figures = json.loads((tmp_path / "run/metrics.json").read_text())
    assert figures["pairs"] == 12 and figures["data"]["counts"] == [[12, 5, 5], [14, 5, 5]]
    assert figures["protocols"]["swd"]["n"] == {"a": 5, "b": 5} and figures["pairs_per_second"] > 0
    assert set(figures["test"]) == set(LOSSES), "the study's figures, term by term"


def test_running_means_are_the_plain_formula(tiny):
    nets = setup(tiny())[0]
    ema, expected = build_ema(nets.g_ab), None
    for t in range(12):
        with torch.no_grad():
            for p in nets.g_ab.parameters():
                p.add_(0.1 * (t + 1))
        update_ema(ema, nets.g_ab, 0.6)
        decay = min(0.6, (1 + t) / (10 + t)) if t else 0.0
        expected = weights(nets.g_ab) * (1 - decay) + (expected * decay if t else 0)
    torch.testing.assert_close(weights(ema.module), expected)
    assert not torch.allclose(weights(ema.module), weights(nets.g_ab))


def test_running_means_start_again_from_weights_that_are_loaded(tiny):
    """models.md 3.4: means made before a load, and not of it, are random weights for thousands
    of steps."""
    (nets, *_), (trained, *_) = setup(tiny()), setup(tiny(seed=5))
    emas = [build_ema(net) for net in nets[:2]]
    for _ in range(20):
        update_ema(emas[0], nets.g_ab, 0.9)
    load_weights(nets, emas, {name: net.state_dict() for name, net in trained._asdict().items()})
    assert torch.equal(weights(emas[0].module), weights(trained.g_ab)) and torch.equal(
        weights(emas[1].module), weights(trained.g_ba)
    )
    with torch.no_grad():
        next(nets.g_ab.parameters()).add_(1.0)
    update_ema(emas[0], nets.g_ab, 0.9)
    assert torch.equal(weights(emas[0].module), weights(nets.g_ab)), (
        "the first step after a load is the mean's first"
    )


def test_running_means_come_back_from_a_checkpoint(tiny):
    (nets, *_), (others, *_) = setup(tiny()), setup(tiny(seed=5))
    emas, restored = [build_ema(net) for net in nets[:2]], [build_ema(net) for net in others[:2]]
    update_ema(emas[0], nets.g_ab, 0.9)
    with torch.no_grad():
        next(nets.g_ab.parameters()).add_(1.0)
    update_ema(emas[0], nets.g_ab, 0.9)
    load_weights(others, restored, pack_weights(nets, emas))
    assert torch.equal(weights(restored[0].module), weights(emas[0].module)) and not torch.equal(
        weights(restored[0].module), weights(others.g_ab)
    )
    with torch.no_grad():
        for net in (nets, others):
            next(net.g_ab.parameters()).add_(1.0)
    update_ema(emas[0], nets.g_ab, 0.9), update_ema(restored[0], others.g_ab, 0.9)
    assert torch.equal(weights(restored[0].module), weights(emas[0].module)), (
        "and go on as they would have"
    )


def test_floats_are_translated_as_the_bytes_that_they_stand_for(faces, tiny):
    nets = setup(tiny())[0]
    ours = translate(*nets[:2], Pair(*map(to_float, faces.test)))
    theirs = translate(*nets[:2], faces.test)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for net in nets:
        net.double()  # images come in the precision of the networks
    torch.testing.assert_close(
        translate(*nets[:2], faces.test)["rec_a"], theirs["rec_a"], atol=1e-4, rtol=0
    )


GOOD = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize(
    "images, message",
    [
        (GOOD + 100, r"floats from 100 to 100, expected \[-1, 1\]; x / 127.5 - 1"),
        (GOOD - 1.5, "floats from -1.5"),
        (GOOD * math.nan, r"a pixel is not a number \(NaN\); expected floats in \[-1, 1\]"),
        (GOOD.int(), "of torch.int32: expected uint8 in 0 to 255, or floats"),
        (GOOD.bool(), "of torch.bool: expected uint8"),
        (GOOD.numpy(), "not a ndarray"),
        (
            GOOD[0],
            r"of shape \(3, 32, 32\): expected \(N, 3, H, W\), one image or more; images\[None\] "
            r"makes a batch",
        ),
        (GOOD[:0], r"of shape \(0, 3, 32, 32\): expected \(N, 3, H, W\), one image or more"),
        (GOOD[:, :1], "makes RGB of grey"),
        (GOOD[:, [0, 1, 2, 0]], "leaves transparency out"),
        (GOOD.permute(0, 2, 3, 1), "puts the channels first"),
        (None, "not a NoneType"),
        (GOOD[..., :30], "image size 32x30: CycleGANGenerator needs"),
    ],
)
def test_images_that_cannot_be_translated_are_named_in_one_line(faces, tiny, images, message):
    g_ab, g_ba = setup(tiny())[0][:2]
    with pytest.raises(InputError, match=message) as told:
        translate(g_ab, g_ba, Pair(GOOD, images))
    assert "\n" not in str(told.value) and str(told.value).startswith(("pair.b", "image size"))


def test_images_of_other_values_are_refused_wherever_they_are_looked_at(faces, tiny):
    wrong = to_float(faces.test.a) * 100
    judge = Judge(faces)
    calls = [
        lambda: to_float(wrong),
        lambda: to_bytes(wrong),
        lambda: judge.check(wrong, wrong),
        lambda: judge.nearest_training(wrong, "a"),
        lambda: judge.score(judge.landmarks()["untranslated"] | {"fake_b": wrong}),
        lambda: judge.probe.look(wrong),
        lambda: show_plots.show_grid([wrong], ["wrong"]),
        lambda: show_plots.show_grid([faces.test.a, faces.test.b[..., :16]], "ab"),
        lambda: translate(*setup(tiny())[0][:2], (wrong, wrong)),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
    assert to_bytes(faces.test.a) is faces.test.a


@pytest.mark.slow
def test_means_are_what_a_run_is_scored_by(faces, tiny, tmp_path):
    run = loop.fit(tiny(steps=6, epoch_steps=2, lr_g=5e-3), faces, tmp_path / "run")
    assert not torch.equal(weights(run.ema.g_ab), weights(run.nets.g_ab))
    by = {name: run.translate(faces.test, name)["fake_b"] for name in ("ema", "raw")}
    with torch.no_grad():
        assert torch.allclose(
            by["ema"], run.ema.g_ab(by_float := faces.test.a.float() / 127.5 - 1), atol=1e-5
        )
        assert torch.allclose(by["raw"], run.nets.g_ab(by_float), atol=1e-5)
    with pytest.raises(
        InputError, match="weights 'last': no such weights; there are ema, raw, best"
    ):
        run.translate(faces.test, "last")
    scores = run.metrics["scores"]
    assert scores["ema"]["cycle_ab"] != scores["raw"]["cycle_ab"]


def test_best_weights_are_those_of_the_lowest_kid(faces, tiny, tmp_path, monkeypatch):
    kids, kept = iter([3.0, 1.0, 2.0]), []

    def validate(nets, emas, *_):
        kid = next(kids)
        kept.append(weights(emas[0].module).clone())
        return dict.fromkeys(LOSSES, 0.5) | {"kid_a": kid, "kid_b": kid}, None

    monkeypatch.setattr("ganlib.loop.validate", validate)
    run = loop.fit(tiny(steps=6, epoch_steps=2), faces, tmp_path / "run")
    assert (
        run.metrics["best_step"] == 4
        and torch.equal(weights(run.best.g_ab), kept[1])
        and torch.equal(weights(run.ema.g_ab), kept[2])
    )
    assert not torch.equal(kept[1], kept[2])


@pytest.mark.slow
def test_validation_judges_the_fakes_of_the_means_each_in_its_domain(faces, tiny):
    cfg, uneven = tiny(), faces._replace(val=Pair(faces.val.a, faces.val.b[:4]))
    uneven = uneven._replace(attributes=None, drawn=None)
    nets, others = setup(cfg)[0], setup(tiny(seed=5))[0]
    judge, emas = Judge(uneven, "val"), [build_ema(net) for net in others[:2]]
    line, _ = loop.validate(nets, emas, judge, cfg, nullcontext())
    real_a, real_b = [side.float() / 127.5 - 1 for side in uneven.val]
    with torch.no_grad():
        assert (
            line.items()
            >= judge.check(fake_a=others.g_ba(real_b), fake_b=others.g_ab(real_a)).items()
        )
    assert {name: line[name] for name in LOSSES} == evaluate_losses.mean_losses(
        nets, judge.pair, cfg, nullcontext()
    )


@pytest.mark.slow
def test_equal_images_in_validation_do_not_end_a_training(faces, tiny, tmp_path):
    same = faces._replace(val=Pair(*[side[:1].expand(5, -1, -1, -1).clone() for side in faces.val]))
    assert len(loop.fit(tiny(), same, tmp_path / "run").history)


def history(n=1000, val=None, **losses):
    """A training of n steps with fine losses, but for those given (numbers or functions of the
    step)."""
    fine = {"d_a": 0.2, "d_b": 0.2, "cycle": 0.3} | losses
    rows = [
        {"split": "train", "step": i}
        | {name: value(i) if callable(value) else value for name, value in fine.items()}
        for i in range(1, n + 1)
    ]
    quality = {"variety_a": 0.9, "variety_b": 0.9, "content_ab": 0.6, "content_ba": 0.6} | (
        val or {}
    )
    return pd.DataFrame([*rows, {"split": "val", "step": n} | fine | quality])


@pytest.mark.parametrize(
    "told, change",
    [
        ("d_b wins", dict(d_b=lambda i: 0.01 if i > 800 else 0.2)),
        ("d_a wins", dict(d_a=0.001)),
        ("cycle climbs", dict(cycle=lambda i: 0.3 if i < 700 else 0.5)),
        ("fake_a alike", dict(val={"variety_a": 0.1})),
        ("ba copies", dict(val={"content_ba": 0.3, "kid_a": 1.3})),
        ("ab inverts", dict(val={"correlation_ab": -0.6})),
    ],
)
def test_what_goes_wrong_is_told_with_a_fix(told, change):
    found = warn(
        history(**change), 1000, {"kid_a": 1.4, "kid_b": 1.4}, {"kid_a": 5.0, "kid_b": 5.0}
    )
    assert list(found) == [told] and ": try " in found[told] and "\n" not in found[told]
    assert_names_are_settable(found[told])


def assert_names_are_settable(text):
    """What a warning names is a field of TrainConfig, for `settings` of notebooks 02 and 03,
    `models` of 04 and `train` of a YAML file."""
    known = {field.name for field in dataclasses.fields(TrainConfig)} | {"accumulate"}
    named = set(re.findall(r"[a-z]+(?:_[a-z]+)+|steps|seed|precision|accumulate|ngf", text)) - {
        "fake_a",
        "fake_b",
        "g_ab",
        "g_ba",
    }
    assert named and named <= known, named - known


def test_fields_that_warnings_name_can_be_set_where_they_are_read(tmp_path):
    for notebook in ("02_cyclegan", "03_uvcgan"):
        assert default_parameters(NOTEBOOKS / f"{notebook}.ipynb")["settings"] == {}
    for error in (
        errors.NotFinite(3, "train", {"g": math.nan}),
        *caught(lambda: check_finite({"g_ab": {"w": torch.tensor(math.nan)}}, 3)),
        *caught(lambda: fail_in(out_of_memory(TrainConfig(), 1), torch.OutOfMemoryError("full"))),
        *caught(
            lambda: fail_in(
                out_of_memory(TrainConfig(batch_size=1), 1), torch.OutOfMemoryError("full")
            )
        ),
    ):
        assert_names_are_settable(str(error).split("g nan")[-1])


def fail_in(context, error):
    with context:
        raise error


def caught(call):
    with pytest.raises((ValueError, ArithmeticError)) as error:
        call()
    return [error.value]


def test_inverting_is_told_unless_the_domains_are_negatives_of_each_other():
    inverting = history(val={"correlation_ab": -0.6, "correlation_ba": -0.2})
    assert (
        list(warn(inverting, 1000))
        == list(warn(inverting, 1000, {"kid_b": 1.4}, {"kid_b": 5.0}))
        == ["ab inverts"]
    )
    assert warn(inverting, 1000, {"kid_b": 5.0}, {"kid_b": 0.1}) == {}
    assert warn(inverting, 3000) == {}, "at the start"


def test_what_goes_well_or_has_only_begun_is_not_told():
    assert warn(history(), 1000) == {}
    assert warn(history(d_a=lambda i: 0.01 if 300 < i < 380 else 0.2), 1000) == {}, "not for long"
    assert warn(history(100, d_a=0.01, val={"variety_a": 0.01, "content_ab": 0.0}), 1000) == {}, (
        "at the start all is alike"
    )
    assert warn(history(cycle=lambda i: 1 / i), 1000) == {}
    assert (
        warn(history(val={"content_ba": 0.3, "kid_a": 0.4}), 1000, {"kid_a": 1.4, "kid_b": 1.4})
        == {}
    ), "near its input and in style: a good one"


@pytest.mark.slow
def test_log_of_a_batch_job_has_a_line_from_time_to_time(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    importlib.import_module("ipykernel.kernelapp")  # no notebook by itself
    loop.fit(tiny(steps=20), faces, tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("ganlib.show.progress.EVERY", 0)
    loop.fit(tiny(steps=20), faces, tmp_path / "told")
    said = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("cyclegan, recipe cyclegan")
    ]
    assert [f"| {step}/20 [" in line for step, line in zip((0, 10, 20), said, strict=True)] == [
        True
    ] * 3
    monkeypatch.setenv("RANK", "1")
    with show_progress.Progress("of a second process", 20):
        assert capsys.readouterr().err == ""
    monkeypatch.delenv("RANK")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        sys, "stderr", SimpleNamespace(isatty=lambda: False, write=full, flush=full)
    )
    with show_progress.Progress("told to nobody, and goes on", 20):
        pass


@pytest.mark.slow
def test_broken_training_is_told_once_while_it_runs_and_kept(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ganlib.evaluate.health.LEAST", 2)
    monkeypatch.setattr("ganlib.evaluate.judge.Judge.untranslated", {"kid_a": 9.0, "kid_b": 9.0})
    monkeypatch.setattr("ganlib.evaluate.judge.Judge.inverted", {"kid_a": 9.0, "kid_b": 9.0})
    monkeypatch.setattr(
        "ganlib.evaluate.judge.Judge.check",
        lambda self, fake_a, fake_b, suffix="": {
            f"{name}{suffix}": 0.03 if name == "content_ab" else 9.0 if name == "kid_b" else 0.7
            for name in ("kid_a", "kid_b", "content_ab", "content_ba", "variety_a", "variety_b")
        },
    )
    run = loop.fit(tiny(steps=8, epoch_steps=2), faces, tmp_path / "run")
    (warning,) = run.metrics["warnings"]
    assert warning.startswith(
        "step 4: g_ab only copies its input (content distance 0.03, of 1 for two strangers)"
    )
    assert capsys.readouterr().out.count(f"warning: {warning}\n") == 1


def test_flops_are_the_spec_s(tiny):
    """models.md and issue 5: about 85 GFLOP a pair for the CycleGAN generator at ngf 64; a
    product of m x k by k x n counts 2 m k n."""
    from ganlib.bench.flops import count_flops

    counted = count_flops(TrainConfig.from_recipe("seed", ngf=64, ndf=64))
    assert 70e9 < counted["flops_per_pair"] < 120e9
    # One convolution of a residual block
    block = 2 * 256 * 256 * 9 * 16 * 16
    assert counted["flops_per_image"] > 12 * block
