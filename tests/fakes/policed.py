"""A server whose writes are judged by validating policies, and short calls for those."""

from collections.abc import Callable
from typing import Any

from fakes.server import Server
from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.rbac import RBAC
from kubelite.api.registry.admission.policies.plugin import ValidatingAdmissionPolicies
from kubelite.offload import AtOnce

JSON = dict[str, Any]
GROUP = "admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"


class Counting(AtOnce):
    """Counts what would have left the loop."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    async def run(self, cost_bytes: int, work: Callable[[], Any]) -> Any:
        self.costs.append(cost_bytes)
        return await super().run(cost_bytes, work)


class Policed(Server):
    """A server with policies, and short calls for them."""

    def __init__(self) -> None:
        super().__init__()
        self.offload = Counting()
        self.plugin = ValidatingAdmissionPolicies(
            self.mirrors,
            self.resources,
            UnionAuthorizer(RBAC(self.mirrors)),
            self.mirrors,
            self.offload,
        )
        self.admit_by(self.plugin)

    async def policy(self, *expressions: str | JSON, name: str = "p", **spec: Any) -> None:
        """Create a policy about config maps."""
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"]}
        constraints = {"resourceRules": [{**rule, "resources": ["configmaps"]}]}
        validations = [{"expression": one} if isinstance(one, str) else one for one in expressions]
        whole = {"matchConstraints": constraints, "validations": validations, **spec}
        await self.create(POLICIES, {"metadata": {"name": name}, "spec": whole})

    async def bind(self, *actions: str, policy: str = "p", name: str = "b", **spec: Any) -> None:
        """Create a binding."""
        whole = {"policyName": policy, "validationActions": actions or ["Deny"], **spec}
        await self.create(BINDINGS, {"metadata": {"name": name}, "spec": whole})
