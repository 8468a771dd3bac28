"""The commands for certificates, and for the encryption of Secrets."""

import click

from kubelite.cli.common import data_dir_option, fail, load_config


@click.group()
def certificate() -> None:
    """Show and renew the server's certificates."""


@certificate.command("list")
@data_dir_option
def certificate_list(data_dir: str | None) -> None:
    """List authorities and certificates with their dates."""
    from kubelite import maintenance

    try:
        found = maintenance.certificates(load_config({"data_dir": data_dir}))
    except maintenance.Refused as error:
        fail(error)
    for leaf in found:
        dates = f"{leaf.not_before:%Y-%m-%d} to {leaf.not_after:%Y-%m-%d}"
        click.echo(f"{leaf.name:<28} {dates}  {leaf.subject} {','.join(leaf.groups)}".rstrip())


@certificate.command("rotate")
@data_dir_option
def certificate_rotate(data_dir: str | None) -> None:
    """Make all certificates anew; the server must be stopped."""
    from kubelite import maintenance

    try:
        names = maintenance.rotate_certificates(load_config({"data_dir": data_dir}))
    except maintenance.Refused as error:
        fail(error)
    click.echo(f"made anew: {', '.join(names)}")


@certificate.command("rotate-ca")
@data_dir_option
def certificate_rotate_ca(data_dir: str | None) -> None:
    """Replace the cluster CA; the server must be stopped. The old CA stays trusted."""
    from kubelite import maintenance

    try:
        maintenance.rotate_authority(load_config({"data_dir": data_dir}))
    except maintenance.Refused as error:
        fail(error)
    click.echo("the cluster CA and all certificates are new")


@click.group("secrets-encrypt")
def secrets_encrypt() -> None:
    """Manage the encryption of Secrets on disk."""


@secrets_encrypt.command("rotate-keys")
@data_dir_option
def secrets_rotate(data_dir: str | None) -> None:
    """Make a new key and seal every Secret with it; the server must be stopped."""
    from kubelite import maintenance

    try:
        number = maintenance.rotate_secrets_key(load_config({"data_dir": data_dir}))
    except maintenance.Refused as error:
        fail(error)
    click.echo(f"{number} Secrets sealed with the new key")


@secrets_encrypt.command("disable")
@data_dir_option
def secrets_disable(data_dir: str | None) -> None:
    """Write every Secret in the clear and remove the keys; the server must be stopped."""
    from kubelite import maintenance

    try:
        number = maintenance.disable_secrets_encryption(load_config({"data_dir": data_dir}))
    except maintenance.Refused as error:
        fail(error)
    click.echo(
        f"{number} Secrets are in the clear now; start the server without --secrets-encryption"
    )
