"""What is counted of webhooks and policies."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from fakes.policed import Policed
from fakes.server import Server

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import APIError
from kubelite.api.registry.admission import admission_metrics
from kubelite.api.registry.admission.policies.plugin import MutatingAdmissionPolicies
from kubelite.api.registry.admission.webhooks import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
)
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.limits import ADMISSION_METRICS
from kubelite.metrics import REGISTRY
from kubelite.offload import AtOnce

JSON = dict[str, Any]
CONFIGS, MAPS = "admissionregistration.k8s.io/v1", "v1/configmaps"
PREFIX = "apiserver_admission_"


class Answers:
    """Webhooks, each a function by its name."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], JSON]] = {}

    def uid(self) -> str:
        return "u"

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        answer = self.answers[client_config["url"].rpartition("/")[2]]()
        response = {"uid": "u", "allowed": True, **answer}
        return msgspec.json.encode(
            {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
        )


def lines(name: str) -> list[str]:
    """Return what is exposed that has a name, without the numbers of times."""
    found = REGISTRY.exposition().splitlines()
    return [
        line for line in found if f'="{name}"' in line and "_sum{" not in line and "le=" not in line
    ]


def down(code: int) -> Callable[[], JSON]:
    def answer() -> JSON:
        raise ReviewFailed("down", code)

    return answer


@pytest.fixture(name="hooks")
def hooks_() -> Answers:
    return Answers()


@pytest.fixture(name="hooked")
def hooked_server(hooks: Answers) -> Server:
    made = Server(hooks=hooks)
    authorizer = UnionAuthorizer(RBAC(made.mirrors))
    parts = (made.mirrors, made.resources, hooks, authorizer, AtOnce())
    made.admit_by(MutatingAdmissionWebhook(*parts), ValidatingAdmissionWebhook(*parts))
    return made


async def hook(server: Server, name: str, kind: str = "validating", **fields: Any) -> None:
    rule = {
        "operations": ["*"],
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": ["configmaps"],
    }
    webhook = {
        "name": f"{name}.x.io",
        "clientConfig": {"url": f"https://x.io/{name}"},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }
    config = {"metadata": {"name": name}, "webhooks": [webhook]}
    await server.create(f"{CONFIGS}/{kind}webhookconfigurations", config)


CONFIG_MAP = {"metadata": {"name": "a"}, "data": {"a": "1"}}


def call(name: str, step: str, code: int, rejected: str) -> list[str]:
    labels = f'name="{name}.x.io",type="{step}",operation="CREATE"'
    return [
        f'{PREFIX}webhook_admission_duration_seconds_count{{{labels},rejected="{rejected}"}} 1',
        f'{PREFIX}webhook_request_total{{{labels},code="{code}",rejected="{rejected}"}} 1',
    ]


def rejection(name: str, step: str, error: str, code: int) -> str:
    labels = f'name="{name}.x.io",type="{step}",operation="CREATE",error_type="{error}"'
    return f'{PREFIX}webhook_rejection_count{{{labels},rejection_code="{code}"}} 1'


@pytest.mark.parametrize(("kind", "step"), [("validating", "validating"), ("mutating", "admit")])
@pytest.mark.parametrize(
    ("case", "answer", "policy", "code", "rejected", "error", "rejection_code"),
    [
        ("ok", dict, "Fail", 200, "false", "", 0),
        ("no", lambda: {"allowed": False}, "Fail", 400, "true", "no_error", 400),
        ("code", lambda: {"allowed": False, "status": {"code": 418}}, "Fail", 418, "true", "no_error", 418),
        ("down", down(503), "Fail", 503, "true", "calling_webhook_error", 503),
        ("http", down(500), "Fail", 500, "true", "calling_webhook_error", 500),
        ("odd", down(9999), "Fail", 600, "true", "calling_webhook_error", 600),
        ("uid", lambda: {"uid": "x"}, "Fail", 503, "true", "calling_webhook_error", 503),
        ("open", down(503), "Ignore", 503, "false", "", 0),
    ],
)  # fmt: skip
async def test_calls_of_webhooks(
    hooked: Server, hooks: Answers, kind: str, step: str, case: str, answer: Any, policy: str,
    code: int, rejected: str, error: str, rejection_code: int,
) -> None:  # fmt: skip
    name = f"{case}-{step}"
    hooks.answers[name] = answer
    await hook(hooked, name, kind, failurePolicy=policy)
    if rejected == "true":
        with pytest.raises(APIError):
            await hooked.create(MAPS, CONFIG_MAP)
    else:
        await hooked.create(MAPS, CONFIG_MAP)
    expected = call(name, step, code, rejected)
    if error:
        expected.append(rejection(name, step, error, rejection_code))
    if case == "open":
        labels = f'name="{name}.x.io",type="{step}"'
        expected.append(f"{PREFIX}webhook_fail_open_count{{{labels}}} 1")
    assert sorted(lines(f"{name}.x.io")) == sorted(expected)


async def test_what_the_server_cannot_do_with_an_answer(hooked: Server, hooks: Answers) -> None:
    hooks.answers["bad"] = lambda: {"patchType": "JSONPatch", "patch": "bm90IGpzb24="}
    await hook(hooked, "bad", "mutating")
    with pytest.raises(APIError):
        await hooked.create(MAPS, CONFIG_MAP)
    expected = [
        *call("bad", "admit", 0, "true"),
        rejection("bad", "admit", "apiserver_internal_error", 0),
    ]
    assert sorted(lines("bad.x.io")) == sorted(expected)


async def test_match_conditions_of_webhooks(hooked: Server, hooks: Answers) -> None:
    for name, expression in (("skip", "object.data.a == '2'"), ("fails", "object.data.z == '2'")):
        hooks.answers[name] = dict
        conditions = [{"name": "c", "expression": expression}]
        await hook(hooked, name, matchConditions=conditions, failurePolicy="Ignore")
    await hooked.create(MAPS, CONFIG_MAP)
    labels = 'kind="webhook",type="validating",operation="CREATE"'
    start = f"{PREFIX}match_condition"
    assert sorted(lines("skip.x.io")) == [
        f'{start}_evaluation_seconds_count{{name="skip.x.io",{labels}}} 1',
        f'{start}_exclusions_total{{name="skip.x.io",{labels}}} 1',
    ]
    assert f'{start}_evaluation_errors_total{{name="fails.x.io",{labels}}} 1' in lines("fails.x.io")


def checks(kind: str, **labels: str) -> list[str]:
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
    start = f"apiserver_{kind}_admission_policy_check"
    return [f"{start}_duration_seconds_count{{{shown}}} 1", f"{start}_total{{{shown}}} 1"]


@pytest.mark.parametrize(
    ("name", "expression", "failure_policy", "error", "actions"),
    [
        ("denies", "false", "Fail", "invalid_error", ("Deny",)),
        ("tells", "false", "Fail", "invalid_error", ("Warn", "Audit")),
        ("errs", "object.data.z == '1'", "Fail", "invalid_error", ("Deny",)),
        ("lets", "object.data.z == '1'", "Ignore", "invalid_error", ("Deny",)),
        ("holds", "true", "Fail", "", ("Deny",)),
    ],
)
async def test_checks_of_validating_policies(
    name: str, expression: str, failure_policy: str, error: str, actions: tuple[str, ...]
) -> None:
    server = Policed()
    await server.create("v1/namespaces", {"metadata": {"name": "default"}})
    await server.policy(expression, name=name, failurePolicy=failure_policy)
    await server.bind(*actions, policy=name, name=name)
    if actions == ("Deny",) and error and failure_policy == "Fail":
        with pytest.raises(APIError):
            await server.create(MAPS, CONFIG_MAP)
    else:
        await server.create(MAPS, CONFIG_MAP)
    led_to = ["allow"] if failure_policy == "Ignore" else [each.lower() for each in actions]
    expected = [
        line
        for action in led_to
        for line in checks(
            "validating", policy=name, policy_binding=name, error_type=error,
            enforcement_action=action,
        )
    ]  # fmt: skip
    assert sorted(lines(name)) == (sorted(expected) if error else [])


async def test_checks_of_mutating_policies() -> None:
    server = Server()
    authorizer = UnionAuthorizer(RBAC(server.mirrors))
    parts = (server.mirrors, server.resources, authorizer, server.mirrors, AtOnce())
    server.admit_by(MutatingAdmissionPolicies(*parts))
    await server.create("v1/namespaces", {"metadata": {"name": "default"}})
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": ["configmaps"],
    }
    for name, value in (("mutates", "'x'"), ("stumbles", "object.data.z")):
        change = f"Object{{metadata: Object.metadata{{labels: {{'a': string({value})}}}}}}"
        spec = {
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule]},
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}
            ],
        }
        body = {"metadata": {"name": name}, "spec": spec}
        await server.create(f"{CONFIGS}/mutatingadmissionpolicies", body)
        binding = {"metadata": {"name": name}, "spec": {"policyName": name}}
        await server.create(f"{CONFIGS}/mutatingadmissionpolicybindings", binding)
    await server.create(MAPS, CONFIG_MAP)
    for name, error in (("mutates", "no_error"), ("stumbles", "invalid_error")):
        expected = checks("mutating", policy=name, policy_binding=name, error_type=error)
        assert sorted(lines(name)) == sorted(expected)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("compilation error: compilation failed: ERROR", "compile_error"),
        ("compilation failed: ERROR", "compile_error"),
        ("validation failed due to running out of cost budget, no further", "out_of_budget"),
        ("failed expression: compilation", "invalid_error"),
    ],
)
def test_types_of_errors(message: str, error: str) -> None:
    assert admission_metrics.error_type(message) == error


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_metrics, "_named", set())
    monkeypatch.setattr(ADMISSION_METRICS, "value", 2)
    before = ADMISSION_METRICS.times_reached
    assert admission_metrics.label("a") == ("a",)
    assert admission_metrics.label("p", "b") == ("p", "b")
    assert admission_metrics.label("c") == ("other",)
    assert admission_metrics.label("p", "c") == ("other", "other")
    assert admission_metrics.label("a") == ("a",)
    assert ADMISSION_METRICS.times_reached == before + 2


def test_nothing_is_made_before_a_webhook_or_policy_is_asked() -> None:
    text = (
        "import sys, kubelite.api.registry.admission.builtin;"
        "print('kubelite.api.registry.admission.admission_metrics' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
