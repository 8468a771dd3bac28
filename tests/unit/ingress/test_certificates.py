"""Certificates by name."""

from datetime import UTC, datetime

import pytest

from kubelite.api.auth.self_signed import self_signed
from kubelite.ingress.certificates import CertificateStore, InvalidCertificate, server_context
from kubelite.ingress.messages import Certificate

NOW = datetime.now(UTC)


def test_the_name_comes_before_its_wildcard_and_that_before_the_default() -> None:
    pems = [self_signed(name, NOW) for name in ("default", "exact", "wild")]
    store = CertificateStore()
    store.use(pems[0], [Certificate(("a.x",), pems[1]), Certificate(("*.x", "a.x"), pems[2])])
    exact, wild = store.find("a.x"), store.find("b.x")
    assert len({id(exact), id(wild), id(store.context)}) == 3
    assert store.find("A.X.") is exact
    assert store.find("c.b.x") is store.context
    assert store.find("") is store.context
    store.use(pems[0], [Certificate(("a.x",), pems[1])])
    assert store.find("a.x") is exact  # what did not change is not made again
    assert store.find("b.x") is store.context


def test_an_invalid_certificate_is_left_out() -> None:
    default = self_signed("default", NOW)
    store = CertificateStore()
    store.use(default, [Certificate(("a.x",), b"nonsense")])
    assert store.find("a.x") is store.context
    other = self_signed("other", NOW)
    mixed = default.partition(b"-----BEGIN PRIVATE")[0] + b"".join(
        other.partition(b"-----BEGIN PRIVATE")[1:]
    )
    for pem in (b"", b"nonsense", mixed):
        with pytest.raises(InvalidCertificate):
            server_context(pem)


def test_the_certificates_of_listeners_are_those_of_their_ports() -> None:
    pems = [self_signed(name, NOW) for name in ("default", "one", "two", "three")]
    store = CertificateStore()
    store.use(
        pems[0],
        [
            Certificate(("a.x",), pems[1]),
            Certificate(("**.x",), pems[2], 443),
            Certificate(("", "a.x"), pems[3], 8443),
        ],
    )
    ingress, wide, every = (
        store.find(name, port) for name, port in (("a.x", 443), ("b.x", 443), ("y", 8443))
    )
    assert len({id(ingress), id(wide), id(every)}) == 3
    assert store.find("deep.b.x", 443) is wide
    assert store.find("y", 443) is store.context_of(443)
    assert store.find("a.x", 8443, is_extra=True) is every  # that of an Ingress is not for it
    store.use(self_signed("other", NOW), [])
    assert store.find("a.x", 8443, is_extra=True) is store.context_of(8443)


def test_a_name_of_a_thousand_labels_costs_no_more_look_ups() -> None:
    store = CertificateStore()
    store.use(self_signed("default", NOW), [Certificate(("**.x",), self_signed("x", NOW), 443)])
    assert store.find("a." * 1000 + "x", 443) is store.context_of(443)
