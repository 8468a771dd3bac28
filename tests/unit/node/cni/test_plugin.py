"""The plugin's file as a container engine runs it, and the files around it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.cni.plugin import (
    CONFIG_FILE,
    config_text,
    earlier_configs,
    install,
    plugin_source,
    remove,
)

CONFIG = json.dumps({"cniVersion": "1.0.0", "name": "kubelite", "type": "kubelite"})


class Ran:
    """What a run of the plugin's file printed, and how it ended."""

    def __init__(self, done: "subprocess.CompletedProcess[bytes]") -> None:
        self.code = done.returncode
        self.said: Any = json.loads(done.stdout) if done.stdout else None
        assert done.stderr == b""


def run(program: Path, command: str, config: str = CONFIG, **environment: str) -> Ran:
    given = {"CNI_COMMAND": command, "CNI_CONTAINERID": "c0ffee", **environment}
    return Ran(
        subprocess.run([program], input=config.encode(), env=given, capture_output=True, timeout=60)
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    install(tmp_path / "cni.sock", tmp_path / "bin", tmp_path / "net.d")
    return tmp_path / "bin" / "kubelite"


async def answer_once(
    socket: Path, answer: bytes, program: Path, command: str
) -> tuple[bytes, Ran]:
    """Run the plugin's file against a server that answers in a fixed way; return what it was sent."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, socket)
    async with server:
        arguments = {"CNI_NETNS": "/run/netns/one", "CNI_ARGS": "A=1;B=2", "CNI_IFNAME": "eth0"}
        ran = await asyncio.to_thread(run, program, command, **arguments)
    return heard[0], ran


async def test_a_call_goes_to_the_socket_and_its_answer_back(
    installed: Path, tmp_path: Path
) -> None:
    heard, ran = await answer_once(tmp_path / "cni.sock", b'0{"ips": []}', installed, "ADD")
    assert heard == b"ADD\0c0ffee\0/run/netns/one\0eth0\0A=1;B=2\0" + CONFIG.encode()
    assert (ran.code, ran.said) == (0, {"ips": []})
    _, ran = await answer_once(tmp_path / "cni.sock", b'1{"code": 7}', installed, "ADD")
    assert (ran.code, ran.said) == (1, {"code": 7})


async def test_a_call_that_is_cut_off_counts_as_unanswered(installed: Path, tmp_path: Path) -> None:
    _, ran = await answer_once(tmp_path / "cni.sock", b"", installed, "DEL")
    assert (ran.code, ran.said) == (0, None)
    _, ran = await answer_once(tmp_path / "cni.sock", b"", installed, "ADD")
    assert (ran.code, ran.said["code"]) == (1, 11)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [("ADD", 1, 11), ("DEL", 0, None), ("CHECK", 1, 11), ("STATUS", 1, 50), ("GC", 0, None)],
)
def test_without_kubelite_only_removal_succeeds(
    installed: Path, command: str, code: int, said: int | None
) -> None:
    ran = run(installed, command, CNI_NETNS="/run/netns/one")
    assert ran.code == code
    assert (ran.said and ran.said["code"]) == said


def test_the_versions_are_known_without_kubelite(installed: Path) -> None:
    ran = run(installed, "VERSION")
    assert ran.code == 0
    assert "1.0.0" in ran.said["supportedVersions"]


def test_an_interpreter_with_an_odd_path_starts_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("it's far " + "x" * 120)
    folder.mkdir()
    (folder / "python").symlink_to(os.path.realpath(sys.executable))
    program = tmp_path / "kubelite"
    program.write_text(plugin_source(tmp_path / "none.sock", str(folder / "python")))
    program.chmod(0o755)
    environment = {"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]}
    done = subprocess.run([program], input=b"", env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_the_loopback_plugin_says_an_empty_result(installed: Path) -> None:
    ran = run(installed.with_name("loopback"), "ADD")
    assert (ran.code, ran.said) == (0, {})


def test_others_files_stay(tmp_path: Path) -> None:
    programs, configs = tmp_path / "bin", tmp_path / "net.d"
    for folder in (programs, configs):
        folder.mkdir()
    (programs / "loopback").write_text("another's")
    for name in ("05-first.conf", "10-calico.conflist", "87-bridge.conflist", "00-note.txt"):
        (configs / name).write_text("{}")
    install(tmp_path / "sock", programs, configs)
    assert (programs / "loopback").read_text() == "another's"
    assert earlier_configs(configs) == ["05-first.conf", "10-calico.conflist"]
    remove(programs, configs)
    remove(programs, configs)
    assert sorted(path.name for path in programs.iterdir()) == ["loopback"]
    assert not (configs / CONFIG_FILE).exists()
    assert len(list(configs.iterdir())) == 4
    assert earlier_configs(tmp_path / "absent") == []


def test_what_was_installed_is_removed(installed: Path, tmp_path: Path) -> None:
    assert json.loads((tmp_path / "net.d" / CONFIG_FILE).read_text()) == json.loads(config_text())
    remove(tmp_path / "bin", tmp_path / "net.d")
    assert list((tmp_path / "bin").iterdir()) == []
    assert list((tmp_path / "net.d").iterdir()) == []
