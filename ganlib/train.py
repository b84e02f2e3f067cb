"""Training: the step, the loop with validation each epoch and a test pass, and what a run leaves in its folder."""

import io
import json
import math
import platform
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from ganlib.config import claim_run_folder, load_config
from ganlib.data import Pair, fixed_batches, pair_batches
from ganlib.files import RUNS, InputError, explain_no_space, write_atomic
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.metrics import PROTOCOL, score, translate_pair
from ganlib.models import CycleGANGenerator, PatchDiscriminator, UVCGANGenerator, init_normal
from ganlib.pool import ImagePool
from ganlib.progress import Progress

LOSSES = ("g", "g_adv", "cycle", "idt", "d_a", "d_a_real", "d_a_fake", "d_b", "d_b_real", "d_b_fake")
LOG_EVERY = 10   # steps between two fetches of the losses from the device
EVAL_BATCH = 32  # images of each domain at a time in validation and test
VAL_PAIRS = 100  # at most, in each validation


class Nets(NamedTuple):
    """Both generators, by direction, and both discriminators, by the domain each judges."""

    g_ab: torch.nn.Module
    g_ba: torch.nn.Module
    d_a: torch.nn.Module
    d_b: torch.nn.Module


class Run(NamedTuple):
    """A finished run: folder, config, networks, history (one row a step or epoch) and the figures of metrics.json."""

    folder: Path
    cfg: object
    nets: Nets
    history: pd.DataFrame
    metrics: dict


def train_step(nets, opts, pools, real_a, real_b, cfg, amp):
    """One update of the generators, then of the discriminators (Zhu et al. 2017, section 4 and appendix 7.1).

    real_a, real_b: (B, 3, H, W) in [-1, 1]; amp: the context of the precision. Returns detached losses by name.
    """
    opt_g, opt_d = opts
    set_trainable(nets[2:], False)
    with amp:
        g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
    opt_g.zero_grad()
    g["g"].backward()
    opt_g.step()

    set_trainable(nets[2:], True)
    old_a, old_b = pools[0].swap(fake_a), pools[1].swap(fake_b)
    with amp:
        d = discriminator_losses(nets, real_a, real_b, old_a, old_b)
    opt_d.zero_grad()
    (d["d_a"] + d["d_b"]).backward()
    opt_d.step()
    return {name: loss.detach() for name, loss in (g | d).items()}


def set_trainable(nets, flag):
    """Whether backward reaches the weights of these networks."""
    for net in nets:
        net.requires_grad_(flag)


def build_nets(cfg, device):
    """The four networks of a config, on a device, initialised from torch's global seed. Refuses sizes they cannot take."""
    def generator():
        if cfg.arch == "cyclegan":
            return CycleGANGenerator(ngf=cfg.ngf, resize_conv=cfg.resize_conv)
        return UVCGANGenerator(ngf=cfg.ngf, pre_norm=cfg.pre_norm, vit_norm=cfg.vit_norm)

    def discriminator():
        return PatchDiscriminator(ndf=cfg.ndf, n_layers=cfg.d_layers, global_score=cfg.global_score)

    nets = [generator(), generator(), discriminator(), discriminator()]
    if cfg.init == "normal":
        nets = [init_normal(net) for net in nets]
    return Nets(*[net.to(device) for net in nets])


def build_optimizers(nets, cfg):
    """Adam for both generators, Adam for both discriminators (their losses share no weight, so one serves both).

    Returns both, each with its schedule: constant until decay_from of the steps, then linear to 0.
    """
    scale = math.sqrt(cfg.batch_size) if cfg.scale_lr else 1.0

    def rate(step):
        left = cfg.steps * (1 - cfg.decay_from)
        return min(1.0, (cfg.steps - step) / left) if left else 1.0

    opts = [torch.optim.Adam([p for net in pair for p in net.parameters()], lr=lr * scale, betas=(cfg.beta1, 0.999))
            for pair, lr in ((nets[:2], cfg.lr_g), (nets[2:], cfg.lr_d))]
    return opts, [torch.optim.lr_scheduler.LambdaLR(opt, rate) for opt in opts]


def precision_context(precision, device):
    """Autocast to bfloat16, or nothing; "auto" takes bfloat16 where the processor or GPU computes it in hardware."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    on = precision == "bfloat16"
    return (torch.autocast(device.type, dtype=torch.bfloat16) if on else nullcontext()), precision


def has_bfloat16(device):
    """True where bfloat16 products run in hardware; emulated they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


@torch.no_grad()
def evaluate(nets, pair, cfg, amp, limit=None):
    """Mean losses, by name, over fixed pairs: A[i] with B[i], at most `limit` of them (None: all)."""
    totals, n, device = dict.fromkeys(LOSSES, 0.0), 0, next(nets.g_ab.parameters()).device
    for real_a, real_b in fixed_batches(pair, EVAL_BATCH, device, limit):
        with amp:
            g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
            d = discriminator_losses(nets, real_a, real_b, fake_a, fake_b)
        for name, loss in (g | d).items():
            totals[name] += loss * len(real_a)
        n += len(real_a)
    return {name: float(total) / n for name, total in totals.items()}


class Log:
    """metrics.jsonl.part of a run: one line a step (split "train") and one a validation, written as they come."""

    def __init__(self, folder):
        self.path, self.kept = Path(folder) / "metrics.jsonl.part", []

    def __enter__(self):
        try:
            self.file = open(self.path, "w", buffering=1)
        except OSError as error:
            explain_no_space(error, self.path)
        return self

    def __exit__(self, *error):
        with suppress(OSError):     # what could not be written has been told by write
            self.file.close()

    def keep(self, epoch, step, losses):
        """Keep a step's losses on the device until the next flush."""
        self.kept.append((epoch, step, torch.stack([losses[name] for name in LOSSES])))

    def flush(self):
        """Fetch and write the kept steps; FloatingPointError names the first loss that is not finite."""
        values = torch.stack([row for _, _, row in self.kept]).tolist()
        for (epoch, step, _), row in zip(self.kept, values):
            self.write("train", epoch, step, dict(zip(LOSSES, row)))
        self.kept = []

    def write(self, split, epoch, step, losses):
        """Write one line now."""
        bad = [name for name in LOSSES if not math.isfinite(losses[name])]
        if bad:
            raise FloatingPointError(f"step {step}: {split} loss {bad[0]} is {losses[bad[0]]}; "
                                     "try lower rates lr_g and lr_d, or precision float32")
        line = {"split": split, "epoch": epoch, "step": step} | {name: round(losses[name], 6) for name in LOSSES}
        try:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        except OSError as error:
            explain_no_space(error, self.path)


def fit(cfg, data, folder, device=None):
    """Train cfg on data (a Domains) and leave config.json, metrics.jsonl, metrics.json and weights.pt in folder.

    Validates after each epoch (the first VAL_PAIRS pairs) and tests at the end. On a CPU the same call gives the same
    numbers on the same machine. A finished run of the same config in the folder is replaced when this one is finished.
    Raises InputError for a folder of another config, images of another size than the config's or a size that the networks
    cannot take, and FloatingPointError where a loss is no longer finite. Returns the Run.
    """
    device = torch.device(device) if device else default_device()
    folder, started, seconds = Path(folder), time.perf_counter(), 0.0
    if data.train.a.shape[-2:] != torch.Size(cfg.image_size):
        raise InputError(f"image_size {cfg.image_size}: the data was loaded at {tuple(data.train.a.shape[-2:])}; expected the same")
    torch.manual_seed(cfg.seed)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    nets = build_nets(cfg, device)
    amp, precision = precision_context(cfg.precision, device)
    evaluate(nets, Pair(data.val.a[:1], data.val.b[:1]), cfg, amp)  # refuses a size now, not after the first epoch
    claim_run_folder(folder, cfg, data.fingerprint)
    opts, schedules = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, cfg.seed), ImagePool(cfg.pool_size, cfg.seed + 1)
    batches = pair_batches(data.train, cfg.batch_size, cfg.seed, device)
    epoch_steps = cfg.epoch_steps or max(1, len(data.train.a) // cfg.batch_size)

    with Log(folder) as log, Progress(f"{cfg.arch}, recipe {cfg.recipe}", cfg.steps, folder) as progress:
        tick = time.perf_counter()
        for step in range(1, cfg.steps + 1):
            losses = train_step(nets, opts, pools, *next(batches), cfg, amp)
            for schedule in schedules:
                schedule.step()
            epoch, end = -(-step // epoch_steps), step % epoch_steps == 0 or step == cfg.steps
            log.keep(epoch, step, losses)
            if end or step % LOG_EVERY == 0:
                log.flush()
                progress.update(step)
            if end:
                seconds += time.perf_counter() - tick
                log.write("val", epoch, step, evaluate(nets, data.val, cfg, amp, VAL_PAIRS))
                tick = time.perf_counter()

    peak = round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
    figures = {"arch": cfg.arch, "recipe": cfg.recipe, "test": evaluate(nets, data.test, cfg, amp),
               "scores": score(translate_pair(nets, data.test)) | {"protocol": PROTOCOL, "images": min(map(len, data.test))},
               "steps": cfg.steps, "pairs": cfg.steps * cfg.batch_size, "train_seconds": round(seconds, 2), "peak_memory_mib": peak,
               "pairs_per_second": round(cfg.steps * cfg.batch_size / seconds, 2), "precision": precision,
               "device": device_name(device), "torch": torch.__version__, "seed": cfg.seed,
               "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in nets._asdict().items()},
               "data": {"name": data.name, "domains": data.domains, "counts": data.counts().values.tolist(),
                        "fingerprint": data.fingerprint}}
    weights = io.BytesIO()
    torch.save({name: net.state_dict() for name, net in nets._asdict().items()}, weights)
    write_atomic(folder / "weights.pt", weights.getbuffer())
    log.path.replace(folder / "metrics.jsonl")
    figures["wall_seconds"] = round(time.perf_counter() - started, 2)
    write_atomic(folder / "metrics.json", json.dumps(figures, indent=1))
    return load_run(folder, device)


def load_run(folder, device=None):
    """A finished Run from its folder; InputError where the folder holds none, or one that did not finish."""
    folder, device = Path(folder), torch.device(device) if device else default_device()
    cfg = load_config(folder)
    for name in ("metrics.json", "weights.pt"):
        if not (folder / name).exists():
            raise InputError(f"run folder {folder}: no {name} in it, so the run did not finish; train it again")
    nets = build_nets(cfg, device)
    weights = torch.load(folder / "weights.pt", map_location=device, weights_only=True)
    for name, net in nets._asdict().items():
        net.load_state_dict(weights[name])
    history = pd.read_json(folder / "metrics.jsonl", lines=True)
    return Run(folder, cfg, nets, history, json.loads((folder / "metrics.json").read_text()))


def fit_or_load(cfg, data, runs=RUNS):
    """The finished run of this config and data below the folder `runs` if there is one, else train it there."""
    folder = Path(runs) / cfg.name(data.fingerprint)
    return load_run(folder) if (folder / "metrics.json").exists() else fit(cfg, data, folder)


def default_device():
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device):
    """The GPU's or processor's name, for the report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = next(line for line in open("/proc/cpuinfo") if line.startswith("model name")).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} threads"
