"""Asks programs for the logins of images, as the kubelet asks its credential provider plugins.

A program reads a `CredentialProviderRequest` from its standard input, and writes a `CredentialProviderResponse` that
also says for how long and for what its logins are kept: for the image, for its registry, or for all.
Source: pkg/credentialprovider/plugin/plugin.go.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from kubelite.api.machinery.times import parse_duration
from kubelite.limits import CREDENTIAL_ANSWERS
from kubelite.node.images.credential_config import CredentialProvider
from kubelite.node.images.logins import Login, matches, place_of
from kubelite.spawn import ProgramFailed, run_program
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

PROGRAM_SECONDS = 60.0  # as the kubelet
ERRORS_SHOWN = 1_000  # characters of what a program says
GLOBAL = "<global>"


class CredentialsUnavailable(Exception):
    """A program gave no logins; `str()` says why, and holds nothing of its answer."""


class _Request(Struct):
    kind: str
    apiVersion: str  # noqa: N815 - as it is spelt in the request
    image: str


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

    def __init__(self, providers: Sequence[CredentialProvider], tasks: TaskSet) -> None:
        self._sources = [_Plugin(provider, tasks) for provider in providers]

    async def logins(self, repository: str) -> list[Login]:
        """Return the logins that the programs for a repository, written with its registry, give.

        A program that fails is logged and gives none: the image may be had without it.
        """
        found: list[Login] = []
        for plugin in self._sources:
            try:
                found += await plugin.logins(repository)
            except CredentialsUnavailable as error:
                about = {"provider": plugin.name, "image": repository, "reason": str(error)}
                log.warning("failed to provide credentials for an image", extra=about)
        return found


class _Plugin:
    def __init__(self, provider: CredentialProvider, tasks: TaskSet) -> None:
        self.name = provider.name
        self._provider = provider
        self._tasks = tasks
        self._kept: dict[str, _Kept] = {}  # by repository, registry or GLOBAL
        self._in_flight: dict[str, asyncio.Task[Sequence[Login] | CredentialsUnavailable]] = {}

    async def logins(self, repository: str) -> Sequence[Login]:
        if not any(matches(place, repository) for place in self._provider.match_images):
            return ()
        now = asyncio.get_running_loop().time()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        for key in (repository, _registry(repository), GLOBAL):
            if kept := self._kept.get(key):
                return kept.logins
        task = self._in_flight.get(repository)
        if task is None:
            name = f"credential provider {self.name}"
            task = self._tasks.start(self._outcome(repository), name=name)
            self._in_flight[repository] = task
            task.add_done_callback(lambda _: self._in_flight.pop(repository, None))
        outcome = await asyncio.shield(task)  # others may wait for it, too
        if isinstance(outcome, CredentialsUnavailable):
            raise outcome
        return outcome

    async def _outcome(self, repository: str) -> Sequence[Login] | CredentialsUnavailable:
        try:
            return self._keep(repository, await self._ask(repository))
        except CredentialsUnavailable as error:
            return error

    async def _ask(self, repository: str) -> _Response:
        provider = self._provider
        request = _Request("CredentialProviderRequest", provider.api_version, repository)
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

    def _keep(self, repository: str, response: _Response) -> Sequence[Login]:
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
            Login(place_of(where), auth.username, auth.password)
            for where, auth in (response.auth or {}).items()
        )
        if seconds > 0:
            if key not in self._kept and len(self._kept) >= CREDENTIAL_ANSWERS.value:
                CREDENTIAL_ANSWERS.reached()
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = _Kept(logins, asyncio.get_running_loop().time() + seconds)
        return logins


def _registry(repository: str) -> str:
    return repository.partition("/")[0]
