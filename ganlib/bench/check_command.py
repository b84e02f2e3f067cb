"""Is this machine right, and how fast is it? One table, and an exit status.

ganlib check
ganlib check --json check.json
"""

import json
import math
import sys

import click

from ganlib.errors import InputError
from ganlib.system.command import FILE, call, run
from ganlib.system.files import expand, write_atomic


@click.command()
@click.option("--device", help="cpu, cuda or cuda:N; else the GPU if there is one.")
@click.option("--json", "path", help="Write what was found there as well.", type=FILE)
def command(device, path):
    """See whether this machine trains as it should, and how fast.

    It compares the training step with the plain one, on a GPU also with itself as one CUDA graph,
    kills a small run and resumes it, and gives a step a loss that is not finite. Then it times
    steps. One to two minutes on an idle CPU. The exit status is 1 where something is not as it
    should be."""
    import torch  # these take long to import

    from ganlib.bench.check import check_machine
    from ganlib.device import device_name, find_device

    try:
        path = path and expand(path, "--json")
        chosen = find_device(device)
        found = check_machine(chosen)
        machine = f"{device_name(chosen)}, torch {torch.__version__}"
        print(in_words(found, machine))
        if path:
            rows = []
            for seen in found["rows"]:
                value = seen.value if math.isfinite(seen.value) else None  # JSON has no NaN
                rows.append(seen._asdict() | {"value": value})
            told = {"machine": machine, "rows": rows, "speed": found["speed"]}
            write_atomic(path, json.dumps(told, indent=1))
    except BrokenPipeError:  # see call
        raise
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(seen.ok for seen in found["rows"]) else 1


def in_words(found, machine):
    """What check_machine found, as lines for a terminal."""
    lines = [machine, ""]
    for seen in found["rows"]:
        verdict = "right" if seen.ok else "WRONG"
        lines.append(f"{verdict}  {seen.what}: {seen.value:.2g} ({seen.limit:.1g} at most)")
    size = "CycleGAN, ngf 16, ndf 32, 64x64, identity loss in every step"
    lines += ["", f"{size}; on a GPU the plain step is in TF32"]
    for r in found["speed"]:
        if "error" in r:
            lines.append(f"batch {r['batch_size']:3}: {r['error']}")
            continue
        lines.append(
            f"batch {r['batch_size']:3}: {r['pairs_per_second']['ganlib']:8.1f} pairs/s in "
            f"{r['precision']}, {r['ratio']['ganlib']:.2f} times the plain step, "
            f"{100 * r['share_of_peak']:.1f} % of this machine's peak, "
            f"{r['memory_mib']} MiB"
        )
    wrong = sum(not seen.ok for seen in found["rows"])
    if wrong:
        lines += ["", f"{wrong} of {len(found['rows'])} are not as they should be"]
    else:
        lines += ["", f"all {len(found['rows'])} are as they should be"]
    return "\n".join(lines)


def main(arguments=None):
    """python -m ganlib.bench.check_command; returns the exit status."""
    return run(command, "ganlib check", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
