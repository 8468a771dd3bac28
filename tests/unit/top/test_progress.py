import io
import json
from typing import Any

import pytest

from kubelite.progress import BYTES, SILENT, Form, Progress, Step, amount, state_of
from kubelite.terminal import ERASE, StatusLine


class Watched:
    """A progress whose clock stands still until it is told."""

    def __init__(self, form: Form) -> None:
        self.now = 0.0
        self.errors, self.output = io.StringIO(), io.StringIO()
        line = StatusLine(lambda: self.errors)
        self.progress = Progress(form, line, self.output, lambda: self.now)
        self.progress._beats = True  # type: ignore[assignment]  # no thread: the test looks itself

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.progress.look()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.getvalue().splitlines()]


def test_what_is_quick_is_not_mentioned() -> None:
    for form in (Form.PLAIN, Form.TERMINAL, Form.SILENT):
        watched = Watched(form)
        with watched.progress.step("save"):
            watched.after(0.9)
        assert (watched.errors.getvalue(), watched.output.getvalue()) == ("", "")


def test_plain_lines_are_few() -> None:
    watched = Watched(Form.PLAIN)
    with watched.progress.step("save", of=2e6, unit=BYTES) as step:
        for _ in range(120):
            step.advance(1e4)
            watched.after(0.1)
    assert watched.errors.getvalue().splitlines() == [
        "save …",
        "save: 56% of 2.0 MB, 11 s",
        "save: done in 12.0 s",
    ]


def test_a_terminal_has_one_line_that_changes() -> None:
    watched = Watched(Form.TERMINAL)
    with watched.progress.step("save", of=4, unit="images") as step:
        watched.after(1)
        step.reach(1)
        watched.after(1)
    shown = watched.errors.getvalue().split(ERASE)
    assert shown == [
        "",
        "save: 0% of 4 images, 1 s",
        "save: 25% of 4 images, 2 s",
        "save: done in 2.0 s\n",
    ]


def test_programs_are_told_everything() -> None:
    watched = Watched(Form.EVENTS)
    with watched.progress.step("save", unit=BYTES) as step:
        watched.after(0.5)
        step.reach(5, of=10)
        watched.after(1)
    watched.progress.result(path="/x")
    assert watched.events == [
        {"event": "started", "step": "save"},
        {"event": "progress", "step": "save", "done": 5.0, "total": 10, "unit": "bytes"},
        {"event": "finished", "step": "save", "seconds": 1.5},
        {"event": "result", "path": "/x"},
    ]
    assert watched.errors.getvalue() == ""


@pytest.mark.parametrize("form", [Form.PLAIN, Form.TERMINAL, Form.EVENTS])
def test_a_failure_is_told_and_passed_on(form: Form) -> None:
    watched = Watched(form)

    def work() -> None:
        with watched.progress.step("save"):
            watched.after(3)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
    said = watched.errors.getvalue() + watched.output.getvalue()
    assert "save: failed after 3.0 s" in said or watched.events[-1]["event"] == "failed"


def test_of_several_steps_the_last_one_is_shown() -> None:
    watched = Watched(Form.TERMINAL)
    with watched.progress.step("outer"), watched.progress.step("inner"):
        watched.after(2)
    assert "inner: 2 s" in watched.errors.getvalue()


def test_a_name_of_others_neither_wraps_nor_commands_the_terminal() -> None:
    step = Step("load \x1b[2J" + "x" * 500, 10, BYTES, 0.0)
    line = state_of(step, 5.0)
    assert line.isprintable()
    assert len(line) <= 79
    assert line.endswith("…: 0% of 10 B, 5 s")


def test_more_than_all_is_all() -> None:
    step = Step("load", 10, BYTES, 0.0)
    step.advance(25)
    assert "100%" in state_of(step, 1.0)


def test_listeners_that_have_gone_do_not_stop_the_work() -> None:
    watched = Watched(Form.EVENTS)
    watched.output.close()
    with watched.progress.step("save"):
        watched.after(2)


def test_the_thread_that_looks_ends_with_the_last_step() -> None:
    progress = Progress(Form.PLAIN, StatusLine(lambda: None), None)
    with progress.step("save"):
        assert progress._beats is not None
        thread = progress._beats
    thread.join(10)
    assert not thread.is_alive()
    with progress.step("again"):
        assert progress._beats is not thread
    progress.close()


def test_silence_is_without_a_thread() -> None:
    with SILENT.step("save") as step:
        step.advance(1)
    assert SILENT._beats is None


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, BYTES, "0 B"),
        (999, BYTES, "999 B"),
        (1500, BYTES, "1.5 kB"),
        (2e9, BYTES, "2.0 GB"),
        (3, "images", "3 images"),
        (3, "", "3"),
    ],
)
def test_amounts(number: float, unit: str, text: str) -> None:
    assert amount(number, unit) == text
