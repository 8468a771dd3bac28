"""The composition root of the all-in-one process."""

from kubelite.config import Config


class CannotStart(Exception):
    """The server cannot start; the message is one line for the user."""


def run(config: Config) -> None:
    """Run a server until it is told to stop; raises CannotStart."""
    raise CannotStart(f"cannot start with {config.data_dir}: the parts are not joined yet")
