"""ServiceAccount: gives every pod a service account and mounts its token."""

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.pod_references import MIRROR
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.registry.admission.refusal import forbidden, metadata, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.randomness import Randomness

DEFAULT = "default"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
ROOT_CA = "kube-root-ca.crt"
ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
WAIT_SECONDS = 1.5  # for the default account of a namespace just created


class ServiceAccountAdmission:
    """Completes pods and rejects Secrets that their account does not list."""

    name: ClassVar = "ServiceAccount"

    def __init__(self, lookup: Lookup, randomness: Randomness) -> None:
        self._lookup = lookup
        self._randomness = randomness

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the account and mount its token; raises Forbidden."""
        if not _is_pod_creation(request):
            return
        assert request.object is not None
        pod = spec(request.object)
        if MIRROR in (metadata(request.object).get("annotations") or {}):
            _check_mirror(request, pod)
            return
        name = pod.get("serviceAccountName") or pod.get("serviceAccount") or DEFAULT
        pod["serviceAccountName"] = pod["serviceAccount"] = name
        account = await self._account(request, name)
        if _wants_token(account, pod):
            mount_token(pod, VOLUME_PREFIX + self._randomness.suffix())
        if not pod.get("imagePullSecrets") and account.imagePullSecrets:
            pod["imagePullSecrets"] = [{"name": ref.name} for ref in account.imagePullSecrets]

    async def validate(self, request: AdmissionRequest) -> None:
        """Reject Secrets that the account does not list, if its annotation enforces that; raises Forbidden."""
        is_ephemeral = (
            request.resource.plural == "pods"
            and request.operation is Verb.UPDATE
            and request.attributes.subresource == "ephemeralcontainers"
        )
        if not (_is_pod_creation(request) or is_ephemeral):
            return
        assert request.object is not None
        pod = spec(request.object)
        if MIRROR in (metadata(request.object).get("annotations") or {}):
            _check_mirror(request, pod)
            return
        account = await self._account(request, pod.get("serviceAccountName") or DEFAULT)
        if account.metadata.annotations.get(ENFORCE_SECRETS) in TRUE and (
            problem := unlisted_secret(pod, account, ephemeral_only=is_ephemeral)
        ):
            raise forbidden(request, problem)

    async def _account(self, request: AdmissionRequest, name: str) -> ServiceAccount:
        namespace = request.attributes.namespace
        account = self._lookup.get(ServiceAccount, name, namespace)
        if account is None and name == DEFAULT:
            account = await self._awaited(namespace)
        if account is None:
            raise forbidden(
                request,
                f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found',
            )
        return account

    async def _awaited(self, namespace: str) -> ServiceAccount | None:
        """Wait until the controller has created the default account; None after `WAIT_SECONDS`."""
        made = asyncio.Event()
        end = self._lookup.follow(ServiceAccount, DEFAULT, namespace, made.set)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    account = self._lookup.get(ServiceAccount, DEFAULT, namespace)
                    if account is not None:
                        return account
                    made.clear()
                    await made.wait()
        except TimeoutError:
            return None
        finally:
            end()


def mount_token(pod: dict[str, Any], volume_name: str) -> None:
    """Add the token volume to a pod, and a mount to each container without a mount at that path."""
    volumes = pod.get("volumes") or []
    present = next((v["name"] for v in volumes if v.get("name", "").startswith(VOLUME_PREFIX)), "")
    mounted = False
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        mount = {"name": present or volume_name, "readOnly": True, "mountPath": MOUNT_PATH}
        container["volumeMounts"] = [*mounts, mount]
        mounted = True
    if mounted and not present:
        pod["volumes"] = [*volumes, {"name": volume_name, "projected": token_volume()}]


def token_volume() -> dict[str, Any]:
    """Return the projected volume with token, CA certificate and namespace."""
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 0o644,
    }


def unlisted_secret(
    pod: dict[str, Any], account: ServiceAccount, *, ephemeral_only: bool = False
) -> str:
    """Return an error text for the first Secret of a pod that its account does not list; "": none."""
    listed = {ref.name for ref in account.secrets}
    owner = account.metadata.name
    lists = "{} is not allowed because service account " + owner + " does not reference that {}"
    if ephemeral_only:
        used = _container_secrets(pod, "ephemeralContainers", "ephemeral container")
    else:
        used = _all_secrets(pod)
    for description, name in used:
        if name not in listed:
            return lists.format(description, "secret")
    pull = {ref.name for ref in account.imagePullSecrets}
    for index, ref in enumerate([] if ephemeral_only else pod.get("imagePullSecrets") or []):
        if ref.get("name") not in pull:
            return lists.format(
                f'imagePullSecrets[{index}].name="{ref.get("name")}"', "imagePullSecret"
            )
    return ""


def _all_secrets(pod: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in pod.get("volumes") or []:
        if volume.get("secret"):
            name = volume["secret"].get("secretName", "")
            yield f'volume with secret.secretName="{name}"', name
        for source in (volume.get("projected") or {}).get("sources") or []:
            if ref := source.get("secret"):
                name = ref.get("name", "")
                yield f'volume with projected secret.name="{name}"', name
    yield from _container_secrets(pod, "initContainers", "init container")
    yield from _container_secrets(pod, "containers", "container")


def _container_secrets(pod: dict[str, Any], field: str, noun: str) -> Iterator[tuple[str, str]]:
    for container in pod.get(field) or []:
        title = f"{noun} {container.get('name', '')}"
        for variable in container.get("env") or []:
            if ref := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                name = ref.get("name", "")
                yield (
                    f'{title} with envVar {variable.get("name")} referencing secret.secretName="{name}"',
                    name,
                )
        for source in container.get("envFrom") or []:
            if ref := source.get("secretRef"):
                yield (
                    f'{title} with envFrom referencing secret.secretName="{ref.get("name")}"',
                    ref.get("name", ""),
                )


def _check_mirror(request: AdmissionRequest, pod: dict[str, Any]) -> None:
    if pod.get("serviceAccountName"):
        raise forbidden(request, "a mirror pod may not reference service accounts")
    if next(_all_secrets(pod), None) or pod.get("imagePullSecrets"):
        raise forbidden(request, "a mirror pod may not reference secrets")
    for volume in pod.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if source.get("secret"):
                raise forbidden(request, "a mirror pod may not reference secrets")
            if source.get("serviceAccountToken"):
                raise forbidden(
                    request, "a mirror pod may not use ServiceAccountToken volume projections"
                )


def _wants_token(account: ServiceAccount, pod: dict[str, Any]) -> bool:
    wanted = pod.get("automountServiceAccountToken")
    wanted = account.automountServiceAccountToken if wanted is None else wanted
    return wanted is None or bool(wanted)


def _is_pod_creation(request: AdmissionRequest) -> bool:
    return (
        request.resource.plural == "pods"
        and request.resource.group == ""
        and not request.attributes.subresource
        and request.operation is Verb.CREATE
    )
