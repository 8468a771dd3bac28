"""The commands that run a server or an agent; each setting is an option."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from kubelite import log
from kubelite.cli.common import fail, load_config, setting_options
from kubelite.config import AgentConfig, Config, InvalidConfig, NodeConfig, load_agent
from kubelite.node_config import CONFIG_FILE


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


config_option = click.option(
    "--config",
    "-c",
    "file",
    metavar="FILE",
    help=f"Configuration file, with more in FILE.d/*.yaml [default: {CONFIG_FILE}]",
)


def _given(file: str | None) -> Path:
    """Return the configuration file; one that is named must be there, unlike the default one."""
    path = Path(file) if file else CONFIG_FILE
    if file and not path.is_file():
        fail(f"cannot read --config {file}: there is no such file")
    return path


@click.command()
@config_option
@setting_options(Config)
def server(file: str | None, **flags: Any) -> None:
    """Run the server: API, store, scheduler, controllers, node, network."""
    config = load_config(flags, _given(file))
    with _no_authorities_of_the_system():
        from kubelite.server import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        _fail(config, error)


@click.command()
@config_option
@setting_options(AgentConfig)
def agent(file: str | None, **flags: Any) -> None:
    """Join a cluster as a worker, and run its pods; later starts need no token."""
    try:
        config = load_agent(flags, os.environ, _given(file))
    except InvalidConfig as error:
        fail(error)
    with _no_authorities_of_the_system():
        from kubelite.agent import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        _fail(config, error)


def _fail(config: NodeConfig, error: Exception) -> NoReturn:
    """End the process as `fail` does, in the form of its log."""
    if config.log_format == log.JSON:
        click.echo(log.end_line(str(error)), err=True)
        sys.exit(1)
    fail(error)
