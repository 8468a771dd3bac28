"""The command that prints a shell's completion, and what is completed beside commands and options."""

import os

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

PROGRAM = "kubelite"
VARIABLE = "_KUBELITE_COMPLETE"  # click's, for that program name
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and names.

    For bash:  source <(kubelite completion bash)
    """
    found = get_completion_class(shell)
    assert found is not None
    # Not bash's own `source`, which runs bash to learn its version.
    click.echo(
        ShellComplete.source(found(context.find_root().command, {}, PROGRAM, VARIABLE)), nl=False
    )


def snapshots(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the snapshots in the data folder whose names begin so."""
    from kubelite.backup.names import by_date
    from kubelite.config import InvalidConfig, load

    try:
        folder = load({"data_dir": context.params.get("data_dir")}, os.environ).snapshots_dir
        names = by_date(path.name for path in folder.iterdir())
    except (InvalidConfig, OSError):  # there is nobody to tell
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
