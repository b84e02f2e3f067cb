"""The recipes of CONTRIBUTING.md, walked in a copy of the package: a toy loss, a toy generator and
a toy score, in the files that they name and in no other; and a toy notebook."""

import os
import shutil
import subprocess
import sys

import pytest

from ganlib.config import ARCHS, TrainConfig
from ganlib.models.build import GENERATORS
from ganlib.system.files import PACKAGE, ROOT

LOSS = {
    "config.py": [
        (
            "    n_blocks: int = 6\n",
            "    n_blocks: int = 6\n    lambda_edge: float = 0.0  # weight of the edge loss\n",
        ),
        ("ADDED = {\n", 'ADDED = {\n    "lambda_edge": 0.0,\n'),
    ],
    "losses.py": [
        (
            '    return {"g": g, "g_adv": g_adv, **content}, fake_a, fake_b\n',
            "    if cfg.lambda_edge > 0:\n"
            '        content["edge"] = edge(fake_b, real_a) + edge(fake_a, real_b)\n'
            '        g = g + cfg.lambda_edge * content["edge"]\n'
            '    return {"g": g, "g_adv": g_adv, **content}, fake_a, fake_b\n',
        ),
        (
            "def weighed(",
            "def edge(fake, real):\n    return l1(fake.diff(dim=-1), real.diff(dim=-1))\n\n\ndef "
            "weighed(",
        ),
    ],
    "step.py": [
        ("from ganlib.losses import ", "from ganlib.losses import edge, "),
        (
            "    opt_g.zero_grad()\n",
            "    if cfg.lambda_edge > 0:\n"
            '        content["edge"] = edge(fake_b, real_a) + edge(fake_a, real_b)\n'
            '        g = g + cfg.lambda_edge * content["edge"]\n'
            "    opt_g.zero_grad()\n",
        ),
    ],
}
GENERATOR = {
    "models/toy.py": [
        (
            "",
            "from torch import nn\n\n\n"
            "class ToyGenerator(nn.Sequential):\n"
            "    def __init__(self, ngf):\n"
            "        super().__init__(nn.Conv2d(3, ngf, 3, padding=1), nn.ReLU(),\n"
            "                         nn.Conv2d(ngf, 3, 3, padding=1), nn.Tanh())\n",
        )
    ],
    "models/build.py": [
        (
            "from ganlib.models.uvcgan import",
            "from ganlib.models.toy import ToyGenerator\nfrom ganlib.models.uvcgan import",
        ),
        (
            'GENERATORS = {"cyclegan"',
            'GENERATORS = {"toy": lambda cfg: ToyGenerator(cfg.ngf), "cyclegan"',
        ),
    ],
    "config.py": [('ARCHS = ("cyclegan",', 'ARCHS = ("toy", "cyclegan",')],
}
SCORE = {
    "evaluate/scores.py": [
        (
            "class Score(",
            "def colour_shift(x):\n    return (to_float(x.fake) - x.real).mean((2, "
            "3)).norm(dim=1)\n\n\nclass Score(",
        ),
        (
            '    "psnr": Score(',
            '    "shift": Score(\n'
            '        "colour shift", "less", "faithfulness", "distance of mean colours", '
            "of_images=colour_shift\n"
            "    ),\n"
            '    "psnr": Score(',
        ),
    ],
}
USE = """
import sys
import torch
from ganlib import bench, config
from ganlib.bench.timing import check
from ganlib.compare.tables import gather
from ganlib.compare.tell import render
from ganlib.config import Execution, TrainConfig
from ganlib.data.domains import load_domains
from ganlib.evaluate import probe
from ganlib.loop import fit
from ganlib.show.plots import plot_losses
probe.LEAST_STEPS = probe.MOST_STEPS = 1
assert config.__file__.startswith(sys.argv[1])
faces = load_domains("builtin", 32, builtin_a=6, builtin_b=6, builtin_eval=5)
cfg = TrainConfig.from_recipe(
    arch="toy", image_size=32, ngf=4, ndf=4, batch_size=2, steps=2, lambda_edge=3.0,
    precision="float32",
)
assert check(cfg, torch.device("cpu")) < 1e-5, "both steps have it alike"
run = fit(cfg, faces, sys.argv[1] + "/run")
assert (run.history.edge > 0).all() and run.metrics["test"]["edge"] > 0
plot_losses(run.history, ["g", "edge"])
table = gather([run.folder])
assert table.shift_ab[0] >= 0
assert run.metrics["protocols"]["shift"]["what"] == "distance of mean colours"
assert "colour shift A to B" in str(render(table, "text")), render(table, "text")
print(TrainConfig().name("x"))
"""


@pytest.mark.slow
def test_a_loss_a_generator_and_a_score_are_added_where_the_recipes_say(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ganlib", ignore=shutil.ignore_patterns("__pycache__"))
    for recipe in (LOSS, GENERATOR, SCORE):
        for name, changes in recipe.items():
            path = tmp_path / "ganlib" / name
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            for old, new in changes:
                assert old in text, f"{name} has no longer: {old}"
                text = text.replace(old, new, 1)
            path.write_text(text, encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(tmp_path), "GANLIB_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == TrainConfig().name("x"), "runs of before keep their names"


def test_recipes_are_those_of_the_page():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for recipe, title in (
        (LOSS, "A new loss"),
        (GENERATOR, "A new generator"),
        (SCORE, "A new score"),
    ):
        section = page.split(f"## {title}\n")[1].split("\n## ")[0]
        for name in recipe:
            folder = name.rpartition("/")[0]
            assert f"`ganlib/{name}`" in section or (folder and f"`ganlib/{folder}/`" in section), (
                name
            )


@pytest.mark.parametrize("arch", GENERATORS)
def test_each_generator_is_one_of_the_config(arch):
    assert arch in ARCHS and TrainConfig(arch=arch).arch == arch
    assert set(ARCHS) == set(GENERATORS)
