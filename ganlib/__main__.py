"""python -m ganlib: the command `ganlib` (see system.commands)."""

from ganlib.system.command import call
from ganlib.system.commands import leave, main, start

__all__ = ["start"]  # for console scripts of earlier installations

if __name__ == "__main__":
    leave(call(main))
