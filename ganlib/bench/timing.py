"""Measurements of the training step: against the plain one, against what the machine can do, by
phase and by size.

All in one process and in turns, so that what else the machine does falls on all alike: trust
ratios, not seconds."""

import os
import statistics
import time
from contextlib import contextmanager
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlib.bench.flops import count_flops
from ganlib.bench.memory import count_memory
from ganlib.config import TrainConfig
from ganlib.data.domains import pair_batches, to_float
from ganlib.device import device_name, lay_out, out_of_memory, precision_context
from ganlib.errors import InputError
from ganlib.fast_step import WARM, CapturedStep, Passes, train_step
from ganlib.losses import pass_through
from ganlib.models.build import build_nets
from ganlib.models.ema import build_ema, update_ema
from ganlib.models.plain import plain_copy
from ganlib.optim import build_optimizers
from ganlib.pool import ImagePool, PlainPool
from ganlib.show.progress import Progress
from ganlib.step import plain_step

GROWTH = {"batch_size": (1, 2, 4, 8, 16), "image_size": (32, 64, 96, 128), "ngf": (8, 16, 32, 64)}


def wait_for(device):
    """Until what was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def take_turns(calls, device, steps, warm=4):
    """Seconds of each of several calls, {name: [seconds]}, one after another and over again; the
    first `warm` rounds do not count."""
    seconds = {name: [] for name in calls}
    with Progress("timing", (warm + steps) * len(calls), unit="calls") as progress:
        for turn in range(warm + steps):
            for name, call in calls.items():
                wait_for(device)
                begun = time.perf_counter()
                call()
                wait_for(device)
                if turn >= warm:
                    seconds[name].append(time.perf_counter() - begun)
                progress.add()
    return seconds


def make_images(cfg, device):
    """Batches of random bytes, (real_a, real_b) in [-1, 1]."""
    rng = torch.Generator().manual_seed(0)
    return tuple(
        to_float(
            torch.randint(
                256, (cfg.batch_size, 3, *cfg.image_size), generator=rng, dtype=torch.uint8
            ).to(device)
        )
        for _ in "ab"
    )


def make_plain(cfg, device, tf32):
    """The plain step on a batch, as a call. tf32: whether a GPU may round the factors of float32
    products to 10 bits."""
    torch.manual_seed(cfg.seed)
    nets = plain_copy(build_nets(cfg, device))
    scale = cfg.batch_size**0.5 if cfg.scale_lr else 1.0
    opts = []
    for pair, lr in ((nets[:2], cfg.lr_g), (nets[2:], cfg.lr_d)):
        weights = [p for net in pair for p in net.parameters()]
        opts.append(torch.optim.Adam(weights, lr=lr * scale, betas=(float(cfg.beta1), 0.999)))
    pools = build_pools(PlainPool, cfg)
    batch = make_images(cfg, device)

    def call():
        with allow_tf32(tf32):
            return plain_step(nets, opts, pools, *batch, cfg)

    return call


def make_fast(cfg, device, accumulate=1, compiled=False, captured=True):
    """The project's step on a batch, with running means and schedules as in `fit`, as a call.
    captured: as one graph, on a GPU."""
    torch.manual_seed(cfg.seed)
    amp, precision = precision_context(cfg.precision, device)
    nets = lay_out(build_nets(cfg, device), device, precision)
    emas = [build_ema(net) for net in nets[:2]]
    opts, schedules = build_optimizers(nets, cfg)
    if compiled:
        for net in nets:
            net.compile(dynamic=False)
    pools = build_pools(ImagePool, cfg)
    batch = make_images(cfg, device)
    passes = Passes(amp, parts=accumulate)
    step_on = partial(train_step, nets, opts, pools, cfg=cfg, passes=passes)
    if device.type == "cuda" and captured:
        step_on = CapturedStep(step_on, device)

    def call():
        for pool in pools:
            pool.draw(cfg.batch_size, device)
        losses = step_on(batch)
        with record_function("running means"):
            for ema, net in zip(emas, nets):
                update_ema(ema, net, cfg.ema)
            for schedule in schedules:
                schedule.step()
        return losses

    return call


def build_pools(kind, cfg):
    """Both pools of a run, empty."""
    return kind(cfg.pool_size, cfg.seed), kind(cfg.pool_size, cfg.seed + 1)


@contextmanager
def allow_tf32(on):
    """TF32 in the products and convolutions of a GPU, or not; nothing on a CPU."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def check(cfg, device, accumulate=1):
    """The largest relative difference of a loss between both steps on this device, in float32,
    from the same weights, in the first step; on a GPU also in the second one that the graph
    replays, where rounding has grown, a tenth of it."""
    cfg = TrainConfig.from_recipe(**(vars(cfg) | {"precision": "float32"}))
    steps = WARM + 2 if device.type == "cuda" else 1
    found = []
    with allow_tf32(False), Progress("comparing both steps", steps) as progress:
        fast = make_fast(cfg, device, accumulate)
        plain = make_plain(cfg, device, False)
        for _ in range(steps):
            ours = fast()
            theirs = plain()
            apart = []
            for name in theirs:
                if not name.startswith("grad_"):  # their sizes are sums over all weights
                    expected = float(theirs[name])
                    apart.append(abs(float(ours[name]) - expected) / abs(expected))
            found.append(max(apart))
            progress.add()
    if steps == 1:
        return found[0]
    return max(found[0], found[-1] / 10)


PHASES = (
    "generators forward",
    "generators backward",
    "pools",
    "discriminators forward",
    "discriminators backward",
    "updates",
    "running means",
)


def phases(cfg, device, steps):
    """Milliseconds a step, by phase, of the project's step without a graph: means, by torch's
    profiler, which slows the step a little."""
    call = make_fast(cfg, device, captured=False)
    for _ in range(2):
        call()
    wait_for(device)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    # It would tell stderr of its stages, and of a GPU that is not there.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            call()
        wait_for(device)
    found = {}
    for event in profiler.key_averages():
        if event.key in PHASES:
            microseconds = event.device_time_total if on_gpu else event.cpu_time_total
            found[event.key] = max(found.get(event.key, 0.0), microseconds)
    return {name: round(found[name] / 1000 / steps, 2) for name in PHASES}


def measure_peak(device, steps=5):
    """What the machine can do: {"float32": FLOP/s of a large matrix product, "tf32" (GPU),
    "bfloat16", "copy": bytes/s read and written}."""
    big = torch.empty(2**28 if device.type == "cuda" else 2**25, device=device)
    calls, sizes = {}, {}
    for name, dtype in [("float32", torch.float32), ("bfloat16", torch.bfloat16)] + [
        ("tf32", torch.float32)
    ] * (device.type == "cuda"):
        n = sizes[name] = choose_size(device, dtype)
        a = torch.randn(n, n, device=device, dtype=dtype)
        b = torch.randn(n, n, device=device, dtype=dtype)
        calls[name] = partial(product, a, b, name == "tf32")
    calls["copy"] = partial(torch.empty_like(big).copy_, big)
    best = {name: min(seconds) for name, seconds in take_turns(calls, device, steps, 2).items()}
    return {
        name: (2 * big.nbytes if name == "copy" else 2 * sizes[name] ** 3) / seconds
        for name, seconds in best.items()
    }


def choose_size(device, dtype):
    """The side of matrices whose product shows what a device can do. A processor that has no
    bfloat16 takes eight seconds for 1536 of them, and shows the same at 384."""
    if device.type == "cuda":
        return 8192
    small = torch.ones(384, 384, dtype=dtype)
    product(small, small, False)
    begun = time.perf_counter()
    product(small, small, False)
    return 384 if time.perf_counter() - begun > 0.05 else 1536


def product(a, b, tf32):
    """a @ b, in TF32 or not."""
    with allow_tf32(tf32):
        return a @ b


class Traffic(TorchDispatchMode):
    """Bytes that the operations within read and write, if each takes its tensors from memory and
    puts its results there."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(
                x.nbytes for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)
            )
        return out


def count_traffic(cfg):
    """Bytes a step moves, in the precision that it computes in: counted on shapes, nothing
    computed. As if no two operations shared a cache."""
    meta = torch.device("meta")
    width = torch.bfloat16 if cfg.precision == "bfloat16" else torch.float32
    nets = build_nets(cfg, meta)
    for net in nets:
        net.to(width)
    batch = [
        torch.empty(cfg.batch_size, 3, *cfg.image_size, device=meta, dtype=width) for _ in "ab"
    ]
    with Traffic() as traffic:
        pass_through(nets, *batch, cfg, backward=True)
    # Adam reads and writes, means
    return traffic.bytes + 12 * 4 * sum(p.numel() for net in nets for p in net.parameters())


def measure_memory(cfg, device, accumulate=1):
    """What a step needs, in MiB: counted on a CPU, measured on a GPU with nothing else on it
    that is ours."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call = make_fast(cfg, device, accumulate)
        for _ in range(WARM + 2):
            call()
        wait_for(device)
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    nets = build_nets(cfg, device)
    memory = []
    opts, _ = build_optimizers(nets, cfg)
    amp, _ = precision_context(cfg.precision, device)
    batch = make_images(cfg, device)
    pools = build_pools(ImagePool, cfg)
    with count_memory(nets, device, memory):
        train_step(nets, opts, pools, batch, cfg, Passes(amp, parts=accumulate))
    return memory[0]


def measure_step(cfg, device, steps=10, accumulate=1, compiled=False):
    """Everything about one size, as a dict that JSON holds: see bench.__main__.in_words for what
    it says in words."""
    with out_of_memory(cfg, accumulate), Progress("measuring a step", 4, unit="parts") as progress:
        memory = measure_memory(cfg, device, accumulate)
        apart = check(cfg, device, accumulate)
        progress.update(1)
        calls = {"reference": make_plain(cfg, device, False)}
        if device.type == "cuda":
            calls["reference, TF32"] = make_plain(cfg, device, True)
        begun = time.perf_counter()
        calls["ganlib"] = make_fast(cfg, device, accumulate)
        if compiled:
            calls["ganlib, compiled"] = make_fast(cfg, device, accumulate, True)
            calls["ganlib, compiled"]()
        warm_up = time.perf_counter() - begun
        seconds = take_turns(calls, device, steps)
        progress.update(2)
        peak = measure_peak(device)
        progress.update(3)
        by_phase = phases(cfg, device, min(steps, 5))
    precision = precision_context(cfg.precision, device)[1]
    flops = count_flops(cfg)["flops_per_pair"]
    base_name = "reference, TF32" if device.type == "cuda" else "reference"
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians[base_name]
    top = peak["tf32" if device.type == "cuda" and precision == "float32" else precision]
    traffic = (
        count_traffic(TrainConfig.from_recipe(**(vars(cfg) | {"precision": precision})))
        / cfg.batch_size
    )
    return {
        "arch": cfg.arch,
        "recipe": cfg.recipe,
        "image_size": list(cfg.image_size),
        "ngf": cfg.ngf,
        "ndf": cfg.ndf,
        "batch_size": cfg.batch_size,
        "accumulate": accumulate,
        "precision": precision,
        "device": device_name(device),
        "torch": torch.__version__,
        "steps": steps,
        "check": apart,
        "seconds": {name: round(value, 5) for name, value in medians.items()},
        "spread": {name: [round(min(v), 5), round(max(v), 5)] for name, v in seconds.items()},
        "pairs_per_second": {
            name: round(cfg.batch_size / value, 2) for name, value in medians.items()
        },
        "ratio": {name: round(base / value, 3) for name, value in medians.items()},
        "warm_up_seconds": round(warm_up, 1) if compiled else None,
        "phases_ms": by_phase,
        "memory_mib": memory,
        "flops_per_pair": flops,
        "bytes_per_pair": traffic,
        "peak": peak,
        "flops_per_second": flops * cfg.batch_size / medians["ganlib"],
        "share_of_peak": round(flops * cfg.batch_size / medians["ganlib"] / top, 3),
    }


def grow(cfg, device, steps):
    """Speed, cost and memory against batch, image size and width, one changed at a time: a list
    of dicts."""
    rows = []
    with Progress(
        "measuring how cost grows", sum(map(len, GROWTH.values())), unit="sizes"
    ) as progress:
        for name, value in [(name, value) for name, values in GROWTH.items() for value in values]:
            changed = TrainConfig.from_recipe(
                **(vars(cfg) | {name: (value, value) if name == "image_size" else value})
            )
            row = {
                "varied": name,
                "value": value,
                "gflop_per_pair": count_flops(changed)["flops_per_pair"] / 1e9,
            }
            try:
                with out_of_memory(changed):
                    memory = measure_memory(changed, device)
                    seconds = statistics.median(
                        take_turns(
                            {"": make_fast(changed, device)},
                            device,
                            steps,
                            4 if device.type == "cuda" else 1,
                        )[""]
                    )
                row |= {"pairs_per_second": changed.batch_size / seconds, "memory_mib": memory}
            except InputError as error:
                row |= {"error": str(error)}
            rows.append(row)
            progress.add()
    return rows


def learn(cfg, images, device, steps, every=50):
    """Both steps over a whole training, each from the same weights on the same batches: a list
    of {"step", "ganlib", "reference"}, each of these the losses, means over `every` steps. The
    reference is in float32, ganlib's in the precision of the config."""
    cfg = TrainConfig.from_recipe(**(vars(cfg) | {"steps": steps}))
    torch.manual_seed(cfg.seed)
    amp, precision = precision_context(cfg.precision, device)
    fast = lay_out(build_nets(cfg, device), device, precision)
    rows = []
    sums = {"ganlib": {}, "reference": {}}
    plain = plain_copy(fast)
    opts, schedules = build_optimizers(fast, cfg)
    plain_opts, plain_schedules = build_optimizers(plain, cfg)
    pools = build_pools(ImagePool, cfg)
    plain_pools = build_pools(PlainPool, cfg)
    batches = pair_batches(images.train, cfg.batch_size, cfg.seed, device)
    with Progress("training by both steps", steps) as progress:
        for step in range(1, steps + 1):
            real_a, real_b = next(batches)
            batch = real_a, real_b
            told = {"ganlib": train_step(fast, opts, pools, batch, cfg, Passes(amp))}
            with allow_tf32(False):
                told["reference"] = plain_step(plain, plain_opts, plain_pools, real_a, real_b, cfg)
            for schedule in (*schedules, *plain_schedules):
                schedule.step()
            for name, losses in told.items():
                sums[name] = {
                    loss: sums[name].get(loss, 0) + value for loss, value in losses.items()
                }
            if step % every == 0:
                row = {"step": step}
                for name, total in sums.items():
                    row[name] = {loss: float(value) / every for loss, value in total.items()}
                rows.append(row)
                sums = {"ganlib": {}, "reference": {}}
            progress.add()
    return rows
