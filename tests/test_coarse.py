"""Coarse to fine, discriminators at two sizes, identity every k-th step, moved and mirrored
images: what the recipe has beyond the papers'."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from test_speed import Stop, batch, both

from ganlib import fast_step, loop
from ganlib.bench.flops import count_flops
from ganlib.config import Execution, TrainConfig
from ganlib.data.domains import Pair, move, pair_batches
from ganlib.errors import InputError
from ganlib.losses import gan_loss
from ganlib.models.build import build_nets, coarse_nets
from ganlib.models.coarse import CoarseToFine, TwoSizes, half
from ganlib.models.common import init_normal
from ganlib.models.cyclegan import CycleGANGenerator
from ganlib.models.discriminator import PatchDiscriminator
from ganlib.runs import folder as runs_folder
from ganlib.step import plain_step

CPU = torch.device("cpu")
SWITCHES = dict(d_coarse=0.25, coarse_until=0.5, refine=5, idt_every=3, shift=2, flip=True)
SWITCHES |= dict(d_norm="spectral")


@pytest.fixture
def tiny_coarse(tiny):
    """A tiny config that goes from coarse to fine, with all switches on."""

    def build(**changes):
        return tiny(**(SWITCHES | changes))

    return build


@pytest.mark.parametrize("sees_input", [True, False])
def test_refining_changes_nothing_before_its_first_step(sees_input):
    net = init_normal(CoarseToFine(CycleGANGenerator(ngf=4), 5, sees_input))
    x = torch.rand(2, 3, 16, 32) * 2 - 1
    rough = torch.nn.functional.interpolate(net.coarse(half(x)), scale_factor=2, mode="bilinear")
    assert torch.equal(net(x), rough)
    assert rough.std() > 1e-4
    net.head[1].weight.data.normal_(0, 5)
    refined = net(x)
    assert not torch.equal(refined, rough)
    assert refined.abs().max() == 1  # cut off, as images are
    with pytest.raises(InputError, match="image size 15x32: CoarseToFine needs"):
        net(x[:, :, 1:])


def test_refining_sees_the_input_only_where_it_is_to():
    """Two inputs that are the same at half the size."""
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    other = torch.stack([x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    assert torch.allclose(half(x), half(other)) and not torch.equal(x, other)
    for sees_input in (True, False):
        net = CoarseToFine(CycleGANGenerator(ngf=4), 5, sees_input).double()
        net.head[1].weight.data.normal_()
        apart = (net(x.double()) - net(other.double())).abs().max()
        assert (apart > 0.01) if sees_input else (apart < 1e-6)


def test_two_sizes_are_weighed_and_see_patches_of_twice_the_side():
    fine, coarse = [PatchDiscriminator(ndf=4) for _ in "ab"]
    x = torch.randn(2, 3, 32, 32)
    score = TwoSizes(fine, coarse, 0.25)(x)
    assert [one.shape[-1] for _, one in score] == [6, 2]
    expected = 0.75 * gan_loss(fine(x), 1.0) + 0.25 * gan_loss(coarse(half(x)), 1.0)
    assert torch.allclose(gan_loss(score, 1.0), expected)


@pytest.mark.parametrize("arch", ["cyclegan", "uvcgan"])
@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize("step", [2, 3])
def test_fast_step_is_the_plain_one(tiny_coarse, arch, coarse, step):
    cfg = tiny_coarse(arch=arch, batch_size=4).at_step(step)
    torch.set_default_dtype(torch.float64)
    try:
        (nets, opts, pools), (plain, plain_opts, plain_pools) = both(cfg)
        images = batch(4)
        if coarse:
            nets, plain = coarse_nets(nets), coarse_nets(plain)
            images = torch.stack([half(side) for side in images])
        for opt in (*opts, *plain_opts):
            opt.step = lambda: None
        passes = fast_step.Passes(parts=2)
        losses = fast_step.train_step(nets, opts, pools, images, cfg, passes)
        expected = plain_step(plain, plain_opts, plain_pools, *images, cfg)
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(losses) == set(expected) and ("idt" in losses) == (step == 3)
    for name in losses:
        torch.testing.assert_close(losses[name], expected[name], rtol=1e-9, atol=0)


def test_identity_in_every_third_step_weighs_three_times_as_much(tiny):
    cfg = tiny(idt_every=3, lambda_idt=0.5)
    assert [cfg.at_step(step).lambda_idt for step in range(1, 8)] == [0, 0, 1.5, 0, 0, 1.5, 0]
    assert tiny(lambda_idt=0.5).at_step(1) == tiny(lambda_idt=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["cyclegan", "uvcgan"])
def test_run_trains_what_is_coarse_and_then_all(faces, tiny_coarse, tmp_path, monkeypatch, arch):
    cfg = tiny_coarse(arch=arch, steps=6, epoch_steps=3, pool_size=3)
    torch.manual_seed(cfg.seed)
    before = build_nets(cfg, CPU)
    kept, sizes = {}, []
    step_on = fast_step.train_step

    def watched(nets, opts, pools, images, *args, **kwargs):
        losses = step_on(nets, opts, pools, images, *args, **kwargs)
        sizes.append(images[0].shape[-1])
        return losses

    monkeypatch.setattr("ganlib.loop.train_step", watched)
    validate = loop.validate

    def validated(nets, *args):
        kept[len(sizes)] = [
            {name: p.detach().clone() for name, p in net.named_parameters()} for net in nets
        ]
        return validate(nets, *args)

    monkeypatch.setattr("ganlib.loop.validate", validated)
    run = loop.fit(cfg, faces, tmp_path)
    side = cfg.image_size[0]
    assert sizes == [side // 2] * 3 + [side] * 3
    for start, middle, end in zip(before, kept[3], kept[6]):
        for name, p in start.named_parameters():
            if name.endswith("bias") or "rezero" in name or "vit" in name:
                continue  # those before a norm get no gradient
            assert torch.equal(p, middle[name]) != name.startswith("coarse."), name
            assert not torch.equal(middle[name], end[name]), name
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    has_idt = [line["step"] for line in lines if line["split"] == "train" and "idt" in line]
    assert has_idt == [3, 6]
    assert run.history.query("split == 'train'").idt.notna().sum() == 2
    assert all("idt" in line for line in lines if line["split"] == "val")


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 4, 5, 7])
def test_run_goes_on_across_the_change_of_size(faces, tiny_coarse, tmp_path, monkeypatch, at):
    """Broken off in step `at`; the first at full size is the fifth."""
    cfg = tiny_coarse(steps=8, epoch_steps=4, pool_size=3)
    loop.fit(cfg, faces, tmp_path / "whole")
    step_on, calls = fast_step.train_step, []

    def stopped(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise Stop
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", stopped)
    with pytest.raises(Stop):
        loop.fit(cfg, faces, tmp_path / "broken", Execution(checkpoint_seconds=0))
    loop.fit(cfg, faces, tmp_path / "broken")
    for name in ("metrics.jsonl", *runs_folder.FILES):
        ours, theirs = [(tmp_path / run / name).read_bytes() for run in ("whole", "broken")]
        assert ours == theirs, name


@pytest.mark.slow
def test_two_processes_give_the_run_of_one_across_the_change_of_size(faces, tiny_coarse, tmp_path):
    """One step at half the size, three at full size."""
    cfg = tiny_coarse(steps=4, epoch_steps=4, batch_size=4, pool_size=3, coarse_until=0.25)
    one = loop.fit(cfg, faces, tmp_path / "one")
    two = loop.fit(cfg, faces, tmp_path / "two", Execution(processes=2))
    for name in ("g", "cycle", "idt", "d_a", "d_b_fake"):
        ours, theirs = [
            torch.tensor(run.history.query("split == 'train'")[name].to_numpy())
            for run in (two, one)
        ]
        # How rounding grows from step to step is shown in test_speed
        torch.testing.assert_close(ours[:3], theirs[:3], rtol=1e-3, atol=1e-5, equal_nan=True)
        torch.testing.assert_close(ours[3:], theirs[3:], rtol=0.03, atol=1e-5, equal_nan=True)


@pytest.mark.slow
def test_operations_are_the_mean_over_sizes_and_steps(tiny):
    plain = count_flops(tiny(d_coarse=0.5, lambda_idt=0.0))["flops_per_pair"]
    with_idt = count_flops(tiny(d_coarse=0.5))["flops_per_pair"]
    every = count_flops(tiny(d_coarse=0.5, idt_every=4))["flops_per_pair"]
    assert every == pytest.approx(plain + (with_idt - plain) / 4)
    coarse, later, always = [
        count_flops(tiny(d_coarse=0.5, coarse_until=share))["flops_per_pair"]
        for share in (0.75, 0.25, 0.5)
    ]
    assert coarse < later and always == pytest.approx((coarse + later) / 2)


def test_images_are_moved_and_mirrored_within_their_border():
    x = torch.arange(2 * 3 * 6 * 8).reshape(2, 3, 6, 8).float()
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    seen = set()
    for seed in range(200):
        moved = move(x, 2, True, np.random.default_rng(seed), 2, 0)
        for image, whole in zip(moved, wide):
            places = []
            for top, left, flip in product(range(5), range(5), (False, True)):
                part = whole[:, top : top + 6, left : left + 8]
                if torch.equal(image.flip(-1) if flip else image, part):
                    places.append((top, left, flip))
            assert len(places) == 1
            seen.add(places[0])
    assert len(seen) == 50  # each of them comes up


def test_moves_rest_on_the_seed_and_the_batch_alone():
    images = torch.randint(256, (2, 10, 3, 8, 8), dtype=torch.uint8)
    pair = Pair(*images)

    def take(n, **how):
        batches = pair_batches(pair, 4, 7, CPU, shift=2, flip=True, **how)
        return [next(batches) for _ in range(n)]

    whole = take(5)
    for (a, b), (c, d) in zip(whole[3:], take(2, first=3)):
        assert torch.equal(a, c) and torch.equal(b, d)
    for (a, b), (c, d) in zip(whole, take(5, part=(1, 2))):
        assert torch.equal(a[2:], c) and torch.equal(b[2:], d)
    assert not torch.equal(whole[0][0], next(pair_batches(pair, 4, 7, CPU))[0])


@pytest.mark.parametrize(
    "values, message",
    [
        ({"coarse_until": 0.5, "d_coarse": 0.0}, "coarse_until 0.5: .* set d_coarse"),
        ({"coarse_until": 0.95, "steps": 6}, "coarse_until 0.95: of 6 steps it leaves none"),
        ({"coarse_until": 1.0, "d_coarse": 0.5}, "coarse_until 1.0: expected a share"),
        ({"d_coarse": 1.5}, "d_coarse 1.5: expected a share"),
        ({"idt_every": 0}, "idt_every 0: expected 1 or more"),
        ({"shift": 64}, "shift 64: expected less than the sides of the images, 64x64"),
    ],
)
def test_switches_that_cannot_be_are_named(values, message):
    with pytest.raises(InputError, match=message):
        TrainConfig.from_recipe(**values)


def test_size_that_leaves_the_second_discriminator_no_patch_is_named():
    net = TwoSizes(PatchDiscriminator(ndf=4), PatchDiscriminator(ndf=4), 0.5)
    assert len(net(torch.zeros(1, 3, 24, 24))) == 2
    with pytest.raises(InputError, match="image size 20x24: .* a height and a width of 24 or more"):
        net(torch.zeros(1, 3, 20, 24))
