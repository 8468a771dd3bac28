"""Expression rules of custom resources, from the definition to the objects."""

from typing import Any, TypeVar

import pytest
from fakes.custom_server import CRDS, define, definition, version
from fakes.server import Server

from kubelite.api.errors import Invalid
from kubelite.api.registry.options import WriteOptions
from kubelite.limits import EXPRESSION_INLINE
from kubelite.offload import FAR_FROM_INLINE

JSON = dict[str, Any]
T = TypeVar("T")
CATS = "example.com/v1/cats"
RULES = "x-kubernetes-validations"
NUMBER = {"type": "integer"}


def cats(*rules: JSON, **fields: JSON) -> JSON:
    """Return a definition whose spec has these fields and rules."""
    spec = {"type": "object", "properties": fields, RULES: list(rules)}
    return definition(version(schema={"spec": spec}))


def cat(name: str = "tom", **spec: Any) -> JSON:
    return {"metadata": {"name": name}, "spec": spec}


async def refusal(server: Server, made: JSON) -> list[str]:
    with pytest.raises(Invalid) as refused:
        await server.create(CRDS, made)
    at = "spec.validation.openAPIV3Schema.properties[spec]"
    causes = refused.value.causes
    return [f"{cause.path.removeprefix(at)}: {cause.message}" for cause in causes]


RULE = (
    'Invalid value: {{"Rule":"{}","Message":"","MessageExpression":"{}","Reason":null,'
    '"FieldPath":"","OptionalOldSelf":null}}'
)


async def test_a_rule_that_does_not_compile() -> None:
    server = Server()
    shown = RULE.format("self.b == 1", "")
    (text,) = await refusal(server, cats({"rule": "self.b == 1"}, a=NUMBER))
    assert text == (
        f".{RULES}[0].rule: {shown}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n"
        " | self.b == 1\n | ....^"
    )
    shown = RULE.format("self.a", "")
    assert await refusal(server, cats({"rule": "self.a"}, a=NUMBER)) == [
        f".{RULES}[0].rule: {shown}: cel expression must evaluate to a bool"
    ]
    shown = RULE.format("true", "self.a")
    rule = {"rule": "true", "messageExpression": "self.a"}
    assert await refusal(server, cats(rule, a=NUMBER)) == [
        f".{RULES}[0].messageExpression: {shown}: messageExpression must evaluate to a string"
    ]


async def test_old_values_must_be_known() -> None:
    server = Server()
    items = {**NUMBER, RULES: [{"rule": "self == oldSelf"}]}
    listed = {"type": "array", "items": items, "maxItems": 5}
    (text,) = await refusal(server, cats(l=listed))
    assert text == (
        f'.properties[l].items.{RULES}[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be '
        "used on the uncorrelatable portion of the schema within "
        "spec.validation.openAPIV3Schema.properties[spec].properties[l]"
    )
    rule = {"rule": "self.a > 1", "optionalOldSelf": True}
    assert await refusal(server, cats(rule, a=NUMBER)) == [
        f".{RULES}[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
    ]


LISTED = {"type": "array", "items": {"type": "string"}}


async def test_a_rule_may_not_cost_too_much() -> None:
    server = Server()
    rule = {"rule": "self.l.all(a, self.l.all(b, a != b))"}
    found = await refusal(server, cats(rule, l=LISTED))
    assert found[0].startswith(
        f".{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x "
        "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, "
        "and strings are declared)"
    )
    assert "contributed to estimated rule cost total" in found[1]
    assert "rule cost total for entire OpenAPIv3 schema exceeds budget" in found[2]
    bounded = {**LISTED, "items": {"type": "string", "maxLength": 10}, "maxItems": 10}
    await server.create(CRDS, cats(rule, l=bounded))


async def test_a_schema_with_another_fault_is_not_compiled() -> None:
    wrong = cats({"rule": "no such"}, a=NUMBER)
    del wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"]
    assert all("compilation" not in text for text in await refusal(Server(), wrong))


async def test_objects_are_checked_and_unchanged_faults_are_warned_of() -> None:
    server = Server()
    rule = {"rule": "self.a > 5", "message": "too few"}
    await define(server, cats(a=NUMBER, b=NUMBER))
    await server.create(CATS, cat(a=1))
    await define(server, cats(rule, a=NUMBER, b=NUMBER))
    with pytest.raises(Invalid, match="spec: Invalid value: too few"):
        await server.create(CATS, cat("other", a=1))
    labels = {"metadata": {"labels": {"x": "y"}}}
    allowed = server.allowed("patch", CATS, "tom")
    written = await server.verbs.patch(allowed, "merge", labels, WriteOptions())
    assert written.warnings == ("spec: Invalid value: too few",)
    with pytest.raises(Invalid, match="too few"):
        await server.patch(CATS, "tom", {"spec": {"b": 1}})


async def test_defaults_must_obey_the_rules() -> None:
    number = {**NUMBER, "default": 1, RULES: [{"rule": "self > 5"}]}
    assert await refusal(Server(), cats(a=number)) == [
        ".properties[a].default: Invalid value: 1: failed rule: self > 5"
    ]


class Counting:
    """Runs all work inline, and remembers what it was told to cost."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    async def run(self, cost_bytes: int, work: Any) -> Any:
        self.costs.append(cost_bytes)
        return work()


async def test_long_expressions_leave_the_loop() -> None:
    offload = Counting()
    server = Server(offload=offload)
    numbers = {"type": "array", "items": NUMBER, "maxItems": 1000}
    rule = {"rule": "self.l.all(a, self.l.exists(b, a == b))"}
    await define(server, cats(rule, l=numbers))
    await server.create(CATS, cat("small", l=[1, 2]))
    assert FAR_FROM_INLINE not in offload.costs
    size = EXPRESSION_INLINE.value // 100
    await server.create(CATS, cat("large", l=list(range(size))))
    assert FAR_FROM_INLINE in offload.costs


async def test_compiling_the_rules_leaves_the_loop() -> None:
    offload = Counting()
    server = Server(offload=offload)
    await define(server, cats({"rule": "self.a > 0"}, a=NUMBER))
    row = server.resources.find("example.com", "v1", "cats")
    assert row is not None
    row.shape.receive(cat(a=1))  # the schema is loaded, its rules are not
    before = row.shape.cost(100)
    await server.create(CATS, cat(a=1))
    assert row.shape.cost(100) < before
