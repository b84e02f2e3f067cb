"""Training: the step, and the loop with validation each epoch and a test pass. What a run leaves is read by runs."""

import json
import math
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pandas as pd
import torch

from ganlib.config import claim_run_folder
from ganlib.cost import count_flops, count_memory, default_device, device_name
from ganlib.data import Pair, fixed_batches, pair_batches, to_float
from ganlib.files import RUNS, InputError, explain_no_space, write_atomic
from ganlib.judge import Judge, generate
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.nets import build_ema, build_nets, pack_weights, set_trainable
from ganlib.pool import ImagePool
from ganlib.progress import Progress
from ganlib.runs import load_run, save, score_run
from ganlib.watch import warn

LOSSES = ("g", "g_adv", "cycle", "idt", "d_a", "d_a_real", "d_a_fake", "d_b", "d_b_real", "d_b_fake")
LOG_EVERY = 10   # steps between two fetches of the losses from the device
EVAL_BATCH = 32  # images of each domain at a time in validation and test
VAL_PAIRS = 100  # at most, in each validation


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
    """Mean losses, by name, over fixed pairs: A[i] with B[i], at most `limit` of them (None: all); and the fakes of these
    pairs, {fake_a, fake_b}, float on the CPU."""
    totals, n, fakes, device = dict.fromkeys(LOSSES, 0.0), 0, {"fake_a": [], "fake_b": []}, next(nets.g_ab.parameters()).device
    for real_a, real_b in fixed_batches(pair, EVAL_BATCH, device, limit):
        with amp:
            g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
            d = discriminator_losses(nets, real_a, real_b, fake_a, fake_b)
        for name, loss in (g | d).items():
            totals[name] += loss * len(real_a)
        n += len(real_a)
        fakes["fake_a"].append(fake_a.float().cpu())
        fakes["fake_b"].append(fake_b.float().cpu())
    return {name: float(total) / n for name, total in totals.items()}, {name: torch.cat(parts) for name, parts in fakes.items()}


def validate(nets, emas, judge, cfg, amp):
    """Losses on the judge's pairs, and what it says of the fakes: of the running means, and with "_raw" of the weights as
    they are (whose fakes the losses have made already)."""
    losses, fakes = evaluate(nets, judge.pair, cfg, amp)
    raw = {name: fake[:len(side)] for (name, fake), side in zip(fakes.items(), (judge.pair.b, judge.pair.a))}
    with amp:
        fake_b, fake_a = [generate(ema.module, to_float(side)) for ema, side in zip(emas, judge.pair)]
    return losses | judge.check(fake_a, fake_b) | judge.check(**raw, suffix="_raw")


class Log:
    """metrics.jsonl.part of a run: one line a step (split "train") and one a validation, written as they come."""

    def __init__(self, folder):
        self.path, self.kept, self.lines = Path(folder) / "metrics.jsonl.part", [], []

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

    def write(self, split, epoch, step, figures):
        """Write one line now: the losses, and whatever else there is. Returns it as a dict."""
        bad = [name for name in LOSSES if not math.isfinite(figures[name])]
        if bad:
            raise FloatingPointError(f"step {step}: {split} loss {bad[0]} is {figures[bad[0]]}; "
                                     "try lower rates lr_g and lr_d, or precision float32")
        line = {"split": split, "epoch": epoch, "step": step} | {name: round(value, 6) for name, value in figures.items()}
        try:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        except OSError as error:
            explain_no_space(error, self.path)
        self.lines.append(line)
        return line


def fit(cfg, data, folder, device=None, inception=None):
    """Train cfg on data (a Domains) and leave a run in folder: see runs for its files.

    Validates after each epoch on the first VAL_PAIRS pairs: losses, and KID and content distance of the generators' running
    means and of the generators as they are; the means with the lowest KID so far are kept. Then tests and scores (inception:
    by an Inception too). A warning is printed when it comes up. On a CPU the same call gives the same numbers on the same
    machine. A finished run of the same config in the folder is replaced when this one is finished. Raises InputError for a
    folder of another config, images of another size than the config's or a size that the networks cannot take, and
    FloatingPointError where a loss is no longer finite. Returns the Run.
    """
    device = torch.device(device) if device else default_device()
    folder, started, seconds, checks = Path(folder), time.perf_counter(), 0.0, 0.0
    if data.train.a.shape[-2:] != torch.Size(cfg.image_size):
        raise InputError(f"image_size {cfg.image_size}: the data was loaded at {tuple(data.train.a.shape[-2:])}; expected the same")
    torch.manual_seed(cfg.seed)
    nets = build_nets(cfg, device)
    amp, precision = precision_context(cfg.precision, device)
    evaluate(nets, Pair(data.val.a[:1], data.val.b[:1]), cfg, amp)  # refuses a size now, not after the first epoch
    claim_run_folder(folder, cfg, data.fingerprint)
    judge = Judge(data, "val", limit=VAL_PAIRS, device=device)
    emas = [build_ema(net, cfg.ema) for net in nets[:2]]
    opts, schedules = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, cfg.seed), ImagePool(cfg.pool_size, cfg.seed + 1)
    batches = pair_batches(data.train, cfg.batch_size, cfg.seed, device)
    epoch_steps = cfg.epoch_steps or max(1, len(data.train.a) // cfg.batch_size)
    best, warnings, memory = Best(), {}, []

    with Log(folder) as log, Progress(f"{cfg.arch}, recipe {cfg.recipe}", cfg.steps, folder) as progress:
        tick = time.perf_counter()
        for step in range(1, cfg.steps + 1):
            with count_memory(nets, device, memory) if step == 1 else nullcontext():
                losses = train_step(nets, opts, pools, *next(batches), cfg, amp)
            for ema, net in zip(emas, nets):
                ema.update_parameters(net)
            for schedule in schedules:
                schedule.step()
            epoch, end = -(-step // epoch_steps), step % epoch_steps == 0 or step == cfg.steps
            log.keep(epoch, step, losses)
            if end or step % LOG_EVERY == 0:
                log.flush()
                progress.update(step)
            if end:
                tock = time.perf_counter()
                best.offer(log.write("val", epoch, step, validate(nets, emas, judge, cfg, amp)), nets, emas)
                for kind, text in warn(pd.DataFrame(log.lines), cfg.steps, judge.untranslated).items():
                    if kind not in warnings:
                        warnings[kind] = f"step {step}: {text}"
                        print(f"warning: {warnings[kind]}")
                seconds, tick, checks = seconds + tock - tick, time.perf_counter(), checks + time.perf_counter() - tock

    figures = describe_run(cfg, data, nets) | {
        "test": evaluate(nets, data.test, cfg, amp)[0], "best_step": best.step, "warnings": list(warnings.values()),
        "train_seconds": round(seconds, 2), "validation_seconds": round(checks, 2), "memory_mib": memory[0],
        "pairs_per_second": round(cfg.steps * cfg.batch_size / seconds, 2), "precision": precision, "device": device_name(device)}
    save(folder / "best.pt", best.weights)
    save(folder / "weights.pt", pack_weights(nets, emas))
    log.path.replace(folder / "metrics.jsonl")
    figures["wall_seconds"] = round(time.perf_counter() - started, 2)
    write_atomic(folder / "metrics.json", json.dumps(figures, indent=1))
    return score_run(load_run(folder, device), data, inception)


def describe_run(cfg, data, nets):
    """What metrics.json says of a run that was known before it began."""
    return {"arch": cfg.arch, "recipe": cfg.recipe, "seed": cfg.seed, "steps": cfg.steps, "pairs": cfg.steps * cfg.batch_size,
            "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in nets._asdict().items()}, **count_flops(cfg),
            "data": {"name": data.name, "domains": data.domains, "counts": data.counts().values.tolist(), "fingerprint": data.fingerprint},
            "torch": torch.__version__}


class Best:
    """A copy of the weights at the lowest validation KID so far (mean of both domains, of the running means)."""

    def __init__(self):
        self.kid, self.step, self.weights = math.inf, None, None

    def offer(self, line, nets, emas):
        """Take the weights if this validation's KID is the lowest. With too few images for a KID the last ones are taken."""
        kid = (line["kid_a"] + line["kid_b"]) / 2 if "kid_a" in line and "kid_b" in line else self.kid
        if kid <= self.kid:
            weights = pack_weights(nets, emas)
            self.kid, self.step = kid, line["step"]
            self.weights = {name: {k: v.detach().clone() for k, v in state.items()} for name, state in weights.items()}


def fit_or_load(cfg, data, runs=RUNS, inception=None):
    """The finished run of this config and data below the folder `runs` if there is one, else train it there. One that was
    scored by another protocol (without Inception, by another probe) is scored again."""
    folder = Path(runs) / cfg.name(data.fingerprint)
    if not (folder / "metrics.json").exists():
        return fit(cfg, data, folder, inception=inception)
    return score_run(load_run(folder), data, inception)
