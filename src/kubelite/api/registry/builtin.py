"""The table of all built-in resources, group by group, in the order of discovery."""

from kubelite.api.kinds import (
    admissionregistration,
    apiextensions,
    apiregistration,
    apps,
    authentication,
    authorization,
    autoscaling_v1,
    autoscaling_v2,
    batch,
    certificates,
    coordination,
    discovery,
    events_v1,
    flowcontrol,
    networking,
    node,
    policy,
    rbac,
    resource,
    scheduling,
    storage,
)
from kubelite.api.kinds.core import (
    component_status,
    config,
    endpoints,
    events,
    namespaces,
    nodes,
    persistent_volumes,
    pods,
    quota,
    replication_controllers,
    service_accounts,
    services,
)
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.registry.resources import (
    STANDARD,
    Resource,
    ResourceTable,
    Subresource,
    View,
)
from kubelite.api.registry.views import EVENTS_V1, HPA_V1

CHANGE = ("get", "patch", "update")
PROXY = ("create", "delete", "get", "patch", "update")
CREATE = ("create",)
CONNECT = ("create", "get")
SCALE = autoscaling_v1.Scale.gvk
EXTENSIONS = ("api-extensions",)


def _core(kind: str) -> GroupVersionKind:
    return GroupVersionKind("", "v1", kind)


def _row(  # noqa: PLR0913 - each is a column of the table
    type_: type[Kind],
    plural: str,
    *more: Subresource | str,
    cluster: bool = False,
    short: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = STANDARD,
    storage: str = "",
    view: View | None = None,
    deprecation: str = "",
) -> Resource:
    """Make a row; a subresource given by name alone has the verbs `CHANGE` and the object's own kind."""
    gvk = type_.gvk
    return Resource(
        group=gvk.group,
        version=gvk.version,
        plural=plural,
        singular=gvk.kind.lower(),
        kind=gvk,
        type=type_,
        namespaced=not cluster,
        verbs=verbs,
        short_names=short,
        categories=categories,
        subresources=tuple(
            Subresource(one, CHANGE, gvk) if isinstance(one, str) else one for one in more
        ),
        storage=storage or f"{plural}.{gvk.group or 'core'}",
        view=view,
        deprecation=deprecation,
    )


def _scale() -> Subresource:
    return Subresource("scale", CHANGE, SCALE)


ALL = ("all",)

CORE = (
    _row(pods.Binding, "bindings", verbs=CREATE),
    _row(
        component_status.ComponentStatus,
        "componentstatuses",
        cluster=True,
        short=("cs",),
        verbs=("get", "list"),
        deprecation="v1 ComponentStatus is deprecated in v1.19+",
    ),
    _row(config.ConfigMap, "configmaps", short=("cm",)),
    _row(
        endpoints.Endpoints,
        "endpoints",
        short=("ep",),
        deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    _row(events.Event, "events", short=("ev",)),
    _row(quota.LimitRange, "limitranges", short=("limits",)),
    _row(
        namespaces.Namespace,
        "namespaces",
        Subresource("finalize", ("update",), namespaces.Namespace.gvk),
        "status",
        cluster=True,
        short=("ns",),
        verbs=tuple(verb for verb in STANDARD if verb != "deletecollection"),
    ),
    _row(
        nodes.Node,
        "nodes",
        Subresource("proxy", PROXY, _core("NodeProxyOptions")),
        "status",
        cluster=True,
        short=("no",),
    ),
    _row(
        persistent_volumes.PersistentVolumeClaim,
        "persistentvolumeclaims",
        "status",
        short=("pvc",),
    ),
    _row(
        persistent_volumes.PersistentVolume,
        "persistentvolumes",
        "status",
        cluster=True,
        short=("pv",),
    ),
    _row(
        pods.Pod,
        "pods",
        Subresource("attach", CONNECT, _core("PodAttachOptions")),
        Subresource("binding", CREATE, pods.Binding.gvk),
        "ephemeralcontainers",
        Subresource("eviction", CREATE, policy.Eviction.gvk),
        Subresource("exec", CONNECT, _core("PodExecOptions")),
        Subresource("log", ("get",), pods.Pod.gvk),
        Subresource("portforward", CONNECT, _core("PodPortForwardOptions")),
        Subresource("proxy", PROXY, _core("PodProxyOptions")),
        "resize",
        "status",
        short=("po",),
        categories=ALL,
    ),
    _row(pods.PodTemplate, "podtemplates"),
    _row(
        replication_controllers.ReplicationController,
        "replicationcontrollers",
        _scale(),
        "status",
        short=("rc",),
        categories=ALL,
    ),
    _row(quota.ResourceQuota, "resourcequotas", "status", short=("quota",)),
    _row(config.Secret, "secrets"),
    _row(
        service_accounts.ServiceAccount,
        "serviceaccounts",
        Subresource("token", CREATE, authentication.TokenRequest.gvk),
        short=("sa",),
    ),
    _row(
        services.Service,
        "services",
        Subresource("proxy", PROXY, _core("ServiceProxyOptions")),
        "status",
        short=("svc",),
        categories=ALL,
    ),
)

APISERVICES = (
    _row(apiregistration.APIService, "apiservices", "status", cluster=True, categories=EXTENSIONS),
)

APPS = (
    _row(apps.ControllerRevision, "controllerrevisions"),
    _row(apps.DaemonSet, "daemonsets", "status", short=("ds",), categories=ALL),
    _row(apps.Deployment, "deployments", _scale(), "status", short=("deploy",), categories=ALL),
    _row(apps.ReplicaSet, "replicasets", _scale(), "status", short=("rs",), categories=ALL),
    _row(apps.StatefulSet, "statefulsets", _scale(), "status", short=("sts",), categories=ALL),
)

EVENTS = (_row(events_v1.Event, "events", short=("ev",), storage="events.core", view=EVENTS_V1),)

IDENTITIES = (
    _row(authentication.SelfSubjectReview, "selfsubjectreviews", cluster=True, verbs=CREATE),
    _row(authentication.TokenReview, "tokenreviews", cluster=True, verbs=CREATE),
    _row(authorization.LocalSubjectAccessReview, "localsubjectaccessreviews", verbs=CREATE),
    _row(
        authorization.SelfSubjectAccessReview,
        "selfsubjectaccessreviews",
        cluster=True,
        verbs=CREATE,
    ),
    _row(
        authorization.SelfSubjectRulesReview,
        "selfsubjectrulesreviews",
        cluster=True,
        verbs=CREATE,
    ),
    _row(authorization.SubjectAccessReview, "subjectaccessreviews", cluster=True, verbs=CREATE),
)

AUTOSCALING = (
    _row(
        autoscaling_v2.HorizontalPodAutoscaler,
        "horizontalpodautoscalers",
        "status",
        short=("hpa",),
        categories=ALL,
    ),
    _row(
        autoscaling_v1.HorizontalPodAutoscaler,
        "horizontalpodautoscalers",
        "status",
        short=("hpa",),
        categories=ALL,
        view=HPA_V1,
    ),
)

BATCH = (
    _row(batch.CronJob, "cronjobs", "status", short=("cj",), categories=ALL),
    _row(batch.Job, "jobs", "status", categories=ALL),
)

CERTIFICATES = (
    _row(
        certificates.CertificateSigningRequest,
        "certificatesigningrequests",
        "approval",
        "status",
        cluster=True,
        short=("csr",),
    ),
)

NETWORKING = (
    _row(networking.IngressClass, "ingressclasses", cluster=True),
    _row(networking.Ingress, "ingresses", "status", short=("ing",)),
    _row(networking.IPAddress, "ipaddresses", cluster=True, short=("ip",)),
    _row(networking.NetworkPolicy, "networkpolicies", short=("netpol",)),
    _row(networking.ServiceCIDR, "servicecidrs", "status", cluster=True),
)

POLICY = (_row(policy.PodDisruptionBudget, "poddisruptionbudgets", "status", short=("pdb",)),)

RBAC = (
    _row(rbac.ClusterRoleBinding, "clusterrolebindings", cluster=True),
    _row(rbac.ClusterRole, "clusterroles", cluster=True),
    _row(rbac.RoleBinding, "rolebindings"),
    _row(rbac.Role, "roles"),
)

STORAGE = (
    _row(storage.CSIDriver, "csidrivers", cluster=True),
    _row(storage.CSINode, "csinodes", cluster=True),
    _row(storage.CSIStorageCapacity, "csistoragecapacities"),
    _row(storage.StorageClass, "storageclasses", cluster=True, short=("sc",)),
    _row(storage.VolumeAttachment, "volumeattachments", "status", cluster=True),
    _row(storage.VolumeAttributesClass, "volumeattributesclasses", cluster=True, short=("vac",)),
)

ADMISSION = (
    _row(
        admissionregistration.MutatingAdmissionPolicy,
        "mutatingadmissionpolicies",
        cluster=True,
        categories=EXTENSIONS,
    ),
    _row(
        admissionregistration.MutatingAdmissionPolicyBinding,
        "mutatingadmissionpolicybindings",
        cluster=True,
        categories=EXTENSIONS,
    ),
    _row(
        admissionregistration.MutatingWebhookConfiguration,
        "mutatingwebhookconfigurations",
        cluster=True,
        categories=EXTENSIONS,
    ),
    _row(
        admissionregistration.ValidatingAdmissionPolicy,
        "validatingadmissionpolicies",
        "status",
        cluster=True,
        categories=EXTENSIONS,
    ),
    _row(
        admissionregistration.ValidatingAdmissionPolicyBinding,
        "validatingadmissionpolicybindings",
        cluster=True,
        categories=EXTENSIONS,
    ),
    _row(
        admissionregistration.ValidatingWebhookConfiguration,
        "validatingwebhookconfigurations",
        cluster=True,
        categories=EXTENSIONS,
    ),
)

CUSTOM = (
    _row(
        apiextensions.CustomResourceDefinition,
        "customresourcedefinitions",
        "status",
        cluster=True,
        short=("crd", "crds"),
        categories=EXTENSIONS,
    ),
)

OTHERS = (
    _row(scheduling.PriorityClass, "priorityclasses", cluster=True, short=("pc",)),
    _row(coordination.Lease, "leases"),
    _row(node.RuntimeClass, "runtimeclasses", cluster=True),
    _row(discovery.EndpointSlice, "endpointslices"),
    _row(resource.DeviceClass, "deviceclasses", cluster=True),
    _row(resource.ResourceClaim, "resourceclaims", "status"),
    _row(resource.ResourceClaimTemplate, "resourceclaimtemplates"),
    _row(resource.ResourceSlice, "resourceslices", cluster=True),
    _row(flowcontrol.FlowSchema, "flowschemas", "status", cluster=True),
    _row(
        flowcontrol.PriorityLevelConfiguration,
        "prioritylevelconfigurations",
        "status",
        cluster=True,
    ),
)

RESOURCES = (
    *CORE,
    *APISERVICES,
    *APPS,
    *EVENTS,
    *IDENTITIES,
    *AUTOSCALING,
    *BATCH,
    *CERTIFICATES,
    *NETWORKING,
    *POLICY,
    *RBAC,
    *STORAGE,
    *ADMISSION,
    *CUSTOM,
    *OTHERS,
)


# Prefixes of objects that are written all the time, such as heartbeats. Their changes must not displace those of other
# objects from the history that the store keeps.
HEARTBEATS = frozenset(
    row.prefix for row in RESOURCES if row.storage in ("leases.coordination.k8s.io", "events.core")
)


def builtin_table() -> ResourceTable:
    """Return a new table of all built-in resources."""
    return ResourceTable(RESOURCES)
