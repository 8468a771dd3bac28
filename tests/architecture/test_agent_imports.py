"""An agent imports nothing that a node at rest does not need: it would cost memory, and be more to attack."""

import os
import subprocess
import sys

import pytest

FOREIGN = {
    "kubelite.store": "the store",
    "lmdb": "the store",
    "kubelite.api.registry": "the verbs and admission",
    "kubelite.api.http": "the API server",
    "kubelite.control": "controllers and scheduler",
    "kubelite.control_plane": "the API server",
    "kubelite.preparation": "a server's start",
    "kubelite.server": "a server",
    "kubelite.cel": "expressions of the API server",
    "kubelite.regexp": "expressions of the API server",
    "re2": "expressions of the API server",
    "cryptography": "keys and certificates, which a process of their own works with",
    "jwt": "tokens of OpenID Connect",
    "yaml": "a configuration file",
}


def test_an_agent_imports_what_it_uses() -> None:
    program = (
        "import kubelite.cli, kubelite.agent, sys; "
        f"print(*(set({list(FOREIGN)}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert [f"{name}: for {FOREIGN[name]}" for name in done.stdout.split()] == []


@pytest.mark.parametrize(
    "command", ["agent", "server", "server --disable-agent --https-listen-port=0"]
)
def test_no_authorities_of_the_system_are_read_and_the_environment_is_kept(command: str) -> None:
    program = f"""
import os, sys
from click.testing import CliRunner
import kubelite.cli
before = dict(os.environ)
done = CliRunner().invoke(kubelite.cli.main, {command.split()} + ["--data-dir=/dev/null/x"])
from aiohttp import connector
assert done.exit_code == 1, done.output
assert dict(os.environ) == before
print(len(connector._SSL_CONTEXT_VERIFIED.get_ca_certs()))
"""
    for given in ({}, {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, **given},
        )
        assert (done.stdout.strip(), done.stderr) == ("0", "")
