"""An agent imports nothing of what only a server needs: it would cost each node memory, and be more to attack."""

import subprocess
import sys

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
