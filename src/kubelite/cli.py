"""The command line; each command imports what it runs, so that `kubelite version` is quick."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from kubelite import __version__
from kubelite.config import (
    AgentConfig,
    Config,
    InvalidConfig,
    NodeConfig,
    help_of,
    is_list,
    load,
    load_agent,
    settings,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole Kubernetes cluster in one process."""
    _open_standard_streams()


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"kubelite {__version__} (Kubernetes 1.36)")


def _options(of: type[NodeConfig]) -> Callable[[Callable[..., None]], Callable[..., None]]:
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


@main.command()
@_options(Config)
def server(**flags: Any) -> None:
    """Run the server: API, store, scheduler, controllers, node, network."""
    config = _load(flags)
    with _no_authorities_of_the_system():
        from kubelite.server import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        _fail(error)


@main.command()
@_options(AgentConfig)
def agent(**flags: Any) -> None:
    """Join a cluster as a worker, and run its pods; later starts need no token."""
    try:
        config = load_agent(flags, os.environ)
    except InvalidConfig as error:
        _fail(error)
    with _no_authorities_of_the_system():
        from kubelite.agent import run
    from kubelite.prerequisites import CannotStart, ServerFailed

    try:
        run(config)
    except (CannotStart, ServerFailed) as error:
        _fail(error)


_data_dir = click.option("--data-dir", metavar="DIR", help="Folder that holds all state")


@main.group()
def snapshot() -> None:
    """Save the cluster's state, list what is saved, put it back."""


@snapshot.command("save")
@_data_dir
def snapshot_save(data_dir: str | None) -> None:
    """Save the state, also while the server runs."""
    from kubelite.clock import SystemClock
    from kubelite.store import snapshots

    config = _load({"data_dir": data_dir})
    try:
        saved = snapshots.save(config.store_dir, config.snapshots_dir, SystemClock().now())
    except snapshots.SnapshotFailed as error:
        _fail(error)
    click.echo(saved.path)


@snapshot.command("list")
@_data_dir
def snapshot_list(data_dir: str | None) -> None:
    """List the snapshots, oldest first."""
    from kubelite.store import snapshots

    for saved in snapshots.list_snapshots(_load({"data_dir": data_dir}).snapshots_dir):
        click.echo(f"{saved.name}  {saved.size_bytes / 1e6:.1f} MB")


@snapshot.command("restore")
@click.argument("name")
@_data_dir
def snapshot_restore(name: str, data_dir: str | None) -> None:
    """Put the snapshot NAME (as listed, or a file) in place of the state; the server must be stopped."""
    from kubelite.store import snapshots
    from kubelite.store.lmdb_engine import StoreLocked

    config = _load({"data_dir": data_dir})
    source = Path(name) if "/" in name else config.snapshots_dir / name
    try:
        former = snapshots.restore(source, config.store_dir)
    except (snapshots.SnapshotFailed, StoreLocked) as error:
        _fail(error)
    click.echo(f"restored {source}" + (f"; the former state is {former}" if former else ""))


@main.command()
@_data_dir
def check(data_dir: str | None) -> None:
    """Verify that the stored state is whole, also while the server runs."""
    from kubelite.store import snapshots

    try:
        report = snapshots.check(_load({"data_dir": data_dir}).store_dir)
    except snapshots.SnapshotFailed as error:
        _fail(error)
    for problem in report.problems:
        click.echo(problem)
    click.echo(
        f"{report.objects} objects, {report.log_rows} changes kept, revision {report.revision}, "
        f"{len(report.problems)} problems"
    )
    sys.exit(1 if report.problems else 0)


_kubeconfig = click.option(
    "--kubeconfig",
    metavar="FILE",
    envvar="KUBECONFIG",
    help="Kubeconfig of an administrator (default: KUBECONFIG, else the one that the server wrote)",
)


@main.group()
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
@_kubeconfig
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
@_kubeconfig
def token_list(kubeconfig: str | None) -> None:
    """List the tokens; their secrets are never shown."""
    from kubelite import join_tokens

    async def show(tokens: join_tokens.JoinTokens) -> None:
        for line in await tokens.list():
            click.echo(line)

    _with_tokens(kubeconfig, show)


@token.command("delete")
@click.argument("tokens", metavar="ID...", nargs=-1, required=True)
@_kubeconfig
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
        path = _first_file(kubeconfig or "") or _load({}).write_kubeconfig
        asyncio.run(run())
    except TokenFailed as error:
        _fail(error)


def _first_file(paths: str) -> str:
    """Return the first file of a list as in KUBECONFIG that exists, else the first one; "" if the list is empty."""
    listed = [path for path in paths.split(os.pathsep) if path]
    return next((path for path in listed if Path(path).exists()), listed[0] if listed else "")


@main.group()
def certificate() -> None:
    """Show and renew the server's certificates."""


@certificate.command("list")
@_data_dir
def certificate_list(data_dir: str | None) -> None:
    """List authorities and certificates with their dates."""
    from kubelite import maintenance

    try:
        found = maintenance.certificates(_load({"data_dir": data_dir}))
    except maintenance.Refused as error:
        _fail(error)
    for leaf in found:
        dates = f"{leaf.not_before:%Y-%m-%d} to {leaf.not_after:%Y-%m-%d}"
        click.echo(f"{leaf.name:<28} {dates}  {leaf.subject} {','.join(leaf.groups)}".rstrip())


@certificate.command("rotate")
@_data_dir
def certificate_rotate(data_dir: str | None) -> None:
    """Make all certificates anew; the server must be stopped."""
    from kubelite import maintenance

    try:
        names = maintenance.rotate_certificates(_load({"data_dir": data_dir}))
    except maintenance.Refused as error:
        _fail(error)
    click.echo(f"made anew: {', '.join(names)}")


@certificate.command("rotate-ca")
@_data_dir
def certificate_rotate_ca(data_dir: str | None) -> None:
    """Replace the cluster CA; the server must be stopped. The old CA stays trusted."""
    from kubelite import maintenance

    try:
        maintenance.rotate_authority(_load({"data_dir": data_dir}))
    except maintenance.Refused as error:
        _fail(error)
    click.echo("the cluster CA and all certificates are new")


@main.group("secrets-encrypt")
def secrets_encrypt() -> None:
    """Manage the encryption of Secrets on disk."""


@secrets_encrypt.command("rotate-keys")
@_data_dir
def secrets_rotate(data_dir: str | None) -> None:
    """Make a new key and seal every Secret with it; the server must be stopped."""
    from kubelite import maintenance

    try:
        number = maintenance.rotate_secrets_key(_load({"data_dir": data_dir}))
    except maintenance.Refused as error:
        _fail(error)
    click.echo(f"{number} Secrets sealed with the new key")


@secrets_encrypt.command("disable")
@_data_dir
def secrets_disable(data_dir: str | None) -> None:
    """Write every Secret in the clear and remove the keys; the server must be stopped."""
    from kubelite import maintenance

    try:
        number = maintenance.disable_secrets_encryption(_load({"data_dir": data_dir}))
    except maintenance.Refused as error:
        _fail(error)
    click.echo(
        f"{number} Secrets are in the clear now; start the server without --secrets-encryption"
    )


@main.command()
@_data_dir
@click.option(
    "--container-runtime-endpoint",
    metavar="unix:///FILE",
    help="Socket of the engine, if the server had one",
)
@click.option("--docker-socket", metavar="FILE", help="The same for an engine with Docker's API")
@click.option("--node-name", metavar="NAME", help="Name of this node, if the server had one")
@click.option(
    "--container-log-dir", metavar="DIR", help="Folder of log links, if the server had one"
)
@click.option("--write-kubeconfig", metavar="FILE", help="The kubeconfig that the server wrote")
@click.option("--yes", is_flag=True, help="Do not ask")
def reset(yes: bool, **flags: str | None) -> None:
    """Remove all that kubelite made on this host: containers, network, files. All state is lost."""
    from kubelite import maintenance, uninstall

    config = _load(flags)
    try:
        if not yes:
            for line in uninstall.plan_removal(config).describe():
                click.echo(f"  {line}")
            click.confirm("Remove all of this?", abort=True)
        uninstall.reset(config, click.echo)
    except maintenance.Refused as error:
        _fail(error)


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed.

    Else the next file opened, such as the store's, gets descriptor 2, to which crash messages are written.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _load(flags: dict[str, Any]) -> Config:
    try:
        return load(flags, os.environ)
    except InvalidConfig as error:
        _fail(error)


def _fail(reason: object) -> NoReturn:
    click.echo(f"kubelite: {reason}", err=True)
    sys.exit(1)
