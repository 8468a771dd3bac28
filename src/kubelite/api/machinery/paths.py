"""Addresses of fields, written only where something is said about one.

A walk that joins texts on its way down copies a long name for each field below it: a key of 1 MB over 100,000 fields.
"""

from __future__ import annotations

from typing import NamedTuple

from kubelite.limits import CAUSES_TEXT, SHOWN_VALUE, Limit


class FieldPath(NamedTuple):
    """The field `step` of what is at `parent`; an integer is the position in a list."""

    parent: FieldPath | None
    step: str | int
    bracketed: bool = False  # a key of a map: metadata.labels[app]

    def __str__(self) -> str:
        """Return ``spec.containers[0].name``; of a very long address the beginning is left out."""
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
    """Sentences about fields, at most `limit` of them and no more text than one answer takes, or one."""

    def __init__(self, limit: Limit) -> None:
        self.texts: list[str] = []
        self._limit = limit
        self._left = limit.value
        self._characters = CAUSES_TEXT.value

    def add(self, form: str, path: FieldPath) -> None:
        """Add a sentence about the field; `form` has ``{}`` for its address."""
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
