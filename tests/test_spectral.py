"""Spectral normalisation of the discriminators."""

import copy

import pytest
import torch
from test_speed import batch, both
from torch import nn
from torch.nn.utils import parametrizations

from ganlib import fast_step
from ganlib.bench.flops import count_flops
from ganlib.errors import InputError
from ganlib.models.build import build_nets
from ganlib.models.discriminator import PatchDiscriminator
from ganlib.models.spectral import SpectralConv2d, renew
from ganlib.step import plain_step

CPU = torch.device("cpu")


def norms(nets):
    return [m for net in nets for m in net.modules() if isinstance(m, SpectralConv2d)]


def build_sgd(nets):
    opts = []
    for pair in (nets[:2], nets[2:]):
        opts.append(
            torch.optim.SGD([p for net in pair for p in net.parameters()], 1e-3, fused=True)
        )
    opts[0].found_inf = opts[1].found_inf = torch.zeros(())
    return opts


def exact(conv, x):
    """What a spectral convolution is to give, by the largest singular value itself."""
    sigma = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
    return nn.functional.conv2d(x, conv.weight / sigma, conv.bias, conv.stride, conv.padding)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weight_is_divided_by_its_largest_singular_value(layout):
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 8, 4, stride=2, padding=1).double().to(memory_format=layout)
    conv.renew(1000)
    x = torch.randn(2, 3, 8, 8).double()
    grads = []
    for call in (conv, lambda x: exact(conv, x)):
        conv.zero_grad()
        y = call(x)
        y.square().sum().backward()
        grads.append((y.detach(), conv.weight.grad.clone(), conv.bias.grad.clone()))
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_it_is_the_norm_that_torch_has():
    torch.manual_seed(0)
    theirs = parametrizations.spectral_norm(nn.Conv2d(3, 8, 4), n_power_iterations=300)
    ours = SpectralConv2d(3, 8, 4)
    ours.weight.data.copy_(theirs.parametrizations.weight.original)
    ours.bias.data.copy_(theirs.bias)
    ours.renew(300)
    x = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_a_pass_changes_nothing_and_a_step_does(tiny):
    """So that a validation, or a batch in pieces, leaves a training as it is."""
    cfg = tiny(d_norm="spectral", d_coarse=0.5, batch_size=2)
    (nets, opts, pools), _ = both(cfg)
    before = copy.deepcopy([net.state_dict() for net in nets])
    x = batch(2)[0]
    torch.testing.assert_close(nets.d_a(x)[0][1], nets.d_a(x)[0][1], rtol=0, atol=0)
    for net, state in zip(nets, before):
        assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())
    vectors = [norm.u.clone() for norm in norms(nets)]
    assert len(vectors) == 2 * 2 * 3  # two domains, two sizes, all layers but the last
    fast_step.train_step(nets, opts, pools, batch(2), cfg)
    assert not any(torch.equal(norm.u, old) for norm, old in zip(norms(nets), vectors))


@pytest.mark.parametrize("parts", [1, 2])
def test_fast_step_is_the_plain_one(tiny, parts):
    """Three steps: each is by the norms that the one before has left."""
    cfg = tiny(d_norm="spectral", batch_size=4, ngf=8, ndf=8, pool_size=0)
    (nets, _, pools), (plain, _, plain_pools) = both(cfg)
    opts, plain_opts = build_sgd(nets), build_sgd(plain)  # Adam would magnify what rounding does
    passes = fast_step.Passes(parts=parts)
    for seed in range(3):
        losses = fast_step.train_step(nets, opts, pools, batch(4, seed=seed), cfg, passes)
        expected = plain_step(plain, plain_opts, plain_pools, *batch(4, seed=seed), cfg)
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)
    for norm, other in zip(norms(nets), norms(plain)):
        torch.testing.assert_close(norm.u, other.u, rtol=1e-3, atol=1e-4)


def test_new_networks_begin_with_their_norms_near(tiny):
    torch.manual_seed(0)
    nets = build_nets(tiny(d_norm="spectral", ndf=8), CPU)
    for norm in norms(nets):
        matrix = norm.weight.detach().flatten(1)
        found = (norm.u @ matrix).norm() / torch.linalg.matrix_norm(matrix, 2)
        assert 0.95 < found <= 1.0001
    assert norms(nets[:2]) == [] and norms(build_nets(tiny(), CPU)) == []


def test_a_colour_that_a_whole_image_has_is_seen():
    """Instance norm takes a constant away that a layer adds to a whole map; spectral norm does
    not."""
    torch.manual_seed(0)
    x = torch.rand(1, 3, 64, 64) * 0.2
    change = {}
    for norm in ("instance", "spectral"):
        net = PatchDiscriminator(ndf=8, norm=norm)
        renew([net], 50)
        with torch.no_grad():
            net.body[2].bias.zero_()
            before = net(x)
            net.body[2].bias.fill_(1.0)
            change[norm] = (net(x) - before).abs().max() / before.std()
    assert change["instance"] < 1e-3 and change["spectral"] > 0.1


def test_its_operations_are_counted_and_a_weight_of_zeros_stays_one(tiny):
    """On meta, as a run is when it is finished."""
    counted = count_flops(tiny(d_norm="spectral", d_coarse=0.5))["flops_per_pair"]
    assert counted >= count_flops(tiny(d_coarse=0.5))["flops_per_pair"]
    conv = SpectralConv2d(3, 4, 3)
    conv.weight.data.zero_()
    assert conv(torch.ones(1, 3, 5, 5)).isfinite().all()
    with pytest.raises(InputError, match="norm 'foo': no such norm"):
        PatchDiscriminator(8, norm="foo")


def test_step_that_is_held_back_leaves_the_norms(tiny):
    cfg = tiny(d_norm="spectral", batch_size=2)
    (nets, opts, pools), _ = both(cfg)
    vectors = [norm.u.clone() for norm in norms(nets)]
    images = batch(2).clone()
    images[0, 0, 0, 0, 0] = float("nan")
    fast_step.train_step(nets, opts, pools, images, cfg)
    assert all(torch.equal(norm.u, old) for norm, old in zip(norms(nets), vectors))


def test_weight_that_is_tiny_keeps_its_direction():
    conv = SpectralConv2d(3, 4, 4)
    with torch.no_grad():
        conv.weight.mul_(1e-8)
        expected = conv.weight / torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2)
    conv.renew(50)
    torch.testing.assert_close(conv.u.norm(), torch.tensor(1.0))
    value = torch.linalg.vector_norm(conv.u @ conv.weight.flatten(1))
    torch.testing.assert_close(conv.weight / value, expected, rtol=1e-3, atol=0)
