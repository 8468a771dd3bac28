"""Log lines that no text can forge."""

import logging
import re
import sys

import pytest

from kubelite.log import Formatter

FORGED = "x\n2026-01-01T00:00:00.000Z ERROR api forged\r\x1b[31m\u2028\x85\udcff"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (?:INFO|ERROR|WARN) ")


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "kubelite.api", "levelname": "INFO", "msg": message, "args": arguments, **fields}
    )
    made.created, made.exc_info = 0.0, None
    return made


@pytest.mark.parametrize(
    "made",
    [
        record(FORGED),
        record("said %s", FORGED),
        record("said", client=FORGED),
        record("said", client="a b"),
    ],
)
def test_one_record_is_one_line_of_printable_text(made: logging.LogRecord) -> None:
    line = Formatter().format(made)
    assert line.isprintable()
    assert LINE.match(line)


def test_a_field_is_told_from_the_phrase() -> None:
    line = Formatter().format(record("pod started", pod="default/web-0", reason="a b"))
    assert line == "1970-01-01T00:00:00.000Z INFO api pod started pod=default/web-0 reason='a b'"


def test_a_traceback_is_indented_whatever_its_exception_says() -> None:
    made = record("request failed")
    try:
        raise ValueError(FORGED)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *rest = Formatter().format(made).split("\n")
    assert LINE.match(first)
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
