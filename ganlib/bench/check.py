"""Whether this machine trains as it should: the step that trains against the plain one and against
itself, a run that is killed, a loss that is not finite, and how fast a step is."""

import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
import yaml
from safetensors.torch import load_file

from ganlib.bench.timing import allow_tf32, make_images, measure_step
from ganlib.config import ARCHS, TrainConfig, plain_config
from ganlib.device import lay_out, precision_context
from ganlib.errors import InputError, one_line
from ganlib.fast_step import WARM, CapturedStep, Passes, train_step
from ganlib.models.build import build_nets
from ganlib.models.plain import plain_copy
from ganlib.optim import build_optimizers
from ganlib.parallel.child import end_with_parent
from ganlib.pool import ImagePool, PlainPool
from ganlib.runs.folder import find_checkpoints, read_json
from ganlib.show.progress import Progress
from ganlib.step import plain_step

STEPS = 20  # that two ways to train are compared over
FACES = {"data": "builtin", "image_size": 32, "builtin_a": 64, "builtin_b": 72, "builtin_eval": 16}
# The pool is full after two steps, and shows old fakes from then on
SMALL = {"image_size": 32, "ngf": 8, "ndf": 8, "batch_size": 2, "pool_size": 4, "seed": 1}
KILLED_RUN = SMALL | {"steps": 60, "epoch_steps": 30, "precision": "float32"}
TINY = 1e-12
PATIENCE = 240  # seconds that a training of KILLED_RUN may take


class Row(NamedTuple):
    """One thing that was looked at: what, the number that was found, the largest that is right,
    and whether it is."""

    what: str
    value: float
    limit: float
    ok: bool


def row(what: str, value: float, limit: float) -> Row:
    """A Row of a number that is to be at most limit; one that is not a number is wrong."""
    return Row(what, value, limit, bool(value <= limit))


def check_machine(device: torch.device) -> dict:
    """Everything: {"rows": [Row], "speed": [measurement of a batch size]}."""
    on_gpu = device.type == "cuda"
    looks = [partial(check_steps, arch, device) for arch in ARCHS]
    if on_gpu:
        looks.append(partial(check_graph, device))
    looks += [partial(check_not_finite, device), partial(check_killed, device)]
    sizes = (1, 4, 16, 64) if on_gpu else (1, 4)
    rows, speed = [], []
    with Progress("checking this machine", len(looks) + len(sizes), unit="parts") as progress:
        for look in looks:
            with allow_tf32(False):
                rows += look()
            progress.add()
        for size in sizes:
            cfg = TrainConfig.from_recipe(ngf=16, ndf=32, batch_size=size, idt_every=1)
            try:
                speed.append(measure_step(cfg, device, 10 if on_gpu else 3))
            except InputError as error:  # a memory that is full
                speed.append({"batch_size": size, "error": str(error)})
            progress.add()
    return {"rows": rows, "speed": speed}


def config(arch: str, precision: str = "float32", **values) -> TrainConfig:
    """A small model by recipe `default`, its identity loss in every step, its rates constant."""
    fixed = {"arch": arch, "precision": precision, "idt_every": 1, "decay_from": 1.0}
    return TrainConfig.from_recipe(**(SMALL | fixed | values))


def build_fast(cfg, device, dtype=torch.float32, captured=True):
    """The step that trains, as a call on a batch, and the networks that it trains. captured: as one
    graph, on a GPU."""
    torch.manual_seed(cfg.seed)
    amp, precision = precision_context(cfg.precision, device)
    nets = lay_out(build_nets(cfg, device), device, precision)
    for net in nets:
        net.to(dtype)
    opts, schedules = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, cfg.seed), ImagePool(cfg.pool_size, cfg.seed)
    step = partial(train_step, nets, opts, pools, cfg=cfg, passes=Passes(amp))
    if captured and device.type == "cuda":
        step = CapturedStep(step, device)

    def call(batch):
        for pool in pools:
            pool.draw(cfg.batch_size, device)
        told = {name: float(value) for name, value in step(batch).items()}
        for schedule in schedules:
            schedule.step()
        return told

    return call, nets, opts


def build_plain(cfg, device, dtype=torch.float32):
    """The plain step from the same weights at constant rates, as a call on a batch, and its
    networks."""
    torch.manual_seed(cfg.seed)
    nets = plain_copy(build_nets(cfg, device))
    for net in nets:
        net.to(dtype)
    like, _ = build_optimizers(nets, cfg)  # rates as they are there: rounded to float32 on a GPU
    opts = []
    for pair, opt in zip((nets[:2], nets[2:]), like):
        weights = [p for net in pair for p in net.parameters()]
        opts.append(torch.optim.Adam(weights, float(opt.defaults["lr"]), (cfg.beta1, 0.999)))
    pools = PlainPool(cfg.pool_size, cfg.seed), PlainPool(cfg.pool_size, cfg.seed)

    def call(batch):
        told = plain_step(nets, opts, pools, *batch, cfg)
        return {name: float(value) for name, value in told.items()}

    return call, nets


def worst(values) -> float:
    """The largest of some numbers; NaN if one of them is no number, which max might not tell."""
    return float(torch.tensor(list(values), dtype=torch.float64).max())


def apart(ours: dict, theirs: dict, gradients: bool = False) -> float:
    """The largest relative difference of a loss; or of the sizes of the gradients."""
    found = []
    for name, expected in theirs.items():
        if name.startswith("grad_") == gradients:
            found.append(abs(ours[name] - expected) / max(abs(expected), TINY))
    return worst(found)


def weights_apart(nets, others) -> float:
    """The largest difference of a weight."""
    found = []
    for net, other in zip(nets, others):
        for p, q in zip(net.parameters(), other.parameters()):
            found.append(float((p.detach() - q.detach()).abs().max()))
    return worst(found)


def steps_apart(one, other, batch, steps: int) -> float:
    """The largest relative difference of a loss of two steps on one batch, over and over."""
    return worst([apart(one(batch), other(batch)) for _ in range(steps)])


def check_steps(arch: str, device: torch.device) -> list[Row]:
    """The step that trains against the plain one: in float64 over some steps, where nothing but
    the order of sums differs; in float32 and bfloat16 over the first one, after which rounding
    grows."""
    rows = []
    cfg = config(arch)
    batch = make_images(cfg, device)
    exact = [images.double() for images in batch]
    fast, nets, _ = build_fast(cfg, device, torch.float64)
    plain, plain_nets = build_plain(cfg, device, torch.float64)
    name = f"{arch}: step against the plain one"
    far = steps_apart(fast, plain, exact, STEPS)
    rows.append(row(f"{name}, float64, losses of {STEPS} steps", far, 1e-6))
    rows.append(row(f"{name}, float64, weights after them", weights_apart(nets, plain_nets), 1e-5))
    for precision, limit in (("float32", 1e-4), ("bfloat16", 0.05)):
        ours = build_fast(config(arch, precision), device)[0](batch)
        theirs = build_plain(cfg, device)[0](batch)
        rows.append(row(f"{name}, {precision}, losses", apart(ours, theirs), limit))
        far = apart(ours, theirs, gradients=True)
        rows.append(row(f"{name}, {precision}, sizes of gradients", far, 2 * limit))
    return rows


def check_graph(device: torch.device) -> list[Row]:
    """The step as one CUDA graph against the same step without it, at falling rates: in float64,
    and for a few steps in bfloat16, as a GPU trains."""
    rows = []
    for arch in ARCHS:
        name = f"{arch}: CUDA graph against eager"
        cfg = config(arch, decay_from=0.0, steps=2 * STEPS)
        batch = make_images(cfg, device)
        exact = [images.double() for images in batch]
        graph, nets, _ = build_fast(cfg, device, torch.float64)
        eager, eager_nets, _ = build_fast(cfg, device, torch.float64, captured=False)
        far = steps_apart(graph, eager, exact, STEPS)
        rows.append(row(f"{name}, float64, losses of {STEPS} steps", far, 1e-6))
        far = weights_apart(nets, eager_nets)
        rows.append(row(f"{name}, float64, weights after them", far, 1e-5))
        cfg = config(arch, "bfloat16", decay_from=0.0, steps=2 * STEPS)
        graph, _, _ = build_fast(cfg, device)
        eager, _, _ = build_fast(cfg, device, captured=False)
        few = WARM + 2
        far = steps_apart(graph, eager, batch, few)
        rows.append(row(f"{name}, bfloat16, losses of {few} steps", far, 0.1))
    return rows


def check_not_finite(device: torch.device) -> list[Row]:
    """Whether a step whose losses are not finite, and all after it, leave the weights as they
    were."""
    cfg = config("cyclegan")
    batch = make_images(cfg, device)
    step, nets, opts = build_fast(cfg, device)
    for _ in range(WARM + 3):  # then a graph is replayed
        step(batch)
    before = [p.detach().clone() for net in nets for p in net.parameters()]
    step([torch.full_like(images, torch.nan) for images in batch])
    step(batch)
    after = [p for net in nets for p in net.parameters()]
    moved = worst([float((p - q.detach()).abs().max()) for p, q in zip(before, after)])
    told = 0.0 if float(opts[0].found_inf) == 1 else 1.0
    return [
        row("a loss that is not finite: weights moved by", moved, 0.0),
        row("a loss that is not finite: steps that did not notice", told, 0.0),
    ]


def check_killed(device: torch.device) -> list[Row]:
    """A run that is killed and started again against one that is left alone: on a CPU equal to the
    last bit; on a GPU, where sums are taken in any order and rounding grows, no further from it
    than ten times what two undisturbed runs are, which finds coarse faults alone."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        whole = train_to_end(work, "whole", device)
        limit = 0.0
        if device.type == "cuda":
            limit = 10 * furthest(whole, train_to_end(work, "again", device))
        killed = kill_one(work, device)
        resumed = train_to_end(work, "killed", device) if killed else None
        went_on = resumed is not None and bool(
            read_json(work / "killed" / "metrics.json")["resumed_at"]
        )
        said = (work / "said").read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [row("a run killed and resumed: weights apart by", furthest(whole, resumed), limit)]
    rows.append(row("a run killed and resumed: times it began anew", float(not went_on), 0.0))
    if resumed is None and said:
        rows.append(row(f"the last that it said: {one_line(said[-1])[:200]}", math.nan, 0.0))
    return rows


def kill_one(work: Path, device: torch.device) -> bool:
    """Start a run and kill it after a checkpoint; whether it came so far."""
    ends = time.monotonic() + PATIENCE
    with training(work, "killed", device) as process:
        while process.poll() is None and time.monotonic() < ends:
            if any(
                path.stem > "checkpoint-000000010" for path in find_checkpoints(work / "killed")
            ):
                return True
            time.sleep(0.01)
    return False


@contextmanager
def training(work: Path, name: str, device: torch.device):
    """A process that trains the small run of a name, in a folder of that name below `work`, with a
    checkpoint after each step; killed as it is left. What it says is in `work`/said."""
    cfg = plain_config(TrainConfig.from_recipe(**KILLED_RUN))
    job = {"train": cfg, "data": FACES, "folder": str(work / name)}
    path = work / f"{name}.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    script = (
        "import sys; from ganlib.config import Execution; from ganlib.data.domains import "
        "load_domains; from ganlib.loop import fit; from ganlib.runs.job import read_job; "
        "job = read_job(sys.argv[1]); fit(job['train'], load_domains(**job['data']), "
        "job['folder'], Execution(sys.argv[2], checkpoint_seconds=0))"
    )
    # A home of its own, so that no probe of these faces stays in the user's
    env = os.environ | {"OMP_NUM_THREADS": "1", "GANLIB_HOME": str(work / "home")}
    with open(work / "said", "w", encoding="utf-8") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(device)],
            env=env,
            stdout=said,
            stderr=said,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def train_to_end(work: Path, name: str, device: torch.device) -> dict | None:
    """The weights that the run of a name leaves, or None where it does not end well."""
    with training(work, name, device) as process, suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    path = work / name / "weights.safetensors"
    return load_file(path) if process.returncode == 0 and path.exists() else None


def furthest(weights: dict | None, others: dict | None) -> float:
    """The largest difference of a weight of two runs; NaN where one of them did not end."""
    if weights is None or others is None:
        return math.nan
    return worst([float((weights[name] - others[name]).abs().max()) for name in weights])
