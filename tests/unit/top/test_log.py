import logging
import re
import sys

import pytest

from kubelite.log import Formatter

FORGED = "x\n2026-01-01T00:00:00.000Z ERROR api forged\r\x1b[31m\u2028\x85\udcff"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (?:INFO|ERROR|WARN) ")


def _record(**extra: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {
            "name": "kubelite.node.kubelet",
            "levelname": "WARNING",
            "msg": "pod started",
            "created": 0.5,
        }
    )
    record.__dict__.update(extra)
    return record


def test_a_line_has_phrase_and_fields() -> None:
    line = Formatter().format(_record(pod="default/web", reason="two words"))
    assert line == (
        "1970-01-01T00:00:00.500Z WARN node.kubelet pod started pod=default/web reason='two words'"
    )


def test_a_traceback_follows() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = Formatter().format(_record(exc_info=sys.exc_info()))
    assert line.splitlines()[-1] == "    ValueError: broken"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "''"),
        ("one\rtwo", r"'one\rtwo'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        ("a=b", "a=b"),
        ("\u2028", r"'\u2028'"),
        ("l\u00e4nger", "l\u00e4nger"),
    ],
)
def test_what_somebody_else_says_stays_in_its_field(value: str, shown: str) -> None:
    assert Formatter().format(_record(name_of=value)).endswith(f"pod started name_of={shown}")


@pytest.mark.parametrize(
    "made", [_record(msg=FORGED), _record(msg="said %s", args=(FORGED,)), _record(client=FORGED)]
)
def test_one_record_is_one_line_of_printable_text(made: logging.LogRecord) -> None:
    line = Formatter().format(made)
    assert line.isprintable()
    assert LINE.match(line)


def test_no_line_of_a_traceback_looks_like_one_of_the_log() -> None:
    made = _record()
    try:
        raise ValueError(FORGED)
    except ValueError:
        made.exc_info = sys.exc_info()
    first, *rest = Formatter().format(made).split("\n")
    assert LINE.match(first)
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
