"""The calls that a CNI plugin gets and its answers (CNI specification 1.1). Pure.

The plugin's file passes its environment and input on as they are, so both may hold anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

VARIABLES: Final = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS")
VERSIONS: Final = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
BEFORE_1_0: Final = frozenset(VERSIONS[:3])  # an address states its family there
INTERFACE: Final = "eth0"

# Codes of the specification, and one of our own.
INCOMPATIBLE_VERSION, INVALID_ENVIRONMENT, UNDECODABLE, TRY_AGAIN = 1, 4, 6, 11
NOT_AVAILABLE, GENERIC = 50, 999
UNKNOWN_POD = 100


class CallRefused(Exception):
    """A call that cannot be answered otherwise; `str()` is the message, `code` the one of the specification."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Attachment(Struct):
    container_id: str = msgspec.field(name="containerID", default="")


class _Address(Struct):
    address: str = ""


class _Result(Struct):
    ips: list[_Address] = []


class _Config(Struct):
    version: str = msgspec.field(name="cniVersion", default="")
    previous: _Result | None = msgspec.field(name="prevResult", default=None)
    # CRI-O says null for none.
    valid: list[_Attachment] | None = msgspec.field(name="cni.dev/valid-attachments", default=None)


class Call(Struct, frozen=True):
    """A call of the plugin."""

    command: str
    version: str  # of the answer
    container_id: str = ""
    netns: str = ""  # empty where the namespace is gone
    interface: str = ""
    pod_uid: str = ""
    pod_key: str = ""  # NAMESPACE/NAME
    previous: tuple[
        str, ...
    ] = ()  # CHECK: the addresses of the earlier answer, with their prefix lengths
    valid: frozenset[str] = frozenset()  # GC: the containers that there are


def read_call(data: bytes) -> Call:
    """Decode what the plugin's file sends: the values of VARIABLES, each with a NUL behind it, and the input.

    Raises CallRefused.
    """
    *values, config_bytes = data.split(b"\0", len(VARIABLES))
    if len(values) != len(VARIABLES):
        raise CallRefused(INVALID_ENVIRONMENT, "the request is cut off")
    try:
        environment = dict(zip(VARIABLES, (value.decode() for value in values), strict=True))
    except UnicodeDecodeError:
        raise CallRefused(INVALID_ENVIRONMENT, "the environment is not UTF-8") from None
    try:
        config = msgspec.json.decode(config_bytes, type=_Config)
    except (ValueError, RecursionError) as error:
        raise CallRefused(UNDECODABLE, f"cannot read the configuration: {error}") from None
    if config.version not in VERSIONS:
        raise CallRefused(
            INCOMPATIBLE_VERSION, f"cniVersion {config.version!r} is not one of {VERSIONS}"
        )
    arguments = _arguments(environment["CNI_ARGS"])
    namespace, name = arguments.get("K8S_POD_NAMESPACE", ""), arguments.get("K8S_POD_NAME", "")
    return Call(
        environment["CNI_COMMAND"],
        config.version,
        environment["CNI_CONTAINERID"],
        environment["CNI_NETNS"],
        environment["CNI_IFNAME"],
        arguments.get("K8S_POD_UID", ""),
        f"{namespace}/{name}",
        tuple(ip.address for ip in config.previous.ips) if config.previous else (),
        frozenset(attachment.container_id for attachment in config.valid or ()),
    )


def _arguments(text: str) -> Mapping[str, str]:
    """Return the pairs of `A=1;B=2`."""
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {name: value for name, _, value in pairs}


def check_names(call: Call) -> None:
    """Raise CallRefused unless a call says which pod, container and interface it is about."""
    if not call.pod_uid:
        raise CallRefused(INVALID_ENVIRONMENT, "CNI_ARGS has no K8S_POD_UID: only pods are served")
    if not call.container_id:
        raise CallRefused(INVALID_ENVIRONMENT, "CNI_CONTAINERID is missing")
    if call.interface != INTERFACE:
        raise CallRefused(
            INVALID_ENVIRONMENT, f"the interface of a pod is {INTERFACE}, not {call.interface!r}"
        )
    if not call.netns.startswith("/"):
        raise CallRefused(INVALID_ENVIRONMENT, "CNI_NETNS is no absolute path")


def with_length(address: str) -> str:
    """Return a pod's address as a range of one address."""
    return f"{address}/{128 if ':' in address else 32}"


def result(call: Call, addresses: Sequence[str]) -> Mapping[str, Any]:
    """Return the answer to an ADD."""
    ips: list[dict[str, Any]] = []
    for address in addresses:
        ip: dict[str, Any] = {"address": with_length(address), "interface": 0}
        if call.version in BEFORE_1_0:
            ip["version"] = "6" if ":" in address else "4"
        ips.append(ip)
    return {
        "cniVersion": call.version,
        "interfaces": [{"name": call.interface, "sandbox": call.netns}],
        "ips": ips,
        "dns": {},
    }


def encode_success(answer: Mapping[str, Any] | None = None) -> bytes:
    """Encode what the plugin's file prints before it ends with 0."""
    return b"0" + (b"" if answer is None else msgspec.json.encode(answer))


def encode_failure(code: int, message: str, version: str = "1.0.0") -> bytes:
    """Encode what the plugin's file prints before it ends with 1."""
    return b"1" + msgspec.json.encode({"cniVersion": version, "code": code, "msg": message})
