"""The commands that run a server or an agent; each setting is an option."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from kubelite.cli.common import fail, load_config
from kubelite.config import (
    AgentConfig,
    Config,
    InvalidConfig,
    NodeConfig,
    help_of,
    is_list,
    load_agent,
    settings,
)


def options(of: type[NodeConfig]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds one option per setting to a command; loading validates all sources together."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        for field, (plain, setting) in reversed(list(settings(of).items())):
            command = click.option(
                "--" + field.replace("_", "-"),
                is_flag=plain is bool,
                default=None,
                type=bool if plain is bool else str,
                multiple=is_list(plain),
                metavar=setting.metavar or None,
                help=help_of(field, of),
            )(command)
        return command

    return decorated


@contextmanager
def _no_authorities_of_the_system() -> Iterator[None]:
    """Keep what is imported meanwhile from reading the system's CA certificates.

    aiohttp reads them when it is imported, 2 MB, for clients without a TLS context. Servers and agents have none.
    """
    name = "SSL_CERT_FILE"  # OpenSSL's
    given = os.environ.get(name)
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        del os.environ[name]
        if given is not None:
            os.environ[name] = given


@click.command()
@options(Config)
def server(**flags: Any) -> None:
    """Run the server: API, store, scheduler, controllers, node, network."""
    config = load_config(flags)
    with _no_authorities_of_the_system():
        from kubelite.server import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        fail(error)


@click.command()
@options(AgentConfig)
def agent(**flags: Any) -> None:
    """Join a cluster as a worker, and run its pods; later starts need no token."""
    try:
        config = load_agent(flags, os.environ)
    except InvalidConfig as error:
        fail(error)
    with _no_authorities_of_the_system():
        from kubelite.agent import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        fail(error)
