"""What is fuzzed: a corpus of good and once harmful inputs, and a function that holds each input to its promise."""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fuzz.mutation import Mutator

CORPUS = Path(__file__).parent / "corpus"

Check = Callable[[bytes], None]


class Target(NamedTuple):
    """One reader of foreign bytes."""

    name: str
    open: Callable[[], AbstractContextManager[Check]]
    is_json: bool = False
    cost: int = 1  # how many cases of the cheapest target one of this costs

    @property
    def corpus(self) -> dict[str, bytes]:
        """The kept inputs by file name."""
        folder = CORPUS / self.name
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    def mutator(self) -> Mutator:
        """Return what makes further inputs out of the corpus."""
        words = [word.encode("latin-1") for word in _words()[self.name]]
        return Mutator(self.name, list(self.corpus.values()), words, is_json=self.is_json)


@cache
def _words() -> dict[str, list[str]]:
    return tomllib.loads((CORPUS.parent / "words.toml").read_text())


def pure(check: Check) -> Callable[[], AbstractContextManager[Check]]:
    """Open a check that needs nothing."""

    @contextmanager
    def opened() -> Iterator[Check]:
        yield check

    return opened
