"""The commands that run a server or an agent; each setting is an option."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from kubelite.cli.common import fail, load_config, setting_options
from kubelite.config import AgentConfig, Config, InvalidConfig, load_agent


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
@setting_options(Config)
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
@setting_options(AgentConfig)
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
