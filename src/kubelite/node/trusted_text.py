"""Validates the texts of a pod that the node writes into files, settings and paths.

The API validates objects, but the node writes as root what containers, resolvers and the engine then read line by line
or step by step, so each text is validated here too.
"""

import re

from kubelite.limits import EXEC_STRING, EXEC_TEXT
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.untrusted_files import is_name

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WORD = re.compile(r"[!-~]+", re.ASCII)  # visible and ASCII: no white space, which separates words
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?", re.ASCII)
_ADDRESS = re.compile(
    r"[0-9A-Fa-f.:]+", re.ASCII
)  # also 010.0.0.1, which the API takes in old fields
_VARIABLE = re.compile(r"[ -<>-~]+", re.ASCII)  # printable and no equals sign, as Kubernetes has it
_SHOWN_CHARACTERS = 100


def one_line(text: str, what: str) -> str:
    """Return a text without line breaks and control characters; raises ConfigUnavailable."""
    return _proved(text, what, _CONTROL.search(text) is None, "must not contain control characters")


def path_name(text: str, what: str) -> str:
    """Return a text that is one step of a path; raises ConfigUnavailable."""
    is_good = is_name(text) and _CONTROL.search(text) is None
    return _proved(text, what, is_good, "must be one step of a path")


def is_word(text: str) -> bool:
    """Return whether a text is visible ASCII without white space, as a resolver option is."""
    return _WORD.fullmatch(text) is not None


def word(text: str, what: str) -> str:
    """Return a text without white space, as a resolver option is; raises ConfigUnavailable."""
    return _proved(text, what, is_word(text), "must consist of visible ASCII characters")


def host_name_text(text: str, what: str) -> str:
    """Return a text that has the characters of a DNS name; raises ConfigUnavailable."""
    is_good = _HOST_NAME.fullmatch(text) is not None
    return _proved(text, what, is_good, "must consist of letters, digits, '-', '_' and '.'")


def address(text: str, what: str) -> str:
    """Return a text that has the characters of an IP address; raises ConfigUnavailable."""
    is_good = _ADDRESS.fullmatch(text) is not None
    return _proved(text, what, is_good, "must be a valid IP address")


def variable_name(text: str, what: str) -> str:
    """Return a text that is the name of an environment variable; raises ConfigUnavailable."""
    is_good = _VARIABLE.fullmatch(text) is not None
    detail = "must consist of printable ASCII characters other than '='"
    return _proved(text, what, is_good, detail)


class ProcessTexts:
    """Counts the arguments and variables of one process, so that no more are made than the kernel takes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._total_bytes = 0

    def take(self, text: str) -> str:
        """Return a text that still fits; raises ConfigUnavailable."""
        size = len(text.encode("utf-8", "surrogatepass")) + 1
        self._total_bytes += size
        if "\0" in text:
            raise ConfigUnavailable(f"invalid {self._what}: must not contain a NUL byte")
        for size_bytes, limit in ((size, EXEC_STRING), (self._total_bytes, EXEC_TEXT)):
            if size_bytes > limit.value:
                limit.reached()
                raise ConfigUnavailable(f"invalid {self._what}: argument list too long")
        return text


def _proved(text: str, what: str, is_good: bool, detail: str) -> str:
    if not is_good:
        raise ConfigUnavailable(f"invalid {what}: {text[:_SHOWN_CHARACTERS]!r}: {detail}")
    return text
