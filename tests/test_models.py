"""The networks: their sizes, shapes and parameter counts, and the parts that are easy to get
wrong."""

from functools import partial

import pytest
import torch
import yaml

from ganlib import InputError
from ganlib.losses import gan_loss
from ganlib.models import (
    CycleGANGenerator,
    PatchDiscriminator,
    PixelwiseViT,
    UVCGANGenerator,
    init_normal,
)
from ganlib.runs.train_job import train_job

GENERATORS = (CycleGANGenerator, UVCGANGenerator)


def n_parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    "net, expected",
    [
        (CycleGANGenerator(), 7_837_699),
        (CycleGANGenerator(n_blocks=9), 11_378_179),
        (CycleGANGenerator(resize_conv=True), 7_837_699),
        (UVCGANGenerator(), 12_043_399),
        (PixelwiseViT(256), 3_352_836),
        (PatchDiscriminator(n_layers=3), 2_764_737),
        (PatchDiscriminator(), 662_977),
    ],
)
def test_parameter_counts_of_the_spec(net, expected):
    assert n_parameters(net) == expected


@pytest.mark.parametrize("cls", GENERATORS + (partial(CycleGANGenerator, resize_conv=True),))
@pytest.mark.parametrize(
    "c_in, c_out, n_down, size",
    [(3, 3, 2, (64, 64)), (2, 5, 2, (32, 48)), (1, 3, 1, (6, 4)), (3, 1, 3, (16, 40))],
)
def test_generators_keep_the_size_and_change_the_channels(cls, c_in, c_out, n_down, size):
    out = cls(c_in, c_out, ngf=4, n_down=n_down)(torch.randn(2, c_in, *size))
    assert out.shape == (2, c_out, *size)
    assert out.abs().max() <= 1


@pytest.mark.parametrize("cls", GENERATORS)
@pytest.mark.parametrize("size", [(66, 64), (64, 30), (4, 64)])
def test_generators_name_a_size_they_cannot_take(cls, size):
    with pytest.raises(
        InputError,
        match=rf"image size {size[0]}x{size[1]}: {cls.__name__} needs .* multiples of 4, 8 or",
    ):
        cls(ngf=4)(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("arch", ["cyclegan", "uvcgan"])
@pytest.mark.parametrize("size", [30, 8, 32, 64])
def test_size_that_cannot_be_trained_is_told_before_the_data_is_read(arch, size, tmp_path, capsys):
    """8 is too small for discriminators of two sizes."""
    job = {"train": {"arch": arch, "image_size": size}, "data": {"data": str(tmp_path / "none")}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    before = torch.get_rng_state()
    assert train_job(tmp_path / "job.yaml") == 2
    said = capsys.readouterr().err
    told = f"error: image size {size}x{size}: " if size < 32 else "error: data "
    assert said.startswith(told) and said.count("\n") == 1
    assert before.equal(torch.get_rng_state())


@pytest.mark.parametrize("cls", GENERATORS)
def test_smallest_size_trains(cls):
    assert cls(ngf=4)(torch.randn(1, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize(
    "n_layers, side, patches",
    [(2, 64, 14), (3, 64, 6), (3, 256, 30), (1, 6, 1), (2, 12, 1), (3, 24, 1)],
)
def test_discriminator_map(n_layers, side, patches):
    assert PatchDiscriminator(ndf=4, n_layers=n_layers)(torch.randn(2, 3, side, side)).shape == (
        2,
        1,
        patches,
        patches,
    )


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_discriminator_names_a_size_it_cannot_take(n_layers):
    net = PatchDiscriminator(ndf=4, n_layers=n_layers)
    with pytest.raises(InputError, match=f"needs a height and a width of {net.min_side} or more"):
        net(torch.zeros(1, 3, net.min_side - 1, 64))
    net.min_side = 0  # without the check torch itself refuses: the stated minimum is the true one
    with pytest.raises((ValueError, RuntimeError)):
        net(torch.zeros(1, 3, 3 * 2**n_layers - 1, 3 * 2**n_layers - 1))


@pytest.mark.parametrize("n_layers, field", [(2, 34), (3, 70)])
def test_receptive_field_of_a_patch(n_layers, field):
    net = PatchDiscriminator(ndf=4, n_layers=n_layers)
    body = torch.nn.Sequential(
        *[m for m in net.body if not isinstance(m, torch.nn.InstanceNorm2d)], net.head
    )
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    score = body(x)
    score[0, 0, score.shape[2] // 2, score.shape[3] // 2].backward()
    assert (x.grad.abs().sum((0, 1, 2)) > 0).sum() == field


@pytest.mark.parametrize("global_score, loss, gradient", [(True, 0.0, 0.0), (False, 3.5, 3.0)])
def test_global_score_lets_patches_cancel_where_patch_loss_does_not(global_score, loss, gradient):
    net = PatchDiscriminator(ndf=4, n_layers=3, global_score=global_score)
    assert net(torch.randn(2, 3, 64, 64)).shape == ((2, 1) if global_score else (2, 1, 6, 6))
    net.body = net.head = torch.nn.Identity()
    net.min_side = 0
    scores = torch.tensor([[[[2.0, -2.0], [1.0, 3.0]]]], requires_grad=True)
    value = gan_loss(net(scores), 1.0)
    value.backward()
    assert (value.item(), scores.grad.abs().sum().item()) == (loss, gradient)


def test_vit_blocks_are_the_identity_at_the_start():
    vit = PixelwiseViT(6, features=8, n_heads=2, n_blocks=3, ffn_features=16)
    z = torch.randn(2, 12, 8)
    assert torch.equal(vit.blocks(z), z)


@pytest.mark.parametrize("size", [(2, 3), (4, 4), (1, 5), (5, 1)])
def test_vit_equals_a_reference_pixel_by_pixel(size):
    torch.manual_seed(0)
    vit = PixelwiseViT(6, features=8, n_heads=2, n_blocks=1, ffn_features=16, norm=True)
    x = torch.randn(1, 6, *size)
    h, w = size
    tokens = []
    for i in range(h):
        for j in range(w):
            place = torch.tensor(
                [2 * j / (w - 1) - 1 if w > 1 else 0.0, 2 * i / (h - 1) - 1 if h > 1 else 0.0]
            )
            tokens.append(
                vit.proj_in(torch.cat([torch.sin(vit.positions.proj(place)), x[0, :, i, j]]))
            )
    expected = vit.proj_out(torch.stack(tokens)).T.reshape(1, 6, h, w)
    assert torch.allclose(vit(x), expected, atol=1e-6)


@pytest.mark.parametrize(
    "dtype, bound", [(torch.float64, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)]
)
@pytest.mark.parametrize(
    "cls",
    GENERATORS + (partial(UVCGANGenerator, vit_norm=True, pre_norm=False), PatchDiscriminator),
)
def test_networks_work_in_the_precision_that_they_are_brought_to(cls, dtype, bound):
    torch.manual_seed(0)
    net, x = (
        cls(**({"ndf": 8} if cls is PatchDiscriminator else {"ngf": 8})),
        torch.randn(2, 3, 16, 24),
    )
    expected, found = net(x), net.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    assert (found.float() - expected).norm() < bound * expected.norm()


def test_positions_are_made_in_the_precision_of_the_weights():
    vit = PixelwiseViT(6, features=8, n_heads=2, n_blocks=1, ffn_features=16).double()
    x = torch.tensor([2 * j / 6 - 1 for j in range(7)], dtype=torch.float64)
    places = torch.stack([x.repeat(7), x.repeat_interleave(7)], dim=-1)
    assert (vit.positions(7, 7) - torch.sin(vit.positions.proj(places))).abs().max() < 1e-14


def test_vit_attends_over_all_pixels_once_its_scalar_has_moved():
    vit = PixelwiseViT(6, features=8, n_heads=2, n_blocks=1, ffn_features=16)
    vit.blocks[0].rezero.data.fill_(1.0)
    x = torch.randn(1, 6, 4, 3, requires_grad=True)
    vit(x)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_init_normal_draws_weights_and_leaves_the_packed_attention_alone():
    torch.manual_seed(0)
    net = UVCGANGenerator(ngf=16, pos_init_gain=50.0)
    before = net.vit.blocks[0].attention.in_proj_weight.clone()
    init_normal(net)
    assert net.up[0].conv[1].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert net.vit.positions.proj.weight.std().item() == pytest.approx(1.0, rel=0.3)
    assert not net.head[1].bias.any()
    assert torch.equal(net.vit.blocks[0].attention.in_proj_weight, before)
