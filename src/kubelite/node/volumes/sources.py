"""Reads the files of configMap, secret, downwardAPI and projected volumes from the API."""

import base64
import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound, is_no_answer
from kubelite.api.kinds.authentication import (
    BoundObjectReference,
    TokenRequest,
    TokenRequestSpec,
)
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import KeyToPath
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.core.volumes import (
    DownwardAPIVolumeFile,
    ProjectedVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.clock import Clock
from kubelite.limits import POD_FILES
from kubelite.log import Complaint
from kubelite.node.environment import (
    ConfigUnavailable,
    Surroundings,
    field_value,
    resource_value,
)
from kubelite.node.pod_config import PodConfig
from kubelite.node.volumes.atomic_writer import File

log = logging.getLogger(__name__)

DEFAULT_MODE = 0o644
TOKEN_SECONDS = 3600
TOKENS_LIMIT = 10_000
TOKEN_RENEW_PART = 0.8  # part of its lifetime after which a token is renewed
TOKEN_AGE_MAX = timedelta(hours=24)
TOKEN_RETRY = timedelta(seconds=10)  # after which a failed renewal is retried


class _Token(Struct, frozen=True):
    text: str
    renew_at: datetime
    expires_at: datetime


class FileBudget:
    """The bytes left for the files of one pod, POD_FILES in all."""

    def __init__(self) -> None:
        self._left_bytes = POD_FILES.value

    def charge(self, files: Iterable[File]) -> None:
        """Charge files to the budget. Raises ConfigUnavailable if it is exceeded."""
        for file in files:
            self._left_bytes -= len(file.data)
            if self._left_bytes < 0:
                POD_FILES.reached()
                raise ConfigUnavailable(
                    f"the files of the pod's volumes are more than {POD_FILES.value} bytes"
                )


class VolumeContent:
    """Reads the content of volumes from the API; tokens are cached, and renewed after TOKEN_RENEW_PART."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.reads = PodConfig(client)
        self._complaint = Complaint()
        self._tokens: dict[tuple[str, str, str, int], _Token] = {}
        self._renewals: dict[
            str, datetime
        ] = {}  # by pod uid: when its first token is due for renewal

    def begin(self, pod_uid: str) -> None:
        """Start a round of reading a pod's volumes: reset `renew_at`."""
        self._renewals.pop(pod_uid, None)

    def renew_at(self, pod_uid: str) -> datetime | None:
        """Return when the first token read since `begin` is due for renewal; None without tokens."""
        return self._renewals.get(pod_uid)

    async def files(
        self, pod: Pod, volume: Volume, around: Surroundings, budget: FileBudget
    ) -> dict[str, File] | None:
        """Return a volume's files by relative path; None for another type. Raises ConfigUnavailable and APIError."""
        if volume.projected is not None:
            return await self._projected(pod, volume.projected, around, budget)
        files = await self._of_one_source(pod, volume, around)
        budget.charge((files or {}).values())
        return files

    async def _of_one_source(
        self, pod: Pod, volume: Volume, around: Surroundings
    ) -> dict[str, File] | None:
        if (config := volume.configMap) is not None:
            mode = _mode(config.defaultMode)
            return await self._config_map(
                pod, config.name, config.items, mode, optional=bool(config.optional)
            )
        if (secret := volume.secret) is not None:
            mode = _mode(secret.defaultMode)
            return await self._secret(
                pod, secret.secretName, secret.items, mode, optional=bool(secret.optional)
            )
        if (downward := volume.downwardAPI) is not None:
            return _downward(pod, downward.items, _mode(downward.defaultMode), around)
        return None

    def forget(self, pod_uid: str) -> None:
        """Drop the cached tokens of a pod, and what was kept for it."""
        self.reads.forget(pod_uid)
        self._renewals.pop(pod_uid, None)
        for key in [key for key in self._tokens if key[0] == pod_uid]:
            del self._tokens[key]

    async def _config_map(
        self, pod: Pod, name: str, items: Sequence[KeyToPath], mode: int, *, optional: bool
    ) -> dict[str, File]:
        try:
            found = await self.reads.get(pod, ConfigMap, name)
        except NotFound as error:
            if optional:
                return {}
            raise ConfigUnavailable(f'configmap "{name}" not found') from error
        data = {key: text.encode() for key, text in found.data.items()}
        data.update({key: base64.b64decode(text) for key, text in found.binaryData.items()})
        return _chosen(data, items, mode, "configmap", optional=optional)

    async def _secret(
        self, pod: Pod, name: str, items: Sequence[KeyToPath], mode: int, *, optional: bool
    ) -> dict[str, File]:
        try:
            found = await self.reads.get(pod, Secret, name)
        except NotFound as error:
            if optional:
                return {}
            raise ConfigUnavailable(f'secret "{name}" not found') from error
        data = {key: base64.b64decode(text) for key, text in found.data.items()}
        return _chosen(data, items, mode, "secret", optional=optional)

    async def _projected(
        self,
        pod: Pod,
        projected: ProjectedVolumeSource,
        around: Surroundings,
        budget: FileBudget,
    ) -> dict[str, File]:
        mode = _mode(projected.defaultMode)
        files: dict[str, File] = {}
        for source in projected.sources:
            found = await self._projection(pod, source, mode, around)
            budget.charge(found.values())
            files.update(found)
        return files

    async def _projection(
        self, pod: Pod, source: VolumeProjection, mode: int, around: Surroundings
    ) -> dict[str, File]:
        if (config := source.configMap) is not None:
            return await self._config_map(
                pod, config.name, config.items, mode, optional=bool(config.optional)
            )
        if (secret := source.secret) is not None:
            return await self._secret(
                pod, secret.name, secret.items, mode, optional=bool(secret.optional)
            )
        if source.downwardAPI is not None:
            return _downward(pod, source.downwardAPI.items, mode, around)
        if (token := source.serviceAccountToken) is not None:
            return {
                token.path: File((await self._token(pod, token)).encode(), _token_mode(pod, mode))
            }
        raise ConfigUnavailable(
            "a projected volume source of this type is not supported by the node"
        )

    async def _token(self, pod: Pod, wanted: ServiceAccountTokenProjection) -> str:
        seconds = wanted.expirationSeconds or TOKEN_SECONDS
        kept = await self._current_token(pod, wanted.audience, seconds)
        due = self._renewals.get(pod.metadata.uid)
        renew_at = kept.renew_at if due is None else min(due, kept.renew_at)
        self._renewals[pod.metadata.uid] = renew_at
        return kept.text

    async def token(self, pod: Pod, audience: str, seconds: int) -> tuple[str, str]:
        """Return a token and the date at which it expires. Raises ConfigUnavailable and APIError."""
        kept = await self._current_token(pod, audience, seconds)
        return kept.text, format_time(kept.expires_at)

    async def _current_token(self, pod: Pod, audience: str, seconds: int) -> _Token:
        key = (pod.metadata.uid, pod.spec.serviceAccountName, audience, seconds)
        kept = self._tokens.get(key)
        if kept is None or self._clock.now() >= kept.renew_at:
            kept = await self._renewed(pod, audience, seconds, kept)
            if key in self._tokens or len(self._tokens) < TOKENS_LIMIT:
                self._tokens[key] = kept
        return kept

    async def _renewed(self, pod: Pod, audience: str, seconds: int, old: _Token | None) -> _Token:
        """Return a new token; if that fails, the old one, to be renewed after TOKEN_RETRY or up to twice that.

        An expired token is kept only as long as the API does not answer: it opens nothing then, but the other sources
        of its volume are shown, and the container goes on. Raises APIError and ConfigUnavailable.
        """
        now = self._clock.now()
        try:
            renewed = await self._requested(pod, audience, seconds, now)
        except (APIError, ConfigUnavailable) as error:
            is_away = isinstance(error, APIError) and is_no_answer(error)
            if old is None or (now + TOKEN_RETRY >= old.expires_at and not is_away):
                raise
            if self._complaint.is_new(str(error)):
                log.warning(
                    "cannot renew a service account token: %s",
                    error,
                    extra={"pod": f"{pod.metadata.namespace}/{pod.metadata.name}"},
                )
            # By the pod's uid, so that the tokens of many pods are not all renewed in one moment.
            share = zlib.crc32(pod.metadata.uid.encode()) / (1 << 32)
            return msgspec.structs.replace(old, renew_at=now + TOKEN_RETRY * (1 + share))
        self._complaint.ends()
        return renewed

    async def _requested(self, pod: Pod, audience: str, seconds: int, now: datetime) -> _Token:
        asked = TokenRequest(
            spec=TokenRequestSpec(
                audiences=[audience] if audience else [],
                expirationSeconds=seconds,
                boundObjectRef=BoundObjectReference(
                    apiVersion="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid
                ),
            )
        )
        account = pod.spec.serviceAccountName or "default"
        try:
            answer = await self._client.post(
                ServiceAccount, account, "token", asked, pod.metadata.namespace
            )
        except NotFound as error:
            raise ConfigUnavailable(
                f'failed to fetch token: serviceaccounts "{account}" not found'
            ) from error
        expires_at = parse_time(answer["status"]["expirationTimestamp"])
        life = min((expires_at - now) * TOKEN_RENEW_PART, TOKEN_AGE_MAX)
        return _Token(str(answer["status"]["token"]), now + life, expires_at)


def _mode(given: int | None) -> int:
    return DEFAULT_MODE if given is None else given


def _token_mode(pod: Pod, mode: int) -> int:
    """Return the file mode of a token: 0640 with an fsGroup, else `mode`, since containers may run as other users."""
    context = pod.spec.securityContext
    if context is not None and context.fsGroup is not None:
        return 0o640 | (mode & 0o600)
    return mode


def _chosen(
    data: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, kind: str, *, optional: bool
) -> dict[str, File]:
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files: dict[str, File] = {}
    for item in items:
        if item.key in data:
            files[item.path] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise ConfigUnavailable(f"{kind} references non-existent config key: {item.key}")
    return files


def _downward(
    pod: Pod, items: Sequence[DownwardAPIVolumeFile], mode: int, around: Surroundings
) -> dict[str, File]:
    files: dict[str, File] = {}
    shown: dict[str, bytes] = {}  # field values by path: long ones are encoded once for all items
    for item in items:
        if item.fieldRef is not None:
            path = item.fieldRef.fieldPath
            if path not in shown:
                shown[path] = field_value(pod, path, around).encode()
            data = shown[path]
        elif item.resourceFieldRef is not None:
            container = pod.spec.containers[0]
            data = resource_value(pod, container, item.resourceFieldRef, around).encode()
        else:
            continue
        files[item.path] = File(data, mode if item.mode is None else item.mode)
    return files
