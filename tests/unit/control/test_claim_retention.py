import pytest
from fakes.harness import Harness

from kubelite.api.kinds.apps import (
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
)
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta, OwnerReference
from kubelite.control.claim_retention import owners_of_claim
from kubelite.control.statefulset import StatefulSetController

LABELS = {"app": "db"}


def stateful(when_deleted: str, when_scaled: str, replicas: int = 1) -> StatefulSet:
    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(
        whenDeleted=when_deleted, whenScaled=when_scaled
    )
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace="default", uid="set"),
        spec=StatefulSetSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels=LABELS),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=LABELS)),
            podManagementPolicy="Parallel",
            persistentVolumeClaimRetentionPolicy=policy,
            volumeClaimTemplates=[PersistentVolumeClaim(metadata=ObjectMeta(name="data"))],
        ),
    )


POD = Pod(metadata=ObjectMeta(name="db-0", namespace="default", uid="pod"))


def claim(*owners: OwnerReference) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(metadata=ObjectMeta(ownerReferences=list(owners)))


@pytest.mark.parametrize(
    ("policy", "is_wanted", "owners"),
    [
        (("Retain", "Retain"), False, []),
        (("Delete", "Retain"), True, ["set"]),
        (("Delete", "Retain"), False, ["set"]),
        (("Retain", "Delete"), True, []),
        (("Retain", "Delete"), False, ["pod"]),
        (("Delete", "Delete"), True, ["set"]),
        (("Delete", "Delete"), False, ["pod"]),
    ],
)
def test_who_owns_a_claim(policy: tuple[str, str], is_wanted: bool, owners: list[str]) -> None:
    for before in ("set", "pod", "nobody"):
        kinds = {"set": ("apps/v1", "StatefulSet", "db"), "pod": ("v1", "Pod", "db-0")}
        given = []
        if before in kinds:
            version, kind, name = kinds[before]
            given = [OwnerReference(apiVersion=version, kind=kind, name=name, uid=before)]
        found = owners_of_claim(claim(*given), stateful(*policy), POD, is_wanted=is_wanted)
        assert [one.uid for one in found] == owners
        assert all(one.controller for one in found)


def test_claims_of_others_are_left_to_them() -> None:
    former = OwnerReference(apiVersion="apps/v1", kind="StatefulSet", name="db", uid="former")
    other = OwnerReference(apiVersion="v1", kind="Foo", name="f", uid="f", controller=True)
    for reference in (former, other):
        one = claim(reference)
        assert owners_of_claim(one, stateful("Delete", "Delete"), POD, is_wanted=True) == [
            reference
        ]


async def test_a_claim_goes_over_to_its_pod_before_that_is_scaled_away() -> None:
    async with Harness(StatefulSetController) as harness:
        client = harness.client
        await client.create(stateful("Delete", "Delete", replicas=2))
        await harness.settle()
        owners = [one.metadata.ownerReferences for one in client.all(PersistentVolumeClaim)]
        assert [[one.kind for one in part] for part in owners] == [["StatefulSet"]] * 2
        (last,) = [one for one in client.all(Pod) if one.metadata.name == "db-1"]
        await client.patch(StatefulSet, "db", {"spec": {"replicas": 1}}, "default")
        await harness.settle()
        assert [one.metadata.name for one in client.all(Pod)] == ["db-0"]
        owners = [one.metadata.ownerReferences for one in client.all(PersistentVolumeClaim)]
        assert [part[0].kind for part in owners] == ["StatefulSet", "Pod"]
        assert owners[1][0].uid == last.metadata.uid
