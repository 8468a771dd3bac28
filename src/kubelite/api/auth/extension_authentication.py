"""What a server behind an APIService must know to trust this one: authorities, proxy names and headers, in a ConfigMap.

Servers made with k8s.io/apiserver read it at their start and follow it. What others have added stays, so that several
API servers can share it; what cannot be read is dropped.

Source: kube-apiserver's cluster authentication trust controller.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.certificates import certificate_pem
from kubelite.api.auth.front_proxies import EXTRA, GROUP, UID, USER, ProxyAuthority
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import EXTENSION_TRUST

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
CLIENT_CA, PROXY_CA = "client-ca-file", "requestheader-client-ca-file"
EXPIRED_FOR = timedelta(minutes=5)  # after which an authority of somebody else is dropped
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class ExtensionTrust(Struct, frozen=True):
    """What this server wants extension servers to trust."""

    client_ca: str  # PEM of the authorities of clients
    proxy_ca: str  # PEM of the authorities of trusted proxies, of which this server is one
    proxy_names: tuple[str, ...]  # common names of trusted proxies; without one all count

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Return the values that are JSON lists."""
        return {
            "requestheader-username-headers": (USER,),
            "requestheader-uid-headers": (UID,),
            "requestheader-group-headers": (GROUP,),
            "requestheader-extra-headers-prefix": (EXTRA,),
            "requestheader-allowed-names": self.proxy_names,
        }


def trust_of(client_ca: bytes, authorities: Sequence[ProxyAuthority]) -> ExtensionTrust:
    """Return what to trust; if any name counts with one authority of proxies, extension servers cannot check names."""
    certificates = [one for authority in authorities for one in authority.certificates]
    named = authorities if all(one.names for one in authorities) else ()
    return ExtensionTrust(
        client_ca=client_ca.decode(),
        proxy_ca=certificate_pem(*certificates).decode(),
        proxy_names=tuple(name for one in named for name in one.names),
    )


def config_map(wanted: ExtensionTrust, now: datetime) -> ConfigMap:
    """Return the ConfigMap."""
    empty = ConfigMap(metadata=ObjectMeta(name=NAME, namespace=NAMESPACE))
    return completed(empty, wanted, now)


def completed(stored: ConfigMap, wanted: ExtensionTrust, now: datetime) -> ConfigMap:
    """Return a stored ConfigMap with all that is needed in it; what others added comes first, as it was there first."""
    lists = {
        key: msgspec.json.encode(_united(_read_list(_usable(stored, key)), values)).decode()
        for key, values in wanted.lists.items()
    }
    bundles = {
        key: _bundle(_usable(stored, key), pem, now)
        for key, pem in ((CLIENT_CA, wanted.client_ca), (PROXY_CA, wanted.proxy_ca))
    }
    return replace(stored, data={**bundles, **lists}, binaryData={})


def _usable(stored: ConfigMap, key: str) -> str:
    value = stored.data.get(key, "")
    if len(value) <= EXTENSION_TRUST.value:
        return value
    EXTENSION_TRUST.reached()
    return ""


def _united(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*first, *second)))


def _read_list(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return []


def _bundle(theirs: str, ours: str, now: datetime) -> str:
    """Return both bundles as one, without duplicates and without what has expired or is no certificate."""
    certificates = dict.fromkeys((*_read_bundle(theirs), *_read_bundle(ours)))
    valid = (one for one in certificates if one.not_valid_after_utc > now - EXPIRED_FOR)
    return certificate_pem(*valid).decode()


def _read_bundle(text: str) -> list[x509.Certificate]:
    found = []
    for pem in _CERTIFICATE.findall(text):
        try:
            found.append(x509.load_pem_x509_certificate(pem.encode()))
        except ValueError:
            continue
    return found
