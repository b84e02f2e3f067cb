"""What a training keeps as it goes, and what it leaves when it is finished."""

import json
import time

import torch

from ganlib.bench.flops import count_flops
from ganlib.device import chip_name, device_name, precision_context
from ganlib.evaluate.losses import evaluate
from ganlib.models.build import pack_weights
from ganlib.parallel.ranks import rank, world_size
from ganlib.runs.checkpoint import check_finite
from ganlib.runs.folder import clear, save_weights
from ganlib.system.files import write_atomic


def note_machine(tally, step, device, precision, accumulate):
    """Keep in the tally of a run what its rounding depends on; where it goes on with another
    one, say so and keep that too."""
    now = {
        "processor": chip_name(device),
        "torch": str(torch.__version__),
        "precision": precision,
        "processes": world_size(),
        "accumulate": accumulate,
    } | ({"threads": torch.get_num_threads()} if device.type == "cpu" else {})
    before = tally.get("machine", now)  # a checkpoint of an earlier ganlib does not know
    changes = [
        f"{name} {before[name]} before, {value} now"
        for name, value in now.items()
        if before.get(name, value) != value
    ]
    if changes:
        tally["otherwise"] = [*tally["otherwise"], f"step {step}: {'; '.join(changes)}"]
        if rank() == 0:
            print(
                f"warning: {tally['otherwise'][-1]}: this rounds otherwise, so the run is not to "
                "the last bit the one that was "
                "never interrupted"
            )
    tally["machine"] = now


def finish(folder, cfg, data, state, tally, log, precision, started):
    """Write what a finished run leaves, metrics.json last: with it the run is finished, and
    until then it can go on."""
    device = next(state.nets.g_ab.parameters()).device
    if device.type == "cuda":
        # With what the graph keeps
        tally["memory"] = [round(torch.cuda.max_memory_allocated(device) / 2**20)]
    figures = describe_run(cfg, data, state.nets) | {
        "test": evaluate(state.nets, data.test, cfg, precision_context(precision, device)[0]),
        "best_step": state.best.step,
        "warnings": list(tally["warnings"].values()),
        "train_seconds": round(tally["seconds"], 2),
        "validation_seconds": round(tally["checks"], 2),
        "checkpoint_seconds": round(tally["checkpoints"], 2),
        "memory_mib": tally["memory"][0],
        "processes": world_size(),
        "resumed_at": tally["resumed"],
        "resumed_otherwise": tally["otherwise"],
        "threads": torch.get_num_threads(),
        "pairs_per_second": round(cfg.steps * cfg.batch_size / tally["seconds"], 2),
        "precision": precision,
        "device": device_name(device),
    }
    weights = pack_weights(state.nets, state.emas)
    check_finite(weights, cfg.steps)
    # Of a run before this one, whose files are about to be replaced
    (folder / "metrics.json").unlink(missing_ok=True)
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


def describe_run(cfg, data, nets):
    """What metrics.json says of a run that was known before it began."""
    return {
        "arch": cfg.arch,
        "recipe": cfg.recipe,
        "seed": cfg.seed,
        "steps": cfg.steps,
        "pairs": cfg.steps * cfg.batch_size,
        "parameters": {
            name: sum(p.numel() for p in net.parameters()) for name, net in nets._asdict().items()
        },
        **count_flops(cfg),
        "data": {
            "name": data.name,
            "domains": data.domains,
            "counts": data.counts().values.tolist(),
            "fingerprint": data.fingerprint,
        },
        "torch": torch.__version__,
    }
