"""The rows of identities, signing requests, roles and reviews of rights."""

from kubelite.api.kinds import authentication, authorization, certificates, rbac
from kubelite.api.machinery import names
from kubelite.api.machinery.columns import cluster as cluster_columns
from kubelite.api.machinery.defaults import rbac as rbac_defaults
from kubelite.api.machinery.field_selectors import NAME_ONLY, Fields, path_of
from kubelite.api.registry.builtin.row import CREATE, row
from kubelite.api.registry.reviewing import (
    review_access,
    review_local_access,
    review_self,
    review_self_access,
    review_self_rules,
    review_token,
)
from kubelite.api.registry.rules import access as access_rules
from kubelite.api.registry.rules.sets import Rules
from kubelite.api.registry.strategies.certificates import CertificateSigningRequestStrategy
from kubelite.api.registry.strategy import Conduct

IDENTITIES = (
    row(
        authentication.SelfSubjectReview,
        "selfsubjectreviews",
        cluster=True,
        verbs=CREATE,
        post=review_self,
    ),
    row(
        authentication.TokenReview,
        "tokenreviews",
        cluster=True,
        verbs=CREATE,
        post=review_token,
    ),
    row(
        authorization.LocalSubjectAccessReview,
        "localsubjectaccessreviews",
        verbs=CREATE,
        post=review_local_access,
    ),
    row(
        authorization.SelfSubjectAccessReview,
        "selfsubjectaccessreviews",
        cluster=True,
        verbs=CREATE,
        post=review_self_access,
    ),
    row(
        authorization.SelfSubjectRulesReview,
        "selfsubjectrulesreviews",
        cluster=True,
        verbs=CREATE,
        post=review_self_rules,
    ),
    row(
        authorization.SubjectAccessReview,
        "subjectaccessreviews",
        cluster=True,
        verbs=CREATE,
        post=review_access,
    ),
)

CERTIFICATES = (
    row(
        certificates.CertificateSigningRequest,
        "certificatesigningrequests",
        "approval",
        "status",
        cluster=True,
        short=("csr",),
        rules=Rules(
            access_rules.signing_request,
            access_rules.signing_request_update,
            access_rules.signing_request_status,
            name=names.path_segment,
            subresources={"approval": access_rules.signing_request_approval},
        ),
        layout=cluster_columns.CERTIFICATE_SIGNING_REQUEST,
        fields=Fields(
            {
                **NAME_ONLY,
                "spec.signerName": path_of("spec.signerName"),
            }
        ),
        strategy=CertificateSigningRequestStrategy,
    ),
)

RBAC = (
    row(
        rbac.ClusterRoleBinding,
        "clusterrolebindings",
        cluster=True,
        rules=Rules(
            access_rules.cluster_role_binding,
            access_rules.cluster_role_binding_update,
            name=names.path_segment,
        ),
        defaults=rbac_defaults.default_binding,
        layout=cluster_columns.BINDING,
        conduct=Conduct(created_by_update=True),
    ),
    row(
        rbac.ClusterRole,
        "clusterroles",
        cluster=True,
        rules=Rules(access_rules.cluster_role, name=names.path_segment),
        conduct=Conduct(created_by_update=True),
    ),
    row(
        rbac.RoleBinding,
        "rolebindings",
        rules=Rules(
            access_rules.role_binding, access_rules.role_binding_update, name=names.path_segment
        ),
        defaults=rbac_defaults.default_binding,
        layout=cluster_columns.BINDING,
        conduct=Conduct(created_by_update=True),
    ),
    row(
        rbac.Role,
        "roles",
        rules=Rules(access_rules.role, name=names.path_segment),
        conduct=Conduct(created_by_update=True),
    ),
)
