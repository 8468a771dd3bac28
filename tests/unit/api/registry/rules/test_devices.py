"""Rules of device classes, resource claims and their templates."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import devices
from kubelite.limits import SELECTOR_COST, SELECTOR_LENGTH

LONG_LOOP = "[1,2,3,4,5,6,7,8,9,10]"


def claim(*requests: Any, **devices_fields: Any) -> dict[str, Any]:
    return {"spec": {"devices": {"requests": list(requests), **devices_fields}}}


def exactly(name: str = "gpu", **fields: Any) -> dict[str, Any]:
    return {"name": name, "exactly": wanted(**fields)}


def wanted(**fields: Any) -> dict[str, Any]:
    return {
        "deviceClassName": "gpu.x.io",
        "allocationMode": "ExactCount",
        "count": 1,
        **fields,
    }


def selector(expression: str) -> dict[str, Any]:
    return {"cel": {"expression": expression}}


REQUEST = "spec.devices.requests[0]"
BAD_NAME = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)


def test_a_valid_claim_class_and_template_have_no_causes() -> None:
    request = exactly(selectors=[selector("device.driver == 'x.io'")])
    choice = {
        "name": "any",
        "firstAvailable": [{"name": "a", **wanted()}, {"name": "b", **wanted()}],
    }
    settings = {"requests": ["gpu", "any/b"], "opaque": {"driver": "x.io", "parameters": {"a": 1}}}
    alike = {"requests": ["gpu"], "matchAttribute": "x.io/model"}
    good = claim(request, choice, config=[settings], constraints=[alike])
    assert lines(devices.resource_claim(good)) == []
    template = {"spec": {"metadata": {"labels": {"a": "b"}}, "spec": good["spec"]}}
    assert lines(devices.resource_claim_template(template)) == []
    class_ = {
        "spec": {
            "selectors": [selector("device.attributes['x.io'].fast")],
            "config": [{"opaque": settings["opaque"]}],
            "extendedResourceName": "x.io/gpu",
        }
    }
    assert lines(devices.device_class(class_)) == []


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"name": "g"}, f"{REQUEST}: Required value: exactly one of `exactly` or `firstAvailable` is required"),
        ({**exactly(), "firstAvailable": [{"name": "a", **wanted()}]},
         (f"{REQUEST}: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, "
         "but multiple fields are set")),
        (exactly("A b"), f'{REQUEST}.name: Invalid value: "A b": {BAD_NAME}'),
        (exactly(deviceClassName=""), f"{REQUEST}.exactly.deviceClassName: Required value"),
        (exactly(count=0), f"{REQUEST}.exactly.count: Invalid value: 0: must be greater than zero"),
        (exactly(allocationMode="All"),
         f"{REQUEST}.exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'"),
        (exactly(allocationMode="Some"),
         f'{REQUEST}.exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"'),
        (exactly(selectors=[{}]), f"{REQUEST}.exactly.selectors[0].cel: Required value"),
        (exactly(selectors=[selector("true")] * 33),
         f"{REQUEST}.exactly.selectors: Too many: 33: must have at most 32 items"),
        (exactly(tolerations=[{"operator": "Exists", "value": "x"}]),
         f'{REQUEST}.exactly.tolerations[0].value: Invalid value: "x": must be empty for operator `Exists`'),
        (exactly(tolerations=[{"operator": "Exists", "effect": "Never"}]),
         (f'{REQUEST}.exactly.tolerations[0].effect: Unsupported value: "Never": supported values: '
         '"NoExecute", "NoSchedule", "None"')),
        ({"name": "g", "firstAvailable": [{"name": "a", **wanted()}, {"name": "a", **wanted()}]},
         f'{REQUEST}.firstAvailable[1]: Duplicate value: "a"'),
        ({"name": "g", "firstAvailable": [{"name": f"a{n}", **wanted()} for n in range(9)]},
         f"{REQUEST}.firstAvailable: Too many: 9: must have at most 8 items"),
    ],
)  # fmt: skip
def test_requests(request_: dict[str, Any], expected: str) -> None:
    assert lines(devices.resource_claim(claim(request_))) == [expected]


def test_too_many_requests_are_not_visited() -> None:
    found = devices.resource_claim(claim(*[{}] * 33))
    assert lines(found) == ["spec.devices.requests: Too many: 33: must have at most 32 items"]


def test_duplicate_requests() -> None:
    found = devices.resource_claim(claim(exactly(), exactly()))
    assert lines(found) == ['spec.devices.requests[1]: Duplicate value: "gpu"']


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("gpu", True), ("any", True), ("any/a", True), ("any/b", False), ("gpu/a", False),
     ("none", False), ("any/a/c", False)],
)  # fmt: skip
def test_settings_are_about_requests_of_the_claim(name: str, is_known: bool) -> None:
    choice = {"name": "any", "firstAvailable": [{"name": "a", **wanted()}]}
    alike = {"requests": [name], "matchAttribute": "x.io/model"}
    found = devices.resource_claim(claim(exactly(), choice, constraints=[alike]))
    path = "spec.devices.constraints[0].requests[0]"
    assert lines(found) == ([] if is_known else [f'{path}: Invalid value: "{name}": {REFERENCE}'])


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ({}, ('Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, '
             "but multiple fields are set")),
        ({"matchAttribute": "model"},
         'Invalid value: "model": a fully qualified name must be a domain and a name separated by a slash'),
        ({"distinctAttribute": "/model"}, 'Invalid value: "": the domain must not be empty'),
        ({"matchAttribute": "x.io/"}, 'Invalid value: "": the name must not be empty'),
        ({"matchAttribute": "x.io/" + "a" * 33}, "Too long: may not be more than 32 bytes"),
    ],
)  # fmt: skip
def test_constraints(constraint: dict[str, Any], expected: str) -> None:
    found = devices.resource_claim(claim(exactly(), constraints=[constraint]))
    assert [cause.message for cause in found] == [expected]


@pytest.mark.parametrize(
    ("opaque", "expected"),
    [
        (None, ["spec.config[0].opaque: Required value"]),
        ({"driver": "x.io"}, ["spec.config[0].opaque.parameters: Required value"]),
        ({"driver": "", "parameters": {}}, ["spec.config[0].opaque.driver: Required value"]),
        ({"driver": "X.io", "parameters": {}}, []),
        ({"driver": "x.io", "parameters": {"a": "b" * 10240}},
         ["spec.config[0].opaque.parameters: Too long: may not be more than 10240 bytes"]),
        ({"driver": "x.io", "parameters": [1]},
         ['spec.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object']),
    ],
)  # fmt: skip
def test_settings_of_drivers(opaque: Any, expected: list[str]) -> None:
    class_ = {"spec": {"config": [{} if opaque is None else {"opaque": opaque}]}}
    assert lines(devices.device_class(class_)) == expected


def test_settings_that_stay_may_be_longer_than_new_ones() -> None:
    opaque = {"driver": "x.io", "parameters": {"a": "b" * 10240}}
    class_ = {"spec": {"config": [{"opaque": opaque}]}}
    assert lines(devices.device_class_update(class_, class_)) == []
    more = changed(class_, "spec.config.0.opaque.driver", "y.io")
    assert len(devices.device_class_update(more, class_)) == 1


def test_extended_resource_names() -> None:
    for name in ("cpu", "kubernetes.io/gpu", "requests.x.io/gpu"):
        found = devices.device_class({"spec": {"extendedResourceName": name}})
        problem = "must be a valid extended resource name"
        assert lines(found) == [f'spec.extendedResourceName: Invalid value: "{name}": {problem}']


@pytest.mark.parametrize(
    ("expression", "beginning"),
    [
        ("", 'Invalid value: "": compilation failed: ERROR: <input>:1:1: Syntax error: '),
        ("?!", 'Invalid value: "?!": compilation failed: ERROR: <input>:1:1: Syntax error: '),
        ("1", 'Invalid value: "1": must evaluate to bool or the unknown type, not int'),
        ("device.nope",
         'Invalid value: "device.nope": compilation failed: ERROR: <input>:1:7: undefined field \'nope\''),
        ("object.a",
         'Invalid value: "object.a": compilation failed: ERROR: <input>:1:1: undeclared reference'),
        ((f"{LONG_LOOP}.all(a, {LONG_LOOP}.all(b, {LONG_LOOP}.all(c, {LONG_LOOP}.all(d, "
         f"{LONG_LOOP}.all(e, {LONG_LOOP}.all(f, a + b + c + d + e + f > 0))))))"),
         "Forbidden: too complex, exceeds cost limit"),
        ("'" + "x" * 10240 + "' == ''", "Too long: may not be more than 10240 bytes"),
    ],
)  # fmt: skip
def test_selectors_that_are_refused(expression: str, beginning: str) -> None:
    class_found = devices.device_class({"spec": {"selectors": [selector(expression)]}})
    claim_found = devices.resource_claim(claim(exactly(selectors=[selector(expression)])))
    for found, path in (
        (class_found, "spec.selectors[0].cel.expression"),
        (claim_found, f"{REQUEST}.exactly.selectors[0].cel.expression"),
    ):
        assert [cause.path for cause in found] == [path]
        assert found[0].message.startswith(beginning)


def test_selectors_past_their_limits_are_counted() -> None:
    before = SELECTOR_LENGTH.times_reached, SELECTOR_COST.times_reached
    test_selectors_that_are_refused("'" + "x" * 10240 + "' == ''", "Too long")
    after = SELECTOR_LENGTH.times_reached, SELECTOR_COST.times_reached
    assert after == (before[0] + 2, before[1])


def test_the_spec_of_a_claim_is_immutable() -> None:
    assert len(devices.fixed_spec({"spec": {"a": 1}}, {"spec": {"a": 2}})) == 1
