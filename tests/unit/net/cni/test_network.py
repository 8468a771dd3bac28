"""The order of calls, and what happens when one fails; the plugins are shell scripts that write down what they hear."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kubelite.net.cni import links
from kubelite.net.cni.calls import PluginFailed
from kubelite.net.cni.network import CniNetwork

SCRIPT = """#!/bin/sh
echo "$CNI_COMMAND {name} $CNI_CONTAINERID $CNI_NETNS" >> {log}
cat > {log}.$CNI_COMMAND.{name}
if [ -e {folder}/fail-$CNI_COMMAND-{name} ]; then echo '{{"msg":"told to fail"}}'; exit 1; fi
if [ $CNI_COMMAND = ADD ]; then echo '{{"cniVersion":"1.0.0","ips":[{{"address":"10.1.0.2/24"}}]}}'; fi
"""
FIRST, SECOND = "first", "second"


class Host:
    """A folder with two plugins, their configuration and what they were asked; namespaces are names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        for name in ("bin", "net.d"):
            (folder / name).mkdir()
        for name in (FIRST, SECOND):
            plugin = folder / "bin" / name
            plugin.write_text(SCRIPT.format(name=name, log=self.log, folder=folder))
            plugin.chmod(0o755)
        self.configure()

    def configure(self, version: str = "1.0.0") -> None:
        plugins = [{"type": FIRST}, {"type": SECOND}]
        document = {"cniVersion": version, "name": "pods", "plugins": plugins}
        (self.folder / "net.d" / "10.conflist").write_text(json.dumps(document))

    def network(self) -> CniNetwork:
        return CniNetwork(
            files=self.folder / "connections",
            configs=self.folder / "net.d",
            programs=[self.folder / "absent", self.folder / "bin"],
        )

    def fail(self, command: str, plugin: str, *, fails: bool = True) -> None:
        file = self.folder / f"fail-{command}-{plugin}"
        file.touch() if fails else file.unlink()

    def asked(self) -> list[str]:
        """Return the calls since the last time, without namespaces."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [" ".join(call.split()[:2]) for call in calls]

    def heard(self, command: str, plugin: str) -> dict[str, object]:
        document: dict[str, object] = json.loads(Path(f"{self.log}.{command}.{plugin}").read_text())
        return document

    @property
    def kept(self) -> list[str]:
        return [file.stem for file in (self.folder / "connections").glob("*.json")]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    names: dict[str, int] = {}
    monkeypatch.setattr(links, "answer_at", lambda _addresses: None)
    monkeypatch.setattr(links, "identity", lambda netns: (4, names.setdefault(netns, len(names))))
    monkeypatch.setattr(links, "raise_loopback", lambda _netns: None)
    monkeypatch.setattr(links, "addresses_in", lambda _netns: frozenset({"10.1.0.2"}))
    return Host(tmp_path)


async def started(host: Host) -> CniNetwork:
    network = host.network()
    await network.start()
    host.asked()
    return network


async def test_plugins_are_called_in_order_and_undone_in_reverse(host: Host) -> None:
    network = await started(host)
    assert await network.attach("u", "default/a", "/one") == ("10.1.0.2",)
    assert host.asked() == ["ADD first", "ADD second"]
    assert "prevResult" not in host.heard("ADD", FIRST)
    assert "prevResult" in host.heard("ADD", SECOND)
    assert network.pod_addresses == ["10.1.0.2"]
    assert host.kept == ["u"]
    assert await network.attach("u", "default/a", "/one") == ("10.1.0.2",)
    assert host.asked() == []
    await network.detach("u")
    assert host.asked() == ["DEL second", "DEL first"]
    assert "prevResult" in host.heard("DEL", FIRST)
    await network.detach("u")
    assert host.asked() == []
    assert host.kept == []


async def test_another_namespace_of_the_same_pod_is_connected_anew(host: Host) -> None:
    network = await started(host)
    await network.attach("u", "default/a", "/one")
    host.asked()
    await network.attach("u", "default/a", "/two")
    assert host.asked() == ["DEL second", "DEL first", "ADD first", "ADD second"]
    assert await network.addresses_in("u", "/one") == ()
    assert await network.addresses_in("u", "/two") == ("10.1.0.2",)


async def test_a_plugin_that_fails_undoes_what_the_others_did(host: Host) -> None:
    network = await started(host)
    host.fail("ADD", SECOND)
    with pytest.raises(PluginFailed, match="plugin type='second' failed: told to fail"):
        await network.attach("u", "default/a", "/one")
    assert host.asked() == ["ADD first", "ADD second", "DEL second", "DEL first"]
    assert host.kept == []


async def test_what_could_not_be_undone_is_tried_again_and_comes_before_a_new_one(
    host: Host,
) -> None:
    network = await started(host)
    await network.attach("u", "default/a", "/one")
    host.fail("DEL", FIRST)
    host.asked()
    await network.detach("u")
    assert host.kept == ["u"]
    with pytest.raises(PluginFailed, match="told to fail"):
        await network.attach("u", "default/a", "/one")
    assert "ADD first" not in host.asked()
    host.fail("DEL", FIRST, fails=False)
    running = asyncio.create_task(network.run())
    network._changed.set()
    while host.kept:
        await asyncio.sleep(0.01)
    running.cancel()


async def test_a_restart_knows_connections_and_undoes_those_of_others(host: Host) -> None:
    network = await started(host)
    await network.attach("lives", "default/a", "/one")
    await network.attach("gone", "default/b", "/two")
    network = await started(host)
    await network.restore({"lives": 1})
    assert host.asked() == ["DEL second", "DEL first", "CHECK first", "CHECK second"]
    assert host.kept == ["lives"]
    assert await network.attach("lives", "default/a", "/one") == ("10.1.0.2",)
    assert host.asked() == []


async def test_a_connection_that_began_before_a_crash_is_undone(host: Host) -> None:
    network = await started(host)
    (host.folder / "bin" / SECOND).write_text("#!/bin/sh\nsleep 60\n")
    attaching = asyncio.create_task(network.attach("u", "default/a", "/one"))
    while host.kept != ["u"]:
        await asyncio.sleep(0.01)
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    (host.folder / "bin" / SECOND).write_text("#!/bin/sh\n")
    network = await started(host)
    await network.restore({})
    assert host.asked() == ["DEL first"]
    assert host.kept == []


async def test_a_reset_undoes_all(host: Host) -> None:
    network = await started(host)
    for uid, netns in (("a", "/one"), ("b", "/two")):
        await network.attach(uid, f"default/{uid}", netns)
    host.asked()
    host.fail("DEL", FIRST)
    assert await host.network().disconnect_all() == 2
    host.fail("DEL", FIRST, fails=False)
    host.asked()
    assert await host.network().disconnect_all() == 0
    assert host.asked() == ["DEL second", "DEL first"] * 2
    assert host.kept == []


async def test_newer_plugins_are_asked_for_their_state_and_told_what_is_there(host: Host) -> None:
    host.configure("1.1.0")
    network = host.network()
    changes: list[str] = []
    network.on_change = lambda: changes.append(network.problem)
    host.fail("STATUS", SECOND)
    await network.start()
    assert host.asked() == ["STATUS first", "STATUS second"]
    assert "plugin type='second' failed: told to fail" in network.problem
    host.fail("STATUS", SECOND, fails=False)
    await network._read()
    assert changes[-1] == ""
    await network.attach("u", "default/a", "/one")
    await network.restore({"u": 1})
    assert host.heard("GC", FIRST)["cni.dev/valid-attachments"] == [
        {"containerID": "u", "ifname": "eth0"}
    ]


async def test_without_a_network_pods_are_told_what_is_missing(host: Host) -> None:
    (host.folder / "net.d" / "10.conflist").unlink()
    network = await started(host)
    with pytest.raises(PluginFailed, match="cni plugin not initialized: no networks found in"):
        await network.attach("u", "default/a", "/one")
    host.configure()
    await network._read()
    assert network.problem == ""
    (host.folder / "bin" / FIRST).unlink()
    with pytest.raises(PluginFailed, match="failed to find plugin 'first' in path"):
        await network.attach("u", "default/a", "/one")


async def test_the_folder_is_followed(host: Host) -> None:
    told: list[Callable[[], None]] = []

    class Watch:
        is_open = False

        def open(self) -> None:
            self.is_open = True

        def close(self) -> None:
            self.is_open = False

    def watch(_folder: Path, changed: Callable[[], None]) -> Watch:
        told.append(changed)
        return Watch()

    (host.folder / "net.d" / "10.conflist").unlink()
    network = CniNetwork(
        files=host.folder / "connections",
        configs=host.folder / "net.d",
        programs=[host.folder / "bin"],
        watch=watch,
    )
    ready = asyncio.Event()
    network.on_change = ready.set
    await network.start()
    running = asyncio.create_task(network.run())
    ready.clear()
    host.configure()
    told[0]()
    await asyncio.wait_for(ready.wait(), 5)
    assert network.problem == ""
    running.cancel()
