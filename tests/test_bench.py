"""The benchmark: what it counts, what it says, and what it refuses."""

import json

import pytest
import torch
from known import GRADS

from ganlib import fast_step
from ganlib.bench import __main__ as bench_command
from ganlib.bench import timing as bench_timing
from ganlib.bench.flops import count_flops
from ganlib.config import TrainConfig

SMALL = ["--image-size", "32", "--ngf", "4", "--ndf", "4", "--batch-size", "2", "--steps", "1"]


@pytest.mark.parametrize(
    "arch, recipe, size, image, pair",
    [
        ("cyclegan", "cyclegan", (64, 64), 359_399_424, 7_654_866_944),
        ("cyclegan", "seed", (32, 48), 113_541_120, 2_483_027_968),
        ("uvcgan", "cyclegan", (64, 64), 1_343_422_464, 25_366_626_304),
        ("uvcgan", "seed", (32, 48), 488_054_784, 9_224_028_160),
    ],
)
def test_operations_are_those_of_the_layers(arch, recipe, size, image, pair):
    """Figures that a formula over the sizes of all layers gave too, to 1 in 30,000."""
    cfg = TrainConfig.from_recipe(recipe, arch=arch, image_size=size, ngf=16, ndf=32)
    assert count_flops(cfg) == {"flops_per_image": image, "flops_per_pair": pair}


def test_traffic_of_one_operation_is_what_it_reads_and_writes():
    x, y = torch.empty(10, 20, device="meta"), torch.empty(20, 5, device="meta")
    with bench_timing.Traffic() as traffic:
        (x @ y).t()  # the transpose is a view, and moves nothing
    assert traffic.bytes == 4 * (10 * 20 + 20 * 5 + 10 * 5)


def test_check_finds_a_step_that_is_another(tiny, monkeypatch):
    assert bench_timing.check(tiny(), torch.device("cpu")) < 1e-5
    monkeypatch.setattr(
        "ganlib.bench.timing.train_step",
        lambda *args, step=fast_step.train_step, **kwargs: {
            k: 1.01 * v for k, v in step(*args, **kwargs).items()
        },
    )
    assert bench_timing.check(tiny(), torch.device("cpu")) == pytest.approx(0.01, rel=0.1)


@pytest.mark.slow
def test_measurement_says_what_it_was_of_and_adds_up(tmp_path, capsys):
    path = tmp_path / "out" / "bench.json"
    assert (
        bench_command.main([*SMALL, "--device", "cpu", "--curves", "3", "--json", str(path)]) == 0
    )
    said, found = capsys.readouterr().out, json.loads(path.read_text())
    assert "cyclegan, recipe cyclegan, 32x32, ngf 4, ndf 4, batch 2" in said and "roofline" in said
    assert found["ratio"]["ganlib"] == pytest.approx(
        found["seconds"]["reference"] / found["seconds"]["ganlib"], rel=0.01
    )
    assert found["flops_per_second"] == pytest.approx(
        found["flops_per_pair"] * 2 / found["seconds"]["ganlib"], rel=0.01
    )
    assert found["share_of_peak"] == pytest.approx(
        found["flops_per_second"] / found["peak"][found["precision"]], abs=0.001
    )
    assert [row["step"] for row in found["curves"]] == [1, 2, 3]
    ours, plain = [
        {name: value for name, value in found["curves"][0][kind].items() if name not in GRADS}
        for kind in ("ganlib", "reference")
    ]
    assert ours == pytest.approx(plain, rel=0.05) and ours["g"] > 1


@pytest.mark.slow
def test_growth_changes_one_size_at_a_time(tiny, monkeypatch):
    monkeypatch.setattr(
        "ganlib.bench.timing.GROWTH", {"batch_size": (1, 2), "image_size": (32, 48)}
    )
    rows = bench_timing.grow(tiny(), torch.device("cpu"), 1)
    assert [(row["varied"], row["value"]) for row in rows] == [
        ("batch_size", 1),
        ("batch_size", 2),
        ("image_size", 32),
        ("image_size", 48),
    ]
    assert (
        rows[0]["gflop_per_pair"] == rows[1]["gflop_per_pair"] < rows[3]["gflop_per_pair"]
        and rows[1]["memory_mib"] >= rows[0]["memory_mib"]
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--batch-size", "3", "--accumulate", "2"],
            "--accumulate 2: expected a divisor of the batch of 3",
        ),
        (["--steps", "0"], "--steps 0: expected 1 or more"),
        (["--curves", "0"], "--curves 0: expected 1 or more"),
        (["--device", "abacus"], "--device abacus: "),
        (["--ngf", "0"], "ngf 0: expected 1 or more"),
        (["--image-size", "30"], "image size 30x30"),
    ],
)
def test_what_cannot_be_measured_is_named(arguments, message, capsys):
    assert bench_command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
