"""Authorization checks, over an authorizer that writes down what it is asked."""

from collections.abc import Callable

import pytest

from kubelite.cel.libraries import authz
from kubelite.cel.libraries.authz import Answer, Authorizer, AuthorizerValue, ResourceRequest
from kubelite.cel.values import EvaluationFailed


class Recorder:
    """Allows to get, and remembers the questions."""

    def __init__(self, user: str = "admin") -> None:
        self.user = user
        self.asked: list[object] = []

    def may_request(self, request: ResourceRequest, verb: str) -> Answer:
        """Allow to get."""
        self.asked.append((request, verb))
        return Answer(verb == "get", "because", "" if verb != "fail" else "broken")

    def may_visit(self, path: str, verb: str) -> Answer:
        """Allow to get."""
        self.asked.append((path, verb))
        return Answer(verb == "get")

    def of_service_account(self, namespace: str, name: str) -> Authorizer:
        """Return another that remembers."""
        return Recorder(f"system:serviceaccount:{namespace}:{name}")


def member(name: str) -> Callable[..., object]:
    (function,) = (each for each in authz.LIBRARY.functions if each.name == name)
    return function.overloads[-1].call


def test_a_resource_is_described_part_by_part() -> None:
    recorder = Recorder()
    check: object = authz.check_resource(
        authz.check_group(AuthorizerValue(recorder), "apps"), "deployments"
    )
    for part, text in (
        ("subresource", "scale"),
        ("namespace", "test"),
        ("name", "backend"),
        ("fieldSelector", "metadata.name=x"),
        ("labelSelector", "app=x"),
    ):
        check = member(part)(check, text)
    decision = member("check")(check, "get")
    request = ResourceRequest(
        group="apps",
        resource="deployments",
        subresource="scale",
        namespace="test",
        name="backend",
        field_selector="metadata.name=x",
        label_selector="app=x",
    )
    assert recorder.asked == [(request, "get")]
    assert member("allowed")(decision) is True
    assert member("reason")(decision) == "because"
    assert (member("errored")(decision), member("error")(decision)) == (False, "")


def test_paths_and_service_accounts() -> None:
    recorder = Recorder()
    path = authz.check_path(AuthorizerValue(recorder), "/healthz")
    assert not authz.decide_path(path, "post").answer.allowed
    account = authz.of_service_account(AuthorizerValue(recorder), "default", "builder").authorizer
    assert isinstance(account, Recorder)
    assert account.user == "system:serviceaccount:default:builder"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda value: authz.check_path(value, "  "), "path must not be empty"),
        (
            lambda value: authz.check_resource(authz.check_group(value, ""), " "),
            "resource must not be empty",
        ),
        (
            lambda value: authz.of_service_account(value, "default", "a@b"),
            "Invalid service account name",
        ),
        (
            lambda value: authz.of_service_account(value, "a.b", "c"),
            "Invalid service account namespace",
        ),
    ],
)
def test_what_is_refused(call: Callable[[AuthorizerValue], object], message: str) -> None:
    with pytest.raises(EvaluationFailed) as failure:
        call(AuthorizerValue(Recorder()))
    assert failure.value.text == message


def test_costs() -> None:
    (check,) = (each for each in authz.LIBRARY.functions if each.name == "check")
    (selector,) = (each for each in authz.LIBRARY.functions if each.name == "labelSelector")
    assert check.overloads[0].cost is not None
    assert selector.overloads[0].cost is not None
    assert check.overloads[0].cost((), None) == 350_000
    assert selector.overloads[0].cost((None, "app=example"), None) == 10 + 2 + 300
