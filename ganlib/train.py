"""Training: the step, and the loop with validation each epoch and a test pass. What a run leaves is read by runs."""

import argparse
import json
import math
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from datetime import datetime
from functools import partial
from inspect import signature
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.utils import get_total_norm

from ganlib.checkpoint import LOG, State, check_finite, describe_checkpoint, find_checkpoints, load_checkpoint, save_checkpoint, save_failure
from ganlib.command import call
from ganlib.config import MOST, check_pieces, claim_run_folder, read_job
from ganlib.cost import chip_name, count_flops, count_memory, default_device, device_name, out_of_memory
from ganlib.data import Pair, check_domains, fixed_batches, load_domains, pair_batches, to_float
from ganlib.distributed import ProcessLost, agree, any_of, join_processes, launch, rank, share, world_size
from ganlib.files import RUNS, InputError, expand, locked, printable, write_atomic
from ganlib.history import GRADS, LOSSES, Best, Log, NotFinite
from ganlib.interrupt import Stop
from ganlib.judge import Judge, generate
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.nets import build_ema, build_nets, pack_weights, set_trainable, update_ema
from ganlib.parameters import check_parameters
from ganlib.pool import ImagePool
from ganlib.progress import Progress, say
from ganlib.runs import find_missing, is_finished, load_run, save_weights, score_run
from ganlib.speed import CapturedStep, lay_out
from ganlib.watch import warn

LOG_EVERY = 10   # steps between two fetches of the losses from a GPU; on a CPU each is looked at
SLOW = 3         # seconds after which a step is shown at once
EVAL_BATCH = 32  # images of each domain at a time in validation and test
VAL_PAIRS = 100  # images of each domain, at most, that a validation translates and judges
LOSS_PAIRS = 16  # of them, those whose losses it takes: a loss costs eight times what a translation does


def train_step(nets, opts, pools, real_a, real_b, cfg, amp, losses=(generator_losses, discriminator_losses), parts=1):
    """One update of the generators and of the discriminators, on fakes from before it (Zhu et al. 2017, section 4 and appendix 7.1).

    real_a, real_b: (B, 3, H, W) in [-1, 1]; amp: the context of the precision. parts: pieces of the batch that are computed one
    after another, their gradients added, which takes less memory. Returns detached losses and sizes of the gradients by name. `reference` has
    it plain.
    """
    opt_g, opt_d = opts
    told, fakes = [], []
    set_trainable(nets[2:], False)
    opt_g.zero_grad()
    for a, b in zip(real_a.chunk(parts), real_b.chunk(parts)):
        with amp:
            g, fake_a, fake_b = losses[0](nets, a, b, cfg)
        (g["g"] / parts).backward()
        told.append(g)
        fakes.append((fake_a.detach(), fake_b.detach()))

    set_trainable(nets[2:], True)
    old_a, old_b = [pool.swap(torch.cat(fake)) for pool, fake in zip(pools, zip(*fakes))]
    opt_d.zero_grad()
    for i, batch in enumerate(zip(*[x.chunk(parts) for x in (real_a, real_b, old_a, old_b)])):
        with amp:
            d = losses[1](nets, *batch)
        ((d["d_a"] + d["d_b"]) / parts).backward()
        told[i] |= d
    told = guard(opts, {name: sum(part[name].detach() for part in told) / parts for name in told[0]})
    opt_g.step()    # only now, as the fakes were made before: a step is taken as a whole or not at all
    opt_d.step()
    return told


def guard(opts, losses):
    """Losses with the sizes of the gradients beside them. If any of these is not finite no optimizer steps, now and from then on: weights stay
    as they were before this step, on a GPU too, which the host does not wait for."""
    sizes = [get_total_norm([p.grad for group in opt.param_groups for p in group["params"] if p.grad is not None]) for opt in opts]
    told = losses | dict(zip(GRADS, sizes))
    opts[0].found_inf.add_(~torch.stack(list(told.values())).isfinite().all()).clamp_(max=1)
    return told


def build_optimizers(nets, cfg):
    """Adam for both generators, Adam for both discriminators (their losses share no weight, so one serves both).

    Returns both, each with its schedule: constant until decay_from of the steps, then linear to 0. On a GPU rates are tensors, so
    that a captured step sees them change. found_inf, one for both, is what `guard` stops them by (torch's fused Adam skips its step for it).
    """
    scale = math.sqrt(cfg.batch_size) if cfg.scale_lr else 1.0
    device = next(nets[0].parameters()).device
    captured = device.type == "cuda"

    def rate(step):
        left = cfg.steps * (1 - cfg.decay_from)
        return min(1.0, (cfg.steps - step) / left) if left else 1.0

    with Stop():    # imports a large part of torch, of which an interrupt would leave a half that cannot be imported again
        opts = [torch.optim.Adam([p for net in pair for p in net.parameters()], lr=torch.tensor(lr * scale, device=device) if captured else lr * scale,
                                 betas=(cfg.beta1, 0.999), fused=True, capturable=captured)
                for pair, lr in ((nets[:2], cfg.lr_g), (nets[2:], cfg.lr_d))]
    opts[0].found_inf = opts[1].found_inf = torch.zeros((), dtype=torch.float32, device=device)
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
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


@torch.no_grad()
def evaluate(nets, pair, cfg, amp, limit=None):
    """Mean losses, by name, over fixed pairs: A[i] with B[i], at most `limit` of them (None: all). A loss without a weight is
    not computed (losses.weighed), and not among them."""
    totals, n, like = {}, 0, next(nets.g_ab.parameters())
    with Progress("taking losses", min(max(map(len, pair)), limit or MOST), unit="images") as progress:
        for batch in fixed_batches(pair, EVAL_BATCH, like.device, limit):
            real_a, real_b = [real.to(like.dtype) for real in batch]
            with amp:
                g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
                d = discriminator_losses(nets, real_a, real_b, fake_a, fake_b)
            for name, loss in (g | d).items():
                totals[name] = totals.get(name, 0.0) + loss * len(real_a)
            n += len(real_a)
            progress.add(len(real_a))
    return {name: float(totals[name]) / n for name in LOSSES if name in totals}


def validate(nets, emas, judge, cfg, amp):
    """Losses on the first LOSS_PAIRS of the judge's pairs, and what it says of the fakes of all, by the generators' running means."""
    with amp:
        fake_b, fake_a = [generate(ema.module, to_float(side)) for ema, side in zip(emas, judge.pair)]
    return evaluate(nets, judge.pair, cfg, amp, LOSS_PAIRS) | judge.check(fake_a, fake_b)


def fit(cfg, data, folder, device=None, inception=None, resume=True, processes=1, accumulate=1, checkpoint_seconds=60):
    """Train cfg on data (a Domains) and leave a run in folder: see runs for its files.

    Validates after each epoch, on VAL_PAIRS pairs at most: losses, and KID and content distance of the generators' running means;
    the means with the lowest KID so far are kept. Then tests and scores (inception: by an Inception too). A warning is printed when it
    comes up. On a CPU the same call gives the same numbers on the same machine with as many threads (torch.get_num_threads(); another
    number of them adds up in another order, which rounds otherwise, and metrics.json has it).

    resume: load what is in the folder where it is finished, which a line says, and score it anew where it was scored by another protocol; of a
    training that was interrupted go on from the newest whole checkpoint, if there is one: the run is then the one that was
    never interrupted, to the last bit on a CPU with as many threads. Where it goes on with another number of threads or processes, another
    accumulate, precision, processor or torch, that is said and kept in metrics.json (resumed_otherwise). False: train from the start; a
    finished run in the folder is replaced when this one is finished, an unfinished one at once.
    Checkpoints are written after the first step and then checkpoint_seconds apart, and when
    Ctrl-C, Jupyter's stop button or SIGTERM end the training, which they do after the step under way. accumulate: pieces of a batch that
    are computed one after another, the same step in less memory. processes: how many train together on this machine, each with a GPU of
    its own if there are any. Where torchrun started several, each calls fit and trains on its part of each batch; the first one writes.

    Raises InputError for a folder of another config or data set, one that another process trains in, images of another size than the
    config's, a size that the networks cannot take, a batch that cannot be split, too little memory, and a disk that is full; NotFinite (a
    FloatingPointError) where a loss or gradient is not finite, with the batch and the state in a file. Returns the Run (None in a
    process that does not write).
    """
    device, data = torch.device(device) if device else default_device(), data.settled()
    folder = expand(folder, "run folder")
    check_fit(cfg, data, accumulate, processes * world_size())
    if resume and is_finished(folder) and not is_begun_anew(folder):
        claim_run_folder(folder, cfg, data.fingerprint)     # raises if it is another one's
        return reopen(folder, data, inception, device) if rank() == 0 else None
    if processes > 1:
        if device.type != default_device().type:
            raise InputError(f"device {device}: {processes} processes train on {default_device().type}; leave device out")
        launch(cfg, data, folder, processes, accumulate, resume)
        return score_run(load_run(folder, device), data, inception)
    started = time.perf_counter()
    torch.manual_seed(cfg.seed)
    with out_of_memory(cfg, accumulate, world_size()):
        nets = lay_out(build_nets(cfg, device), device)
        evaluate(nets, Pair(data.val.a[:1], data.val.b[:1]), cfg, precision_context(cfg.precision, device)[0])  # refuses a size now, not after the first epoch
    with locked(folder / ".lock", f"run folder {folder}") if rank() == 0 else nullcontext():
        if rank() == 0:
            claim_run_folder(folder, cfg, data.fingerprint)
            if (lost := find_missing(folder)) and "metrics.json" not in lost:
                print(f"warning: run folder {folder}: the run in it was finished, but {' and '.join(lost)} cannot be found; it is trained again")
            clear(folder, checkpoints=not resume)
        train(cfg, data, folder, device, nets, resume, accumulate, checkpoint_seconds, started)
    return score_run(load_run(folder, device), data, inception) if rank() == 0 else None


def train(cfg, data, folder, device, nets, resume, accumulate, checkpoint_seconds, started):
    """What fit does while it holds the folder."""
    amp, precision = precision_context(cfg.precision, device)
    judge = Judge(data, "val", limit=VAL_PAIRS, device=device) if rank() == 0 else None
    emas = [build_ema(net) for net in nets[:2]]
    opts, schedules = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, cfg.seed), ImagePool(cfg.pool_size, cfg.seed + 1)
    state = State(nets, emas, opts, schedules, pools, Best())
    tally = {"seconds": 0.0, "checks": 0.0, "checkpoints": 0.0, "wall": 0.0, "memory": [], "warnings": {}, "resumed": [], "otherwise": []}
    begun, known, length = load_checkpoint(folder, device, cfg, data.fingerprint, state) if resume else (0, None, 0)
    tally |= known or {}
    tally["resumed"] = tally["resumed"] + [begun] * bool(begun)
    note_machine(tally, begun, device, precision, accumulate)
    agree(checkpoint=begun, data=data.fingerprint, config=cfg)     # and so wait for the first process, which may have trained a probe

    losses = share(generator_losses, nets[:2], accumulate), share(discriminator_losses, nets[2:], accumulate)
    step_on = partial(train_step, nets, opts, pools, cfg=cfg, amp=amp, losses=losses, parts=accumulate)
    if device.type == "cuda" and world_size() == 1:
        step_on = CapturedStep(step_on, device)
    batches = pair_batches(data.train, cfg.batch_size, cfg.seed, device, begun, (rank(), world_size()))
    epoch_steps, log_every = cfg.epoch_steps or max(1, len(data.train.a) // cfg.batch_size), LOG_EVERY if device.type == "cuda" else 1

    with Stop() as stop, Log(folder, cfg.steps, length) as log, Progress(f"{cfg.arch}, recipe {cfg.recipe}", cfg.steps, folder, initial=begun) as progress, out_of_memory(cfg, accumulate, world_size()):
        tick, saved = time.perf_counter(), -math.inf
        for step in range(begun + 1, cfg.steps + 1):
            for pool in pools:
                pool.draw(cfg.batch_size, device)
            with count_memory(nets, device, tally["memory"]) if step == 1 else nullcontext():
                told = step_on(*next(batches))
            for ema, net in zip(emas, nets):
                update_ema(ema, net, cfg.ema)
            for schedule in schedules:
                schedule.step()
            epoch, end = -(-step // epoch_steps), step % epoch_steps == 0 or step == cfg.steps
            log.keep(epoch, step, told)
            if step % LOG_EVERY == 0 or time.perf_counter() - progress.shown > SLOW:
                progress.update(step)
            if not end and step % log_every and not (stop.asked and world_size() == 1):
                continue
            try:
                log.flush()
                tick = lap(tally, "seconds", tick)
                if end and rank() == 0:
                    state.best.offer(log.write("val", epoch, step, validate(nets, emas, judge, cfg, amp)), nets, emas)
            except NotFinite as error:
                batch = pair_batches(data.train, cfg.batch_size, cfg.seed, "cpu", error.step - 1) if error.split == "train" else fixed_batches(judge.pair, LOSS_PAIRS, "cpu")
                save_failure(folder, error, next(batch), cfg, state)
                raise
            if end and rank() == 0:
                for kind, text in warn(log.table(), cfg.steps, judge.untranslated, judge.inverted).items():
                    if kind not in tally["warnings"]:
                        tally["warnings"][kind] = f"step {step}: {text}"
                        print(f"warning: {tally['warnings'][kind]}")
                tick = lap(tally, "checks", tick)
            ending = any_of(stop.asked, device)
            if rank() == 0 and (ending or step < cfg.steps and tick - saved >= checkpoint_seconds):
                save_checkpoint(folder, step, cfg, data.fingerprint, state, tally | {"wall": tally["wall"] + tick - started}, log.state())
                saved = tick = lap(tally, "checkpoints", tick)
            if ending:
                if rank() == 0:
                    print(f"stopped after step {step} of {cfg.steps}; {describe_checkpoint(folder)}", flush=True)
                break
        written = log.state()   # all of it is on disk
    if begun < cfg.steps and ending:
        raise KeyboardInterrupt     # where the signal came to another process, or its handler raises nothing
    if rank() == 0:
        finish(folder, cfg, data, state, tally, log.path.read_bytes()[:written["bytes"]], precision, started)


def note_machine(tally, step, device, precision, accumulate):
    """Keep in the tally of a run what its rounding depends on; where it goes on with another one, say so and keep that too."""
    now = {"processor": chip_name(device), "torch": str(torch.__version__), "precision": precision, "processes": world_size(),
           "accumulate": accumulate} | ({"threads": torch.get_num_threads()} if device.type == "cpu" else {})
    before = tally.get("machine", now)      # a checkpoint of an earlier ganlib does not know
    changes = [f"{name} {before[name]} before, {value} now" for name, value in now.items() if before.get(name, value) != value]
    if changes:
        tally["otherwise"] = [*tally["otherwise"], f"step {step}: {'; '.join(changes)}"]
        if rank() == 0:
            print(f"warning: {tally['otherwise'][-1]}: this rounds otherwise, so the run is not to the last bit the one that was "
                  "never interrupted")
    tally["machine"] = now


def finish(folder, cfg, data, state, tally, log, precision, started):
    """Write what a finished run leaves, metrics.json last: with it the run is finished, and until then it can go on."""
    device = next(state.nets.g_ab.parameters()).device
    if device.type == "cuda":
        tally["memory"] = [round(torch.cuda.max_memory_allocated(device) / 2**20)]      # with what the graph keeps
    figures = describe_run(cfg, data, state.nets) | {
        "test": evaluate(state.nets, data.test, cfg, precision_context(precision, device)[0]), "best_step": state.best.step, "warnings": list(tally["warnings"].values()),
        "train_seconds": round(tally["seconds"], 2), "validation_seconds": round(tally["checks"], 2),
        "checkpoint_seconds": round(tally["checkpoints"], 2), "memory_mib": tally["memory"][0], "processes": world_size(), "resumed_at": tally["resumed"],
        "resumed_otherwise": tally["otherwise"], "threads": torch.get_num_threads(),
        "pairs_per_second": round(cfg.steps * cfg.batch_size / tally["seconds"], 2), "precision": precision, "device": device_name(device)}
    weights = pack_weights(state.nets, state.emas)
    check_finite(weights, cfg.steps)
    (folder / "metrics.json").unlink(missing_ok=True)   # of a run before this one, whose files are about to be replaced
    save_weights(folder / "best.safetensors", state.best.weights)
    save_weights(folder / "weights.safetensors", weights)
    write_atomic(folder / "metrics.jsonl", log)
    figures["wall_seconds"] = round(tally["wall"] + time.perf_counter() - started, 2)
    write_atomic(folder / "metrics.json", json.dumps(figures, indent=1))
    clear(folder, checkpoints=True)


def lap(tally, name, since):
    """Count the seconds since a time; returns the time now."""
    now = time.perf_counter()
    tally[name] += now - since
    return now


def reopen(folder, data, inception=None, device=None):
    """A finished Run, which is said, scored if it is not yet, and without what a process has left that was killed as it finished it."""
    run, day = load_run(folder, device), datetime.fromtimestamp((folder / "weights.safetensors").stat().st_mtime)
    print(f"run {folder.name}: finished on {day:%Y-%m-%d %H:%M}, so it is loaded; to train it anew set resume to False", flush=True)
    old = [path for path in (*find_checkpoints(folder), folder / LOG) if path.exists() and not is_newer(path, folder)]
    if old or list(folder.glob(".*")):
        with suppress(InputError), locked(folder / ".lock", f"run folder {folder}"):      # not where somebody trains it anew, nor where it is read only
            clear(folder, checkpoints=bool(old))
    return score_run(run, data, inception)


def is_newer(path, folder):
    """Whether a file of a folder with a finished run was written after it had been finished."""
    return path.stat().st_mtime > (folder / "weights.safetensors").stat().st_mtime


def is_begun_anew(folder):
    """Whether a finished run was being trained anew, which was interrupted: its checkpoints are newer then."""
    return any(is_newer(path, folder) for path in find_checkpoints(folder))


def clear(folder, checkpoints):
    """Take away what writers that were killed have left and, if asked, all that a run goes on from."""
    for pattern in (".*.part", *(("checkpoint-*.pt", "failed-step-*.pt", LOG) if checkpoints else ())):
        for path in folder.glob(pattern):
            if not Path("/proc", path.name.split(".")[-2]).exists():    # the writer of a .NAME.PID.part
                path.unlink(missing_ok=True)


def check_fit(cfg, data, accumulate, processes):
    """Raise InputError where a config cannot be trained on this data in these many pieces."""
    check_domains(data)
    if data.train.a.shape[-2:] != torch.Size(cfg.image_size):
        raise InputError(f"image_size {cfg.image_size}: the data was loaded at {tuple(data.train.a.shape[-2:])}; expected the same")
    check_pieces(cfg.batch_size, accumulate, processes)


def describe_run(cfg, data, nets):
    """What metrics.json says of a run that was known before it began."""
    return {"arch": cfg.arch, "recipe": cfg.recipe, "seed": cfg.seed, "steps": cfg.steps, "pairs": cfg.steps * cfg.batch_size,
            "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in nets._asdict().items()}, **count_flops(cfg),
            "data": {"name": data.name, "domains": data.domains, "counts": data.counts().values.tolist(), "fingerprint": data.fingerprint},
            "torch": torch.__version__}


def fit_or_load(cfg, data, runs=RUNS, inception=None, processes=1, accumulate=1, resume=True):
    """fit in the folder below `runs` that a run of this config and data has."""
    data = data.settled()
    folder = expand(runs, "runs") / cfg.name(data.fingerprint)
    return fit(cfg, data, folder, inception=inception, resume=resume, processes=processes, accumulate=accumulate)


def main(arguments=None):
    """python -m ganlib.train CONFIG: train the run that a YAML file describes; with torchrun, in several processes."""
    parser = argparse.ArgumentParser(prog="python -m ganlib.train", description="Train one run, or go on with it where it was interrupted.",
                                     epilog="Several GPUs or machines: torchrun --nproc-per-node N [--nnodes M ...] -m ganlib.train CONFIG")
    parser.add_argument("config", help="YAML with `train` (fields of TrainConfig), `data` (parameters of load_domains) and, if you like, "
                                       "`folder`, `inception`, `accumulate` and `resume: false`")
    options = parser.parse_args(arguments)
    from ganlib.inception import find_inception     # takes long to import
    folder = None
    try:
        job = read_job(options.config)
        device = join_processes()
        if unknown := [name for name in job["data"] if name not in signature(load_domains).parameters]:
            known = ", ".join(signature(load_domains).parameters)
            raise InputError(f"{options.config}: data: {printable(unknown[0])[:100]}: no such parameter; there are {known}")
        data = load_domains(**job["data"] | check_parameters(job["data"]))
        if rank() == 0 and len(data.skipped):
            say(f"{data.name}: {'; '.join(data.notes)}")
        folder = Path(job["folder"] or RUNS / job["train"].name(data.fingerprint))
        run = fit(job["train"], data, folder, device, job["inception"] and find_inception(job["inception"]),
                  job["resume"], accumulate=job["accumulate"])
        if run:
            print(f"{folder}: {run.metrics['pairs_per_second']} pairs/s; its scores are in metrics.json")
        return 0
    except (InputError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except BrokenPipeError:     # see call
        raise
    except OSError as error:
        print(f"error: {printable(error.filename or folder)[:300]}: {error.strerror}", file=sys.stderr, flush=True)
        return 2
    except (KeyboardInterrupt, ProcessLost) as error:
        if rank() == 0:     # the others do not know whether it has written the checkpoint yet
            print(f"error: {error if str(error) else 'interrupted'}; {describe_checkpoint(folder) if folder else 'nothing was trained yet'}", file=sys.stderr, flush=True)
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "onnection"))
        if world_size() == 1 or not lost:
            raise
        print(f"error: a process of this training was lost; {describe_checkpoint(folder) if folder else 'nothing was trained yet'} "
              f"(process {rank()}: {' '.join(str(error).split())[:120]})", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    status = call(main)
    os._exit(status) if status and world_size() > 1 else sys.exit(status)     # what is lost cannot be said goodbye to
