"""What keeps a run while it trains: its log, its best weights, its checkpoints, its warnings; and
what it leaves when it is finished."""

import json
import math
import sys
import time
from contextlib import ExitStack, nullcontext

import torch

from ganlib.bench.flops import count_flops
from ganlib.bench.memory import count_memory
from ganlib.data.domains import fixed_batches, pair_batches
from ganlib.device import chip_name, device_name, out_of_memory
from ganlib.errors import NotFinite
from ganlib.evaluate.health import find_warnings
from ganlib.models.build import pack_weights
from ganlib.parallel.ranks import agree, any_of, rank, world_size
from ganlib.runs.board import Board, forget_events
from ganlib.runs.checkpoint import (
    check_finite,
    describe_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_failure,
)
from ganlib.runs.folder import clear, save_weights
from ganlib.runs.log import Log
from ganlib.runs.signals import Stop
from ganlib.show.live import LiveTraining
from ganlib.show.progress import Progress
from ganlib.system.files import write_atomic

LOG_EVERY = 10  # steps between two fetches of the losses from a GPU; on a CPU each is looked at
SLOW = 3  # seconds after which a step is shown at once
LOSS_PAIRS = 16  # pairs whose losses a validation takes: that costs eight times a translation


class Keeper:
    """Keeps a run: note each step, flush where it is due, note each validation, save where it is
    due, finish. A context while it trains, in which a signal to stop waits for a whole state.

    judge: of the validation images; None in processes that do not write. started: when the run
    was, by time.perf_counter().
    """

    def __init__(self, folder, cfg, data, how, judge, started):
        self.folder, self.cfg, self.data, self.how = folder, cfg, data, how
        self.judge, self.started = judge, started
        self.epoch_steps = cfg.epoch_steps or max(1, len(data.train.a) // cfg.batch_size)
        self.live = None  # in processes that do not write
        self.ending = False
        self.tally = {
            "seconds": 0.0,
            "checks": 0.0,
            "checkpoints": 0.0,
            "wall": 0.0,
            "memory": [],
            "warnings": {},
            "resumed": [],
            "otherwise": [],
        }

    def go_on(self, state, precision):
        """Put the newest whole checkpoint into a State, if there is one to go on from; returns the
        number of steps that are done."""
        self.state, self.precision = state, precision
        self.device = next(state.nets.g_ab.parameters()).device
        self.log_every = LOG_EVERY if self.device.type == "cuda" else 1
        done, tally, length = 0, None, 0
        if self.how.resume:
            done, tally, length = load_checkpoint(
                self.folder, self.device, self.cfg, self.data.fingerprint, state
            )
        self.tally |= tally or {}
        if done:
            self.tally["resumed"] = [*self.tally["resumed"], done]
        self.note_machine(done)
        # And so wait for the first process, which may have trained a probe.
        agree(checkpoint=done, data=self.data.fingerprint, config=self.cfg)
        self.done = done
        self.log = Log(self.folder, self.cfg.steps, length, self.cfg.idt_every)
        if self.judge and not (done and self.how.tensorboard):  # they would not be of this run
            forget_events(self.folder)
        if self.judge and self.how.tensorboard:
            self.log.board = Board(self.folder, self.judge.pair, done)
        if self.judge:
            steps = self.cfg.steps
            self.live = LiveTraining(self.folder, self.judge.pair, steps, self.epoch_steps)
            if done:
                self.live.resume(done)
        return done

    def note_machine(self, step):
        """Keep what the rounding of a run depends on; where it goes on with another one, say so and
        keep that too."""
        now = {
            "processor": chip_name(self.device),
            "torch": str(torch.__version__),
            "precision": self.precision,
            "processes": world_size(),
            "accumulate": self.how.accumulate,
        }
        if self.device.type == "cpu":
            now["threads"] = torch.get_num_threads()
        before = self.tally.get("machine", now)  # a checkpoint of an earlier ganlib does not know
        changes = []
        for name, value in now.items():
            if before.get(name, value) != value:
                changes.append(f"{name} {before[name]} before, {value} now")
        if changes:
            told = f"step {step}: {'; '.join(changes)}"
            self.tally["otherwise"] = [*self.tally["otherwise"], told]
            if rank() == 0:
                print(
                    f"warning: {told}: this rounds otherwise, so the run is not to the last bit "
                    "the one that was never interrupted"
                )
        self.tally["machine"] = now

    def __enter__(self):
        cfg = self.cfg
        label = f"{cfg.arch}, recipe {cfg.recipe}"
        with ExitStack() as stack:
            self.stop = stack.enter_context(Stop())
            stack.enter_context(self.log)
            stack.enter_context(self.log.board or nullcontext())
            self.progress = Progress(label, cfg.steps, self.folder, initial=self.done)
            stack.enter_context(self.progress)
            stack.enter_context(out_of_memory(cfg, self.how.accumulate, world_size()))
            self.stack = stack.pop_all()
        self.tick = time.perf_counter()
        self.saved = -math.inf
        return self

    def __exit__(self, *error):
        if error[0] is None:
            try:
                self.note_end()
            except BaseException:
                self.stack.__exit__(*sys.exc_info())
                raise
        self.stack.__exit__(*error)
        if error[0] is None and not self.ending and self.live:
            self.live.close()
        if error[0] is None and self.ending:
            # Where the signal came to another process, or its handler raises nothing.
            raise KeyboardInterrupt

    def note_end(self):
        """Note what is now on disk of the log, and what a GPU needed, with what its graph keeps."""
        self.written = self.log.state()
        if self.device.type == "cuda":
            most = torch.cuda.max_memory_allocated(self.device)
            self.tally["memory"] = [round(most / 2**20)]

    def count_memory(self, step):
        """A context that counts what the first step needs, the first one with an identity loss,
        and the first ones at full size."""
        every = self.cfg.idt_every
        coarse = self.cfg.coarse_steps()
        if step not in (1, every, coarse + 1, (coarse // every + 1) * every):
            return nullcontext()
        return count_memory(self.state.nets, self.device, self.tally["memory"])

    def epoch(self, step):
        """The epoch that a step is in, from 1."""
        return -(-step // self.epoch_steps)

    def ends_epoch(self, step):
        """Whether a validation follows this step."""
        return step % self.epoch_steps == 0 or step == self.cfg.steps

    def is_due(self, step):
        """Whether after this step the losses are looked at; else the GPU is not waited for."""
        stopping = self.stop.asked and world_size() == 1
        return self.ends_epoch(step) or step % self.log_every == 0 or bool(stopping)

    def note(self, step, losses):
        """Keep the losses of a step, on their device."""
        self.log.keep(self.epoch(step), step, losses)
        if step % LOG_EVERY == 0 or time.perf_counter() - self.progress.shown > SLOW:
            self.progress.update(step)

    def show(self, step, fakes=None):
        """Show where the training stands, in a notebook; keep some of the fakes, (fake_b, fake_a)
        by the running means, to be seen later."""
        self.live.show(step, self.log.table(), fakes)
        self.lap("checks")

    def flush(self, step):
        """Write the losses that were kept. Raises NotFinite, with the batch in a file, where one is
        not finite."""
        try:
            self.log.flush()
        except NotFinite as error:
            before = error.step - 1
            cfg = self.cfg
            batches = pair_batches(
                self.data.train,
                cfg.batch_size,
                cfg.seed,
                "cpu",
                before,
                shift=cfg.shift,
                flip=cfg.flip,
            )
            save_failure(self.folder, error, next(batches), self.cfg, self.state)
            raise
        self.lap("seconds")
        if self.live and self.live.due():
            self.show(step)

    def note_validation(self, step, figures, fakes):
        """Write what a validation found, keep the weights if they are the best so far, show its
        fakes, and warn of what goes wrong. Raises NotFinite as flush does."""
        state = self.state
        judge = self.judge
        try:
            line = self.log.write("val", self.epoch(step), step, figures)
        except NotFinite as error:
            batch = next(fixed_batches(judge.pair, LOSS_PAIRS, "cpu"))
            save_failure(self.folder, error, batch, self.cfg, state)
            raise
        state.best.offer(line, state.nets, state.emas)
        if self.log.board:
            self.log.board.add_faces(step, fakes)
        found = find_warnings(self.log.table(), self.cfg.steps, judge.untranslated, judge.inverted)
        for kind, text in found.items():
            if kind not in self.tally["warnings"]:
                self.tally["warnings"][kind] = f"step {step}: {text}"
                print(f"warning: step {step}: {text}")
        self.show(step, fakes)

    def save_if_due(self, step):
        """Write a checkpoint where it is time, or where somebody asked the run to stop; returns
        whether somebody did."""
        self.ending = any_of(self.stop.asked, self.device)
        time_has_come = self.tick - self.saved >= self.how.checkpoint_seconds
        if rank() == 0 and (self.ending or step < self.cfg.steps and time_has_come):
            wall = self.tally["wall"] + self.tick - self.started
            tally = self.tally | {"wall": wall}
            known = self.log.state()
            if self.log.board:
                self.log.board.flush()
            save_checkpoint(
                self.folder, step, self.cfg, self.data.fingerprint, self.state, tally, known
            )
            self.lap("checkpoints")
            self.saved = self.tick
        if rank() == 0 and self.ending:
            told = describe_checkpoint(self.folder)
            print(f"stopped after step {step} of {self.cfg.steps}; {told}", flush=True)
        return self.ending

    def lap(self, name):
        """Count the seconds since the last lap."""
        now = time.perf_counter()
        self.tally[name] += now - self.tick
        self.tick = now

    def finish(self, test):
        """Write what a finished run leaves, metrics.json last: with it the run is finished, and
        until then it can go on. test: the losses on the test images."""
        folder = self.folder
        state = self.state
        figures = describe_run(self.cfg, self.data, state.nets) | {"test": test} | self.costs()
        weights = pack_weights(state.nets, state.emas)
        check_finite(weights, self.cfg.steps)
        log = self.log.path.read_bytes()[: self.written["bytes"]]
        # Of a run before this one, whose files are about to be replaced.
        (folder / "metrics.json").unlink(missing_ok=True)
        save_weights(folder / "best.safetensors", state.best.weights)
        save_weights(folder / "weights.safetensors", weights)
        write_atomic(folder / "metrics.jsonl", log)
        self.live.finish()
        wall = self.tally["wall"] + time.perf_counter() - self.started
        figures["wall_seconds"] = round(wall, 2)
        write_atomic(folder / "metrics.json", json.dumps(figures, indent=1))
        clear(folder, checkpoints=True)

    def costs(self):
        """What the run took, and on what."""
        tally = self.tally
        pairs = self.cfg.steps * self.cfg.batch_size
        return {
            "best_step": self.state.best.step,
            "warnings": list(tally["warnings"].values()),
            "train_seconds": round(tally["seconds"], 2),
            "validation_seconds": round(tally["checks"], 2),
            "checkpoint_seconds": round(tally["checkpoints"], 2),
            "memory_mib": max(tally["memory"]),
            "processes": world_size(),
            "resumed_at": tally["resumed"],
            "resumed_otherwise": tally["otherwise"],
            "threads": torch.get_num_threads(),
            "pairs_per_second": round(pairs / tally["seconds"], 2),
            "precision": self.precision,
            "device": device_name(self.device),
        }


def describe_run(cfg, data, nets):
    """What metrics.json says of a run that was known before it began."""
    parameters = {}
    for name, net in nets._asdict().items():
        parameters[name] = sum(p.numel() for p in net.parameters())
    return {
        "arch": cfg.arch,
        "recipe": cfg.recipe,
        "parent": cfg.parent,
        "seed": cfg.seed,
        "steps": cfg.steps,
        "pairs": cfg.steps * cfg.batch_size,
        "parameters": parameters,
        **count_flops(cfg),
        "data": {
            "name": data.name,
            "domains": data.domains,
            "counts": data.counts().values.tolist(),
            "fingerprint": data.fingerprint,
        },
        "torch": torch.__version__,
    }
