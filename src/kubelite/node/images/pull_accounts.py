"""The service accounts of pods, as credential provider plugins are told of them: identity, annotations, a token.

Source: pkg/credentialprovider/plugin/plugin.go. Tokens are bound to the pod and kept until most of their life is over,
as the kubelet keeps all tokens that it asks for.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.authentication import BoundObjectReference, TokenRequest, TokenRequestSpec
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.times import parse_time
from kubelite.limits import PULL_TOKENS
from kubelite.node.images.credential_config import TokenAttributes
from kubelite.node.images.logins import AccountSource
from kubelite.node.pod_config import PodConfig

RENEW_PART = 0.8  # of a token's life, after which another one is asked for, as the kubelet does
AGE_MAX = timedelta(hours=24)


class AccountUnavailable(Exception):
    """The account or its token cannot be had; `str()` says why."""


class PullAccount(Struct, frozen=True):
    """What a program is told of the service account of a pod."""

    source: AccountSource
    token: str
    annotations: tuple[tuple[str, str], ...]  # in the order of their keys

    @property
    def token_hash(self) -> str:
        """The hash by which two tokens are told apart."""
        return hashlib.sha256(self.token.encode()).hexdigest()


class _Token(Struct, frozen=True):
    text: str
    renew_at: datetime


class PullAccounts:
    """The service accounts of the pods of one node."""

    def __init__(self, reads: PodConfig, client: Client, now: Callable[[], datetime]) -> None:
        self._reads = reads
        self._client = client
        self._now = now
        self._tokens: dict[
            tuple[str, str, str], _Token
        ] = {}  # by uid of the pod and account, and audience

    async def of(self, pod: Pod, wanted: TokenAttributes) -> PullAccount | None:
        """Return the account of a pod; None if it lacks a required annotation. Raises AccountUnavailable."""
        name, namespace = pod.spec.serviceAccountName, pod.metadata.namespace
        try:
            account = await self._reads.get(pod, ServiceAccount, name)
        except APIError as error:
            raise AccountUnavailable(f"failed to get service account: {error.message}") from error
        noted = account.metadata.annotations
        if any(key not in noted for key in wanted.required_keys):
            return None
        keys = sorted({*wanted.required_keys, *wanted.optional_keys} & noted.keys())
        source = AccountSource(account.metadata.uid, namespace, name)
        token = await self._token(pod, source, wanted.audience)
        return PullAccount(source, token, tuple((key, noted[key]) for key in keys))

    async def _token(self, pod: Pod, account: AccountSource, audience: str) -> str:
        now = self._now()
        self._tokens = {key: one for key, one in self._tokens.items() if now < one.renew_at}
        key = pod.metadata.uid, account.uid, audience
        kept = self._tokens.get(key)
        # After a jump back of the clock a token would be kept beyond its end.
        if kept is not None and kept.renew_at - now <= AGE_MAX:
            return kept.text
        try:
            made = await self._requested(pod, account, audience)
        except APIError as error:
            raise AccountUnavailable(
                f"failed to get service account token: {error.message}"
            ) from error
        life = (parse_time(made["expirationTimestamp"]) - now) * RENEW_PART
        if len(self._tokens) >= PULL_TOKENS.value:
            PULL_TOKENS.reached()
            self._tokens.pop(next(iter(self._tokens)))
        made_token = self._tokens[key] = _Token(str(made["token"]), now + min(life, AGE_MAX))
        return made_token.text

    async def _requested(
        self, pod: Pod, account: AccountSource, audience: str
    ) -> Mapping[str, Any]:
        bound = BoundObjectReference(
            apiVersion="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid
        )
        asked = TokenRequest(
            metadata=ObjectMeta(uid=account.uid),
            spec=TokenRequestSpec(audiences=[audience], boundObjectRef=bound),
        )
        answer = await self._client.post(
            ServiceAccount, account.name, "token", asked, account.namespace
        )
        found: Mapping[str, Any] = answer["status"]
        return found
