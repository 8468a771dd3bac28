"""TLS contexts for other API servers."""

import asyncio
from pathlib import Path

import pytest
from fakes.aggregated import OtherServer, api_service

from kubelite.api.auth.pki import FRONT_PROXY_CLIENT
from kubelite.api.http.aggregation.contexts import ClientContexts
from kubelite.api.http.delegation import ShownCertificate, registration_of
from kubelite.limits import AGGREGATED_AUTHORITIES


async def test_a_renewed_certificate_is_shown_from_then_on(tmp_path: Path) -> None:
    pki = OtherServer(tmp_path).pki
    shown = ShownCertificate(1, pki.path(FRONT_PROXY_CLIENT))
    contexts = ClientContexts(lambda: shown)
    one = registration_of(api_service(insecureSkipTLSVerify=True))
    first = await contexts.find(one)
    assert await contexts.find(one) is first
    shown = ShownCertificate(2, shown.pair)
    assert await contexts.find(one) is not first


async def test_requests_at_once_share_a_context(tmp_path: Path) -> None:
    one = registration_of(api_service(caBundle=OtherServer(tmp_path).bundle))
    contexts = ClientContexts()
    found = await asyncio.gather(*(contexts.find(one) for _ in range(5)))
    assert len(set(found)) == 1


async def test_contexts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AGGREGATED_AUTHORITIES, "value", 1)
    bundle = OtherServer(tmp_path).bundle
    contexts = ClientContexts()
    before = AGGREGATED_AUTHORITIES.times_reached
    first = await contexts.find(registration_of(api_service(caBundle=bundle)))
    assert first.check_hostname
    await contexts.find(registration_of(api_service(insecureSkipTLSVerify=True)))
    assert await contexts.find(registration_of(api_service(caBundle=bundle))) is not first
    assert AGGREGATED_AUTHORITIES.times_reached == before + 2
