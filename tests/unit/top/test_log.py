import io
import json
import logging
import re
import sys

import pytest

from kubelite import log
from kubelite.log import Formatter, JSONFormatter
from kubelite.terminal import ERASE, STDERR

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


def test_an_object_a_line_for_programs() -> None:
    made = _record(pod="default/web", restarts=3, is_ready=True, took=None, path=io)
    assert json.loads(JSONFormatter().format(made)) == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "warn",
        "component": "node.kubelet",
        "message": "pod started",
        "fields": {
            "pod": "default/web",
            "restarts": 3,
            "is_ready": True,
            "took": None,
            "path": str(io),
        },
    }


@pytest.mark.parametrize("text", [FORGED, "\x9b31m\x7f", "\U000e0041 tag", "\ud800", "\x00"])
def test_no_object_has_what_a_terminal_obeys_and_it_says_the_same(text: str) -> None:
    said = JSONFormatter().format(_record(msg="%s", args=(text,), client=text))
    assert said.isprintable()
    wanted = text.encode(errors="backslashreplace").decode()
    assert json.loads(said)["message"] == json.loads(said)["fields"]["client"] == wanted


def test_a_field_cannot_pass_for_the_level_or_the_time() -> None:
    said = json.loads(JSONFormatter().format(_record(level="error", time="never")))
    assert (said["level"], said["fields"]) == ("warn", {"level": "error", "time": "never"})


def test_a_traceback_is_in_the_object() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        line = JSONFormatter().format(_record(exc_info=sys.exc_info()))
    assert line.isprintable()
    assert "ValueError" in json.loads(line)["trace"]


def test_the_last_word_of_a_process_is_an_object_too() -> None:
    said = json.loads(log.end_line("cannot start: 100 % full\x1b"))
    assert (said["level"], said["message"]) == ("fatal", "cannot start: 100 % full\x1b")


def test_entries_are_above_what_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("kubelite").level)
    try:
        log.setup(debug=False)
        STDERR.show("half")
        logging.getLogger("kubelite.node").info("pod started")
        STDERR.show("")
    finally:
        root.handlers[:], level, own = before
        root.setLevel(level)
        logging.getLogger("kubelite").setLevel(own)
    _, shown, entry, _ = screen.getvalue().split(ERASE)
    assert (shown, entry[-len("pod started\nhalf") :]) == ("half", "pod started\nhalf")
