"""How engines behind Docker's API differ."""

from typing import Any

import pytest

from kubelite.node.docker_dialect import DOCKER, PODMAN, Dialect, adapted, dialect_of


@pytest.mark.parametrize(
    ("components", "dialect"),
    [
        ([{"Name": "Engine"}, {"Name": "containerd"}], DOCKER),
        ([{"Name": "Podman Engine"}, {"Name": "Conmon"}], PODMAN),
        ([{}], DOCKER),
        (None, DOCKER),
    ],
)
def test_an_engine_is_known_by_its_components(components: Any, dialect: Dialect) -> None:
    assert dialect_of({"Version": "1", "Components": components}) == dialect
    assert dialect_of({"Version": "1"}) == DOCKER


BODY: dict[str, Any] = {"Image": "i", "HostConfig": {"NetworkMode": "container:s", "UTSMode": ""}}


def host(dialect: Dialect, **fields: Any) -> dict[str, Any]:
    body = {**BODY, "HostConfig": {**BODY["HostConfig"], **fields}}
    made: dict[str, Any] = adapted(body, dialect)["HostConfig"]
    return made


def test_docker_gets_its_own_words() -> None:
    assert host(DOCKER) == BODY["HostConfig"]
    assert host(DOCKER, CapDrop=["ALL"], MaskedPaths=[])["MaskedPaths"] == []


@pytest.mark.parametrize(
    ("drop", "added"),
    [
        ([], ["AUDIT_WRITE", "MKNOD", "NET_RAW"]),
        (["NET_RAW"], ["AUDIT_WRITE", "MKNOD"]),
        (["CAP_MKNOD"], ["AUDIT_WRITE", "NET_RAW"]),
        (["ALL"], []),
    ],
)
def test_podman_gives_what_docker_gives_by_itself(drop: list[str], added: list[str]) -> None:
    assert host(PODMAN, CapDrop=drop).get("CapAdd", []) == added
    assert host(PODMAN, CapDrop=drop, CapAdd=["NET_ADMIN"])["CapAdd"] == ["NET_ADMIN", *added]


def test_podman_shares_the_host_name_only_if_told() -> None:
    assert host(PODMAN)["UTSMode"] == "container:s"
    assert host(PODMAN, NetworkMode="host", UTSMode="host")["UTSMode"] == "host"
    assert host(PODMAN, NetworkMode="none")["UTSMode"] == ""


def test_podman_limits_processes_unless_told() -> None:
    assert host(PODMAN)["PidsLimit"] == -1
    assert host(PODMAN, PidsLimit=7)["PidsLimit"] == 7


def test_podman_unmasks_by_an_option() -> None:
    assert "SecurityOpt" not in host(PODMAN)
    given = host(PODMAN, MaskedPaths=[], SecurityOpt=["seccomp=unconfined"])
    assert given["SecurityOpt"] == ["seccomp=unconfined", "unmask=ALL"]


def test_the_body_that_was_given_stays_as_it_is() -> None:
    before = {**BODY, "HostConfig": dict(BODY["HostConfig"])}
    adapted(BODY, PODMAN)
    assert before == BODY
