"""The plugins every server runs; their order is kept in `ORDER`."""

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.escalation import Escalation
from kubelite.api.auth.lookup import Lookup
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from kubelite.api.registry.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kubelite.api.registry.admission.limit_ranger import LimitRanger
from kubelite.api.registry.admission.namespace_lifecycle import NamespaceLifecycle
from kubelite.api.registry.admission.node_restriction import NodeRestriction
from kubelite.api.registry.admission.pod_security import PodSecurity
from kubelite.api.registry.admission.priority import Priority
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
from kubelite.randomness import Randomness


def builtin_admission(
    lookup: Lookup, authorizer: UnionAuthorizer, escalation: Escalation, randomness: Randomness
) -> Admission:
    """Return what every write passes."""
    return Admission.ordered(
        NamespaceLifecycle(lookup),
        LimitRanger(lookup),
        ServiceAccountAdmission(lookup, randomness),
        NodeRestriction(lookup, authorizer),
        TaintNodesByCondition(),
        PodSecurity(lookup),
        Priority(lookup),
        DefaultTolerationSeconds(),
        DefaultStorageClass(lookup),
        DefaultIngressClass(lookup),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(lookup),
        RuntimeClass(lookup),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        CertificateSubjectRestriction(),
        RoleEscalation(escalation),
    )
