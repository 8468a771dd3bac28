"""What a node refuses before it makes a sandbox."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.runtime import Handler
from kubelite.node.sandbox_checks import handler_refusal, long_name

HANDLERS = (Handler(), Handler("runc"), Handler("kata", user_namespaces=True))
NO_USERS = "can't set `spec.hostUsers: false`, "


@pytest.mark.parametrize(
    ("handler", "host_users", "refusal"),
    [
        ("", None, ""),
        ("", True, ""),
        ("runc", None, ""),
        ("runsc", None, 'failed to get sandbox runtime: no runtime for "runsc" is configured'),
        ("runsc", True, 'failed to get sandbox runtime: no runtime for "runsc" is configured'),
        ("", False, f"{NO_USERS}runtime does not support user namespaces"),
        ("runc", False, f'{NO_USERS}RuntimeClass handler "runc" does not support user namespaces'),
        (
            "runsc",
            False,
            (
                f'{NO_USERS}RuntimeClass handler "runsc" does not support user namespaces: '
                'the handler "runsc" is not known'
            ),
        ),
        ("kata", False, ""),
    ],
)
def test_a_handler_must_be_known_and_able(
    handler: str, host_users: bool | None, refusal: str
) -> None:
    pod = msgspec.convert({"spec": {"hostUsers": host_users}}, Pod)
    assert handler_refusal(pod, handler, HANDLERS) == refusal


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({}, False),
        ({"subdomain": "s" * 63}, False),
        ({"subdomain": "s" * 63, "setHostnameAsFQDN": True}, True),
        ({"subdomain": "s" * 63, "setHostnameAsFQDN": True, "hostNetwork": True}, False),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, False),
    ],
)
def test_a_host_name_fits_the_kernel(spec: dict[str, Any], refused: bool) -> None:
    pod = msgspec.convert({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}, Pod)
    found = long_name(pod, "cluster.local")
    assert bool(found) is refused
    if refused:
        assert (
            f"FQDN p.{'s' * 63}.ns.svc.cluster.local is too long (64 characters is the max, 86"
            in found
        )
