"""What a setting of the configuration is, and how one is refused."""

from msgspec import Struct


class Setting(Struct, frozen=True):
    """Help text and placeholder of a setting on the command line."""

    help: str
    metavar: str = ""
    is_filled: bool = False  # an empty value is refused
    is_secret: bool = False  # the value must not be in a message


class InvalidConfig(Exception):
    """A setting is unknown or has a value that cannot be used; the message names it."""


def unusable(field: str, value: object, reason: str) -> InvalidConfig:
    """Return the error of a setting whose value cannot be used."""
    return InvalidConfig(f"cannot use --{field.replace('_', '-')} {value}: {reason}")
