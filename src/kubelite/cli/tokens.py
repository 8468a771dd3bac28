"""The commands for the tokens with which machines join."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kubelite.cli.common import fail, first_file, kubeconfig_option, load_config


@click.group()
def token() -> None:
    """Create, list and delete the tokens with which machines join."""


@token.command("create")
@click.option("--kind", type=click.Choice(["agent", "server"]), default="agent", show_default=True)
@click.option(
    "--ttl",
    metavar="DURATION",
    default="24h",
    show_default=True,
    help="0 for a token that never expires",
)
@click.option("--one-time", is_flag=True, help="Let in one machine only")
@click.option("--description", metavar="TEXT", default="", help="What the token is for")
@kubeconfig_option
def token_create(
    kind: str, ttl: str, one_time: bool, description: str, kubeconfig: str | None
) -> None:
    """Create a token and print it. It is as good as the right to join: keep it secret."""
    from kubelite import join_tokens

    def wanted() -> join_tokens.Wanted:
        return join_tokens.wanted(kind, ttl, description, is_one_time=one_time)

    async def create(tokens: join_tokens.JoinTokens) -> None:
        click.echo(str(await tokens.create(wanted())))

    _with_tokens(kubeconfig, create, check=wanted)


@token.command("list")
@kubeconfig_option
def token_list(kubeconfig: str | None) -> None:
    """List the tokens; their secrets are never shown."""
    from kubelite import join_tokens

    async def show(tokens: join_tokens.JoinTokens) -> None:
        for line in await tokens.list():
            click.echo(line)

    _with_tokens(kubeconfig, show)


@token.command("delete")
@click.argument("tokens", metavar="ID...", nargs=-1, required=True)
@kubeconfig_option
def token_delete(tokens: tuple[str, ...], kubeconfig: str | None) -> None:
    """Delete tokens, given by their IDs or as a whole. Nodes that have joined with them stay."""
    from kubelite import join_tokens

    def identifiers() -> dict[str, None]:
        return dict.fromkeys(join_tokens.identifier_of(text) for text in tokens)

    async def delete(present: join_tokens.JoinTokens) -> None:
        failed = False
        for identifier in identifiers():
            try:
                await present.delete(identifier)
            except join_tokens.TokenFailed as error:
                failed = True
                click.echo(f"kubelite: {error}", err=True)
            else:
                click.echo(f"token {identifier} deleted")
        if failed:
            sys.exit(1)

    _with_tokens(kubeconfig, delete, check=identifiers)


def _with_tokens(
    kubeconfig: str | None, command: Callable[[Any], Any], check: Callable[[], Any] = bool
) -> None:
    """Run a command with the tokens of a cluster, after `check`, which raises TokenFailed for wrong arguments."""
    import asyncio

    from kubelite.clock import SystemClock
    from kubelite.join_tokens import TokenFailed, opened
    from kubelite.randomness import SystemRandomness

    async def run() -> None:
        async with opened(Path(path), SystemClock(), SystemRandomness()) as tokens:
            await command(tokens)

    try:
        check()
        path = first_file(kubeconfig or "") or load_config({}).write_kubeconfig
        asyncio.run(run())
    except TokenFailed as error:
        fail(error)
