"""The measures that need no network: a distance of two sets of images, and the similarity of two
images."""

import numpy as np
import pytest
import torch

from ganlib.data.domains import to_float
from ganlib.evaluate.distances import laplacian_pyramid, sliced_wasserstein, spread, ssim


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
    blurred = [
        sliced_wasserstein(images, torch.nn.functional.avg_pool2d(images, k, 1, k // 2))["mean"]
        for k in (3, 5, 9)
    ]
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
    assert [tuple(level.shape[-2:]) for level in laplacian_pyramid(torch.randn(1, 3, 64, 64))] == [
        (64, 64),
        (32, 32),
        (16, 16),
    ]
    whole = laplacian_pyramid(images)
    up = torch.nn.functional.interpolate(whole[1], size=(32, 32), mode="bilinear")
    assert torch.allclose(whole[0] + up, images, atol=1e-5)


# scikit-image 0.26.0, of the pairs below: structural_similarity(x / 255, y / 255,
# gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1, data_range=1.0)
SSIM = {
    "near": 0.9997276,
    "farther": 0.9931048,
    "negative": -0.9630508,
    "grain": 0.5074763,
    "moved": 0.8328281,
    "one window": 0.7210073,
}


def ssim_pairs():
    """Pairs of images (H, W, 3) of values from 0 to 255: flat ones, noise and its negative, a
    scene with edges and slopes."""
    rng = np.random.RandomState(0)
    rows, columns = np.mgrid[:40, :56]
    scene = np.stack(
        [
            120 + 80 * np.sin(columns / 9) + 40 * np.cos(rows / 5),
            128 + 90 * np.cos((rows + columns) / 11),
            40 + 2 * rows + columns / 2,
        ],
        -1,
    )
    scene[10:25, 20:38] = 30, 200, 90
    grain = scene + rng.randint(-25, 26, scene.shape)
    noise, flat = rng.randint(0, 256, (24, 24, 3)), np.zeros((16, 20, 3))
    return {
        "near": (flat + 127, flat + 130),
        "farther": (flat + 120, flat + 135),
        "negative": (noise, 255 - noise),
        "grain": (scene, grain),
        "moved": (scene[:, 3:], scene[:, :-3]),
        "one window": (scene[8:19, 15:26], grain[8:19, 15:26]),
    }


@pytest.mark.parametrize("name", SSIM)
def test_ssim_is_that_of_scikit_image(name):
    x, y = [
        torch.tensor(image).round().clamp(0, 255).byte().movedim(-1, 0)[None]
        for image in ssim_pairs()[name]
    ]
    assert ssim(x, y).item() == pytest.approx(SSIM[name], abs=1e-5) == ssim(y, x).item()
    assert ssim(x, x).item() == pytest.approx(1)


def test_ssim_is_that_of_torchmetrics():
    """Of every image and channel, at a size that is no square."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    rng = torch.Generator().manual_seed(0)
    x, y = torch.randint(256, (2, 5, 3, 20, 33), generator=rng, dtype=torch.uint8)
    y = (0.7 * x + 0.3 * y).to(torch.uint8)
    pixels = [images.double() / 255 for images in (x, y)]
    options = {"sigma": 1.5, "kernel_size": 11, "data_range": 1.0, "reduction": "none"}
    full = structural_similarity_index_measure(*pixels, **options, return_full_image=True)[1]
    expected = full[..., 5:-5, 5:-5].mean((1, 2, 3))
    assert torch.allclose(ssim(x, y), expected, rtol=0, atol=1e-12)


def test_ssim_is_of_each_image_and_has_no_value_for_small_ones():
    x, y = torch.randint(
        0, 256, (2, 5, 3, 12, 17), generator=torch.Generator().manual_seed(0)
    ).byte()
    torch.testing.assert_close(
        ssim(x, y, batch_size=2), torch.cat([ssim(x[i : i + 1], y[i : i + 1]) for i in range(5)])
    )
    with pytest.raises(
        ValueError, match=r"SSIM of images of \(10, 17\) pixels: expected 11 or more a side"
    ):
        ssim(x[..., :10, :], y[..., :10, :])
