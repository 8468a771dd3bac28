"""Plugins that register through sockets in a folder."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from testbed.csi_driver import DirectChannel, HostPathDriver

from kubelite.node.plugins import registry
from kubelite.node.plugins.channel import Channel
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.plugins.registry import PluginRegistry, Refused


class Handler:
    """Notes what is registered."""

    def __init__(self) -> None:
        self.known: dict[str, Path] = {}
        self.refusal = ""

    async def register(self, info: PluginInfo, endpoint: Path) -> None:
        """Note a plugin, or refuse it."""
        if self.refusal:
            raise Refused(self.refusal)
        self.known[info.name] = endpoint

    async def unregister(self, name: str, endpoint: Path) -> None:
        """Forget a plugin."""
        if self.known.get(name) == endpoint:
            del self.known[name]


class Folder:
    """A folder of sockets, each of which reaches a driver."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.drivers: dict[str, HostPathDriver] = {}
        self.asked: list[str] = []
        self.handler = Handler()
        self._sockets: list[socket.socket] = []

    def connect(self, place: Path) -> Channel:
        self.asked.append(place.name)
        driver = self.drivers.get(place.name)
        channel = DirectChannel(driver.handlers() if driver is not None else {})
        channel.is_away = driver is None
        return channel

    def add(self, name: str, driver: HostPathDriver | None) -> None:
        if driver is not None:
            self.drivers[name] = driver
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(self.path / name))
        self._sockets.append(made)

    def close(self) -> None:
        for made in self._sockets:
            made.close()

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(2000):
            if holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it does not come to pass")


@asynccontextmanager
async def following(folder: Folder) -> AsyncIterator[Folder]:
    following = PluginRegistry(folder.path, {"CSIPlugin": folder.handler}, folder.connect)
    task = asyncio.create_task(following.run())
    try:
        yield folder
    finally:
        task.cancel()
        await asyncio.wait([task])
        folder.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "r"
    path.mkdir()
    return Folder(path)


def driver(tmp_path: Path, name: str = "d.example.com", **fields: Any) -> HostPathDriver:
    return HostPathDriver(tmp_path, name=name, mounts=False, **fields)


async def test_sockets_register_and_end(folder: Folder, tmp_path: Path) -> None:
    early, late = driver(tmp_path), driver(tmp_path, "e.example.com", endpoint="/e/csi.sock")
    folder.add("d-reg.sock", early)
    (folder.path / "file").write_text("no socket")
    async with following(folder):
        await folder.until(lambda: early.registered == [(True, "")])
        folder.add("e-reg.sock", late)
        await folder.until(lambda: late.registered == [(True, "")])
        assert folder.handler.known == {
            "d.example.com": folder.path / "d-reg.sock",
            "e.example.com": Path("/e/csi.sock"),
        }
        (folder.path / "d-reg.sock").unlink()
        await folder.until(lambda: list(folder.handler.known) == ["e.example.com"])
        assert folder.asked == ["d-reg.sock", "e-reg.sock"]


async def test_a_replaced_socket_registers_again(folder: Folder, tmp_path: Path) -> None:
    first, second = driver(tmp_path), driver(tmp_path)
    folder.add("d-reg.sock", first)
    async with following(folder):
        await folder.until(lambda: bool(first.registered))
        (folder.path / "d-reg.sock").unlink()
        folder.add("d-reg.sock", second)
        await folder.until(lambda: second.registered == [(True, "")])
        assert list(folder.handler.known) == ["d.example.com"]


async def test_another_plugin_at_a_replaced_socket_ends_the_registration_of_the_first(
    folder: Folder, tmp_path: Path
) -> None:
    folder.add("reg.sock", driver(tmp_path))
    async with following(folder):
        await folder.until(lambda: "d.example.com" in folder.handler.known)
        for number in range(5):
            (folder.path / "reg.sock").unlink()
            folder.add("reg.sock", driver(tmp_path, f"{number}.example.com"))
            expected = {f"{number}.example.com": folder.path / "reg.sock"}
            await folder.until(lambda expected=expected: folder.handler.known == expected)  # type: ignore[misc]  # mypy has no type for the default
        (folder.path / "reg.sock").unlink()
        await folder.until(lambda: folder.handler.known == {})


async def test_a_plugin_that_goes_after_its_socket_was_replaced_is_forgotten(
    folder: Folder, tmp_path: Path
) -> None:
    folder.add("reg.sock", driver(tmp_path))
    async with following(folder):
        await folder.until(lambda: "d.example.com" in folder.handler.known)
        (folder.path / "reg.sock").unlink()
        del folder.drivers["reg.sock"]
        asked = len(folder.asked)
        folder.add("reg.sock", None)
        await folder.until(lambda: len(folder.asked) > asked)
        (folder.path / "reg.sock").unlink()
        await folder.until(lambda: folder.handler.known == {})


async def test_a_refused_plugin_is_told_why_and_tried_again(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RETRY_FIRST_SECONDS", 0.01)
    refused = driver(tmp_path)
    folder.handler.refusal = "not now"
    folder.add("d-reg.sock", refused)
    async with following(folder):
        await folder.until(lambda: (False, "not now") in refused.registered)
        folder.handler.refusal = ""
        await folder.until(lambda: (True, "") in refused.registered)


async def test_an_unknown_type_is_refused(folder: Folder, tmp_path: Path) -> None:
    other = driver(tmp_path)

    async def info(_: Any) -> Any:
        return PluginInfo(type="Other", name="x")

    other._plugin_info = info  # type: ignore[method-assign]  # a plugin of another type
    folder.add("x.sock", other)
    async with following(folder):
        await folder.until(lambda: bool(other.registered))
        text = f"no handler registered for plugin type: Other at socket {folder.path / 'x.sock'}"
        assert other.registered[0] == (False, text)


async def test_a_socket_that_nobody_answers_on_costs_ever_longer_pauses(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def pause(failures: int, _first: float, _maximum: float) -> float:
        pauses.append(failures)
        return 0.0 if failures < 3 else 3600.0

    monkeypatch.setattr(registry, "backoff_seconds", pause)
    folder.add("dead.sock", None)
    async with following(folder):
        await folder.until(lambda: pauses == [0, 1, 2, 3])
        assert folder.handler.known == {}


async def test_no_more_plugins_register_than_the_node_takes(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = SimpleNamespace(value=2, reached=lambda: None)
    monkeypatch.setattr(registry, "PLUGINS", bound)
    for name in "abc":
        folder.add(f"{name}.sock", driver(tmp_path, f"{name}.example.com"))
    async with following(folder):
        await folder.until(lambda: len(folder.handler.known) == 2)
        assert len(folder.asked) == 2
