"""Asks programs for the logins of images, as the kubelet asks its credential provider plugins.

A program reads a `CredentialProviderRequest` from its standard input, and writes a `CredentialProviderResponse` that
also says for how long and for what its logins are kept: for the image, for its registry, or for all. One that is told
of service accounts (`tokenAttributes`) gives logins for a pod's account, which no other account gets.
Source: pkg/credentialprovider/plugin/plugin.go.
"""

import asyncio
import logging
from collections.abc import Hashable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import parse_duration
from kubelite.limits import CREDENTIAL_ANSWERS
from kubelite.node.images.credential_config import CredentialProvider, TokenAttributes
from kubelite.node.images.logins import Login, matches, place_of
from kubelite.node.images.pull_accounts import AccountUnavailable, PullAccount, PullAccounts
from kubelite.node.pods import pod_key
from kubelite.spawn import ProgramFailed, run_program
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

PROGRAM_SECONDS = 60.0  # as the kubelet
ERRORS_SHOWN = 1_000  # characters of what a program says
GLOBAL = "<global>"


class CredentialsUnavailable(Exception):
    """A program gave no logins; `str()` says why, and holds nothing of its answer."""


class _Request(Struct, omit_defaults=True):
    kind: str
    apiVersion: str  # noqa: N815 - as it is spelt in the request
    image: str
    serviceAccountToken: str = ""  # noqa: N815 - as it is spelt in the request
    serviceAccountAnnotations: dict[str, str] = {}  # noqa: N815 - as it is spelt in the request


class _Auth(Struct, forbid_unknown_fields=True):
    username: str = ""
    password: str = ""


class _Version(Struct, rename="camel"):
    api_version: str = ""


class _Response(Struct, forbid_unknown_fields=True, rename="camel"):
    kind: Literal["CredentialProviderResponse"]
    api_version: str
    cache_key_type: str = ""
    cache_duration: str | None = None
    auth: dict[str, _Auth] | None = None


class _Kept(Struct, frozen=True):
    logins: tuple[Login, ...]
    until: float  # the loop's time


class CredentialPlugins:
    """The credential provider plugins of a node."""

    def __init__(
        self,
        providers: Sequence[CredentialProvider],
        tasks: TaskSet,
        accounts: PullAccounts | None = None,
    ) -> None:
        """Without `accounts` pods have none."""
        self._sources = [_Plugin(provider, tasks) for provider in providers]
        self._accounts = accounts

    async def logins(self, repository: str, pod: Pod | None = None) -> list[Login]:
        """Return the logins that the programs for a repository, written with its registry, give for a pod.

        A program that fails is logged and gives none: the image may be had without it.
        """
        found: list[Login] = []
        for plugin in self._sources:
            if not plugin.is_for(repository):
                continue
            try:
                found += await self._of(plugin, repository, pod)
            except (CredentialsUnavailable, AccountUnavailable) as error:
                about = {"provider": plugin.name, "image": repository, "reason": str(error)}
                if plugin.token is not None and pod is not None:
                    about["pod"] = pod_key(pod)
                log.warning("failed to provide credentials for an image", extra=about)
        return found

    async def _of(self, plugin: "_Plugin", repository: str, pod: Pod | None) -> Sequence[Login]:
        wanted = plugin.token
        if wanted is None:
            return await plugin.logins(repository)
        if self._accounts is None or pod is None or not pod.spec.serviceAccountName:
            # As of a static pod, whose images such a program may give logins for all the same.
            return () if wanted.is_required else await plugin.logins(repository)
        account = await self._accounts.of(pod, wanted)
        if account is None:  # it lacks the annotation by which an account asks for this
            return ()
        return await plugin.logins(repository, account)


class _Plugin:
    def __init__(self, provider: CredentialProvider, tasks: TaskSet) -> None:
        self.name = provider.name
        self._provider = provider
        self._tasks = tasks
        self._kept: dict[
            tuple[str, Hashable], _Kept
        ] = {}  # by repository, registry or GLOBAL, and for whom
        self._in_flight: dict[
            tuple[str, PullAccount | None],
            asyncio.Task[Sequence[Login] | CredentialsUnavailable],
        ] = {}

    @property
    def token(self) -> TokenAttributes | None:
        """What it is told of service accounts."""
        return self._provider.token

    def is_for(self, repository: str) -> bool:
        """Return whether it is asked for an image's logins."""
        return any(matches(place, repository) for place in self._provider.match_images)

    async def logins(self, repository: str, account: PullAccount | None = None) -> Sequence[Login]:
        """Return the logins for a repository, those of an account if one is given. Raises CredentialsUnavailable."""
        now = asyncio.get_running_loop().time()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        whose = self._key_of(account)
        for place in (repository, _registry(repository), GLOBAL):
            if kept := self._kept.get((place, whose)):
                return kept.logins
        key = repository, account
        task = self._in_flight.get(key)
        if task is None:
            name = f"credential provider {self.name}"
            task = self._tasks.start(self._outcome(repository, account), name=name)
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        outcome = await asyncio.shield(task)  # others may wait for it, too
        if isinstance(outcome, CredentialsUnavailable):
            raise outcome
        return outcome

    def _key_of(self, account: PullAccount | None) -> Hashable:
        """Return for whom an answer is kept: all pods, those of an account with these annotations, or one token's."""
        if account is None:
            return None
        is_by_token = self.token is not None and self.token.is_kept_by_token
        token = account.token_hash if is_by_token else ""
        return account.source, account.annotations, token

    async def _outcome(
        self, repository: str, account: PullAccount | None
    ) -> Sequence[Login] | CredentialsUnavailable:
        try:
            return self._keep(repository, account, await self._ask(repository, account))
        except CredentialsUnavailable as error:
            return error

    async def _ask(self, repository: str, account: PullAccount | None) -> _Response:
        provider = self._provider
        request = _Request("CredentialProviderRequest", provider.api_version, repository)
        if account is not None:
            request.serviceAccountToken = account.token
            request.serviceAccountAnnotations = dict(account.annotations)
        what = f"error execing credential provider plugin {self.name} for image {repository}"
        try:
            done = await run_program(
                [str(provider.program), *provider.arguments],
                stdin=msgspec.json.encode(request),
                timeout_seconds=PROGRAM_SECONDS,
                environment=dict(provider.environment),
            )
        except ProgramFailed as error:
            raise CredentialsUnavailable(f"{what}: {error}") from error
        if done.code:
            said = done.errors.decode("utf-8", "replace").strip()[:ERRORS_SHOWN]
            ended = f"exit status {done.code}" if done.code > 0 else f"signal {-done.code}"
            raise CredentialsUnavailable(f"{what}: {ended}: {said}")
        return self._answer(done.output)

    def _answer(self, output: bytes) -> _Response:
        try:
            version = msgspec.json.decode(output, type=_Version).api_version
            if version != self._provider.api_version:
                raise CredentialsUnavailable(
                    "apiVersion from credential plugin response did not match expected "
                    f"apiVersion:{self._provider.api_version}, actual apiVersion:{version[:ERRORS_SHOWN]}"
                )
            return msgspec.json.decode(output, type=_Response)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Their messages can repeat a part of the logins.
            raise CredentialsUnavailable(
                "error decoding credential provider plugin response from stdout"
            ) from None

    def _keep(
        self, repository: str, account: PullAccount | None, response: _Response
    ) -> Sequence[Login]:
        self._check_echo(account, response)
        keys = {"Image": repository, "Registry": _registry(repository), "Global": GLOBAL}
        key = keys.get(response.cache_key_type)
        if key is None:
            raise CredentialsUnavailable(
                "credential provider plugin did not return a valid cacheKeyType: "
                f"{response.cache_key_type[:ERRORS_SHOWN]}"
            )
        seconds = self._provider.cache_seconds
        if response.cache_duration is not None:
            try:
                seconds = parse_duration(response.cache_duration).total_seconds()
            except ValueError:
                raise CredentialsUnavailable(
                    "error decoding credential provider plugin response from stdout"
                ) from None
        logins = tuple(
            Login(
                place_of(where),
                auth.username,
                auth.password,
                source=None if account is None else account.source,
            )
            for where, auth in (response.auth or {}).items()
        )
        if seconds > 0:
            kept_for = key, self._key_of(account)
            if kept_for not in self._kept and len(self._kept) >= CREDENTIAL_ANSWERS.value:
                CREDENTIAL_ANSWERS.reached()
                self._kept.pop(next(iter(self._kept)))
            self._kept[kept_for] = _Kept(logins, asyncio.get_running_loop().time() + seconds)
        return logins

    def _check_echo(self, account: PullAccount | None, response: _Response) -> None:
        """Raise CredentialsUnavailable for a token as the password that would be kept for all pods of its account."""
        if account is None or (self.token is not None and self.token.is_kept_by_token):
            return
        if any(auth.password == account.token for auth in (response.auth or {}).values()):
            raise CredentialsUnavailable(
                "credential provider plugin returned the service account token as the password which is not allowed "
                "when service account cache type is not set to 'Token'"
            )


def _registry(repository: str) -> str:
    return repository.partition("/")[0]
