"""The admission plugins of a server, by default those of Kubernetes."""

from collections.abc import Collection

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.escalation import Escalation
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.admission import Admission, Mutating, Validating
from kubelite.api.registry.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kubelite.api.registry.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kubelite.api.registry.admission.device_claims import DeviceClaimAccess
from kubelite.api.registry.admission.external_ips import DenyServiceExternalIPs
from kubelite.api.registry.admission.limit_ranger import LimitRanger
from kubelite.api.registry.admission.namespace_lifecycle import NamespaceLifecycle
from kubelite.api.registry.admission.node_restriction import NodeRestriction
from kubelite.api.registry.admission.owner_references import OwnerReferencesPermissionEnforcement
from kubelite.api.registry.admission.pod_resize import PodResizeValidator
from kubelite.api.registry.admission.pod_security import PodSecurity
from kubelite.api.registry.admission.policies.param_access import PolicyParamAccess
from kubelite.api.registry.admission.policies.params import Mirroring
from kubelite.api.registry.admission.policies.plugin import (
    MutatingAdmissionPolicies,
    ValidatingAdmissionPolicies,
)
from kubelite.api.registry.admission.priority import Priority
from kubelite.api.registry.admission.resource_quota import ResourceQuota
from kubelite.api.registry.admission.role_escalation import RoleEscalation
from kubelite.api.registry.admission.runtime_class import RuntimeClass
from kubelite.api.registry.admission.service_account import ServiceAccountAdmission
from kubelite.api.registry.admission.tolerations import (
    DefaultTolerationSeconds,
    TaintNodesByCondition,
)
from kubelite.api.registry.admission.volume_claims import (
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from kubelite.api.registry.admission.webhooks import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
)
from kubelite.api.registry.hooks import Hooks
from kubelite.api.registry.table import ResourceTable
from kubelite.clock import Clock
from kubelite.offload import Offload
from kubelite.randomness import Randomness
from kubelite.store.protocol import Store

OFF_BY_DEFAULT = frozenset({OwnerReferencesPermissionEnforcement.name, DenyServiceExternalIPs.name})
# What a configuration may name. Kubernetes checks escalation where it stores roles, so nothing turns that off.
SWITCHABLE = frozenset(
    plugin.name
    for plugin in (
        NamespaceLifecycle,
        LimitRanger,
        ServiceAccountAdmission,
        NodeRestriction,
        TaintNodesByCondition,
        PodSecurity,
        Priority,
        DefaultTolerationSeconds,
        DefaultStorageClass,
        StorageObjectInUseProtection,
        OwnerReferencesPermissionEnforcement,
        PersistentVolumeClaimResize,
        RuntimeClass,
        CertificateApproval,
        CertificateSigning,
        CertificateSubjectRestriction,
        DefaultIngressClass,
        DenyServiceExternalIPs,
        PodResizeValidator,
        ResourceQuota,
        MutatingAdmissionWebhook,
        ValidatingAdmissionWebhook,
        ValidatingAdmissionPolicies,
        MutatingAdmissionPolicies,
    )
)


def builtin_admission(  # noqa: PLR0913 - all that any plugin needs
    *,
    lookup: Lookup,
    store: Store,
    resources: ResourceTable,
    authorizer: UnionAuthorizer,
    rbac: RBAC,
    clock: Clock,
    randomness: Randomness,
    hooks: Hooks | None = None,
    mirroring: Mirroring | None = None,
    offload: Offload,
    enable: Collection[str] = (),
    disable: Collection[str] = (),
) -> Admission:
    """Return the default plugins plus those named in `enable`, minus those in `disable`."""
    plugins: list[Mutating | Validating] = [
        NamespaceLifecycle(lookup, resources.of(Namespace)),
        LimitRanger(lookup),
        ServiceAccountAdmission(lookup, randomness),
        NodeRestriction(lookup, authorizer),
        TaintNodesByCondition(),
        PodSecurity(lookup),
        Priority(lookup),
        DefaultTolerationSeconds(),
        DefaultStorageClass(lookup),
        StorageObjectInUseProtection(),
        OwnerReferencesPermissionEnforcement(authorizer, resources),
        RoleEscalation(Escalation(authorizer, rbac)),
        PolicyParamAccess(lookup, resources, authorizer),
        DeviceClaimAccess(lookup, authorizer),
        PersistentVolumeClaimResize(lookup),
        RuntimeClass(lookup),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(lookup),
        DenyServiceExternalIPs(),
        PodResizeValidator(lookup),
        ResourceQuota(store, resources, clock),
    ]
    if hooks is not None:
        plugins += [
            MutatingAdmissionWebhook(lookup, resources, hooks, authorizer, offload),
            ValidatingAdmissionWebhook(lookup, resources, hooks, authorizer, offload),
        ]
    if mirroring is not None:
        plugins += [
            MutatingAdmissionPolicies(lookup, resources, authorizer, mirroring, offload),
            ValidatingAdmissionPolicies(lookup, resources, authorizer, mirroring, offload),
        ]
    off = (OFF_BY_DEFAULT - set(enable)) | set(disable)
    return Admission.ordered(*(plugin for plugin in plugins if plugin.name not in off))
