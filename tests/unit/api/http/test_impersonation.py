"""Acting as somebody else."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.errors import Forbidden, InternalError
from kubelite.api.http.impersonation import impersonated

ADMIN = Caller(user="admin")


class Recorder:
    """Allows all but one resource, and remembers what was asked."""

    def __init__(self, denied: str = "") -> None:
        self.denied = denied
        self.asked: list[Attributes] = []

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        self.asked.append(attributes)
        if attributes.resource == self.denied:
            raise Forbidden("no")
        return Allowed(caller, attributes)


def act(recorder: Recorder, *headers: tuple[str, str]) -> Caller:
    return impersonated(ADMIN, CIMultiDictProxy(CIMultiDict(headers)), recorder, "/api")


def test_without_headers_a_caller_is_itself() -> None:
    recorder = Recorder()
    assert act(recorder, ("Accept", "*/*")) is ADMIN
    assert not recorder.asked


def test_every_part_is_authorized() -> None:
    recorder = Recorder()
    caller = act(
        recorder,
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "u1"),
        ("Impersonate-Extra-Scopes%2fx", "view"),
    )
    assert caller == Caller(
        user="jane",
        groups=("dev", "ops", "system:authenticated"),
        uid="u1",
        extra={"scopes/x": ("view",)},
    )
    assert [
        (one.verb, one.group, one.resource, one.subresource, one.name) for one in recorder.asked
    ] == [
        ("impersonate", "", "users", "", "jane"),
        ("impersonate", "", "groups", "", "dev"),
        ("impersonate", "", "groups", "", "ops"),
        ("impersonate", "authentication.k8s.io", "uids", "", "u1"),
        ("impersonate", "authentication.k8s.io", "userextras", "scopes/x", "view"),
    ]


def test_service_accounts_bring_their_groups() -> None:
    recorder = Recorder()
    caller = act(recorder, ("Impersonate-User", "system:serviceaccount:ns:robot"))
    assert caller.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ns",
        "system:authenticated",
    )
    assert (recorder.asked[0].resource, recorder.asked[0].namespace) == ("serviceaccounts", "ns")


def test_anonymous_stays_unauthenticated() -> None:
    assert act(Recorder(), ("Impersonate-User", "system:anonymous")).groups == (
        "system:unauthenticated",
    )


def test_refusals() -> None:
    with pytest.raises(Forbidden):
        act(Recorder("groups"), ("Impersonate-User", "a"), ("Impersonate-Group", "b"))
    with pytest.raises(InternalError, match="without impersonating a user"):
        act(Recorder(), ("Impersonate-Group", "b"))
