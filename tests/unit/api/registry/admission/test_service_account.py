import asyncio
from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.registry.admission import service_account as module
from kubelite.api.registry.admission.service_account import MOUNT_PATH, ServiceAccountAdmission
from kubelite.randomness import SeededRandomness


def account(name: str = "default", namespace: str = "shop", **fields: Any) -> ServiceAccount:
    meta = {"name": name, "namespace": namespace, **fields.pop("metadata", {})}
    return convert({"metadata": meta, **fields}, ServiceAccount)


def plugin(*accounts: ServiceAccount) -> ServiceAccountAdmission:
    return ServiceAccountAdmission(FixedLookup(accounts or [account()]), SeededRandomness(1))


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


async def test_default_account_and_token(ask: Any) -> None:
    spec = (await ask(plugin(), "pods", pod(initContainers=[{"name": "i"}]))).item["spec"]
    assert spec["serviceAccountName"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    sources = volume["projected"]["sources"]
    assert sources[0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert sources[1]["configMap"]["name"] == "kube-root-ca.crt"
    assert volume["projected"]["defaultMode"] == 420
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (None, False, False), (True, False, True), (False, True, False)],
)
async def test_who_wants_the_token(
    ask: Any, of_pod: bool | None, of_account: bool | None, mounted: bool
) -> None:
    asked = await ask(
        plugin(account(automountServiceAccountToken=of_account)),
        "pods",
        pod(automountServiceAccountToken=of_pod),
    )
    assert ("volumes" in asked.item["spec"]) is mounted


async def test_a_mount_of_ones_own_is_kept(ask: Any) -> None:
    own = {"name": "mine", "mountPath": MOUNT_PATH}
    spec = (
        await ask(plugin(), "pods", pod(containers=[{"name": "c", "volumeMounts": [own]}]))
    ).item["spec"]
    assert spec["containers"][0]["volumeMounts"] == [own]
    assert "volumes" not in spec


async def test_pull_secrets_come_from_the_account(ask: Any) -> None:
    secrets = plugin(account(imagePullSecrets=[{"name": "pull"}]))
    assert (await ask(secrets, "pods", pod())).item["spec"]["imagePullSecrets"] == [
        {"name": "pull"}
    ]
    own = await ask(secrets, "pods", pod(imagePullSecrets=[{"name": "own"}]))
    assert own.item["spec"]["imagePullSecrets"] == [{"name": "own"}]


async def test_account_must_exist(ask: Any) -> None:
    refused = await ask(plugin(), "pods", pod(serviceAccountName="gone"))
    assert refused.refusal == (
        'pods "p" is forbidden: error looking up service account shop/gone: serviceaccount "gone" not found'
    )


async def test_default_account_is_awaited(ask: Any) -> None:
    lookup = FixedLookup()
    admission = ServiceAccountAdmission(lookup, SeededRandomness(1))
    asking = asyncio.create_task(ask(admission, "pods", pod()))
    await asyncio.sleep(0)
    lookup.put(account("other"))
    lookup.put(account())
    assert (await asking).item["spec"]["serviceAccountName"] == "default"


async def test_default_account_that_never_comes(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0)
    admission = ServiceAccountAdmission(FixedLookup(), SeededRandomness(1))
    assert (
        "error looking up service account shop/default"
        in (await ask(admission, "pods", pod())).refusal
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            "a mirror pod may not reference secrets",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                    }
                ]
            },
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ],
)
async def test_mirror_pods(ask: Any, spec: dict[str, Any], reason: str) -> None:
    mirror = pod(**spec)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert (await ask(plugin(), "pods", mirror)).refusal == f'pods "p" is forbidden: {reason}'


async def test_listed_secrets(ask: Any) -> None:
    strict = account(
        secrets=[{"name": "known"}],
        metadata={"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
    )
    known = {"volumes": [{"name": "v", "secret": {"secretName": "known"}}]}
    assert (await ask(plugin(strict), "pods", pod(**known))).item
    other = {"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}
    refused = await ask(plugin(strict), "pods", pod(**other))
    assert 'volume with secret.secretName="other" is not allowed because' in refused.refusal
    assert (await ask(plugin(), "pods", pod(**other))).item


async def test_unlisted_secrets_are_found_wherever_a_pod_names_them(ask: Any) -> None:
    strict = account(metadata={"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}})
    from_all = {"envFrom": [{"secretRef": {"name": "other"}}]}
    one = {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]}
    projected = {"sources": [{"secret": {"name": "other"}}]}
    for used in (
        {"containers": [{"name": "c", **from_all}]},
        {"initContainers": [{"name": "c", **from_all}]},
        {"initContainers": [{"name": "c", **one}]},
        {"volumes": [{"name": "v", "projected": projected}]},
    ):
        assert (
            "does not reference that secret"
            in (await ask(plugin(strict), "pods", pod(**used))).refusal
        )
    for source in (from_all, one):
        new = pod(ephemeralContainers=[{"name": "c", **source}])
        refused = await ask(plugin(strict), "pods/ephemeralcontainers", new, old=pod())
        assert "does not reference that secret" in refused.refusal
