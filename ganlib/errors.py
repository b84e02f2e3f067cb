"""The errors that a user's input gets, in one line; and names and values as one line shows them."""

import reprlib


class InputError(ValueError):
    """What the user gave cannot be used: one line that names it, what is expected and what to do.

    Jupyter shows the line alone, without the traceback into the library. What would break the
    line or cannot be shown, in a name that it cites, is an escape."""

    def __init__(self, text: str):
        super().__init__(one_line(text))

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


def in_one_line(error: BaseException, text: str) -> None:
    """Have Jupyter show an error of Python's as one line, as it does an InputError. What was
    said of it first holds."""
    if not hasattr(error, "_render_traceback_"):
        error._render_traceback_ = lambda: [f"{type(error).__name__}: {text}"]


def printable(text) -> str:
    """The text on one line: what a terminal or page cannot show (line breaks, lone surrogates)
    as an escape, so that no two texts look alike."""
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode()
        for c in str(text)
    )


def one_line(text) -> str:
    """The text without line breaks and what cannot be shown: as printable, but for backslashes,
    so that a text of escapes stays."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 3, 100, 100


def shown(value) -> str:
    """repr of a value for an error: on one line and cut short, however long or deep it is."""
    try:
        return SHORT.repr(value)[:200]
    except ValueError:  # Python writes no number of thousands of digits
        return f"a {type(value).__name__} too long to show"


class NotFinite(FloatingPointError):
    """Losses or gradients of a step that are not finite."""

    def __init__(self, step: int, split: str, values: dict[str, float]):
        terms = ", ".join(f"{name} {value}" for name, value in values.items())
        super().__init__(
            f"step {step}: not finite in {split}: {terms}; likely causes: rates that are too high "
            "(try lower lr_g and lr_d), or bfloat16 (try precision float32)"
        )
        self.step, self.split = step, split
