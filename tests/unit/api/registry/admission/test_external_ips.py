from typing import Any

from kubelite.api.registry.admission.external_ips import DenyServiceExternalIPs


def service(*addresses: str) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"externalIPs": list(addresses)}}


async def test_no_service_begins_to_use_external_addresses(ask: Any) -> None:
    plugin = DenyServiceExternalIPs()
    assert (await ask(plugin, "services", service())).item
    assert (await ask(plugin, "services", service("203.0.113.7"))).refusal == (
        'services "web" is forbidden: Use of external IPs is denied by admission control'
    )
    before = service("203.0.113.7", "203.0.113.8")
    assert (await ask(plugin, "services", service("203.0.113.8"), old=before)).item
    assert (await ask(plugin, "services", service("203.0.113.9"), old=before)).refusal
    assert (await ask(plugin, "services/status", service("203.0.113.9"), old=before)).item
