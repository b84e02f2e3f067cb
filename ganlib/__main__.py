"""python -m ganlib: the command `ganlib` (see system.commands)."""

from ganlib.system.commands import start

if __name__ == "__main__":
    start()
