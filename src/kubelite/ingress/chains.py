"""Checks the certificates in Secrets, each once: some milliseconds of a thread, since a key is read."""

import asyncio
from collections.abc import Iterable

from cryptography import x509

from kubelite.api.kinds.core.config import ConfigMap
from kubelite.ingress.certificates import InvalidCertificate, server_context
from kubelite.ingress.gateway_listeners import Chain
from kubelite.ingress.gateway_policies import Authority
from kubelite.ingress.plan import SecretKey
from kubelite.ingress.secrets import CertificateSecrets

NAMES_MAX = 100  # host names of a certificate that are used
MISSING, EMPTY = Chain("it does not exist"), Chain("it has no tls.crt and tls.key")


class Chains:
    """What is known of the Secrets that are followed."""

    def __init__(self, secrets: CertificateSecrets) -> None:
        self._secrets = secrets
        self._checked: dict[bytes, Chain] = {}

    async def check(self, wanted: Iterable[SecretKey]) -> dict[SecretKey, Chain]:
        """Return what is known of each Secret; what was known of others is forgotten."""
        found: dict[SecretKey, Chain] = {}
        checked: dict[bytes, Chain] = {}
        for key in wanted:
            pem = self._secrets.pem(key)
            if not pem:
                found[key] = MISSING if pem is None else EMPTY
                continue
            chain = self._checked.get(pem) or checked.get(pem)
            if chain is None:
                chain = await asyncio.to_thread(chain_of, pem)
            found[key] = checked[pem] = chain
        self._checked = checked
        return found


def authority_of(config: ConfigMap | None) -> Authority:
    """Return whom a ConfigMap says to trust."""
    if config is None:
        return Authority(problem="it does not exist")
    text = config.data.get("ca.crt", "")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        found = []
    return Authority(text.encode()) if found else Authority(problem="it has no ca.crt")


def chain_of(pem: bytes) -> Chain:
    """Return what is known of a chain with its key: whether it can be used, and for which host names."""
    try:
        server_context(pem)
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except InvalidCertificate as error:
        return Chain(str(error))
    except (ValueError, x509.ExtensionNotFound):
        return Chain()  # it serves all the same, but has no names to be chosen by
    return Chain(names=tuple(name.lower() for name in names[:NAMES_MAX]))
