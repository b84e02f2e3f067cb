"""A notebook whose cells run one after another although one has failed, as a browser has them
queued: what a failed cell makes, and what was made after it before, is gone, so that nothing is
shown of an earlier run."""

import re
import sys
from symtable import symtable

from ganlib.errors import in_one_line
from ganlib.show.progress import in_kernel

MADE = {}  # the names that the cells have made, in the order in which they were made first
GONE = set()  # those of them that a failed cell has taken along
CELLS = set()  # the cells, as JupyterLab numbers them, that have run to their end


def begin():
    """The first thing that a notebook does. From now on, in this kernel: where a cell fails or
    is stopped, what it makes is forgotten, and so is all that was first made later (not by a cell
    that is new, such as a person's own beside the story); a name that is gone, and a stop, are
    told in one line. Does nothing outside of a notebook."""
    if not in_kernel():
        return
    shell = sys.modules["IPython"].get_ipython()
    if not MADE:
        shell.events.register("post_run_cell", lambda result: keep_or_forget(shell, result))
        shell.set_custom_exc((NameError, KeyboardInterrupt), show_error)
    known = [name for name in shell.user_ns if name not in shell.user_ns_hidden]
    MADE.update(dict.fromkeys(name for name in known if not name.startswith("_")))


def keep_or_forget(shell, result):
    """After a cell: note what it has made or, where it failed, take that away, with all made
    first after it."""
    if result is None:  # of a cell that waited for others, and was stopped in that
        return
    names, imported = find_names(shell, result.info.raw_cell)
    cell = getattr(result.info, "cell_id", None)  # None of a client that does not say
    if result.success:
        MADE.update(dict.fromkeys(names))
        GONE.difference_update(names)
        CELLS.add(cell)
        return
    order = list(MADE)
    if cell is not None and cell not in CELLS:
        order = []  # nothing rests on it
    known = [name for name in names if name in order]
    # What is imported again is what it was: nothing that was made after it goes for that.
    assigned = [name for name in known if name not in imported] or known
    first = min((order.index(name) for name in assigned), default=len(order))
    again = {name for name in imported if name in order[:first]}
    for name in {*names, *order[first:]} - again:
        shell.user_ns.pop(name, None)
        GONE.add(name)


def find_names(shell, text):
    """The names that a cell gives a value, by assignment, import, def, loop ..., and those of
    them that it imports; of one that is no Python, those before a "="."""
    try:
        symbols = symtable(shell.transform_cell(text), "cell", "exec").get_symbols()
    except (SyntaxError, ValueError):
        return re.findall(r"^(\w+)\s*=(?!=)", text, re.M), set()
    names = [x.get_name() for x in symbols if x.is_assigned() or x.is_imported()]
    imported = {x.get_name() for x in symbols if x.is_imported()}
    return names, imported


def show_error(shell, kind, error, trace, tb_offset=None):
    """Show a NameError or a KeyboardInterrupt, in one line where more would not help."""
    if isinstance(error, KeyboardInterrupt):
        in_one_line(error, "stopped")
    elif error.name in GONE:
        in_one_line(
            error,
            f"{error.name} is not there: the cell that makes it has failed or was stopped, or one "
            "above it; run that one first",
        )
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
