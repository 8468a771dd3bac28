"""Randomness and identifiers, injected so that a simulation is repeatable from a seed."""

import random
import secrets
from typing import Protocol
from uuid import UUID

# Kubernetes leaves out vowels and look-alikes, so that generated names spell no words.
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Randomness(Protocol):
    """Makes identifiers, name suffixes, secrets and jitter."""

    def uid(self) -> str:
        """Return a new version 4 UUID in text form."""
        ...

    def suffix(self, length: int = 5) -> str:
        """Return `length` characters for a generated name."""
        ...

    def token_bytes(self, length: int) -> bytes:
        """Return `length` bytes from a cryptographic source."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high), for jitter."""
        ...


class SystemRandomness:
    """The operating system's randomness."""

    def __init__(self) -> None:
        self._jitter = random.SystemRandom()

    def uid(self) -> str:
        """Return a new version 4 UUID in text form."""
        return str(UUID(bytes=secrets.token_bytes(16), version=4))

    def suffix(self, length: int = 5) -> str:
        """Return characters for a generated name."""
        return "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(length))

    def token_bytes(self, length: int) -> bytes:
        """Return bytes fit for a secret."""
        return secrets.token_bytes(length)

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high), for jitter."""
        return self._jitter.uniform(low, high)


class SeededRandomness:
    """Repeats from a seed; for tests and simulations only."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def uid(self) -> str:
        """Return a version 4 UUID in text form."""
        return str(UUID(bytes=self._random.randbytes(16), version=4))

    def suffix(self, length: int = 5) -> str:
        """Return characters for a generated name."""
        return "".join(self._random.choice(SUFFIX_ALPHABET) for _ in range(length))

    def token_bytes(self, length: int) -> bytes:
        """Return bytes."""
        return self._random.randbytes(length)

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return self._random.uniform(low, high)
