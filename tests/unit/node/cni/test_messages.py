"""Calls of the CNI plugin as they arrive, and its answers."""

import json

import pytest

from kubelite.node.cni.messages import (
    INCOMPATIBLE_VERSION,
    INVALID_ENVIRONMENT,
    UNDECODABLE,
    Call,
    CallRefused,
    check_names,
    read_call,
    result,
)

ARGUMENTS = (
    "K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_UID=u-1;"
    "K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_NAMESPACE=default"
)


def call_bytes(
    command: str = "ADD",
    container: str = "c0ffee",
    netns: str = "/run/netns/one",
    interface: str = "eth0",
    arguments: str = ARGUMENTS,
    config: object = None,
) -> bytes:
    """Encode a call as the plugin's file does."""
    values = (command, container, netns, interface, arguments)
    text = json.dumps({"cniVersion": "1.0.0", "name": "kubelite"} if config is None else config)
    return b"".join(value.encode() + b"\0" for value in values) + text.encode()


def test_a_call_names_pod_container_and_namespace() -> None:
    assert read_call(call_bytes()) == Call(
        "ADD", "1.0.0", "c0ffee", "/run/netns/one", "eth0", "u-1", "default/web"
    )


def test_a_second_del_has_neither_namespace_nor_previous_result() -> None:
    call = read_call(call_bytes("DEL", netns=""))
    assert (call.netns, call.previous) == ("", ())


def test_check_and_gc_bring_what_they_compare_with() -> None:
    config = {
        "cniVersion": "1.1.0",
        "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.42.0.5/32"}], "dns": {}},
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}, {"containerID": "b"}],
        "runtimeConfig": {"portMappings": [{"hostPort": 80}]},
    }
    call = read_call(call_bytes("CHECK", config=config))
    assert call.previous == ("10.42.0.5/32",)
    assert call.valid == {"a", "b"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", INVALID_ENVIRONMENT),
        (b"ADD\0c\0/n\0eth0", INVALID_ENVIRONMENT),
        (call_bytes().replace(b"c0ffee", b"\xff\xfe"), INVALID_ENVIRONMENT),
        (call_bytes().partition(b"{")[0], UNDECODABLE),
        (call_bytes(config=[]), UNDECODABLE),
        (call_bytes(config={"cniVersion": 1}), UNDECODABLE),
        (call_bytes().partition(b"{")[0] + b'{"prevResult":' + b"[" * 100_000, UNDECODABLE),
        (call_bytes(config={"cniVersion": "1.0.0", "prevResult": {"ips": 5}}), UNDECODABLE),
        (call_bytes(config={}), INCOMPATIBLE_VERSION),
        (call_bytes(config={"cniVersion": "0.2.0"}), INCOMPATIBLE_VERSION),
        (call_bytes(config={"cniVersion": "2.0.0"}), INCOMPATIBLE_VERSION),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_code_of_the_specification(
    data: bytes, code: int
) -> None:
    with pytest.raises(CallRefused) as refused:
        read_call(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        call_bytes(arguments="IgnoreUnknown=1"),
        call_bytes(arguments="K8S_POD_UID="),
        call_bytes(container=""),
        call_bytes(interface="net1"),
        call_bytes(netns=""),
        call_bytes(netns="run/netns/one"),
    ],
)
def test_a_call_must_say_what_it_is_about(data: bytes) -> None:
    with pytest.raises(CallRefused) as refused:
        check_names(read_call(data))
    assert refused.value.code == INVALID_ENVIRONMENT


@pytest.mark.parametrize(("version", "family"), [("0.4.0", "4"), ("1.0.0", None), ("1.1.0", None)])
def test_a_result_has_the_addresses_in_the_form_of_its_version(
    version: str, family: str | None
) -> None:
    call = read_call(call_bytes(config={"cniVersion": version}))
    answer = result(call, ["10.42.0.5", "fd00::5"])
    assert answer["cniVersion"] == version
    assert answer["interfaces"] == [{"name": "eth0", "sandbox": "/run/netns/one"}]
    assert [ip["address"] for ip in answer["ips"]] == ["10.42.0.5/32", "fd00::5/128"]
    assert answer["ips"][0].get("version") == family
