"""A containerd of our own: its configuration, its process, its shims."""

import hashlib
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kubelite.node import containerd, pause_image
from kubelite.node.containerd import (
    CRI,
    ContainerdFolders,
    config_text,
    end_shims,
    listener_pid,
    remove_marks,
    toml_text,
)

FOLDERS = ContainerdFolders(Path('/data "x"/agent/containerd'), Path("/run/kubelite/containerd"))


ID = "0badc0de" * 8


def config(
    *handlers: str, may_protect: bool = True, has_apparmor: bool = True, has_overlay: bool = True
) -> dict[str, object]:
    text = config_text(
        FOLDERS,
        handlers=set(handlers),
        may_protect=may_protect,
        has_apparmor=has_apparmor,
        has_overlay=has_overlay,
    )
    return tomllib.loads(text)


def cri(**host: bool) -> dict[str, object]:
    plugins = config(**host)["plugins"]
    assert isinstance(plugins, dict)
    found: dict[str, object] = plugins[CRI]
    return found


def test_all_that_it_writes_is_in_its_folders() -> None:
    made = config("crun")
    places = [value for value in _texts(made) if value.startswith("/")]
    assert len(places) == 9
    inside = [place for place in places if place.startswith((str(FOLDERS.top), str(FOLDERS.run)))]
    assert inside == places


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def test_the_sandbox_image_is_the_built_in_one() -> None:
    assert cri()["sandbox_image"] == pause_image.NAME


@pytest.mark.parametrize("is_able", [True, False])
def test_what_the_host_lacks_is_not_asked_of_it(is_able: bool) -> None:
    made = cri(may_protect=is_able, has_apparmor=is_able, has_overlay=is_able)
    assert made["restrict_oom_score_adj"] is not is_able
    assert made["disable_apparmor"] is not is_able
    containers = made["containerd"]
    assert isinstance(containers, dict)
    assert containers["snapshotter"] == ("overlayfs" if is_able else "native")


def test_handlers_are_those_that_are_installed() -> None:
    plugins = config("crun", "kata")["plugins"]
    assert isinstance(plugins, dict)
    runtimes = plugins[CRI]["containerd"]["runtimes"]
    assert list(runtimes) == ["runc", "crun", "kata"]
    assert runtimes["crun"]["options"]["BinaryName"] == "crun"
    assert runtimes["kata"] == {"runtime_type": "io.containerd.kata.v2"}


ODD = ('"', "\\", "\n", "\x00", "\x7f", "\u2028", "é", "a.b", "#", "'", "", " ", "\U0001f642")


@pytest.mark.parametrize("text", ODD)
def test_what_is_encoded_is_read_as_it_was(text: str) -> None:
    inner = {f"k{text}": text, "many": [text, text], "yes": True, "number": 4711}
    table = {**inner, "tables": {f"t{text}": inner, "empty": {}}}
    assert tomllib.loads(toml_text(table)) == table


def test_the_process_of_a_socket_is_found(tmp_path: Path) -> None:
    folders = ContainerdFolders(tmp_path / "top", tmp_path / "run")
    folders.run.mkdir()
    with pytest.raises(FileNotFoundError):
        folders.pid()
    folders.started(4711)
    assert folders.pid() == 4711
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folders.socket))
        assert folders.pid() == 4711  # nothing listens yet
        listener.listen()
        assert listener_pid(folders.socket) == os.getpid() == folders.pid()


def test_only_our_shims_are_ended_with_what_they_hold(tmp_path: Path) -> None:
    folders = ContainerdFolders(tmp_path / "top", tmp_path / "run")
    shim = tmp_path / "containerd-shim-test-v2"
    shim.symlink_to(sys.executable)
    # It says so once its child runs: a child begun while the shim is being ended would outlive it.
    held = (
        "import subprocess; child = subprocess.Popen(['sleep', '600']); "
        "print('up', flush=True); child.wait()"
    )
    started = [
        subprocess.Popen(
            [program, "-c", held, "-namespace", "k8s.io", "-id", ID, "-address", address],
            stdout=subprocess.PIPE,
        )
        for program, address in (
            (shim, str(folders.socket)),
            (shim, "/run/containerd/containerd.sock"),
            (sys.executable, str(folders.socket)),
        )
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        assert end_shims(folders) == [ID]
        assert started[0].wait(60) == -9
        assert [process.poll() for process in started[1:]] == [None, None]
        assert end_shims(folders) == []
    finally:
        for process in started:
            subprocess.run(["pkill", "-9", "-P", str(process.pid)], check=False)
            process.kill()
            process.communicate()


def test_only_the_traces_of_a_sandbox_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containerd, "SHARED", (tmp_path / "s", tmp_path / "none"))
    monkeypatch.setattr(containerd, "RESULTS", (tmp_path / "results", tmp_path / "none"))
    other = ID.replace("0", "1")
    name = hashlib.sha256(f"/run/x/containerd.sock/k8s.io/{ID}".encode()).hexdigest()
    kept = {"cni-loopback-{other}-lo", "kubelite-{other}-eth0"}
    for file in (f"s/{name}", "s/other", f"results/cni-loopback-{ID}-lo"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    for text in kept:
        (tmp_path / "results" / text.format(other=other)).touch()
    folders = ContainerdFolders(tmp_path / "top", Path("/run/x"))
    for sandbox in ("*", "", "../results", ID):
        remove_marks(folders, sandbox)
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(["other", *(text.format(other=other) for text in kept)])
