"""Which policies are in effect, and when they are compiled."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.admissionregistration import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec,
    Validation,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.registry.admission.policies.definitions import COMPILING_COST, Definitions
from kubelite.api.registry.admission.policies.params import Params
from kubelite.api.registry.builtin import builtin_table

Found = Definitions[ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, str]


class Gated:
    """An offload that waits until it is let through."""

    def __init__(self) -> None:
        self.costs: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, cost_bytes: int, work: Callable[[], Any]) -> Any:
        self.costs.append(cost_bytes)
        await self.gate.wait()
        return work()


class Parts:
    """Definitions over a look-up that the test changes."""

    def __init__(self) -> None:
        self.lookup = FixedLookup()
        self.offload = Gated()
        self.compiled: list[str] = []
        resources = builtin_table()
        params = Params(None, resources)  # type: ignore[arg-type]  # no policy here has params
        kinds = (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)
        self.definitions: Found = Definitions(
            self.lookup, resources, params, kinds, self.compile, self.offload
        )

    def compile(self, policy: ValidatingAdmissionPolicy) -> str:
        self.compiled.append(f"{policy.metadata.name}{policy.metadata.generation}")
        return self.compiled[-1]

    def put(self, name: str, generation: int = 1, **metadata: Any) -> None:
        spec = ValidatingAdmissionPolicySpec(validations=[Validation(expression="true")])
        meta = ObjectMeta(name=name, generation=generation, **metadata)
        self.lookup.put(ValidatingAdmissionPolicy(metadata=meta, spec=spec))

    def bind(self, name: str, policy: str) -> None:
        spec = ValidatingAdmissionPolicyBindingSpec(policyName=policy, validationActions=["Deny"])
        meta = ObjectMeta(name=name)
        self.lookup.put(ValidatingAdmissionPolicyBinding(metadata=meta, spec=spec))

    async def in_effect(self) -> list[tuple[str, list[str]]]:
        return [
            (one.evaluator, [binding.name for binding in one.bindings])
            for one in await self.definitions.policies()
        ]


@pytest.fixture
def parts() -> Parts:
    return Parts()


async def test_only_what_is_bound_is_compiled_once_per_generation(parts: Parts) -> None:
    for name in ("c", "a", "unbound"):
        parts.put(name)
    for name, policy in (("z", "a"), ("y", "c"), ("x", "a"), ("w", "missing")):
        parts.bind(name, policy)
    assert await parts.in_effect() == [("a1", ["x", "z"]), ("c1", ["y"])]
    assert sorted(parts.compiled) == ["a1", "c1"]
    parts.put("a", labels={"its": "label"})
    assert len(await parts.in_effect()) == 2
    assert len(parts.compiled) == 2
    parts.put("a", 2)
    parts.lookup.remove(ValidatingAdmissionPolicy, "c")
    assert await parts.in_effect() == [("a2", ["x", "z"])]
    assert all(cost % COMPILING_COST == 0 for cost in parts.offload.costs)


async def test_what_changes_while_a_policy_is_compiled_is_not_missed(parts: Parts) -> None:
    parts.put("a")
    parts.bind("x", "a")
    parts.offload.gate.clear()
    waiting = asyncio.create_task(parts.in_effect())
    await asyncio.sleep(0)
    parts.put("b")
    parts.bind("y", "b")
    parts.put("a", 2)
    parts.offload.gate.set()
    assert await waiting == [("a2", ["x"]), ("b1", ["y"])]
    assert await parts.in_effect() == [("a2", ["x"]), ("b1", ["y"])]
