"""The pictures of notebooks: that they show what they say."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ganlib.losses import gan_loss
from ganlib.models import PatchDiscriminator, UVCGANGenerator
from ganlib.models.coarse import TwoSizes
from ganlib.models.vit import attend
from ganlib.show.inside import (
    ask,
    find_attention,
    judges,
    patch_size,
    share_of_shapes,
    show_attention,
    show_cycles,
    show_patches,
)
from ganlib.show.learned import tell_learned


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_patch_is_what_a_number_of_the_map_sees(n_layers):
    net = PatchDiscriminator(ndf=2, n_layers=n_layers)
    for layer in net.modules():  # the norm sees all of an image: leave it out
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x
    image = torch.randn(1, 3, 160, 160, requires_grad=True)
    score = net(image)[0, 0]
    i = score.shape[0] // 2
    score[i, i].backward()
    seen = image.grad.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
    size, stride, middle = patch_size(net)
    assert len(seen) == size == {1: 16, 2: 34, 3: 70}[n_layers]
    assert float(seen.float().mean()) + 0.5 == middle + i * stride


def test_what_discriminators_ask_for_makes_a_fake_more_real():
    torch.manual_seed(0)
    net = TwoSizes(PatchDiscriminator(ndf=4), PatchDiscriminator(ndf=4), 0.5)
    assert list(judges(net)) == [34, 68] and list(judges(net.fine)) == [34]
    fakes = torch.rand(2, 3, 64, 64) * 2 - 1
    for judge in judges(net).values():
        asked = ask(judge, fakes)
        assert asked.shape == fakes.shape and float(asked.std()) == pytest.approx(1)
        before, after = [gan_loss(judge(x), 1.0) for x in (fakes, fakes + 1e-3 * asked)]
        assert after < before
    squares = torch.randn(2, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert share_of_shapes(squares) == pytest.approx(1)
    board = torch.ones(1, 1, 32, 32)
    board[..., ::2] = -1
    assert share_of_shapes(board) == 0


def test_attention_is_that_of_the_network():
    torch.manual_seed(0)
    net = UVCGANGenerator(ngf=4, vit_norm=True).eval()
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    seen = []
    block = net.vit.blocks[1]
    block.norm1.register_forward_hook(lambda layer, given, x: seen.append(x))
    weights = find_attention(net, images)
    assert len(weights) == 4 and weights[1].shape == (2, 4, 24, 24)
    torch.testing.assert_close(weights[1].sum(-1), torch.ones(2, 4, 24))
    layer, x = block.attention, seen[0]
    v = torch.nn.functional.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)[2]
    out = weights[1] @ v.unflatten(-1, (4, -1)).transpose(1, 2)
    out = layer.out_proj(out.transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, attend(layer, x))
    figure = show_attention(images, weights[1].mean(1), {"eye": (0.9, 0.9), "mouth": (0, 0)})
    assert [panel.get_title() for panel in figure.axes[:3]] == ["places", "eye", "mouth"]


def test_diagrams_take_images_of_any_shape():
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    figure = show_patches(PatchDiscriminator(ndf=2, global_score=True), images, ["one", "other"])
    assert figure.axes[0].get_title() == "one" and "mean " in figure.axes[2].get_title()
    names = "real_a", "fake_b", "rec_a", "real_b", "fake_a", "rec_b"
    figure = show_cycles(dict.fromkeys(names, images[0]), {"a": "0.1 there", "b": "0.2 back"})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {*names, "0.1 there", "0.2 back", "g_ab", "d_a: real or fake?"} <= set(texts)


class Landmarks:
    """A judge of which only the landmarks are asked."""

    def __init__(self, **marks):
        self.marks = marks

    def landmarks(self):
        return {name: {"fake_a": name, "fake_b": name} for name in self.marks}

    def check(self, fake_a, fake_b):
        kid, content = self.marks[fake_a]
        return {"kid_a": kid, "kid_b": kid, "content_ab": content, "content_ba": content}


def learned(kid_a, kid_b, content, pairs=640, **marks):
    """What is told of a run with these scores."""
    scores = {"kid_probe_a": kid_a, "kid_probe_b": kid_b, "content_ab": content, "content_ba": 0.5}
    run = SimpleNamespace(
        metrics={
            "scores": {"ema": {name: {"value": value} for name, value in scores.items()}},
            "pairs": pairs,
            "test": {"d_a": 0.2, "d_b": 0.01},
        },
        history=pd.DataFrame({"split": ["val", "val"], "cycle": [0.8, 0.5]}),
    )
    marks = {"untranslated": (1.2, 0.0), "random": (0.0, 1.0)} | marks
    return tell_learned(run, Landmarks(**marks)).splitlines()


def test_what_was_learned_says_first_whether_fakes_beat_the_landmarks():
    lines = learned(1.5, 0.7, 1.1, truth=(0.07, 0.5))
    assert lines[0] == (
        "- **A to B:** the fakes are nearer to B than untranslated images are (KID 0.70 against "
        "1.20; the true counterparts have 0.07); they are **not** nearer to their inputs than "
        "random images are (content distance 1.10 against 1.00; the true counterparts have 0.50)."
    )
    assert "**not** nearer to A" in lines[1] and "content distance 0.50" in lines[1]
    assert "half-trained model" in lines[2] and "640 pairs" in lines[2]
    assert "from 0.80 to 0.50" in lines[3] and "Discriminator B has won" in lines[4]


def test_a_whole_training_is_not_called_half():
    lines = learned(0.1, 0.1, 0.4, pairs=80_000)
    assert "half-trained" not in "".join(lines) and "the true" not in lines[0]
