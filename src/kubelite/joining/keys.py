"""Asks the program that works with a machine's keys, and says what it is asked and answers.

To make keys, sign requests and read certificates needs a library that a node at rest has no use for, of 10 MB and
more. So a process of its own does it, for the seconds in which a machine joins or renews its certificates. It is told
the names of key files and reads and writes them itself: no key leaves it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from kubelite.own_programs import own_program
from kubelite.spawn import Conversation, ProgramFailed

PROGRAM: Final = own_program("kubelite.joining.key_program")
ANSWER_SECONDS = 30.0  # a start on a busy machine takes a second


class Subject(Struct, frozen=True):
    """Whom a certificate is for, and by which names and addresses."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class Certificate(Struct, frozen=True, tag=True):
    """What a node needs to know of a certificate."""

    common_name: str
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    serial_number: str  # hexadecimal; a number may have 160 bits
    not_before: datetime
    not_after: datetime


class SignRequest(Struct, frozen=True, tag=True):
    """Asks for a signing request in PEM for the key in a file, which is made if there is none."""

    key: str  # the file's path
    subject: Subject


class Read(Struct, frozen=True, tag=True):
    """Asks for the first certificate of a PEM text, provided that it is for the key in a file."""

    key: str  # the file's path
    pem: bytes


class Signed(Struct, frozen=True, tag=True):
    """A signing request."""

    pem: bytes


class OfAnotherKey(Struct, frozen=True, tag=True):
    """The certificate is not for this key."""


class KeyUnusable(Struct, frozen=True, tag=True):
    """The key cannot be read."""

    reason: str


class CertificateUnreadable(Struct, frozen=True, tag=True):
    """The text holds no certificate."""

    reason: str


class FileUnusable(Struct, frozen=True, tag=True):
    """A file could not be read or written."""

    number: int  # errno
    path: str


Question = SignRequest | Read
Answer = Signed | Certificate | OfAnotherKey | KeyUnusable | CertificateUnreadable | FileUnusable


class KeyProgramFailed(OSError):
    """The program did not answer."""


class Keys(Protocol):
    """Works with keys and certificates. All of it blocks."""

    def ask(self, question: Question) -> Answer:
        """Return the answer. Raises OSError."""
        ...

    def begin(self) -> None:
        """Prepare for several questions. Raises OSError."""
        ...

    def end(self) -> None:
        """Free what `begin` took, once each has ended."""
        ...

    def pause(self) -> None:
        """Free it until the next question, which may be long in coming."""
        ...


@contextmanager
def several(keys: Keys) -> Iterator[None]:
    """Have several questions answered by one process. Blocks."""
    keys.begin()
    try:
        yield
    finally:
        keys.end()


class KeyProgram:
    """The program as a process that runs from `begin` to `end`, or for a single question; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._conversation: Conversation | None = None

    def begin(self) -> None:
        """Start the program, without waiting until it can answer. Raises KeyProgramFailed."""
        with self._lock:
            self._users += 1
            try:
                self._opened()
            except KeyProgramFailed:
                self._users -= 1
                raise

    def end(self) -> None:
        """End the program if nobody else uses it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._close()

    def pause(self) -> None:
        """End the program until it is asked again."""
        with self._lock:
            self._close()

    def ask(self, question: Question) -> Answer:
        """Return the answer. Raises KeyProgramFailed; the next question has a new process then."""
        with self._lock, several(self):
            line = msgspec.json.encode(question) + b"\n"
            try:
                answer: Answer = msgspec.json.decode(self._opened().ask(line), type=Answer)
            except (ProgramFailed, msgspec.DecodeError) as error:
                self._close()
                raise KeyProgramFailed(f"the program for keys failed: {error}") from error
            return answer

    def _opened(self) -> Conversation:
        if self._conversation is None:
            try:
                self._conversation = Conversation(PROGRAM, timeout_seconds=ANSWER_SECONDS)
            except ProgramFailed as error:
                raise KeyProgramFailed(str(error)) from error
        return self._conversation

    def _close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None
