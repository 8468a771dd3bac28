"""Shows what takes longer than a second: a changing line on a terminal, plain lines elsewhere, events for programs.

    with progress.shown(as_events=json) as shown:
        with shown.step("save the snapshot", of=size_bytes, unit=BYTES) as step:
            step.advance(len(piece))

What is over within a second is not mentioned, but to programs. Steps may be reported from any thread. Text goes to
standard error, events go to standard output, one JSON object a line: ``{"event": "started", "step": …}``, ``progress``
with `done` and `total` if those are known, ``finished`` or ``failed`` with `seconds`, at last ``result`` with what the
command has to say, or ``error`` with `message`.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from kubelite.terminal import STDERR, StatusLine, in_line, is_terminal

BYTES: Final = "bytes"  # a unit, shown as kB, MB or GB
SILENT_SECONDS = 1.0  # what is over by then is not mentioned
BEAT_SECONDS = 0.25  # between two looks at what goes on
PLAIN_SECONDS = 10.0  # between two plain lines about one step
LINE_CHARACTERS_MAX = (
    79  # more would wrap on a narrow terminal, and a wrapped line cannot be erased
)


class Form(Enum):
    """How progress is shown."""

    SILENT = auto()
    PLAIN = auto()
    TERMINAL = auto()
    EVENTS = auto()


class Step:
    """One piece of work, while it is done; `Progress.step` makes it."""

    def __init__(self, what: str, of: float, unit: str, began: float) -> None:
        self.what = what
        self.total = of
        self.unit = unit
        self.began = began
        self.done = 0.0
        self.told: float | None = None  # when it was last mentioned; None: not yet
        self.measure: Callable[[], float] | None = (
            None  # what is done, for work that does not report it
        )

    def advance(self, count: float) -> None:
        """Report that `count` more is done."""
        self.done += count

    def reach(self, done: float, of: float = 0) -> None:
        """Report what is done in all, and of how much if only now that is known."""
        self.done = done
        self.total = of or self.total


def amount(number: float, unit: str) -> str:
    """Return an amount for people: ``12.3 MB``, ``3 images``."""
    if unit != BYTES:
        return f"{number:g} {unit}".rstrip()
    for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= factor:
            return f"{number / factor:.1f} {name}"
    return f"{number:.0f} B"


def state_of(step: Step, now: float) -> str:
    """Return a line about a step that goes on, of LINE_CHARACTERS_MAX at most."""
    seconds = f"{now - step.began:.0f} s"
    if step.total > 0:
        share = min(step.done / step.total, 1.0)
        state = f": {share:.0%} of {amount(step.total, step.unit)}, {seconds}"
    elif step.done:
        state = f": {amount(step.done, step.unit)}, {seconds}"
    else:
        state = f": {seconds}"
    return _shortened(in_line(step.what), LINE_CHARACTERS_MAX - len(state)) + state


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


class Progress:
    """Shows the steps of one command; thread-safe."""

    def __init__(
        self,
        form: Form,
        line: StatusLine = STDERR,
        events: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form = form
        self._line = line
        self._events = events
        self._now = now
        self._steps: list[Step] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._beats: threading.Thread | None = None

    @contextmanager
    def step(self, what: str, *, of: float = 0, unit: str = "") -> Iterator[Step]:
        """Show what is done inside; `of` is how much there is to do, 0 if that is not known."""
        step = Step(what, of, unit, self._now())
        if self._form is Form.SILENT:
            yield step
            return
        self._begin(step)
        try:
            yield step
        except BaseException:
            self._end(step, "failed")
            raise
        self._end(step, "finished")

    def result(self, **fields: Any) -> None:
        """Tell programs what the command has to say at its end; people get it in words."""
        self._event({"event": "result", **fields})

    def failure(self, reason: object) -> None:
        """Tell programs why the command failed; people are told by its last line."""
        self._event({"event": "error", "message": str(reason)})

    def look(self) -> None:
        """Show how far the steps are; called while there are any."""
        now = self._now()
        with self._lock:
            slow = [step for step in self._steps if now - step.began >= SILENT_SECONDS]
        for step in slow:
            self._tell(step, now)
        if self._form is Form.TERMINAL:
            self._line.show(state_of(slow[-1], now) if slow else "")

    def _tell(self, step: Step, now: float) -> None:
        if step.measure is not None:
            step.done = step.measure()
        if self._form is Form.EVENTS and step.done:
            self._event({"event": "progress", "step": step.what, **_figures(step)})
        if self._form is Form.PLAIN:
            if step.told is not None and now - step.told < PLAIN_SECONDS:
                return
            self._line.say(f"{step.what} …" if step.told is None else state_of(step, now))
        step.told = now

    def close(self) -> None:
        """Take away what is shown."""
        self._over.set()
        if (beats := self._beats) is not None:
            beats.join()
        if self._form is Form.TERMINAL:
            self._line.show("")

    def _begin(self, step: Step) -> None:
        self._event({"event": "started", "step": step.what, **_figures(step)})
        with self._lock:
            self._steps.append(step)
            if self._beats is None:
                self._beats = threading.Thread(target=self._beat, name="progress", daemon=True)
                self._beats.start()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with self._lock:
                if not self._steps:
                    self._beats = None  # the next step starts another
                    return
            self.look()

    def _end(self, step: Step, how: str) -> None:
        with self._lock:
            self._steps.remove(step)
        seconds = self._now() - step.began
        self._event({"event": how, "step": step.what, "seconds": round(seconds, 3)})
        if self._form is Form.TERMINAL:
            self._line.show("")
        if step.told is not None and self._form is not Form.EVENTS:
            words = "done in" if how == "finished" else "failed after"
            self._line.say(f"{step.what}: {words} {seconds:.1f} s")

    def _event(self, event: dict[str, Any]) -> None:
        if self._form is not Form.EVENTS or self._events is None:
            return
        with (
            self._lock,
            suppress(OSError, ValueError),
        ):  # the work goes on when nobody listens any more
            self._events.write(msgspec.json.encode(event).decode() + "\n")
            self._events.flush()


def _figures(step: Step) -> dict[str, Any]:
    figures = {"done": step.done, "total": step.total}
    found: dict[str, Any] = {name: number for name, number in figures.items() if number}
    return {**found, "unit": step.unit} if found and step.unit else found


SILENT: Final = Progress(Form.SILENT)


def size_of(path: Path) -> float:
    """Return the size of a file in bytes, 0 while there is none; for `Step.measure`."""
    try:
        return path.stat().st_size
    except OSError:
        return 0.0


@contextmanager
def shown(*, as_events: bool = False) -> Iterator[Progress]:
    """Yield what shows the progress of a command: `as_events` to a program, else as standard error can."""
    for_people = Form.TERMINAL if is_terminal(sys.stderr) else Form.PLAIN
    progress = Progress(Form.EVENTS if as_events else for_people, events=sys.stdout)
    try:
        yield progress
    finally:
        progress.close()


def on_terminal() -> Progress:
    """Return what shows the progress of a server: on a terminal only, since its log tells the same."""
    return Progress(Form.TERMINAL) if is_terminal(sys.stderr) else SILENT
