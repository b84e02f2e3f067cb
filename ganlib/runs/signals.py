"""Ctrl-C, Jupyter's stop button and SIGTERM, heard in the middle of a step and answered after
it, when there is a whole state to keep."""

import signal
import threading

from ganlib.errors import in_one_line
from ganlib.parallel.ranks import world_size


class Stop:
    """While the block runs the first SIGINT or SIGTERM only sets `asked`; it is raised again as
    the block ends. A second one is not kept waiting, but where several processes train: there
    one signal may come by two ways. A signal that is ignored stays so, and in a thread that is
    not the main one all are left as they are."""

    def __enter__(self):
        self.asked, self.before = None, {}
        if threading.current_thread() is threading.main_thread():
            self.before = {
                number: signal.signal(number, self.hear)
                for number in (signal.SIGINT, signal.SIGTERM)
                if signal.getsignal(number) != signal.SIG_IGN
            }
        return self

    def hear(self, number, _):
        if self.asked and world_size() == 1:
            self.give_back()
            signal.raise_signal(number)
        self.asked = number

    def give_back(self):
        """Set the handlers there were before."""
        for number, handler in self.before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.before = {}

    def __exit__(self, kind, *_):
        self.give_back()
        if self.asked and kind is None:
            try:
                signal.raise_signal(self.asked)
            except KeyboardInterrupt as stop:
                in_one_line(stop, "stopped")
                raise
