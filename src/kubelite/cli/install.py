"""The commands that install kubelite as a service of this machine, and remove it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubelite.cli.common import data_dir_option, fail, setting_options
from kubelite.cli.running import agent, server
from kubelite.config import AgentConfig, Config, InvalidConfig, load, load_agent
from kubelite.node_config import NodeConfig

if TYPE_CHECKING:
    from kubelite.installing.machine import Installed, Machine
    from kubelite.installing.plan import Given
    from kubelite.installing.program import Program

READY_SECONDS = 120.0
COMMANDS = {"server": server, "agent": agent}


@click.group()
def install() -> None:
    """Install a server or an agent as a service, or give it other flags, or upgrade it; pods run on."""


def _own_options(command: Callable[..., None]) -> Callable[..., None]:
    for name, text in (
        ("--no-start", "Install without starting it"),
        ("--no-enable", "Install without having it started at each boot"),
    ):
        command = click.option(name, is_flag=True, help=text)(command)
    return command


@install.command("server")
@_own_options
@setting_options(Config)
def install_server(no_start: bool, no_enable: bool, **flags: Any) -> None:
    """Install the server as a service, with these flags and the KUBELITE_* variables of this shell.

    Without any, an installation that is there keeps those it has.
    """
    _install("server", Config, flags, starts=not no_start, enables=not no_enable)


@install.command("agent")
@_own_options
@setting_options(AgentConfig)
def install_agent(no_start: bool, no_enable: bool, **flags: Any) -> None:
    """Install an agent as a service, with these flags and the KUBELITE_* variables of this shell.

    Without any, an installation that is there keeps those it has.
    """
    _install("agent", AgentConfig, flags, starts=not no_start, enables=not no_enable)


def _install(
    kind: str, of: type[NodeConfig], flags: Mapping[str, Any], *, starts: bool, enables: bool
) -> None:
    from kubelite.installing import plan as plans
    from kubelite.installing.checks import require_startable
    from kubelite.installing.environment_file import PREFIX, is_taken_over
    from kubelite.installing.machine import Machine
    from kubelite.installing.refusal import NotInstallable

    taken = {name: value for name, value in os.environ.items() if is_taken_over(name)}
    machine = Machine()
    try:
        _require_root()
        given = plans.given(of, flags, taken, str(Path.cwd()))
        former = machine.installed(kind)
        is_given = bool(given.flags) or any(name.startswith(PREFIX) for name in given.variables)
        if former is not None and not is_given:
            given = plans.Given(former.given.flags, {**former.given.variables, **given.variables})
            click.echo("keeping the flags and variables of the installation that is there")
        config = _config_of(kind, given)
        require_startable(config)
        program, warnings = _program()
        plan = plans.plan_installation(
            kind,
            program,
            given,
            machine.manager,
            is_found=machine.finds_program(former),
            is_running=machine.is_booted,
            enables=enables,
            starts=starts,
        )
        if starts and not machine.is_booted:
            raise NotInstallable(
                f"cannot start {plan.name}: {machine.manager.value} does not run here; see --no-start"
            )
        machine.carry_out(plan, click.echo)
        if plan.start:
            click.echo(f"starting {plan.name}")
            seconds = machine.start(plan, lambda line: click.echo(f"  {line}"), READY_SECONDS)
            click.echo(f"{plan.name} is ready" + (f" after {seconds:.1f} s" if seconds else ""))
        for line in (*warnings, *machine.words(kind)):
            click.echo(f"note: {line}", err=True)
    except NotInstallable as error:
        fail(error)
    _say_what_next(machine, plan.name, config, is_started=bool(plan.start))


def _require_root() -> None:
    from kubelite.installing.refusal import NotInstallable

    if os.geteuid() != 0:
        raise NotInstallable("cannot install or uninstall: needs root; try sudo")


def _config_of(kind: str, given: "Given") -> Config | AgentConfig:
    """Return the settings that a service will have. Raises NotInstallable."""
    from kubelite.installing.refusal import NotInstallable

    try:
        with COMMANDS[kind].make_context(kind, list(given.flags)) as context:
            flags = context.params
        return (load if kind == "server" else load_agent)(flags, given.variables)
    except click.UsageError as error:
        raise NotInstallable(error.format_message()) from error
    except InvalidConfig as error:
        raise NotInstallable(str(error)) from error


def _program() -> "tuple[Program, Sequence[str]]":
    """Return the program that runs now, and warnings. Raises NotInstallable."""
    from kubelite.installing import program as programs
    from kubelite.installing.refusal import NotInstallable

    found = programs.locate(programs.read_started())
    try:
        given = [*found.files, *(str(Path(path).resolve()) for path in found.files)]
        programs.require_lasting(given, Path("/proc/self/mounts").read_text())
        return found, programs.require_guarded(programs.read_places(found.files))
    except OSError as error:
        raise NotInstallable(f"cannot read {error.filename}: {error.strerror}") from error


def _say_what_next(
    machine: "Machine", name: str, config: Config | AgentConfig, *, is_started: bool
) -> None:
    from kubelite.installing.words import next_steps

    for line in next_steps(name, config, machine.manager, is_started=is_started):
        click.echo(line)


@click.command()
@data_dir_option
@click.option("--keep-data", is_flag=True, help="Leave the cluster, its pods and their data")
@click.option("--yes", is_flag=True, help="Do not ask")
def uninstall(yes: bool, keep_data: bool, data_dir: str | None) -> None:
    """Remove the service, and all that kubelite made on this host. All state is lost."""
    from kubelite import maintenance
    from kubelite.installing.machine import Machine
    from kubelite.installing.plan import KINDS
    from kubelite.installing.refusal import NotInstallable

    machine = Machine()
    try:
        _require_root()
        installed = [found for kind in KINDS if (found := machine.installed(kind)) is not None]
        configs = [] if keep_data else _configs(installed, data_dir)
        if not installed and not configs:
            click.echo("there is nothing to uninstall")
            return
        if not yes:
            _ask(machine, installed, configs)
        _uninstall(machine, installed, configs)
    except (NotInstallable, maintenance.Refused) as error:
        fail(error)
    if keep_data:
        click.echo("left the data; pods that run go on, and kubelite install takes them over")
    for program in sorted({each.command[0] for each in installed if each.command}):
        click.echo(f"left the program, {program}")


def _configs(installed: "Sequence[Installed]", data_dir: str | None) -> Sequence[Config]:
    """Return the settings of the data folders that are there. Raises NotInstallable."""
    from kubelite import uninstall as removing
    from kubelite.installing.plan import Given

    found = [_as_server(_config_of(each.kind, each.given)) for each in installed]
    if data_dir or not found:
        flags = (f"--data-dir={data_dir}",) if data_dir else ()
        found.append(_as_server(_config_of("server", Given(flags, {}))))
    by_folder = {config.data_dir: config for config in found}
    return [config for config in by_folder.values() if removing.has_data(config)]


def _as_server(config: Config | AgentConfig) -> Config:
    """Return the settings of a node as those of a server, which a removal takes."""
    if isinstance(config, Config):
        return config
    return Config(**{name: getattr(config, name) for name in NodeConfig.__struct_fields__})


def _ask(machine: "Machine", installed: "Sequence[Installed]", configs: Sequence[Config]) -> None:
    from kubelite import uninstall as removing
    from kubelite.installing.plan import places

    for each in installed:
        for path in places(each.kind, machine.manager).own:
            click.echo(f"  {path}")
    for config in configs:
        for line in removing.foresee_removal(config).describe():
            click.echo(f"  {line}")
    click.confirm("Remove all of this?", abort=True)


def _uninstall(
    machine: "Machine", installed: "Sequence[Installed]", configs: Sequence[Config]
) -> None:
    """Stop, remove the state, and last the services, which tell where the state is. Raises NotInstallable, Refused."""
    from kubelite import uninstall as removing

    for each in installed:
        machine.stop(each.kind)
    for config in configs:
        removing.reset(config, click.echo)
    for each in installed:
        machine.remove(each, click.echo)
