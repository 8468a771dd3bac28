"""The command that examines this host."""

import os
import sys
from typing import Any

import click

from kubelite.cli.common import fail, json_option, setting_options
from kubelite.config import Config, InvalidConfig, load, load_agent

INDENT = " " * 26


@click.command()
@setting_options(Config)
@click.option("--agent", "is_agent", is_flag=True, help="Examine for an agent, not for a server")
@json_option
def doctor(is_agent: bool, as_json: bool, **flags: Any) -> None:
    """Examine this host: what a server would need of it, what is in the way, what to do. Nothing is changed.

    The settings are those of the server, whose configuration file and environment count as well. The exit code is 1 if
    kubelite cannot work as things are.
    """
    import msgspec

    from kubelite.doctor import examination
    from kubelite.doctor.findings import Level
    from kubelite.doctor.wanted import wanted_of

    try:
        config = load_agent(_of_agent(flags), os.environ) if is_agent else load(flags, os.environ)
    except InvalidConfig as error:
        fail(error)
    wanted = wanted_of(config)
    host = examination.gather(wanted)
    examined = examination.judge(host, wanted)
    worst = examination.worst(examined)
    if as_json:
        click.echo(msgspec.json.encode({"level": worst, "subjects": examined}).decode())
    else:
        _show(examined)
    code = 1 if worst is Level.ERROR else 0
    if host.hangs:  # a dead disk, say, whose thread would keep the process
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _of_agent(flags: dict[str, Any]) -> dict[str, Any]:
    from kubelite.config import AgentConfig

    return {name: value for name, value in flags.items() if name in AgentConfig.__struct_fields__}


def _show(examined: list[Any]) -> None:
    from kubelite.doctor.findings import Level
    from kubelite.terminal import in_line

    colours = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "red"}
    counts = dict.fromkeys(Level, 0)
    for each in examined:
        for one in each.findings:
            counts[one.level] += 1
            level = click.style(f"{one.level.value:<8}", fg=colours[one.level])
            click.echo(f"{level} {each.subject:<16} {in_line(one.what)}")
            for word, text in (("why", one.why), ("do", one.do)):
                if text:
                    click.echo(f"{INDENT}{word}: {in_line(text)}")
    errors, warnings, notes = (counts[one] for one in (Level.ERROR, Level.WARNING, Level.NOTE))
    click.echo(f"{errors} errors, {warnings} warnings, {notes} notes")
