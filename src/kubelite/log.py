"""Log lines: a constant short phrase and fields, `log.info("pod started", extra={"pod": key})`.

A line reads ``2026-01-02T03:04:05.678Z INFO node.kubelet pod started pod=default/web-0``.
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
        line = f"{stamp} {level} {place} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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
