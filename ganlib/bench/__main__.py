"""How fast the training step is, against the plain one and against what the machine can do.

    python -m ganlib.bench --arch cyclegan --ngf 16 --ndf 32 --batch-size 4
    python -m ganlib.bench --device cuda --ngf 64 --ndf 64 --batch-size 16 --json bench.json
    python -m ganlib.bench --growth --curves 2000

Notebook 05 shows what this machine's files in reports/speed/ say.
"""

import json
import sys
from types import SimpleNamespace

import click

from ganlib.config import ARCHS, CHOICES, RECIPES, TrainConfig
from ganlib.errors import InputError
from ganlib.system.command import FILE, call, run
from ganlib.system.files import expand, write_atomic


def in_words(result):
    """A measurement in words, for a terminal."""
    r = result
    speed = result["pairs_per_second"]
    peak = r["peak"][r["precision"]]
    reach = r["flops_per_pair"] / r["bytes_per_pair"]
    roof = min(peak, reach * r["peak"]["copy"])
    lines = [
        f"{r['arch']}, recipe {r['recipe']}, {r['image_size'][0]}x{r['image_size'][1]}, ngf "
        f"{r['ngf']}, ndf {r['ndf']}, batch {r['batch_size']}, {r['precision']}, on {r['device']}",
        f"check: in float32 both steps' losses differ by {r['check']:.1e} at most (relative)",
        "",
    ]
    lines += [
        f"{name:18} {speed[name]:9.2f} pairs/s  {1000 * r['seconds'][name]:9.1f} ms a step "
        f"({1000 * r['spread'][name][0]:.1f} to {1000 * r['spread'][name][1]:.1f})  "
        f"{r['ratio'][name]:.2f} times the reference"
        for name in speed
    ]
    if r["warm_up_seconds"]:
        gain = r["seconds"]["ganlib"] - r["seconds"]["ganlib, compiled"]
        lines.append(
            f"compiling took {r['warm_up_seconds']} s, which "
            + (
                f"{r['warm_up_seconds'] / gain:.0f} steps earn back"
                if gain > 0
                else "nothing earns back"
            )
        )
    lines += [
        "",
        "phases, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in r["phases_ms"].items()),
        f"memory: {r['memory_mib']} MiB",
        "",
        f"cost: {r['flops_per_pair'] / 1e9:.2f} GFLOP a pair, by torch's counter",
        f"peak of this machine: {peak / 1e9:.0f} GFLOP/s in a large {r['precision']} product, "
        f"{r['peak']['copy'] / 1e9:.1f} GB/s in a large copy",
        f"the step: {r['flops_per_second'] / 1e9:.0f} GFLOP/s, {100 * r['share_of_peak']:.0f} % of "
        "that peak",
        f"roofline: {reach:.1f} FLOP for each byte that its operations move, so {roof / 1e9:.0f} "
        "GFLOP/s if memory alone held it back: "
        + ("products are the limit" if roof == peak else "memory is the limit"),
    ]
    return "\n".join(lines)


@click.command(context_settings={"show_default": True})
@click.option("--arch", type=click.Choice(ARCHS), default="cyclegan", help="Architecture.")
@click.option(
    "--recipe", type=click.Choice(tuple(RECIPES)), default="cyclegan", help="Training choices."
)
@click.option("--image-size", default=64, help="Pixels a side.")
@click.option("--ngf", default=16, help="Channels of the generators' first layer.")
@click.option("--ndf", default=32, help="Channels of the discriminators' first layer.")
@click.option("--batch-size", default=4, help="Image pairs a step.")
@click.option("--steps", default=10, help="Steps that are timed.")
@click.option("--accumulate", default=1, help="Pieces of a batch, one after another.")
@click.option(
    "--precision",
    type=click.Choice(CHOICES["precision"]),
    default="auto",
    help="Of the networks' numbers; auto: bfloat16 where the hardware has it.",
)
@click.option("--device", help="cpu, cuda or cuda:N; else the GPU if there is one.")
@click.option(
    "--compile",
    is_flag=True,
    help="Time the step with torch.compile as well, and how long that takes.",
)
@click.option(
    "--growth", is_flag=True, help="Also speed and memory against batch, image size and width."
)
@click.option(
    "--curves",
    type=int,
    metavar="STEPS",
    help="Also train with both steps on built-in faces, and compare the losses.",
)
@click.option("--json", help="Write the figures there as well.", type=FILE)
def command(**given):
    """Time the training step against the plain one, in turns."""
    from ganlib.bench.timing import grow, learn, measure_step  # these take long to import
    from ganlib.data.domains import load_domains
    from ganlib.device import find_device

    options = SimpleNamespace(**given)
    try:
        path = options.json and expand(options.json, "--json")
        if options.steps < 1:
            raise InputError(f"--steps {options.steps}: expected 1 or more")
        if options.curves is not None and options.curves < 1:
            raise InputError(f"--curves {options.curves}: expected 1 or more")
        device = find_device(options.device)
        cfg = TrainConfig.from_recipe(
            options.recipe,
            idt_every=1,  # the step with all losses, whose operations are counted
            arch=options.arch,
            image_size=options.image_size,
            ngf=options.ngf,
            ndf=options.ndf,
            batch_size=options.batch_size,
            precision=options.precision,
        )
        if options.accumulate < 1 or cfg.batch_size % options.accumulate:
            raise InputError(
                f"--accumulate {options.accumulate}: expected a divisor of the batch of "
                f"{cfg.batch_size}"
            )
        result = measure_step(cfg, device, options.steps, options.accumulate, options.compile)
        print(in_words(result))
        if options.growth:
            result["growth"] = grow(cfg, device, options.steps)
            print(
                "\n"
                + "\n".join(
                    f"{row['varied']} {row['value']:>4}: {row['gflop_per_pair']:8.2f} GFLOP a "
                    "pair, "
                    + (
                        row.get("error")
                        or f"{row['pairs_per_second']:8.2f} pairs/s, {row['memory_mib']:6} MiB"
                    )
                    for row in result["growth"]
                )
            )
        if options.curves:
            images = load_domains(
                "builtin", options.image_size, builtin_a=400, builtin_b=440, builtin_eval=1
            )
            result["curves"] = learn(
                cfg, images, device, options.curves, max(1, options.curves // 40)
            )
            print(
                "\nlosses over training, ganlib and reference: "
                + "; ".join(
                    f"step {row['step']} g {row['ganlib']['g']:.3f} {row['reference']['g']:.3f}"
                    for row in result["curves"][9::10]
                )
            )
        if path:
            write_atomic(path, json.dumps(result, indent=1))
    except BrokenPipeError:  # see call
        raise
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def main(arguments=None):
    """python -m ganlib.bench: measure one size, say it in words, and write JSON; returns the
    exit status."""
    return run(command, "python -m ganlib.bench", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
