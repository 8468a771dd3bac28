import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kubelite.cli import main
from kubelite.kubeconfigs import NotMerged, merge_into, merged, read, with_server


def own(authority: str = "b3du", user: str = "admin") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "default",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": "https://127.0.0.1:6443",
                    "certificate-authority-data": authority,
                },
            }
        ],
        "users": [{"name": user, "user": {"client-certificate-data": "Y2VydA=="}}],
        "contexts": [{"name": "default", "context": {"cluster": "local", "user": user}}],
    }


OTHER = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "extensions": [{"name": "of-a-vendor", "extension": {"a": 1}}],
    "current-context": "work",
    "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
    "users": [{"name": "me", "user": {"exec": {"command": "login", "args": ["x"]}}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
}


def test_others_stay_as_they_are() -> None:
    result = merged(OTHER, own(), "kubelite")
    for plural in ("clusters", "users", "contexts"):
        assert result[plural][:-1] == OTHER[plural]
        assert result[plural][-1]["name"] == "kubelite"
    assert {name: result[name] for name in ("preferences", "extensions", "current-context")} == {
        name: OTHER[name] for name in ("preferences", "extensions", "current-context")
    }
    assert result["contexts"][-1]["context"] == {"cluster": "kubelite", "user": "kubelite"}


def test_the_current_context_is_set_where_there_is_none_or_on_request() -> None:
    assert merged({}, own(), "kubelite")["current-context"] == "kubelite"
    assert merged(OTHER, own(), "kubelite", switch=True)["current-context"] == "kubelite"


def test_again_changes_nothing_but_what_is_ours() -> None:
    once = merged(OTHER, own(), "kubelite")
    once["contexts"][-1]["context"]["namespace"] = "chosen"
    again = merged(once, own(user="renewed"), "kubelite")
    assert again == once


def test_another_cluster_of_the_name_is_not_replaced_unless_asked() -> None:
    once = merged(OTHER, own("of-another"), "kubelite")
    with pytest.raises(NotMerged, match="--name, or give --overwrite"):
        merged(once, own(), "kubelite")
    with pytest.raises(NotMerged):
        merged(OTHER, own(), "work")
    replaced = merged(once, own(), "kubelite", overwrite=True)
    assert replaced["clusters"][-1]["cluster"]["certificate-authority-data"] == "b3du"


@pytest.mark.parametrize("broken", [{}, {"current-context": "x"}, {**own(), "users": None}])
def test_a_kubeconfig_that_is_not_whole(broken: dict[str, Any]) -> None:
    with pytest.raises(NotMerged, match="start the server"):
        merged(OTHER, broken, "kubelite")


def test_another_address() -> None:
    found = with_server(own(), "https://192.0.2.1:6443")
    assert found["clusters"][0]["cluster"]["server"] == "https://192.0.2.1:6443"
    assert found["clusters"][0]["cluster"]["certificate-authority-data"] == "b3du"


def test_the_file_keeps_mode_and_link_and_a_backup(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    before = "# mine\n" + yaml.safe_dump(OTHER)
    real.write_text(before)
    real.chmod(0o640)
    link.symlink_to(real)
    if not os.geteuid():
        os.chown(real, 4242, 4343)
    assert merge_into(link, own()) == real
    assert link.is_symlink()
    status = real.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    if not os.geteuid():
        assert (status.st_uid, status.st_gid) == (4242, 4343)
    assert (tmp_path / "real.before-kubelite").read_text() == before
    assert len(read(real)["clusters"]) == 2
    assert sorted(os.listdir(tmp_path)) == ["config", "real", "real.before-kubelite"]  # noqa: PTH208 - names


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = merge_into(tmp_path / ".kube" / "config", own())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["config"]


def test_kubectls_lock_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(NotMerged, match=r"config\.lock exists"):
        merge_into(path, own())
    assert (tmp_path / "config.lock").exists()
    assert not path.exists()


@pytest.mark.parametrize("text", ["[1]", "a: [", "\x00", "a: &a [*a]\nb"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(NotMerged, match="--file"):
        merge_into(path, own())
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["config"]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubelite.yaml"
    path.write_text(yaml.safe_dump(own()))
    monkeypatch.setenv("KUBELITE_WRITE_KUBECONFIG", str(path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return path


def test_the_command_prints_and_merges(written: Path, tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["kubeconfig"])
    assert yaml.safe_load(printed.output) == own()
    elsewhere = CliRunner().invoke(main, ["kubeconfig", "--server", "https://192.0.2.1:6443"])
    assert "https://192.0.2.1:6443" in elsewhere.output
    done = CliRunner().invoke(main, ["kubeconfig", "merge", "--name", "lab"])
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "home" / ".kube" / "config")["current-context"] == "lab"
    other, second = tmp_path / "of-mine", tmp_path / "second"
    second.touch()
    CliRunner().invoke(main, ["kubeconfig", "merge"], env={"KUBECONFIG": f"{other}:{second}"})
    assert (other.exists(), read(second)["current-context"]) == (False, "kubelite")
    named = CliRunner().invoke(main, ["kubeconfig", "merge", "--file", str(other)])
    assert (named.exit_code, other.exists()) == (0, True)


def test_without_a_server_it_says_what_to_do(written: Path) -> None:
    written.unlink()
    for command in (["kubeconfig"], ["kubeconfig", "merge"], ["kubectl", "get", "nodes"]):
        done = CliRunner().invoke(main, command)
        assert (done.exit_code, "start one" in done.output) == (1, True), done.output


def test_kubectl_is_run_with_our_kubeconfig(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    calls: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("kubelite.spawn.become", lambda *call: calls.append(call))
    monkeypatch.setenv("PATH", str(program.parent))
    CliRunner().invoke(main, ["kubectl", "get", "--help", "-n", "x", "--", "-y"])
    assert calls == [
        ([str(program), "get", "--help", "-n", "x", "--", "-y"], {"KUBECONFIG": str(written)})
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["kubectl", "version"])
    assert (done.exit_code, "https://kubernetes.io/docs/tasks/tools/" in done.output) == (1, True)
