"""Which network configuration counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubelite.limits import CNI_CONFIG, CNI_PLUGINS
from kubelite.net.cni.configuration import InvalidNetwork, load_network, parse_network


def listed(**changes: Any) -> bytes:
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}], **changes}
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def test_a_list_and_a_single_plugin_are_read() -> None:
    network = parse_network(listed(disableCheck=True), is_list=True)
    assert (network.name, network.version, network.checks, network.collects) == (
        "pods",
        "1.0.0",
        False,
        True,
    )
    single = parse_network(b'{"cniVersion":"0.3.1","name":"one","type":"ptp"}', is_list=False)
    assert [plugin["type"] for plugin in single.plugins] == ["ptp"]


@pytest.mark.parametrize(
    ("version", "versions", "taken"),
    [
        ("0.4.0", None, "0.4.0"),
        ("0.4.0", ["0.4.0", "1.0.0", "1.1.0"], "1.1.0"),
        ("1.0.0", ["2.0.0"], "1.0.0"),
        ("9.9.9", ["0.3.1"], "0.3.1"),
    ],
)
def test_the_latest_known_version_is_taken(version: str, versions: object, taken: str) -> None:
    data = listed(cniVersion=version, cniVersions=versions)
    assert parse_network(data, is_list=True).version == taken


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "error parsing configuration"),
        (b"[]", "error parsing configuration"),
        (listed(name=None), "missing 'name'"),
        (listed(plugins=[]), "no plugins in list"),
        (listed(plugins={}), "no plugins in list"),
        (listed(plugins=["bridge"]), "a plugin is not an object"),
        (listed(plugins=[{}]), "a plugin is missing 'type'"),
        (
            listed(plugins=[{"type": "../bin/sh"}]),
            "plugin type '../bin/sh' is not the name of a file",
        ),
        (listed(plugins=[{"type": ".."}]), "is not the name of a file"),
        (listed(plugins=[{"type": "x"}] * (CNI_PLUGINS.value + 1)), "more than 20 plugins"),
        (listed(cniVersion="0.2.0"), "unsupported CNI version '0.2.0': 0.3.0 or later is needed"),
    ],
)
def test_what_cannot_be_used_is_told(data: bytes, said: str) -> None:
    with pytest.raises(InvalidNetwork, match=said):
        parse_network(data, is_list=True)


def test_the_first_valid_file_counts_and_kubelites_own_does_not(tmp_path: Path) -> None:
    (tmp_path / "00-broken.conflist").write_text("{")
    (tmp_path / "10-kubelite.conflist").write_bytes(listed(plugins=[{"type": "kubelite"}]))
    (tmp_path / "15-large.conf").write_bytes(b" " * (CNI_CONFIG.value + 1))
    (tmp_path / "20-net.conflist").write_bytes(listed(name="chosen"))
    (tmp_path / "30-net.conflist").write_bytes(listed(name="later"))
    (tmp_path / "00-notes.txt").write_text("{")
    network, problems = load_network(tmp_path)
    assert network is not None
    assert network.name == "chosen"
    assert [problem.partition(":")[0] for problem in problems] == [
        "00-broken.conflist",
        "15-large.conf",
    ]


def test_no_network_says_where_it_was_looked_for(tmp_path: Path) -> None:
    assert load_network(tmp_path) == (None, [f"no networks found in {tmp_path}"])
    absent = tmp_path / "absent"
    assert load_network(absent) == (None, [f"cannot read {absent}: No such file or directory"])
