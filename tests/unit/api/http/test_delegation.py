"""Which group versions are delegated, and the order of groups and versions."""

import subprocess
import sys

import msgspec
import pytest
from fakes.aggregated import api_service

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.http.aggregation.aggregation import Aggregation
from kubelite.api.http.delegation import Delegation, registration_of
from kubelite.api.http.request import parse
from kubelite.api.kinds.apiregistration import APIService

LOCAL = [("apiregistration.k8s.io", False), ("", False), ("apps", False), ("batch", False)]


def local(group: str, version: str, priority: int, of_version: int = 15) -> APIService:
    value = {
        "metadata": {"name": f"{version}.{group}"},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": priority,
            "versionPriority": of_version,
        },
    }
    return msgspec.convert(value, APIService)


def never() -> Aggregation:
    raise AssertionError("nothing is delegated")


def following(*registered: APIService) -> tuple[Delegation, FixedLookup]:
    lookup = FixedLookup(registered)
    delegation = Delegation(lookup)
    delegation.follow(never)
    return delegation, lookup


def order(delegation: Delegation, served: list[tuple[str, bool]]) -> list[str]:
    keys = delegation.priorities(served)
    return sorted(keys, key=lambda name: keys[name])


def test_groups_follow_the_priorities_of_their_api_services() -> None:
    served = [*LOCAL, ("b.example.com", True), ("a.example.com", True)]
    unregistered = [name for name, _ in LOCAL] + ["a.example.com", "b.example.com"]
    delegation, lookup = following()
    assert order(delegation, served) == unregistered
    for name, priority in (("apps", 17800), ("batch", 17400), ("", 18000)):
        lookup.put(local(name, "v1", priority))
    assert order(delegation, served) == [
        *("apiregistration.k8s.io", "", "apps", "batch"),
        *("a.example.com", "b.example.com"),
    ]
    lookup.put(local("nobody.example.com", "v1", 1500))
    lookup.put(local("b.example.com", "v1beta1", 1000))
    lookup.put(local("b.example.com", "v1", 19000))  # the highest of its versions counts
    assert order(delegation, served) == [
        *("apiregistration.k8s.io", "b.example.com", "", "apps", "batch"),
        *("nobody.example.com", "a.example.com"),
    ]


def test_versions_follow_their_priorities_then_their_names() -> None:
    versions = {"v1": 15, "v2": 15, "v2beta1": 15, "v1alpha1": 20, "odd": 15}
    delegation, _ = following(*(local("a", name, 1, of) for name, of in versions.items()))
    found = [one.version for one in delegation.registered("a")]
    assert found == ["v1alpha1", "v2", "v1", "v2beta1", "odd"]


def test_only_what_matters_here_is_a_change() -> None:
    delegation, lookup = following(local("a", "v1", 1000))
    generation = delegation.generation
    status = {"conditions": [{"type": "Available", "status": "True"}]}
    plain = msgspec.to_builtins(local("a", "v1", 1000))
    lookup.put(msgspec.convert({**plain, "status": status}, APIService))
    assert delegation.generation == generation
    lookup.put(local("a", "v1", 1001))
    assert delegation.generation == generation + 1
    lookup.remove(APIService, "v1.a")
    assert delegation.generation == generation + 2
    assert not delegation.groups()


class Silent(Aggregation):
    """Follows nothing."""

    def __init__(self) -> None:
        self.changes = 0

    def changed(self, old: object, new: object) -> None:
        self.changes += 1


@pytest.mark.parametrize(
    ("path", "is_found"),
    [
        ("/apis/things.example.com/v1/things", True),
        ("/apis/things.example.com/v1/namespaces/a/things/b/status", True),
        ("/apis/things.example.com/v1", True),
        ("/apis/things.example.com/v1/", True),
        ("/apis/things.example.com/v2/things", False),
        ("/apis/things.example.com", False),
        ("/apis", False),
        ("/openapi/v3/apis/things.example.com/v1", False),
        ("/api/v1/pods", False),
    ],
)
def test_the_requests_of_a_delegated_version(path: str, is_found: bool) -> None:
    delegation = Delegation(FixedLookup([api_service()]))
    delegation.follow(Silent)
    found = delegation.find(parse("GET", path))
    assert (found == registration_of(api_service())) is is_found


def test_aggregation_is_made_once_and_told_of_what_concerns_it() -> None:
    lookup = FixedLookup([local("a", "v1", 1000)])
    delegation = Delegation(lookup)
    delegation.follow(Silent)
    assert delegation.aggregation is None
    lookup.put(api_service())
    first = delegation.aggregation
    assert isinstance(first, Silent)
    lookup.put(local("b", "v1", 1000))
    lookup.put(local("things.example.com", "v1", 1000))  # it comes back to this server
    lookup.put(api_service("x", "v2"))
    assert delegation.aggregation is first
    assert first.changes == 3
    assert delegation.remote.keys() == {("x", "v2")}


def test_nothing_is_imported_while_nothing_is_delegated() -> None:
    program = (
        "import sys, kubelite.server; print([m for m in sys.modules if 'http.aggregation' in m])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
