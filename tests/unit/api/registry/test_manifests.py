"""Pods that no API server has seen."""

from typing import Any

import pytest

from kubelite.api.registry.manifests import UnusableManifest, complete_pod


def body(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "a"}]
    metadata = {"name": "p", "namespace": "default"}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def test_defaults_are_filled_in() -> None:
    pod = complete_pod(body())
    assert pod.spec.restartPolicy == "Always"
    assert pod.spec.containers[0].imagePullPolicy == "Always"
    assert pod.spec.terminationGracePeriodSeconds == 30
    assert (pod.status.phase, pod.status.qosClass) == ("Pending", "BestEffort")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": "x"}, "couldn't parse as pod"),
        ({"restartPolicy": "x", "hostname": "_"}, "spec.restartPolicy: .*spec.hostname: "),
        ({"serviceAccountName": "s"}, "static pods may not reference serviceaccounts"),
        ({"imagePullSecrets": [{"name": "s"}]}, "static pods may not reference secrets"),
        (
            {"volumes": [{"name": "v", "configMap": {"name": "c"}}]},
            "static pods may not reference configmaps",
        ),
        (
            {"resourceClaims": [{"name": "r", "resourceClaimName": "c"}]},
            "static pods may not reference resourceclaims",
        ),
    ],
)
def test_what_is_invalid_or_needs_the_api_is_refused(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableManifest, match=reason):
        complete_pod(body(**spec))


def test_no_more_causes_than_one_answer_takes() -> None:
    bad = [{"name": "_", "image": ""} for _ in range(10_000)]
    with pytest.raises(UnusableManifest) as raised:
        complete_pod(body(containers=bad))
    assert len(str(raised.value)) < 1 << 20
