"""Log lines: a constant short phrase and fields, `log.info("pod started", extra={"pod": key})`.

A line reads ``2026-01-02T03:04:05.678Z INFO node.kubelet pod started pod=default/web-0``. Whatever a text holds, a
line of the log stays one line; those of a traceback below it are indented.
"""

import logging
import sys
from datetime import UTC, datetime

# What every record has; anything else came in by `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Formatter(logging.Formatter):
    """Date, level, place, phrase, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback below it if there is one."""
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
        # An exception may repeat what a client sent, lines included: none of them may look like one of the log's own.
        return "\n    ".join(
            [line, *map(_in_line, self.formatException(record.exc_info).splitlines())]
        )


def _in_line(text: str) -> str:
    """Return a text with escapes in the place of what is not printable."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and " " not in text and text.isprintable() else repr(text)


def setup(*, debug: bool) -> None:
    """Send kubelite's own lines to standard error, and only warnings of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kubelite").setLevel(logging.DEBUG if debug else logging.INFO)
