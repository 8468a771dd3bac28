"""What `kubelite reset` removes; here with folders on which no node ran, so that nothing but files is touched."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kubelite import uninstall
from kubelite.api.auth.pki import ADMIN, Pki
from kubelite.cli import main
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.joining.files import LEAVES, AgentFiles
from kubelite.maintenance import Refused
from kubelite.randomness import SystemRandomness
from kubelite.store.lmdb_engine import LMDBEngine
from kubelite.uninstall import plan_removal, reset


def cluster(folder: Path) -> Config:
    """Make the files of a cluster, its kubeconfig beside the folder."""
    config = Config(data_dir=str(folder), write_kubeconfig=f"{folder}.yaml")
    LMDBEngine(config.store_dir).close()
    for name in ("secrets.key", ".secrets.key.new", "audit.log"):
        (folder / name).write_text("")
    (folder / "audit-2026-01-02T03-04-05.000.log").write_text("")
    pki = Pki.ensure(
        folder / "pki",
        clock=SystemClock(),
        randomness=SystemRandomness(),
        node_name="node",
        addresses=("127.0.0.1",),
        names=(),
    )
    Path(config.write_kubeconfig).write_text(pki.kubeconfig("https://127.0.0.1:6443", ADMIN))
    return config


def invoke(config: Config, *arguments: str, answer: str = "") -> Result:
    flags = [f"--data-dir={config.data_dir}", f"--write-kubeconfig={config.write_kubeconfig}"]
    return CliRunner().invoke(main, ["reset", *flags, *arguments], input=answer)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_all_of_a_cluster_is_removed(tmp_path: Path) -> None:
    done = invoke(cluster(tmp_path / "data"), "--yes")
    assert done.exit_code == 0, done.output
    assert files(tmp_path) == []
    assert "containers and network of this host are left alone" in done.output


@pytest.mark.parametrize("has_file", [False, True])
def test_the_folder_of_manifests_is_removed_unless_a_user_s_file_is_in_it(
    tmp_path: Path, *, has_file: bool
) -> None:
    config = cluster(tmp_path / "data")
    config.manifests_dir.mkdir(parents=True)
    if has_file:
        (config.manifests_dir / "web.yaml").touch()
    assert invoke(config, "--yes").exit_code == 0
    kept = ["data", "data/server", "data/server/manifests", "data/server/manifests/web.yaml"]
    assert files(tmp_path) == (kept if has_file else [])


def test_what_is_removed_is_listed_before_the_question(tmp_path: Path) -> None:
    config = cluster(tmp_path / "data")
    before = files(tmp_path)
    asked = invoke(config, answer="n\n")
    assert asked.exit_code == 1
    assert f"  {tmp_path}/data/pki\n" in asked.output
    assert f"  {tmp_path}/data.yaml\n" in asked.output
    assert "network" not in asked.output
    assert files(tmp_path) == sorted({*before, "data/db/lock"})
    (tmp_path / "data" / "agent").mkdir()
    lines = list(plan_removal(config).describe())
    assert "the pods' network on this host" in lines
    assert lines[0].startswith(f"the containers of {tmp_path}/data")


def test_the_data_of_volumes_is_removed_and_said_so(tmp_path: Path) -> None:
    config = cluster(tmp_path / "data")
    folder = tmp_path / "data" / "storage" / "pvc-1_shop_data"
    folder.mkdir(parents=True)
    (folder / "rows").write_text("data")
    (folder / "link").symlink_to(tmp_path / "data.yaml")
    asked = invoke(config, answer="n\n")
    assert f"  {tmp_path}/data/storage with the data of all volumes in it\n" in asked.output
    assert (folder / "rows").read_text() == "data"
    done = invoke(config, "--yes")
    assert done.exit_code == 0, done.output
    assert files(tmp_path) == []


def test_the_files_of_others_stay(tmp_path: Path) -> None:
    config = cluster(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("mine")
    (tmp_path / "audit-of-taxes.log").write_text("mine")
    done = invoke(config, "--yes")
    assert done.exit_code == 0, done.output
    assert files(tmp_path) == ["audit-of-taxes.log", "thesis", "thesis/chapter"]
    assert f"left {tmp_path}: it holds audit-of-taxes.log, thesis, which kubelite" in done.output


def test_a_folder_named_db_makes_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "models.py").write_text("mine")
    refused = invoke(Config(data_dir=str(tmp_path), write_kubeconfig=f"{tmp_path}/none"), "--yes")
    assert (refused.exit_code, refused.output) == (
        1,
        f"kubelite: cannot use {tmp_path}: there is no cluster in it\n",
    )
    assert files(tmp_path) == ["db", "db/models.py"]


@pytest.mark.parametrize("content", ["other", "both", "none", "broken"])
def test_the_kubeconfig_of_another_cluster_stays(tmp_path: Path, content: str) -> None:
    config, other = cluster(tmp_path / "data"), cluster(tmp_path / "other")
    ours, theirs = (Path(c.write_kubeconfig).read_text() for c in (config, other))
    clusters = theirs[theirs.index("- name") : theirs.index("contexts")]
    texts = {
        "other": theirs,
        "both": ours.replace("clusters:\n", f"clusters:\n{clusters}"),
        "none": "apiVersion: v1\n",
        "broken": "a: [",
    }
    Path(config.write_kubeconfig).write_text(texts[content])
    done = invoke(config, "--yes")
    assert done.exit_code == 0, done.output
    assert f"left {config.write_kubeconfig}: it is not, or not only, of this cluster" in done.output
    assert Path(config.write_kubeconfig).read_text() == texts[content]
    assert not Path(config.data_dir).exists()


def test_a_link_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    config = cluster(tmp_path / "data")
    before = files(tmp_path / "data")
    (tmp_path / "link").symlink_to("data")
    link = Config(data_dir=f"{tmp_path}/link", write_kubeconfig=config.write_kubeconfig)
    refused = invoke(link, "--yes")
    assert refused.exit_code == 1
    assert f"cannot remove {tmp_path}/link: it is a link" in refused.output
    assert files(tmp_path / "data") == sorted({*before, "db/lock"})


def test_a_running_server_is_refused_before_the_question(tmp_path: Path) -> None:
    config = cluster(tmp_path / "data")
    engine = LMDBEngine(config.store_dir)
    try:
        refused = invoke(config)
    finally:
        engine.close()
    assert refused.exit_code == 1
    assert refused.output.endswith("stop the server first\n")
    assert "Remove" not in refused.output


def test_no_server_can_start_while_files_are_removed(tmp_path: Path) -> None:
    config = cluster(tmp_path / "data")
    refusals: list[str] = []

    def say(line: str) -> None:
        if line.endswith("/pki"):
            refusals.append(invoke(config).output)

    reset(config, say)
    assert len(refusals) == 1
    assert "stop the server first" in refusals[0]


def test_a_relative_folder_is_the_same_as_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = Config(data_dir=f"{tmp_path}/data")
    for spelling in ("data", "./data/", f"{tmp_path}/data/", f"{tmp_path}/x/../data"):
        assert Config(data_dir=spelling).run_dir == absolute.run_dir
    config = cluster(tmp_path / "data")
    Path(config.write_kubeconfig).rename(tmp_path / "data" / "kubelite.yaml")
    inside = Config(data_dir="data", write_kubeconfig=f"{tmp_path}/data/kubelite.yaml")
    assert invoke(inside, "--yes").exit_code == 0
    assert files(tmp_path) == []


def joined(folder: Path) -> Config:
    """Make the files of an agent on which no pod ran."""
    config = Config(data_dir=str(folder), docker_socket=str(folder.parent / "no.sock"))
    files = AgentFiles(config.agent_dir)
    folder.mkdir()
    files.prepare()
    os.close(files.lock())
    for leaf in LEAVES:
        files.key_path(leaf).write_text("a key")
    return config


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: object) -> bool:
        return True

    monkeypatch.setattr("kubelite.net.reset.remove_network", nothing)
    monkeypatch.setattr("kubelite.node.cgroups.remove_all", lambda: None)


def test_all_of_an_agent_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_network(monkeypatch)
    config = joined(tmp_path / "data")
    said: list[str] = []
    reset(config, said.append)
    assert files(tmp_path) == []
    assert "kubectl delete node NAME" in said[-1]


def test_an_agent_that_runs_is_left_alone(tmp_path: Path) -> None:
    config = joined(tmp_path / "data")
    lock = AgentFiles(config.agent_dir).lock()
    before = files(tmp_path)
    done = invoke(config, "--yes")
    assert done.exit_code == 1
    assert "an agent runs on it; stop the agent first" in done.output
    assert files(tmp_path) == before
    os.close(lock)


def test_a_reset_of_an_agent_that_failed_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_network(monkeypatch)
    config = joined(tmp_path / "data")
    real = uninstall._remove

    def fail(path: Path) -> None:
        if path.name == "pki":
            raise Refused("cannot remove it")
        real(path)

    monkeypatch.setattr(uninstall, "_remove", fail)
    with pytest.raises(Refused):
        reset(config, lambda _: None)
    monkeypatch.setattr(uninstall, "_remove", real)
    reset(config, lambda _: None)
    assert files(tmp_path) == []
