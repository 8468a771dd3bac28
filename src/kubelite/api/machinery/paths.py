"""Paths of fields, formatted only when a message needs one.

A walk that concatenates paths on its way down copies a long name for each field below: a key of 1 MB over 100,000
fields.
"""

from __future__ import annotations

from typing import NamedTuple

from kubelite.limits import CAUSES_TEXT, SHOWN_VALUE, Limit


class FieldPath(NamedTuple):
    """The field `step` of the value at `parent`; an integer is the index in a list."""

    parent: FieldPath | None
    step: str | int
    bracketed: bool = False  # a key of a map: metadata.labels[app]

    def __str__(self) -> str:
        """Return ``spec.containers[0].name``; a very long path loses its beginning."""
        steps: list[str] = []
        path: FieldPath | None = self
        length = 0
        while path is not None and length <= SHOWN_VALUE.value:
            step, parent = path.step, path.parent
            if isinstance(step, str):
                step = step[: SHOWN_VALUE.value]
            text = f"[{step}]"
            if isinstance(step, str) and not path.bracketed:
                text = f".{step}" if parent is not None else step
            steps.append(text)
            length += len(text)
            path = parent
        return "".join(reversed(steps))


class Notes:
    """Sentences about fields: at most `limit`, and, but for the first, no more text than one response takes."""

    def __init__(self, limit: Limit) -> None:
        self.texts: list[str] = []
        self._limit = limit
        self._left = limit.value
        self._characters = CAUSES_TEXT.value

    def add(self, form: str, path: FieldPath) -> None:
        """Add a sentence about the field; `form` has ``{}`` for its path. Beyond the limits it is dropped."""
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                self._limit.reached()
            return
        text = form.format(path)
        self._characters -= len(text)
        if self._characters < 0 and self.texts:
            CAUSES_TEXT.reached()
            self._left = 0
        else:
            self.texts.append(text)
