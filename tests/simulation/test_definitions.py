"""Definitions of custom resources in a whole cluster: names, conditions, restarts."""

from typing import Any

from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated


def body(plural: str, kind: str) -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    return {
        "metadata": {"name": f"{plural}.example.com", "namespace": ""},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [version],
        },
    }


def conditions(cluster: SimulatedCluster) -> dict[str, dict[str, str]]:
    """Return the reasons of all conditions by definition and type."""
    return {
        one.metadata.name.partition(".")[0]: {
            each.type: each.reason for each in one.status.conditions
        }
        for one in cluster.all(CustomResourceDefinition)
    }


ESTABLISHED = {"NamesAccepted": "NoConflicts", "Established": "InitialNamesAccepted"}
REFUSED = {"NamesAccepted": "ListKindConflict", "Established": "NotAccepted"}


async def story() -> None:
    async with SimulatedCluster(7) as cluster:
        await cluster.create(CustomResourceDefinition, body("firsts", "Same"))
        await cluster.create(CustomResourceDefinition, body("seconds", "Same"))
        wanted = {"firsts": ESTABLISHED, "seconds": REFUSED}
        await cluster.until(lambda: conditions(cluster) == wanted)
        (first, _) = cluster.all(CustomResourceDefinition)
        assert first.metadata.generation == 1
        assert first.status.acceptedNames == first.spec.names
        assert first.status.storedVersions == ["v1"]
        await cluster.restart()
        await cluster.until(lambda: conditions(cluster) == wanted)
        (again, _) = cluster.all(CustomResourceDefinition)
        assert again.metadata.resourceVersion == first.metadata.resourceVersion
        await cluster.client.delete(CustomResourceDefinition, "firsts.example.com")
        await cluster.until(lambda: conditions(cluster) == {"seconds": ESTABLISHED})


def test_names_are_kept_by_the_first_over_restarts() -> None:
    run_simulated(7, story)
