"""Which policies are asked about a request, with which bindings and params."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import NotFound
from kubelite.api.registry.admission.policies.definitions import Binding, Policy
from kubelite.api.registry.admission.policies.environment import meant_by
from kubelite.api.registry.admission.policies.params import NotConfigured, Params
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.admission.review import Meant
from kubelite.api.registry.table import ResourceTable

JSON = dict[str, Any]
E = TypeVar("E")


class Invocation(Struct, Generic[E], frozen=True):
    """A policy that is asked with a binding and some params, one after the other."""

    policy: Policy[E]
    binding: Binding
    meant: Meant
    params: Sequence[JSON | None]


class Problem(Struct, Generic[E], frozen=True):
    """Why a policy cannot be asked, worded as upstream; what follows is up to its failurePolicy."""

    policy: Policy[E]
    binding: Binding | None  # None: it is the policy's own fault
    text: str


class Finder:
    """Finds invocations."""

    def __init__(self, lookup: Lookup, resources: ResourceTable, params: Params) -> None:
        self._lookup = lookup
        self._resources = resources
        self._params = params

    def find(
        self, policies: Sequence[Policy[E]], request: AdmissionRequest
    ) -> Iterator[Invocation[E] | Problem[E]]:
        """Yield what concerns a request, in the order of policies and bindings."""
        for policy in policies:
            try:
                meant = self._meant(policy, request)
                if meant is not None:
                    self._params.require(policy.param_kind)
            except (NotConfigured, NotFound) as error:
                yield Problem(policy, None, f"failed to configure policy: {_text(error)}")
                continue
            if meant is None:
                continue
            for binding in policy.bindings:
                try:
                    params = self._params_of(policy, binding, request)
                except (NotConfigured, NotFound) as error:
                    yield Problem(policy, binding, f"failed to configure binding: {_text(error)}")
                    continue
                if params:
                    yield Invocation(policy, binding, meant, params)

    def _meant(self, policy: Policy[E], request: AdmissionRequest) -> Meant | None:
        if policy.constraints is None:
            raise NotConfigured("policy contained no match constraints, a required field")
        found = policy.constraints.match(request, self._lookup, self._resources)
        return None if found is None else meant_by(found, request, self._resources)

    def _params_of(
        self, policy: Policy[E], binding: Binding, request: AdmissionRequest
    ) -> Sequence[JSON | None]:
        narrowed = binding.constraints
        if narrowed is not None and narrowed.match(request, self._lookup, self._resources) is None:
            return ()
        namespace = request.attributes.namespace
        return self._params.find(policy.param_kind, binding.reference, namespace)


def _text(error: Exception) -> str:
    return error.message if isinstance(error, NotFound) else str(error)
