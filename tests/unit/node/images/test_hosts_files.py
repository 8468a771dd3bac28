"""How a containerd of our own is told to reach registries."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.images.hosts_files import hosts_files, write_hosts
from kubelite.node.images.registries import Registries, RegistriesInvalid, parse_registries

TLS = {
    "ca_file": "/ca",
    "cert_file": "/c",
    "key_file": '/k "quoted"\x7f\\',
    "insecure_skip_verify": True,
}


def _tables(content: Any) -> dict[str, Any]:
    files = hosts_files(parse_registries(content))
    return {host: tomllib.loads(text) for host, text in files.items()}


def test_a_host_has_its_address_and_its_tls() -> None:
    assert _tables({"configs": {"r.io:5000": {"tls": TLS}, "*": {"tls": {"ca_file": "/any"}}}}) == {
        "r.io:5000": {
            "server": "https://r.io:5000/v2",
            "capabilities": ["pull", "resolve"],
            "ca": ["/ca"],
            "client": [["/c", '/k "quoted"\x7f\\']],
            "skip_verify": True,
        },
        "_default": {"capabilities": ["pull", "resolve"], "ca": ["/any"]},
    }


def test_only_what_differs_from_what_containerd_does_anyway_is_written() -> None:
    mirrors = {"docker.io": {"endpoint": ["https://m.io/v2/hub", "127.0.0.1:5000", "r.io"]}}
    assert _tables({"mirrors": mirrors, "configs": {"r.io": {"auth": {"username": "u"}}}}) == {}


def test_endpoints_of_mirrors_may_speak_http_and_have_paths() -> None:
    mirrors = {"r.io": {"endpoint": ["http://m.io/v2/hub", "https://p.io/proxy/v2"]}}
    tables = _tables({"mirrors": mirrors})
    assert tables["m.io"]["server"] == "http://m.io/v2"
    assert tables["p.io"]["server"] == "https://p.io/proxy/v2"
    assert tables["p.io"]["override_path"] is True


def test_docker_hub_goes_by_its_name() -> None:
    for host in ("docker.io", "registry-1.docker.io"):
        table = _tables({"configs": {host: {"tls": {"ca_file": "/ca"}}}})
        assert table["docker.io"]["server"] == "https://registry-1.docker.io/v2"


def test_files_follow_the_configuration_and_those_of_others_stay(tmp_path: Path) -> None:
    def registries(*hosts: str) -> Registries:
        return parse_registries({"configs": {host: {"tls": {"ca_file": "/"}} for host in hosts}})

    for host in ("foreign.io", "taken.io"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "hosts.toml").write_text("# by hand\n")
    write_hosts(tmp_path, registries("a.io", "b.io", "taken.io"))
    write_hosts(tmp_path, registries("b.io", "taken.io"))
    left = {path.parent.name: path.read_text() for path in tmp_path.glob("*/*")}
    assert sorted(left) == ["b.io", "foreign.io", "taken.io"]
    assert left["foreign.io"] == left["taken.io"] == "# by hand\n"
    write_hosts(tmp_path / "absent", Registries())
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("host", ["../evil", "a/b", "", "..", "a b"])
def test_a_host_that_is_none_is_refused_before_it_is_a_folder(host: str) -> None:
    with pytest.raises(RegistriesInvalid, match="must be"):
        parse_registries({"configs": {host: {"tls": {"ca_file": "/"}}}})
