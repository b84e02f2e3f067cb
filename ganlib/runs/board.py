"""A training's log as TensorBoard shows it: an extra, beside metrics.jsonl."""

from pathlib import Path

import torch

from ganlib.errors import InputError
from ganlib.runs.folder import EVENTS
from ganlib.show.progress import say
from ganlib.show.strip import first_faces
from ganlib.system.files import raise_unwritable


def check_tensorboard() -> None:
    """InputError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard: it is not installed; pip install 'ganlib[tensorboard]', or leave it out"
        ) from None


def forget_events(folder: Path) -> None:
    """Take away the event files of an earlier training in a run's folder."""
    for path in Path(folder, EVENTS).glob("events.out.tfevents.*"):
        path.unlink(missing_ok=True)


class Board:
    """The event files of a run, in its folder: the figures of each line of metrics.jsonl under
    train/NAME or val/NAME, and at each validation the faces, those of the Pair above what became
    of them. A context, which closes them.

    begun: steps that are done. What was written of later ones, before the run broke off, is not
    shown any more (purge_step), as they are trained again. Raises InputError where it cannot begin;
    what fails later ends no training (attempt)."""

    def __init__(self, folder: Path, pair, begun: int = 0):
        from torch.utils.tensorboard import SummaryWriter  # takes long to import

        self.path = Path(folder) / EVENTS
        self.failed = False
        self.real = first_faces(pair)  # uint8 (N, 3, H, W)
        try:
            self.writer = SummaryWriter(str(self.path), purge_step=begun + 1 if begun else None)
        except OSError as error:
            raise_unwritable(error, self.path)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.attempt(self.writer.close)

    def attempt(self, write, *what) -> None:
        """Call a function that writes. Where the disk is full that is said, and nothing more is
        written: the training goes on."""
        if self.failed:
            return
        try:
            write(*what)
        except OSError as error:
            self.failed = True
            say(
                f"warning: {self.path}: {error.strerror}; nothing more is written for TensorBoard, "
                "and the training goes on"
            )

    def add(self, line: dict) -> None:
        """Show a line of the log."""
        for name in line.keys() - {"split", "epoch", "step"}:
            where = f"{line['split']}/{name}"
            self.attempt(self.writer.add_scalar, where, line[name], line["step"])

    def add_faces(self, step: int, fakes) -> None:
        """Show the faces of a validation: (fake_b, fake_a), in the order of the Pair."""
        rows = torch.stack([self.real, first_faces(fakes)])  # (2, N, 3, H, W)
        sheet = rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)  # (3, 2 * H, N * W)
        self.attempt(self.writer.add_image, "faces", sheet, step)

    def flush(self) -> None:
        """Have all in the file, as a checkpoint is about to count on it."""
        self.attempt(self.writer.flush)
