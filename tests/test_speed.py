"""The fast step against the plain one, in pieces, from a checkpoint, and in several processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
import torch
from known import GRADS, LOSSES
from torch import nn

from ganlib import fast_step, loop, optim, train
from ganlib.bench import timing as bench_timing
from ganlib.bench.flops import count_flops
from ganlib.config import Execution
from ganlib.errors import InputError
from ganlib.models.build import build_nets
from ganlib.models.common import InstanceNorm, ReflectionPad
from ganlib.models.plain import plain_copy
from ganlib.models.vit import attend
from ganlib.parallel import launch as parallel_launch
from ganlib.pool import ImagePool, PlainPool
from ganlib.runs import checkpoint as runs_checkpoint
from ganlib.runs import folder as runs_folder
from ganlib.step import plain_step

ARCHS = pytest.mark.parametrize(
    "arch, recipe",
    [("cyclegan", "default"), ("cyclegan", "seed"), ("uvcgan", "cyclegan"), ("uvcgan", "seed")],
)


def both(cfg):
    """The fast networks, optimizers and pools of a config, and the plain ones with the same
    weights."""
    torch.manual_seed(0)
    nets = build_nets(cfg, torch.device("cpu"))
    for net in nets:
        for name, p in net.named_parameters():
            if name.endswith("rezero"):
                p.data.fill_(0.5)  # else attention would add nothing and get no gradient
    plain = plain_copy(nets)
    opts = optim.build_optimizers(nets, cfg)[0]
    plain_opts = [
        torch.optim.Adam(
            [p for net in pair for p in net.parameters()],
            lr=opt.defaults["lr"],
            betas=opt.defaults["betas"],
            foreach=False,
        )
        for opt, pair in zip(opts, (plain[:2], plain[2:]))
    ]
    return (nets, opts, [ImagePool(cfg.pool_size, s) for s in (0, 1)]), (
        plain,
        plain_opts,
        [PlainPool(cfg.pool_size, s) for s in (0, 1)],
    )


def batch(n, side=32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(2, n, 3, side, side, generator=rng) * 2 - 1


@pytest.mark.slow
@ARCHS
@pytest.mark.parametrize(
    "parts, layout, dtype",
    [
        (1, torch.contiguous_format, torch.float32),
        (2, torch.contiguous_format, torch.float32),
        (2, torch.contiguous_format, torch.float64),
        (1, torch.channels_last, torch.float64),
    ],
)
def test_fast_step_is_the_plain_one(tiny, arch, recipe, parts, layout, dtype):
    """Losses to 1e-5 and every gradient to 1e-4, relative, over one step, generators and
    discriminators. In channels_last, as on a GPU, the norm rounds otherwise (gradients to 1e-3
    in float32), so float64 has to show that it is the same."""
    cfg = tiny(recipe, arch=arch, batch_size=4, ngf=8, ndf=8)
    torch.set_default_dtype(dtype)
    try:
        (nets, opts, pools), (plain, plain_opts, plain_pools) = both(cfg)
        for net in nets:
            net.to(memory_format=layout)
        for opt in (*opts, *plain_opts):
            # The discriminators' gradients are to be of the same weights
            opt.step = lambda: None
        losses = fast_step.train_step(
            nets, opts, pools, batch(4), cfg, fast_step.Passes(parts=parts)
        )
        expected = plain_step(plain, plain_opts, plain_pools, *batch(4), cfg)
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(losses) == set(expected)
    for name in losses:
        torch.testing.assert_close(
            losses[name], expected[name], rtol=1e-4 if name.startswith("grad") else 1e-5, atol=0
        )
    for net, other in zip(nets, plain):
        for (name, p), q in zip(net.named_parameters(), other.parameters()):
            # what cancels out but for rounding (a bias before a normalisation) is held against the
            # network's largest gradient; of what does not, float64 leaves nothing out
            scale = max(
                q.grad.norm(),
                (0.1 if dtype == torch.float32 else 1e-6)
                * max(x.grad.norm() for x in other.parameters()),
            )
            assert (p.grad - q.grad).norm() < 1e-4 * scale, name


@pytest.mark.parametrize(
    "lambda_cycle, lambda_idt, images",
    [(10.0, 0.0, 16), (0.0, 0.5, 8), (0.0, 0.0, 8), (2.0, 0.1, 24)],
)
@pytest.mark.parametrize("arch", ["cyclegan", "uvcgan"])
def test_loss_without_a_weight_is_not_computed_in_either_step(
    tiny, arch, lambda_cycle, lambda_idt, images
):
    """Networks brought to float64 after they were made: nothing in a step may be of a precision
    of its own."""
    cfg = tiny(arch=arch, batch_size=4, lambda_cycle=lambda_cycle, lambda_idt=lambda_idt)
    (nets, _, pools), (plain, _, plain_pools) = both(cfg)
    seen = {}
    for name, side in (("fast", nets), ("plain", plain)):
        for net in side:
            net.double()
        for net in side[:2]:
            net.register_forward_hook(
                lambda _, inputs, __, name=name: seen.update(
                    {name: seen.get(name, 0) + len(inputs[0])}
                )
            )
    opts = optim.build_optimizers(nets, cfg)[0]
    plain_opts = [
        torch.optim.Adam(group["params"], lr=group["lr"], betas=group["betas"])
        for opt in optim.build_optimizers(plain, cfg)[0]
        for group in opt.param_groups
    ]
    losses = fast_step.train_step(nets, opts, pools, batch(4).double(), cfg)
    expected = plain_step(plain, plain_opts, plain_pools, *batch(4).double(), cfg)
    assert seen == {"fast": images, "plain": images}
    absent = {"cycle": not lambda_cycle, "idt": not lambda_cycle or not lambda_idt}
    assert (
        set(losses) == set(expected) == {name for name in (*LOSSES, *GRADS) if not absent.get(name)}
    )
    for name in losses:
        torch.testing.assert_close(losses[name], expected[name], rtol=1e-9, atol=0)
    for net, other in zip(nets, plain):
        for p, q in zip(net.parameters(), other.parameters()):
            # Adam's step is 4e-4, and of a bias before a norm it is rounding
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_floating_point_operations_are_those_of_what_is_computed(tiny):
    for weights, pair in (
        ({}, 443_777_024),
        ({"lambda_idt": 0.0}, 299_368_448),
        ({"lambda_cycle": 0.0}, 150_142_976),
    ):
        cfg = tiny(ngf=8, **weights)
        assert count_flops(cfg) == {"flops_per_image": 24_870_912, "flops_per_pair": pair}
        assert bench_timing.check(cfg, torch.device("cpu")) < 1e-4


def distance(weights, others):
    return sum((p - q).square().sum() for p, q in zip(weights, others)).sqrt()


@pytest.mark.slow
@ARCHS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_are_the_same_after_20_steps(tiny, arch, recipe, dtype):
    """In float64, which rounds to below Adam's eps, to a millionth of the way they went. In
    float32 Adam makes whole steps of rounding, as it divides by the gradient's size: no farther
    apart there than 3 times what the plain steps are from themselves, where their images are
    changed in the seventh digit."""
    cfg = tiny(recipe, arch=arch, steps=1000, pool_size=3)
    torch.set_default_dtype(dtype)
    try:
        fast, plain = both(cfg)
        shaken, start = (
            both(cfg)[1],
            [p.detach().clone() for net in plain[0] for p in net.parameters()],
        )
        for step in range(20):
            real = batch(2, seed=step)
            fast_step.train_step(*fast, real, cfg)
            plain_step(*plain, *real, cfg)
            if dtype == torch.float32:
                plain_step(*shaken, *real * (1 + 1e-7), cfg)
    finally:
        torch.set_default_dtype(torch.float32)
    fast, plain, shaken = [
        [p for net in nets for p in net.parameters()] for nets in (fast[0], plain[0], shaken[0])
    ]
    assert all(p.dtype == dtype for p in fast)
    apart = distance(fast, plain)
    assert apart < (
        1e-6 * distance(start, plain) if dtype == torch.float64 else 3 * distance(shaken, plain)
    ), (apart, distance(shaken, plain))


def test_norm_is_torchs_and_keeps_the_layout():
    x = torch.randn(3, 5, 6, 7)
    y = InstanceNorm(5)(last := x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(y, nn.InstanceNorm2d(5)(x))
    assert y.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()


def test_padding_in_autocast_stays_bfloat16():
    x = torch.randn(2, 3, 6, 7, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ReflectionPad(2)(x)
    assert y.dtype == torch.bfloat16 and torch.equal(y.float(), nn.ReflectionPad2d(2)(x.float()))


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_attention_is_torchs(dtype, bound):
    attention, x = nn.MultiheadAttention(32, 4, batch_first=True), torch.randn(2, 9, 32)
    expected = attention(x, x, x, need_weights=False)[0]
    found = attend(attention.to(dtype), x.to(dtype)).float()
    assert (found - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("size", [0, 1, 3, 50])
def test_pool_of_tensors_is_the_list(size):
    pool, plain = ImagePool(size, 7), PlainPool(size, 7)
    for i in range(30):
        images = torch.arange(4.0).add(4 * i).reshape(4, 1, 1, 1)
        assert torch.equal(pool.swap(images), plain.swap(images))


@pytest.mark.slow
def test_accumulation_in_fit_gives_the_same_run(faces, tiny, tmp_path):
    whole, pieces = [
        loop.fit(tiny(batch_size=4, steps=3), faces, tmp_path / str(n), Execution(accumulate=n))
        for n in (1, 4)
    ]
    for name, value in whole.metrics["test"].items():
        # Some are 0.04: Adam enlarges rounding
        assert pieces.metrics["test"][name] == pytest.approx(value, rel=1e-3, abs=2e-4), name
    assert 0 < pieces.metrics["memory_mib"] < whole.metrics["memory_mib"]
    with pytest.raises(
        InputError,
        match="accumulate 3: expected whole numbers that together divide the batch of 4 pairs",
    ):
        loop.fit(tiny(batch_size=4), faces, tmp_path / "x", Execution(accumulate=3))


def test_out_of_memory_says_what_to_set(faces, tiny, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("ganlib.loop.train_step", full)
    with pytest.raises(
        InputError,
        match="out of memory: cyclegan at 32x32, ngf 4, 4 pairs at a time; set accumulate to 2",
    ):
        loop.fit(tiny(batch_size=4), faces, tmp_path / "run")
    with pytest.raises(InputError, match="1 pairs at a time; take a smaller ngf"):
        loop.fit(tiny(batch_size=4), faces, tmp_path / "run", Execution(accumulate=4))


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("arch, recipe", [("cyclegan", "default"), ("uvcgan", "seed")])
def test_run_that_goes_on_equals_the_one_that_never_stopped(
    faces, tiny, tmp_path, monkeypatch, arch, recipe, capsys
):
    cfg = tiny(
        recipe,
        arch=arch,
        steps=9,
        epoch_steps=2,
        **({"pool_size": 3} if recipe != "seed" else {}),
    )
    whole = loop.fit(cfg, faces, tmp_path / "whole")
    step_on, calls = fast_step.train_step, []

    def stopped(*args, **kwargs):
        calls.append(1)
        if len(calls) == 6:  # the checkpoint is in the middle of a pass over the 12 images of A
            raise Stop
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", stopped)
    with pytest.raises(Stop):
        loop.fit(cfg, faces, tmp_path / "broken", Execution(checkpoint_seconds=0))
    again = loop.fit(cfg, faces, tmp_path / "broken", Execution(resume=True))
    assert "going on from step 5 of 9, by checkpoint-000000005.pt" in capsys.readouterr().out
    for name in runs_folder.FILES:
        ours, theirs = [
            runs_folder.read_weights(tmp_path / run / name, "cpu") for run in ("whole", "broken")
        ]
        assert all(
            torch.equal(ours[net][key], theirs[net][key]) for net in ours for key in ours[net]
        )
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (
        tmp_path / "broken/metrics.jsonl"
    ).read_text()
    assert (
        again.metrics["test"] == whole.metrics["test"]
        and again.metrics["best_step"] == whole.metrics["best_step"]
    )
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )


@pytest.mark.slow
def test_run_that_goes_on_with_other_threads_or_precision_says_so_and_keeps_it(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    """Another number of threads adds up in another order; "auto" takes bfloat16 on a machine
    that has it."""
    step_on, calls = fast_step.train_step, []

    def stopped(*args, **kwargs):
        calls.append(1)
        if len(calls) in (2, 5):
            raise Stop
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", stopped)
    before = torch.get_num_threads()
    try:
        for threads, hardware in ((2, False), (2, False), (1, True)):
            torch.set_num_threads(threads)
            monkeypatch.setattr("ganlib.device.has_bfloat16", lambda _, hardware=hardware: hardware)
            if threads == 2:
                with pytest.raises(Stop):
                    loop.fit(
                        tiny(precision="auto"),
                        faces,
                        tmp_path,
                        Execution(resume=True, checkpoint_seconds=0),
                    )
                assert "rounds otherwise" not in capsys.readouterr().out, (
                    "it goes on as it was begun"
                )
            else:
                run = loop.fit(
                    tiny(precision="auto"),
                    faces,
                    tmp_path,
                    Execution(resume=True, checkpoint_seconds=0),
                )
    finally:
        torch.set_num_threads(before)
    changes = "step 3: precision float32 before, bfloat16 now; threads 2 before, 1 now"
    said = capsys.readouterr().out
    assert (
        f"warning: {changes}: this rounds otherwise, so the run is not to the last bit the one "
        "that was never interrupted\n" in said
    )
    assert (
        run.metrics["resumed_otherwise"] == [changes]
        and run.metrics["threads"] == 1
        and run.metrics["resumed_at"] == [1, 3]
    )


def test_log_that_the_checkpoint_does_not_know_is_named_and_a_new_start_leaves_none(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    cfg, validated, told = tiny(steps=6, epoch_steps=2), loop.validate, []

    def stopped(*args):
        told.append(1)
        # After the first checkpoint of the first start, before that of the second
        if len(told) in (2, 3):
            raise Stop
        return validated(*args)

    monkeypatch.setattr("ganlib.loop.validate", stopped)
    with pytest.raises(Stop):
        loop.fit(cfg, faces, tmp_path)
    whole = (tmp_path / "metrics.jsonl.part").read_text()
    (tmp_path / "metrics.jsonl.part").write_text(whole[:50])
    with pytest.raises(
        InputError,
        match=(
            "of this run no checkpoint is left that is whole and has its log; .* delete "
            ".*checkpoint-"
        ),
    ):
        loop.fit(cfg, faces, tmp_path, Execution(resume=True))
    assert (
        "its log metrics.jsonl.part is shorter than it was, or another one"
        in capsys.readouterr().out
    )
    assert (tmp_path / "metrics.jsonl.part").read_text() == whole[:50]
    with pytest.raises(Stop):
        loop.fit(cfg, faces, tmp_path, Execution(resume=False))
    assert [path.name for path in runs_folder.find_checkpoints(tmp_path)] == [
        "checkpoint-000000001.pt"
    ]


def job(tmp_path, cfg, **more):
    """A config file for python -m ganlib.train."""
    path = tmp_path / "job.yaml"
    path.write_text(
        json.dumps(
            {
                "train": {**vars(cfg), "image_size": 32},
                "folder": str(tmp_path / "run"),
                "data": dict(data="builtin", builtin_a=12, builtin_b=14, builtin_eval=5),
            }
            | more
        )
    )
    return path


def torchrun(path, n):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(n),
            "-m",
            "ganlib.train",
            str(path),
        ],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arch, pieces, accumulate", [("cyclegan", 1, 1), ("uvcgan", 4, 2)])
def test_two_processes_give_the_run_of_one(
    faces, tiny, tmp_path, monkeypatch, arch, pieces, accumulate
):
    """Half the batch each, at once or in two pieces: losses and weights to rounding, running
    means too. The pool of 5 fakes is full in the second step; how rounding grows from there on
    is shown above."""
    # A number that YAML could take for a text
    cfg = tiny(arch=arch, batch_size=4, steps=4, epoch_steps=2, pool_size=5, lr_d=9e-5)
    one = loop.fit(cfg, faces, tmp_path / "one", Execution(accumulate=pieces))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    two = loop.fit_or_load(
        cfg, faces, tmp_path / "two", Execution(processes=2, accumulate=accumulate)
    )
    assert not any((tmp_path / "temporary").iterdir())
    assert two.metrics["processes"] == 2
    for name in ("g", "cycle", "d_a", "d_b_fake"):
        for steps, bound in (([1, 2], 1e-3), ([3, 4], 0.03)):
            ours, theirs = [
                torch.tensor(run.history.loc[run.history.step.isin(steps), name].to_numpy())
                for run in (two, one)
            ]
            torch.testing.assert_close(ours, theirs, rtol=bound, atol=1e-5)
    torch.manual_seed(cfg.seed)
    start = build_nets(cfg, torch.device("cpu"))
    for net, other, begun in zip(
        (*one.nets, *one.ema[:2]), (*two.nets, *two.ema[:2]), (*start, *start[:2])
    ):
        net, other, begun = [
            [p for name, p in side.named_parameters() if not name.endswith("bias")]
            for side in (net, other, begun)
        ]
        assert distance(net, other) < 0.4 * distance(net, begun)


def wait_for_checkpoint(folder, ranks):
    """Until a run has its first checkpoint; where the cache has no probe of these faces yet, one
    is trained before."""
    for _ in range(3000):
        time.sleep(0.1)
        if runs_folder.find_checkpoints(folder) or ranks.poll() is not None:
            break


@pytest.mark.slow
def test_lost_process_ends_the_run_with_a_word_and_a_checkpoint(tiny, tmp_path):
    ranks = torchrun(job(tmp_path, tiny(batch_size=4, steps=100_000, epoch_steps=2)), 2)
    try:
        wait_for_checkpoint(tmp_path / "run", ranks)
        workers = psutil.Process(ranks.pid).children()
        assert len(workers) == 2
        workers[1].kill()
        said = ranks.communicate(timeout=60)[0]
    finally:
        ranks.kill()
    assert ranks.returncode != 0
    assert (
        "error: a process of this training was lost; started again, it goes on from its last "
        "checkpoint" in said
    )
    assert runs_checkpoint.read_state(runs_folder.find_checkpoints(tmp_path / "run")[0])["step"] > 0


@pytest.mark.slow
def test_processes_whose_torchrun_is_killed_end_with_a_checkpoint(tiny, tmp_path):
    ranks, workers = (
        torchrun(job(tmp_path, tiny(batch_size=4, steps=100_000, epoch_steps=100_000)), 2),
        [],
    )
    try:
        wait_for_checkpoint(tmp_path / "run", ranks)
        workers = psutil.Process(ranks.pid).children()
        ranks.kill()
        deadline = time.monotonic() + 60
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(workers) == 2 and not any(map(alive, workers))
    finally:
        for process in [ranks, *filter(alive, workers)]:
            process.kill()
        said = ranks.communicate()[0]
    assert "stopped after step" in said, said
    assert runs_checkpoint.read_state(runs_folder.find_checkpoints(tmp_path / "run")[0])["step"] > 1


def test_process_whose_torchrun_has_ended_before_it_joins_does_not_wait_for_it(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("ganlib.parallel.launch.PARENT", 1 + os.getppid())
    monkeypatch.setattr("ganlib.parallel.launch.end_with_parent", lambda: None)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(parallel_launch.ProcessLost, match="torchrun has ended"):
            parallel_launch.join_processes()
    finally:
        signal.signal(signal.SIGTERM, handler)


def alive(process):
    """Whether a process still runs (one that has ended may be waited for by nobody)."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_processes_that_do_not_divide_the_batch_are_refused(faces, tiny, tmp_path):
    with pytest.raises(
        InputError, match="expected whole numbers that together divide the batch of 3"
    ):
        loop.fit_or_load(tiny(batch_size=3), faces, tmp_path, Execution(processes=2))


@pytest.mark.slow
def test_command_trains_says_so_and_does_not_train_twice(tiny, tmp_path, capsys):
    path = job(tmp_path, tiny(steps=2))
    assert (
        train.main([str(path)]) == 0
        and "pairs/s; its scores are in metrics.json" in capsys.readouterr().out
    )
    assert train.main([str(path)]) == 0 and "so it is loaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, message",
    [
        ("[1", "job.yaml: not a YAML file that can be read (line 1: expected ',' or ']', but got"),
        ("train: 3", "expected `train` with fields"),
        ("tran: {}", "tran: no such key; there are train, data"),
        ("train: {setps: 3}", "setps: no such field"),
        (
            "data: {builtin_c: 3}",
            "job.yaml: data: builtin_c: no such parameter; there are data, image_size",
        ),
        ("accumulate: two", "accumulate 'two': expected a whole number"),
        ("train: 0", "expected `train` with fields"),
        ("data: {1: 2}", "expected `train` with fields"),
        (None, "no such file; expected the path of a YAML file"),
    ],
)
def test_command_names_what_it_cannot_use(tmp_path, capsys, content, message):
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_text(content)
    assert train.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
