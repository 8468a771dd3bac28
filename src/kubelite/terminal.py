"""What a terminal is given: text of others made harmless, and one line at its bottom that changes.

Everything that writes to standard error while such a line may be there writes `above` it.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

ERASE = "\r\x1b[K"  # back to the first column, and erase to the end of the line


def in_line(text: str) -> str:
    """Return a text with unprintable characters escaped: one line, which no terminal obeys."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class StatusLine:
    """The line at the bottom of a terminal; thread-safe. A stream that is closed or full is given up silently."""

    def __init__(self, stream: Callable[[], TextIO | None]) -> None:
        """`stream` is asked at each use, since standard error may be replaced."""
        self._stream = stream
        self._lock = threading.RLock()
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line by one of printable text; "" takes it away."""
        with self._lock:
            if text != self._text:
                self._write(ERASE + in_line(text))
                self._text = text

    def say(self, line: str) -> None:
        """Write a line of printable text that stays."""
        with self.above():
            self._write(in_line(line) + "\n")

    @contextmanager
    def above(self) -> Iterator[None]:
        """Take the line away while something else is written, and show it again."""
        with self._lock:
            if self._text:
                self._write(ERASE)
            try:
                yield
            finally:
                if self._text:
                    self._write(self._text)

    def _write(self, text: str) -> None:
        stream = self._stream()
        if stream is None:
            return
        with suppress(OSError, ValueError):  # closed
            stream.write(text)
            stream.flush()


STDERR = StatusLine(lambda: sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that knows how to erase a line."""
    import os

    try:
        is_one = stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
    return is_one and os.environ.get("TERM", "dumb") != "dumb"
