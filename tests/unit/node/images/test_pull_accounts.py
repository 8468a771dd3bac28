"""What credential provider plugins are told of the service accounts of pods."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.fake_client import FakeClient, FixedClock

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.times import format_time
from kubelite.limits import PULL_TOKENS
from kubelite.node.images.credential_config import TokenAttributes
from kubelite.node.images.logins import AccountSource
from kubelite.node.images.pull_accounts import AccountUnavailable, PullAccount, PullAccounts
from kubelite.node.pod_config import PodConfig

WANTED = TokenAttributes("registry", True, False, ("role",), ("region", "zone"))
NOTES = {"role": "puller", "zone": "a", "other": "secret"}


class API(FakeClient):
    """An API that gives tokens of an hour."""

    def __init__(self, clock: FixedClock) -> None:
        super().__init__()
        self._clock = clock
        self.asked: list[TokenRequest] = []

    async def post(
        self, kind: type[Kind], name: str, subresource: str, body: Kind, namespace: str = ""
    ) -> dict[str, Any]:
        assert (kind, name, subresource, namespace) == (ServiceAccount, "app", "token", "team")
        await super().post(kind, name, subresource, body, namespace)
        assert isinstance(body, TokenRequest)
        self.asked.append(body)
        end = format_time(self._clock.now() + timedelta(hours=1))
        return {"status": {"token": f"token-{len(self.asked)}", "expirationTimestamp": end}}


class Bed:
    """Accounts of pods over that API."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.client = API(self.clock)
        self.accounts = PullAccounts(PodConfig(self.client), self.client, self.clock.now)

    async def make(self, **annotations: str) -> None:
        meta = ObjectMeta(name="app", namespace="team", annotations=annotations)
        made = await self.client.create(ServiceAccount(metadata=meta))
        self.source = AccountSource(made.metadata.uid, "team", "app")

    async def of(self, uid: str = "1", wanted: TokenAttributes = WANTED) -> PullAccount | None:
        meta = ObjectMeta(name=f"pod-{uid}", namespace="team", uid=uid)
        pod = Pod(metadata=meta, spec=PodSpec(serviceAccountName="app"))
        return await self.accounts.of(pod, wanted)


async def test_the_token_is_bound_to_the_pod_and_for_one_audience() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    told = (("role", "puller"), ("zone", "a"))
    assert await bed.of() == PullAccount(bed.source, "token-1", told)
    [asked] = bed.client.asked
    bound = asked.spec.boundObjectRef
    assert bound is not None
    assert (bound.apiVersion, bound.kind, bound.name, bound.uid) == ("v1", "Pod", "pod-1", "1")
    assert asked.spec.audiences == ["registry"]
    assert asked.spec.expirationSeconds is None
    assert asked.metadata.uid == bed.source.uid


async def test_an_account_without_a_required_annotation_has_not_asked_for_it() -> None:
    bed = Bed()
    await bed.make(zone="a")
    assert await bed.of() is None
    assert bed.client.asked == []


async def test_a_token_is_kept_for_the_most_of_its_life() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    tokens = []
    for seconds in (0, 47 * 60, 2 * 60):
        bed.clock.advance(seconds)
        account = await bed.of()
        assert account is not None
        tokens.append(account.token)
    assert tokens == ["token-1", "token-1", "token-2"]


async def test_another_pod_or_audience_has_another_token() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    other = TokenAttributes("elsewhere", True, False)
    found = [await bed.of(), await bed.of("2"), await bed.of(wanted=other), await bed.of()]
    assert [one.token for one in found if one is not None] == [
        "token-1",
        "token-2",
        "token-3",
        "token-1",
    ]


async def test_a_clock_that_is_set_back_does_not_keep_a_token_beyond_its_end() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    await bed.of()
    bed.clock.advance(-48 * 3600)
    account = await bed.of()
    assert account is not None
    assert account.token == "token-2"


async def test_an_account_that_is_not_there_is_named() -> None:
    with pytest.raises(AccountUnavailable, match=r"failed to get service account: .*not found"):
        await Bed().of()


async def test_a_node_that_may_not_ask_for_the_audience_says_so() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    bed.client.refuse = lambda verb, _: Forbidden("no") if verb == "token" else None
    with pytest.raises(AccountUnavailable, match="failed to get service account token: no"):
        await bed.of()


async def test_only_so_many_tokens_are_kept() -> None:
    bed = Bed()
    await bed.make(**NOTES)
    for number in range(PULL_TOKENS.value + 1):
        await bed.of(str(number))
    assert len(bed.accounts._tokens) == PULL_TOKENS.value
