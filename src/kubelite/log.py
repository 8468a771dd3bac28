"""Log lines: a constant short phrase and fields, `log.info("pod started", extra={"pod": key})`.

A line reads ``2026-01-02T03:04:05.678Z INFO node.kubelet pod started pod=default/web-0``. Unprintable characters are
escaped, so an entry stays one line; the lines of its traceback are indented. For programs it is one JSON object a line,
with `time`, `level`, `component`, `message`, and the fields in `fields`; there too nothing is unprintable.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kubelite.terminal import STDERR, in_line

TEXT, JSON = "text", "json"
FORMS: Final = (TEXT, JSON)

# Attributes of every record; all others come from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


class Formatter(logging.Formatter):
    """Formats a record: date, level, logger, phrase, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        level = _LEVELS.get(record.levelname, record.levelname)
        line = (
            f"{_time(record)} {level} {_component(record)} {in_line(record.getMessage())}{fields}"
        )
        if not record.exc_info:
            return line
        # An exception may contain a client's text with line breaks, so indent all lines: none may look like an entry.
        return "\n    ".join(
            [line, *map(in_line, self.formatException(record.exc_info).splitlines())]
        )


class JSONFormatter(logging.Formatter):
    """Formats a record as one line with a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is its `trace`."""
        import msgspec

        said: dict[str, Any] = {
            "time": _time(record),
            "level": _LEVELS.get(record.levelname, record.levelname).lower(),
            "component": _component(record),
            "message": _encodable(record.getMessage()),
        }
        if fields := _fields(record):
            said["fields"] = {name: _plain(value) for name, value in fields.items()}
        if record.exc_info:
            said["trace"] = _encodable(self.formatException(record.exc_info))
        return _escaped(msgspec.json.encode(said).decode())


def _time(record: logging.LogRecord) -> str:
    date = datetime.fromtimestamp(record.created, UTC)
    return f"{date:%Y-%m-%dT%H:%M:%S}.{date.microsecond // 1000:03d}Z"


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix("kubelite.")


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(value: object) -> object:
    """Return a value as JSON has it; what is no number, truth or None is text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return _encodable(str(value))


def _encodable(text: str) -> str:
    """Return a text without lone surrogates, which stand for bytes that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _escaped(encoded: str) -> str:
    """Return JSON in which no character is unprintable, so that no terminal obeys it; it means the same."""
    if encoded.isprintable():
        return encoded
    return "".join(one if one.isprintable() else _escape(one) for one in encoded)


def _escape(one: str) -> str:
    units = one.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and " " not in text and text.isprintable() else repr(text)


class _Handler(logging.StreamHandler[Any]):
    """Writes to standard error, above what shows progress there."""

    def emit(self, record: logging.LogRecord) -> None:
        with STDERR.above():
            super().emit(record)


def setup(*, debug: bool, form: str = TEXT) -> None:
    """Log kubelite's own records to standard error, and of libraries only warnings; `form` is TEXT or JSON."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == JSON else Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("kubelite").setLevel(logging.DEBUG if debug else logging.INFO)


def end_line(reason: str) -> str:
    """Return the line in JSON with which a process ends that cannot go on."""
    record = logging.LogRecord("kubelite", logging.CRITICAL, "", 0, "%s", (reason,), None)
    return JSONFormatter().format(record)


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
