"""The ConfigMap by which extension servers trust this one."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from msgspec.structs import replace

from kubelite.api.auth.certificates import certificate_pem, new_authority
from kubelite.api.auth.extension_authentication import (
    ExtensionTrust,
    completed,
    config_map,
    trust_of,
)
from kubelite.api.auth.front_proxies import AuthorityInvalid, ProxyAuthority, proxy_authority
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.limits import EXTENSION_TRUST
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(3)
CLUSTER, PROXY, NEXT, OTHER = (
    new_authority(name, NOW, RANDOM).certificate for name in ("ca", "proxy", "next", "other")
)
OLD = new_authority("old", NOW - timedelta(days=20 * 365), RANDOM).certificate
OWN = ProxyAuthority((PROXY,), ("front-proxy-client",))
TRUST = trust_of(certificate_pem(CLUSTER), [OWN])


def pem(*certificates: x509.Certificate) -> str:
    return certificate_pem(*certificates).decode()


def trust(*client_authorities: x509.Certificate) -> ExtensionTrust:
    return trust_of(certificate_pem(*client_authorities), [OWN])


WANTED = {
    "client-ca-file": pem(CLUSTER),
    "requestheader-client-ca-file": pem(PROXY),
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-uid-headers": '["X-Remote-Uid"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}


def stored(**data: str) -> ConfigMap:
    return replace(
        config_map(TRUST, NOW), data={key.replace("_", "-"): value for key, value in data.items()}
    )


def test_what_it_says() -> None:
    made = config_map(TRUST, NOW)
    assert (made.metadata.namespace, made.metadata.name) == (
        "kube-system",
        "extension-apiserver-authentication",
    )
    assert made.data == WANTED
    assert completed(made, TRUST, NOW) == made


def test_what_others_added_stays() -> None:
    theirs = {
        **WANTED,
        "client-ca-file": pem(OTHER) + "a remark\n",
        "requestheader-client-ca-file": pem(OTHER, PROXY),
        "requestheader-allowed-names": '["aggregator", "front-proxy-client"]',
        "requestheader-username-headers": '["X-My-User"]',
    }
    made = completed(replace(config_map(TRUST, NOW), data=theirs), TRUST, NOW)
    assert made.data == {
        **WANTED,
        "client-ca-file": pem(OTHER, CLUSTER),
        "requestheader-client-ca-file": pem(OTHER, PROXY),
        "requestheader-allowed-names": '["aggregator","front-proxy-client"]',
        "requestheader-username-headers": '["X-My-User","X-Remote-User"]',
    }
    assert completed(made, TRUST, NOW) == made


def test_a_new_authority_of_the_cluster_comes_in_and_the_old_one_stays() -> None:
    made = completed(config_map(TRUST, NOW), trust(NEXT, CLUSTER), NOW)
    assert made.data["client-ca-file"] == pem(CLUSTER, NEXT)
    assert completed(made, trust(NEXT, CLUSTER), NOW) == made


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"requestheader_allowed_names": "front-proxy-client", "client_ca_file": "garbage"},
        {"requestheader_allowed_names": '"text"', "requestheader_group_headers": "[1]"},
        {"requestheader_allowed_names": "\udcff", "client_ca_file": "\udcff"},
        {
            "client_ca_file": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "requestheader_client_ca_file": "-----BEGIN CERTIFICATE-----\n",
        },
        {"client_ca_file": pem(OLD)},
        {"something": "else"},
        {"client_ca_file": "\udcff", "requestheader_client_ca_file": pem(PROXY, PROXY)},
    ],
)
def test_what_cannot_be_used_is_replaced(data: dict[str, str]) -> None:
    assert completed(stored(**data), TRUST, NOW).data == WANTED


def test_binary_data_does_not_keep_it_from_being_written() -> None:
    odd = replace(config_map(TRUST, NOW), binaryData={"client-ca-file": "AAAA"})
    assert completed(odd, TRUST, NOW) == config_map(TRUST, NOW)


def test_what_is_too_large_is_not_read() -> None:
    times = EXTENSION_TRUST.times_reached
    large = stored(
        client_ca_file=pem(OTHER) * 500,
        requestheader_allowed_names=json.dumps(["x" * 100] * 1000),
    )
    assert completed(large, TRUST, NOW).data == WANTED
    assert EXTENSION_TRUST.times_reached == times + 2


def test_with_an_authority_of_any_name_extension_servers_cannot_check_names() -> None:
    free = trust_of(certificate_pem(CLUSTER), [OWN, ProxyAuthority((OTHER,))])
    assert config_map(free, NOW).data["requestheader-allowed-names"] == "[]"
    assert config_map(free, NOW).data["requestheader-client-ca-file"] == pem(PROXY, OTHER)
    named = trust_of(certificate_pem(CLUSTER), [OWN, ProxyAuthority((OTHER,), ("sso",))])
    names = config_map(named, NOW).data["requestheader-allowed-names"]
    assert names == '["front-proxy-client","sso"]'


def test_authorities_of_proxies_are_not_those_of_clients() -> None:
    assert proxy_authority(certificate_pem(OTHER), ("sso",), [CLUSTER]) == ProxyAuthority(
        (OTHER,), ("sso",)
    )
    with pytest.raises(AuthorityInvalid, match="has no certificate"):
        proxy_authority(b"garbage", (), [CLUSTER])
    with pytest.raises(AuthorityInvalid, match="each of whom could then name any caller"):
        proxy_authority(certificate_pem(OTHER, CLUSTER), (), [CLUSTER])
