"""The network configuration of CNI plugins: which file counts, and what is wrong with the others. Pure but for reading.

After libcni, as container engines use it: the first valid file in the order of names, `.conflist` for a list and
`.conf` or `.json` for a single plugin.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from kubelite.limits import CNI_CONFIG, CNI_PLUGINS

SUFFIXES: Final = (".conf", ".conflist", ".json")
VERSIONS: Final = (
    "0.3.0",
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0",
)  # in their order; older ones have no lists
OWN_TYPE: Final = "kubelite"  # the plugin by which an engine calls kubelite: calling it from here would be a circle
UNINITIALIZED: Final = "cni plugin not initialized"

JSON = dict[str, Any]


class InvalidNetwork(Exception):
    """A configuration that cannot be used; the text says why."""


class Network(Struct, frozen=True):
    """A list of plugins, in the order in which they are called for ADD."""

    name: str
    version: str
    plugins: tuple[JSON, ...]
    checks: bool = True  # whether CHECK may be called
    collects: bool = True  # whether GC may be called

    def knows(self, version: str) -> bool:
        """Return whether the network's version is this one or a later one."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)


def parse_network(data: bytes, *, is_list: bool) -> Network:
    """Read a file's content. Raises InvalidNetwork."""
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidNetwork(f"error parsing configuration: {error}") from error
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidNetwork("missing 'name'")
    plugins = document.get("plugins") if is_list else [document]
    if not isinstance(plugins, list) or not plugins:
        raise InvalidNetwork("no plugins in list")
    if len(plugins) > CNI_PLUGINS.value:
        CNI_PLUGINS.reached()
        raise InvalidNetwork(f"more than {CNI_PLUGINS.value} plugins in list")
    for plugin in plugins:
        _require_plugin(plugin)
    return Network(
        name,
        _version(document),
        tuple(plugins),
        checks=not _is_set(document, "disableCheck"),
        collects=not _is_set(document, "disableGC"),
    )


def _require_plugin(plugin: object) -> None:
    if not isinstance(plugin, dict):
        raise InvalidNetwork("a plugin is not an object")
    kind = plugin.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidNetwork("a plugin is missing 'type'")
    if "/" in kind or kind in (".", ".."):
        raise InvalidNetwork(f"plugin type {kind!r} is not the name of a file")


def _version(document: JSON) -> str:
    """Return the latest version that the configuration and kubelite have in common."""
    offered = document.get("cniVersions", [])
    versions = [
        document.get("cniVersion", "0.1.0"),
        *(offered if isinstance(offered, list) else []),
    ]
    known = [version for version in VERSIONS if version in versions]
    if not known:
        raise InvalidNetwork(
            f"unsupported CNI version {versions[0]!r}: {VERSIONS[0]} or later is needed"
        )
    return known[-1]


def _is_set(document: JSON, key: str) -> bool:
    return document.get(key) in (True, "true")


def load_network(folder: Path) -> tuple[Network | None, list[str]]:
    """Return the network that counts, None without one, and what is wrong with files before it. Blocks."""
    problems: list[str] = []
    try:
        files = sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES)
    except OSError as error:
        return None, [f"cannot read {folder}: {error.strerror}"]
    for file in files:
        try:
            network = parse_network(_read(file), is_list=file.suffix == ".conflist")
        except (InvalidNetwork, OSError) as error:
            problems.append(f"{file.name}: {error}")
            continue
        if any(plugin["type"] == OWN_TYPE for plugin in network.plugins):
            continue
        return network, problems
    return None, problems or [f"no networks found in {folder}"]


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(CNI_CONFIG.value + 1)
    if len(data) > CNI_CONFIG.value:
        CNI_CONFIG.reached()
        raise InvalidNetwork(f"more than {CNI_CONFIG.value} bytes")
    return data
