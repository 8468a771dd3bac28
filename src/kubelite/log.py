"""Log lines: a constant short phrase and fields, `log.info("pod started", extra={"pod": key})`.

A line reads ``2026-01-02T03:04:05.678Z INFO node.kubelet pod started pod=default/web-0``. Unprintable characters are
escaped, so an entry stays one line; the lines of its traceback are indented.
"""

import logging
import sys
from datetime import UTC, datetime

# Attributes of every record; all others come from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Formatter(logging.Formatter):
    """Formats a record: date, level, logger, phrase, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        date = datetime.fromtimestamp(record.created, UTC)
        fields = "".join(
            f" {name}={_quoted(value)}"
            for name, value in vars(record).items()
            if name not in _STANDARD
        )
        place = record.name.removeprefix("kubelite.")
        level = _LEVELS.get(record.levelname, record.levelname)
        stamp = f"{date:%Y-%m-%dT%H:%M:%S}.{date.microsecond // 1000:03d}Z"
        line = f"{stamp} {level} {place} {_in_line(record.getMessage())}{fields}"
        if not record.exc_info:
            return line
        # An exception may contain a client's text with line breaks, so indent all lines: none may look like an entry.
        return "\n    ".join(
            [line, *map(_in_line, self.formatException(record.exc_info).splitlines())]
        )


def _in_line(text: str) -> str:
    """Return a text with unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and " " not in text and text.isprintable() else repr(text)


def setup(*, debug: bool) -> None:
    """Log kubelite's own records to standard error, and of libraries only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kubelite").setLevel(logging.DEBUG if debug else logging.INFO)


class Complaint:
    """A failure that is tried again: it is logged when it begins and when its reason changes, not with each try."""

    def __init__(self) -> None:
        self._reason = ""

    def is_new(self, reason: str) -> bool:
        """Return whether to log a failure."""
        is_new = reason != self._reason
        self._reason = reason
        return is_new

    def ends(self) -> bool:
        """Return whether there was a failure, and forget it."""
        return self.is_new("")
