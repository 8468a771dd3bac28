"""The ordered admission plugins that every write passes."""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.registry.admission.request import (
    AdmissionRequest,
    JudgesConnections,
    Mutating,
    Validating,
    Verb,
)

# The order in which Kubernetes runs its built-in plugins; `Admission.ordered` sorts by it.
ORDER = (
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "OwnerReferencesPermissionEnforcement",
    "RoleEscalation",
    "PolicyParamAccess",
    "DeviceClaimAccess",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "PodResizeValidator",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
)


class Admission(Struct, frozen=True):
    """The plugins of a server, in order."""

    mutating: Sequence[Mutating] = ()
    validating: Sequence[Validating] = ()

    @classmethod
    def ordered(cls, *plugins: Mutating | Validating) -> "Admission":
        """Sort plugins into Kubernetes' order; one that both mutates and validates is in both lists."""
        known = sorted(plugins, key=lambda plugin: ORDER.index(plugin.name))
        return cls(
            mutating=tuple(plugin for plugin in known if isinstance(plugin, Mutating)),
            validating=tuple(plugin for plugin in known if isinstance(plugin, Validating)),
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        """Run the mutating plugins in order; raises the first rejection."""
        for plugin in self.mutating:
            await plugin.mutate(request)
        if request.repetition.again:
            request.repetition.is_now = True
            for plugin in self.mutating:
                await plugin.mutate(request)

    async def connect(self, request: AdmissionRequest) -> None:
        """Run the plugins that judge connections; raises the first rejection."""
        for mutating in self.mutating:
            if isinstance(mutating, JudgesConnections):
                await mutating.mutate(request)
        for validating in self.validating:
            if isinstance(validating, JudgesConnections):
                await validating.validate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        """Run the validating plugins in order; raises the first rejection."""
        for plugin in self.validating:
            await plugin.validate(request)


__all__ = ["ORDER", "Admission", "AdmissionRequest", "Mutating", "Validating", "Verb"]
