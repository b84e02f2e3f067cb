"""Training: the loop with a validation each epoch, and a test pass."""

import math
import time
from contextlib import nullcontext
from functools import partial

import torch

from ganlib.bench.memory import count_memory
from ganlib.config import check_pieces
from ganlib.data.domains import Pair, check_domains, fixed_batches, pair_batches, to_float
from ganlib.device import default_device, lay_out, out_of_memory, precision_context
from ganlib.errors import InputError, NotFinite
from ganlib.evaluate.health import warn
from ganlib.evaluate.judge import Judge
from ganlib.evaluate.losses import evaluate
from ganlib.evaluate.translate import generate
from ganlib.fast_step import CapturedStep, train_step
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.models.build import build_nets
from ganlib.models.ema import build_ema, update_ema
from ganlib.optim import build_optimizers
from ganlib.parallel.ddp import share
from ganlib.parallel.launch import launch
from ganlib.parallel.ranks import agree, any_of, rank, world_size
from ganlib.pool import ImagePool
from ganlib.runs.best import Best
from ganlib.runs.checkpoint import (
    State,
    describe_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_failure,
)
from ganlib.runs.finished import load_run, reopen, score_run
from ganlib.runs.folder import claim_run_folder, clear, find_missing, is_begun_anew, is_finished
from ganlib.runs.keeper import finish, lap, note_machine
from ganlib.runs.log import Log
from ganlib.runs.signals import Stop
from ganlib.show.progress import Progress
from ganlib.system.files import RUNS, expand, locked

LOG_EVERY = 10  # steps between two fetches of the losses from a GPU; on a CPU each is looked at
SLOW = 3  # seconds after which a step is shown at once
VAL_PAIRS = 100  # images of each domain, at most, that a validation translates and judges
# Of them, those whose losses it takes: a loss costs eight times what a translation does
LOSS_PAIRS = 16


def validate(nets, emas, judge, cfg, amp):
    """Losses on the first LOSS_PAIRS of the judge's pairs, and what it says of the fakes of all,
    by the generators' running means."""
    with amp:
        fake_b, fake_a = [
            generate(ema.module, to_float(side)) for ema, side in zip(emas, judge.pair)
        ]
    return evaluate(nets, judge.pair, cfg, amp, LOSS_PAIRS) | judge.check(fake_a, fake_b)


def fit(
    cfg,
    data,
    folder,
    device=None,
    inception=None,
    resume=True,
    processes=1,
    accumulate=1,
    checkpoint_seconds=60,
):
    """Train cfg on data (a Domains) and leave a run in folder: see runs for its files.

    Validates after each epoch, on VAL_PAIRS pairs at most: losses, and KID and content distance of
    the generators' running means; the means with the lowest KID so far are kept. Then tests and
    scores (inception: by an Inception too). A warning is printed when it comes up. On a CPU the
    same call gives the same numbers on the same machine with as many threads
    (torch.get_num_threads(); another number of them adds up in another order, which rounds
    otherwise, and metrics.json has it).

    resume: load what is in the folder where it is finished, which a line says, and score it anew
    where it was scored by another protocol; of a training that was interrupted go on from the
    newest whole checkpoint, if there is one: the run is then the one that was never interrupted, to
    the last bit on a CPU with as many threads. Where it goes on with another number of threads or
    processes, another accumulate, precision, processor or torch, that is said and kept in
    metrics.json (resumed_otherwise). False: train from the start; a finished run in the folder is
    replaced when this one is finished, an unfinished one at once. Checkpoints are written after the
    first step and then checkpoint_seconds apart, and when Ctrl-C, Jupyter's stop button or SIGTERM
    end the training, which they do after the step under way. accumulate: pieces of a batch that are
    computed one after another, the same step in less memory. processes: how many train together on
    this machine, each with a GPU of its own if there are any. Where torchrun started several, each
    calls fit and trains on its part of each batch; the first one writes.

    Raises InputError for a folder of another config or data set, one that another process trains
    in, images of another size than the config's, a size that the networks cannot take, a batch
    that cannot be split, too little memory, and a disk that is full; NotFinite (a
    FloatingPointError) where a loss or gradient is not finite, with the batch and the state in a
    file. Returns the Run (None in a process that does not write)."""
    device, data = torch.device(device) if device else default_device(), data.settled()
    folder = expand(folder, "run folder")
    check_fit(cfg, data, accumulate, processes * world_size())
    if resume and is_finished(folder) and not is_begun_anew(folder):
        claim_run_folder(folder, cfg, data.fingerprint)  # raises if it is another one's
        return reopen(folder, data, inception, device) if rank() == 0 else None
    if processes > 1:
        if device.type != default_device().type:
            raise InputError(
                f"device {device}: {processes} processes train on {default_device().type}; leave "
                "device out"
            )
        launch(cfg, data, folder, processes, accumulate, resume)
        return score_run(load_run(folder, device), data, inception)
    started = time.perf_counter()
    torch.manual_seed(cfg.seed)
    with out_of_memory(cfg, accumulate, world_size()):
        nets = lay_out(build_nets(cfg, device), device)
        # Refuses a size now, not after the first epoch
        evaluate(
            nets,
            Pair(data.val.a[:1], data.val.b[:1]),
            cfg,
            precision_context(cfg.precision, device)[0],
        )
    with locked(folder / ".lock", f"run folder {folder}") if rank() == 0 else nullcontext():
        if rank() == 0:
            claim_run_folder(folder, cfg, data.fingerprint)
            if (lost := find_missing(folder)) and "metrics.json" not in lost:
                print(
                    f"warning: run folder {folder}: the run in it was finished, but "
                    f"{' and '.join(lost)} cannot be found; it is trained again"
                )
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
    tally = {
        "seconds": 0.0,
        "checks": 0.0,
        "checkpoints": 0.0,
        "wall": 0.0,
        "memory": [],
        "warnings": {},
        "resumed": [],
        "otherwise": [],
    }
    begun, known, length = (
        load_checkpoint(folder, device, cfg, data.fingerprint, state) if resume else (0, None, 0)
    )
    tally |= known or {}
    tally["resumed"] = tally["resumed"] + [begun] * bool(begun)
    note_machine(tally, begun, device, precision, accumulate)
    # And so wait for the first process, which may have trained a probe
    agree(checkpoint=begun, data=data.fingerprint, config=cfg)

    losses = (
        share(generator_losses, nets[:2], accumulate),
        share(discriminator_losses, nets[2:], accumulate),
    )
    step_on = partial(
        train_step, nets, opts, pools, cfg=cfg, amp=amp, losses=losses, parts=accumulate
    )
    if device.type == "cuda" and world_size() == 1:
        step_on = CapturedStep(step_on, device)
    batches = pair_batches(
        data.train, cfg.batch_size, cfg.seed, device, begun, (rank(), world_size())
    )
    epoch_steps, log_every = (
        cfg.epoch_steps or max(1, len(data.train.a) // cfg.batch_size),
        LOG_EVERY if device.type == "cuda" else 1,
    )

    with (
        Stop() as stop,
        Log(folder, cfg.steps, length) as log,
        Progress(f"{cfg.arch}, recipe {cfg.recipe}", cfg.steps, folder, initial=begun) as progress,
        out_of_memory(cfg, accumulate, world_size()),
    ):
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
                    state.best.offer(
                        log.write("val", epoch, step, validate(nets, emas, judge, cfg, amp)),
                        nets,
                        emas,
                    )
            except NotFinite as error:
                batch = (
                    pair_batches(data.train, cfg.batch_size, cfg.seed, "cpu", error.step - 1)
                    if error.split == "train"
                    else fixed_batches(judge.pair, LOSS_PAIRS, "cpu")
                )
                save_failure(folder, error, next(batch), cfg, state)
                raise
            if end and rank() == 0:
                for kind, text in warn(
                    log.table(), cfg.steps, judge.untranslated, judge.inverted
                ).items():
                    if kind not in tally["warnings"]:
                        tally["warnings"][kind] = f"step {step}: {text}"
                        print(f"warning: {tally['warnings'][kind]}")
                tick = lap(tally, "checks", tick)
            ending = any_of(stop.asked, device)
            if rank() == 0 and (ending or step < cfg.steps and tick - saved >= checkpoint_seconds):
                save_checkpoint(
                    folder,
                    step,
                    cfg,
                    data.fingerprint,
                    state,
                    tally | {"wall": tally["wall"] + tick - started},
                    log.state(),
                )
                saved = tick = lap(tally, "checkpoints", tick)
            if ending:
                if rank() == 0:
                    print(
                        f"stopped after step {step} of {cfg.steps}; {describe_checkpoint(folder)}",
                        flush=True,
                    )
                break
        written = log.state()  # all of it is on disk
    if begun < cfg.steps and ending:
        # Where the signal came to another process, or its handler raises nothing
        raise KeyboardInterrupt
    if rank() == 0:
        finish(
            folder,
            cfg,
            data,
            state,
            tally,
            log.path.read_bytes()[: written["bytes"]],
            precision,
            started,
        )


def check_fit(cfg, data, accumulate, processes):
    """Raise InputError where a config cannot be trained on this data in these many pieces."""
    check_domains(data)
    if data.train.a.shape[-2:] != torch.Size(cfg.image_size):
        raise InputError(
            f"image_size {cfg.image_size}: the data was loaded at "
            f"{tuple(data.train.a.shape[-2:])}; expected the same"
        )
    check_pieces(cfg.batch_size, accumulate, processes)


def fit_or_load(cfg, data, runs=RUNS, inception=None, processes=1, accumulate=1, resume=True):
    """fit in the folder below `runs` that a run of this config and data has."""
    data = data.settled()
    folder = expand(runs, "runs") / cfg.name(data.fingerprint)
    return fit(
        cfg,
        data,
        folder,
        inception=inception,
        resume=resume,
        processes=processes,
        accumulate=accumulate,
    )
