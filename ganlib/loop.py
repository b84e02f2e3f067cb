"""Training: a step after another, a validation each epoch, and a test pass. `train` is the loop
itself; `fit` says whether there is something to train, holds the folder, and scores the run."""

import time
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from ganlib.config import Execution, TrainConfig, check_pieces
from ganlib.data.domains import Domains, Pair, check_domains, pair_batches, to_float
from ganlib.device import default_device, lay_out, out_of_memory, precision_context
from ganlib.errors import InputError
from ganlib.evaluate.judge import Judge
from ganlib.evaluate.losses import mean_losses
from ganlib.evaluate.translate import generate
from ganlib.fast_step import CapturedStep, Passes, train_step
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.models.build import Nets, build_nets, coarse_nets
from ganlib.models.coarse import half
from ganlib.models.ema import build_ema, update_ema
from ganlib.optim import build_optimizers
from ganlib.parallel.ddp import share
from ganlib.parallel.launch import launch
from ganlib.parallel.ranks import rank, world_size
from ganlib.pool import ImagePool
from ganlib.runs.best import Best
from ganlib.runs.board import check_tensorboard
from ganlib.runs.checkpoint import State
from ganlib.runs.finished import Run, load_run, reopen, score_run
from ganlib.runs.folder import (
    claim_run_folder,
    clear,
    find_checkpoints,
    find_missing,
    is_begun_anew,
    is_finished,
)
from ganlib.runs.keeper import LOSS_PAIRS, Keeper
from ganlib.runs.parent import start_from
from ganlib.show.strip import FACES
from ganlib.system.files import RUNS, expand, locked

VAL_PAIRS = 100  # images of each domain, at most, that a validation translates and judges


def fit(
    cfg: TrainConfig,
    data: Domains,
    folder: Path | str,
    how: Execution = Execution(),
    inception=None,
) -> Run | None:
    """Train cfg on data and leave a run in folder: see runs.folder for its files.

    Validates after each epoch, on VAL_PAIRS pairs at most: losses, and KID and content distance of
    the generators' running means; the means with the lowest KID so far are kept. Then tests and
    scores (inception: by an Inception too). A warning is printed when it comes up. On a CPU the
    same call gives the same numbers on the same machine with as many threads
    (torch.get_num_threads(); another number of them adds up in another order, which rounds
    otherwise, and metrics.json has it).

    how: on which device, in how many pieces, whether to go on from what is there (see Execution).
    Ctrl-C, Jupyter's stop button and SIGTERM end the training after the step under way, with a
    checkpoint. Where torchrun started several processes, each calls fit and trains on its part of
    each batch; the first one writes.

    Raises InputError for a folder of another config or data set, one that another process trains
    in, images of another size than the config's, a size that the networks cannot take, a batch
    that cannot be split, too little memory, and a disk that is full; NotFinite (a
    FloatingPointError) where a loss or gradient is not finite, with the batch and the state in a
    file. Returns the Run (None in a process that does not write).
    """
    started = time.perf_counter()
    data = data.settled()
    folder = expand(folder, "run folder")
    device = torch.device(how.device) if how.device else default_device()
    check_fit(cfg, data, how, device)
    if how.resume and is_finished(folder) and not is_begun_anew(folder):
        claim_run_folder(folder, cfg, data.fingerprint)  # raises if it is another one's
        return reopen(folder, data, inception, device) if rank() == 0 else None
    if how.processes > 1:
        launch(cfg, data, folder, how)
        return score_run(load_run(folder, device), data, inception)
    torch.manual_seed(cfg.seed)
    state = begin(build_checked_nets(cfg, data, how, device), cfg, folder, how)
    with held(folder, cfg, data, how):
        judge = Judge(data, "val", limit=VAL_PAIRS, device=device) if rank() == 0 else None
        keeper = Keeper(folder, cfg, data, how, judge, started)
        train(cfg, data, state, keeper, how)
    return score_run(load_run(folder, device), data, inception) if rank() == 0 else None


def train(cfg: TrainConfig, data: Domains, state: State, keeper: Keeper, how: Execution) -> None:
    """Every step of a run that is still to do. The keeper writes what comes of them: the log, the
    best weights, checkpoints, and in the end the run."""
    nets = state.nets
    emas = state.emas  # of both generators
    device = next(nets.g_ab.parameters()).device
    amp, precision = precision_context(cfg.precision, device)
    done = keeper.go_on(state, precision)
    fine_from = cfg.coarse_steps() + 1  # the first step at full size
    part = rank(), world_size()
    moves = {"shift": cfg.shift, "flip": cfg.flip}
    batches = pair_batches(data.train, cfg.batch_size, cfg.seed, device, done, part, **moves)
    with keeper:
        if done == 0 and rank() == 0:
            a, b = keeper.judge.pair
            keeper.show(0, translate_both(emas, Pair(a[:FACES], b[:FACES]), amp))
        for step in range(done + 1, cfg.steps + 1):
            if step in (done + 1, fine_from):
                step_on = build_step(cfg, state, amp, how, coarse=step < fine_from)
            if step == fine_from:
                clear_pools(state)
            batch = next(batches)  # real_a, real_b: (B, 3, H, W) each
            for pool in state.pools:
                pool.draw(cfg.batch_size, device)
            with keeper.count_memory(step):
                losses = step_on(step, batch)
            for ema, net in zip(emas, nets):
                update_ema(ema, net, cfg.ema)
            for schedule in state.schedules:
                schedule.step()

            keeper.note(step, losses)
            if not keeper.is_due(step):
                continue
            keeper.flush(step)
            if keeper.ends_epoch(step) and rank() == 0:
                coarse = step < fine_from
                figures, fakes = validate(nets, emas, keeper.judge, cfg, amp, coarse)
                keeper.note_validation(step, figures, fakes)
            if keeper.save_if_due(step):
                break  # somebody asked it to stop
    if rank() == 0:
        keeper.finish(mean_losses(nets, data.test, cfg, amp))


def validate(
    nets: Nets, emas: list, judge: Judge, cfg: TrainConfig, amp, coarse: bool = False
) -> tuple[dict[str, float], tuple[Tensor, Tensor]]:
    """Losses on the first LOSS_PAIRS of the judge's pairs, and what it says of the fakes of all,
    by the generators' running means; and these, fake_b and fake_a. coarse: losses at half the size,
    where the steps are; fakes are at full size always."""
    fake_b, fake_a = translate_both(emas, judge.pair, amp)
    pair = judge.pair
    if coarse:
        nets = coarse_nets(nets)
        pair = Pair(*[half(to_float(side[:LOSS_PAIRS])) for side in pair])
    losses = mean_losses(nets, pair, cfg, amp, LOSS_PAIRS)
    return losses | judge.check(fake_a, fake_b), (fake_b, fake_a)


def translate_both(emas: list, pair: Pair, amp) -> tuple[Tensor, Tensor]:
    """fake_b and fake_a of a pair of images, by the generators' running means: (N, 3, H, W)."""
    with amp:
        fake_b = generate(emas[0].module, to_float(pair.a))
        fake_a = generate(emas[1].module, to_float(pair.b))
    return fake_b, fake_a


def build_checked_nets(
    cfg: TrainConfig, data: Domains, how: Execution, device: torch.device
) -> Nets:
    """The networks of a run. Raises InputError for a size that they cannot take, now and not after
    the first epoch."""
    amp, precision = precision_context(cfg.precision, device)
    first = Pair(data.val.a[:1], data.val.b[:1])
    with out_of_memory(cfg, how.accumulate, world_size()):
        nets = lay_out(build_nets(cfg, device), device, precision)
        mean_losses(nets, first, cfg, amp)
    return nets


def begin(nets: Nets, cfg: TrainConfig, folder: Path, how: Execution) -> State:
    """All that the steps of a run change, as it is before the first one: by the weights of its
    parent, if it has one. InputError where that is not the one of the config."""
    state = build_state(nets, cfg)
    goes_on = how.resume and find_checkpoints(folder)  # and so its weights are in a checkpoint
    if (cfg.parent or how.init_from) and not goes_on:
        start_from(how.init_from, state, cfg)
    return state


def build_state(nets: Nets, cfg: TrainConfig) -> State:
    """All that the steps of a run change, as it is before the first one."""
    emas = [build_ema(net) for net in nets[:2]]
    opts, schedules = build_optimizers(nets, cfg)
    pools = ImagePool(cfg.pool_size, cfg.seed), ImagePool(cfg.pool_size, cfg.seed + 1)
    return State(nets, emas, opts, schedules, pools, Best())


def build_step(cfg: TrainConfig, state: State, amp, how: Execution, coarse: bool = False):
    """A training step as a call, (step, batch) -> losses: shared where several processes train,
    one graph on a GPU. coarse: at half the size, of what is trained there; the batch is given at
    full size."""
    nets = coarse_nets(state.nets) if coarse else state.nets
    parts = how.accumulate
    passes = Passes(
        amp,
        share(generator_losses, nets[:2], parts),
        share(discriminator_losses, nets[2:], parts),
        parts,
    )
    device = next(nets.g_ab.parameters()).device

    @cache
    def build(weights: TrainConfig):
        step_on = partial(train_step, nets, state.opts, state.pools, cfg=weights, passes=passes)
        if device.type == "cuda" and world_size() == 1:
            return CapturedStep(step_on, device)
        return step_on

    def call(step, batch):
        if coarse:
            batch = tuple(half(real) for real in batch)  # (B, 3, H/2, W/2)
        return build(cfg.at_step(step))(batch)

    return call


def clear_pools(state: State) -> None:
    """Forget all earlier fakes."""
    for pool in state.pools:
        pool.clear()


@contextmanager
def held(folder: Path, cfg: TrainConfig, data: Domains, how: Execution):
    """Hold the folder of a run while it trains, and clear it of what it does not go on from; in
    processes that do not write, nothing."""
    if rank() != 0:
        yield
        return
    with locked(folder / ".lock", f"run folder {folder}"):
        claim_run_folder(folder, cfg, data.fingerprint)
        lost = find_missing(folder)
        if lost and "metrics.json" not in lost:
            print(
                f"warning: run folder {folder}: the run in it was finished, but "
                f"{' and '.join(lost)} cannot be found; it is trained again"
            )
        clear(folder, checkpoints=not how.resume)
        yield


def check_fit(cfg: TrainConfig, data: Domains, how: Execution, device: torch.device) -> None:
    """Raise InputError where a config cannot be trained on this data in this way."""
    if how.tensorboard:
        check_tensorboard()
    check_domains(data)
    size = tuple(data.train.a.shape[-2:])
    if size != tuple(cfg.image_size):
        raise InputError(
            f"image_size {cfg.image_size}: the data was loaded at {size}; expected the same"
        )
    check_pieces(cfg.batch_size, how.accumulate, how.processes * world_size())
    usual = default_device().type
    if how.processes > 1 and device.type != usual:
        raise InputError(
            f"device {device}: {how.processes} processes train on {usual}; leave device out"
        )


def fit_or_load(
    cfg: TrainConfig,
    data: Domains,
    runs: Path | str = RUNS,
    how: Execution = Execution(),
    inception=None,
) -> Run | None:
    """fit in the folder below `runs` that a run of this config and data has."""
    data = data.settled()
    folder = expand(runs, "runs") / cfg.name(data.fingerprint)
    return fit(cfg, data, folder, how, inception)
