"""The distance of two sets of images that needs no network."""

import pytest
import torch

from ganlib.data import to_float
from ganlib.metrics import laplacian_pyramid, sliced_wasserstein, spread


@pytest.fixture(scope="module")
def images(faces):
    return to_float(faces.train.a)


def test_equal_sets_are_at_zero_and_of_a_larger_one_as_many_are_taken(images):
    assert sliced_wasserstein(images, images)["mean"] == 0
    assert sliced_wasserstein(images[spread(len(images), 5)], images)["mean"] == 0


def test_distance_grows_with_noise_and_blur(images):
    torch.manual_seed(0)
    noise = torch.randn_like(images)
    noisy = [sliced_wasserstein(images, images + s * noise)["mean"] for s in (0.02, 0.1, 0.5)]
    blurred = [sliced_wasserstein(images, torch.nn.functional.avg_pool2d(images, k, 1, k // 2))["mean"] for k in (3, 5, 9)]
    assert 0 < noisy[0] < noisy[1] < noisy[2] and 0 < blurred[0] < blurred[1] < blurred[2]


def test_wrong_colour_and_contrast_are_seen(images):
    tint = torch.tensor([0.2, 0.0, -0.2]).reshape(3, 1, 1)
    tinted = [sliced_wasserstein(images + s * tint, images)["mean"] for s in (0.5, 1, 2)]
    faded = [sliced_wasserstein(images * s, images)["mean"] for s in (0.9, 0.7, 0.4)]
    assert 1 < tinted[0] < tinted[1] < tinted[2] and 1 < faded[0] < faded[1] < faded[2]


def test_domains_are_farther_apart_than_halves_of_one(faces):
    a, b = map(to_float, faces.train)
    assert sliced_wasserstein(a[:6], a[6:])["mean"] < sliced_wasserstein(a[:6], b[:6])["mean"]


def test_pyramid_holds_the_whole_image(images):
    levels = laplacian_pyramid(torch.randn(2, 3, 64, 48))
    assert [tuple(level.shape[-2:]) for level in levels] == [(64, 48), (32, 24)]
    assert [tuple(level.shape[-2:]) for level in laplacian_pyramid(torch.randn(1, 3, 64, 64))] == [(64, 64), (32, 32), (16, 16)]
    whole = laplacian_pyramid(images)
    up = torch.nn.functional.interpolate(whole[1], size=(32, 32), mode="bilinear")
    assert torch.allclose(whole[0] + up, images, atol=1e-5)
