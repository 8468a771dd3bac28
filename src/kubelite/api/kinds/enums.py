"""The values that fields of text may have, by what they choose; `kubectl explain` and OpenAPI list them.

Rules in the registry say what is refused, so that a refusal names every cause. Source: the types of Kubernetes 1.36
that are marked as enumerations.
"""

from kubelite.api.kinds.model import enum

ACCESS_MODES = enum("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
ADDRESS_TYPES = enum("FQDN", "IPv4", "IPv6")
AFFINITIES = enum("ClientIP", "None")
ALLOCATION_MODES = enum("All", "ExactCount")
AZURE_DISK_KINDS = enum("Dedicated", "Managed", "Shared")
BINDING_MODES = enum("Immediate", "WaitForFirstConsumer")
CACHING_MODES = enum("None", "ReadOnly", "ReadWrite")
CLAIM_PHASES = enum("Bound", "Lost", "Pending")
CLAIM_RESIZE_STATES = enum(
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
COMPLETION_MODES = enum("Indexed", "NonIndexed")
CONCURRENCY_POLICIES = enum("Allow", "Forbid", "Replace")
CONFIGURATION_SOURCES = enum("FromClaim", "FromClass")
DEPLOYMENT_STRATEGIES = enum("Recreate", "RollingUpdate")
DEVICE_TAINT_EFFECTS = enum("NoExecute", "NoSchedule", "None")
DEVICE_TOLERATION_OPERATORS = enum("Equal", "Exists")
DNS_POLICIES = enum("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
EVICTION_POLICIES = enum("AlwaysAllow", "IfHealthyBudget")
EXIT_CODE_OPERATORS = enum("In", "NotIn")
FAILURE_POLICIES = enum("Fail", "Ignore")
GROUP_CHANGE_POLICIES = enum("Always", "OnRootMismatch")
HOST_PATH_TYPES = enum(
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
IP_FAMILIES = enum("", "IPv4", "IPv6")
IP_FAMILY_POLICIES = enum("PreferDualStack", "RequireDualStack", "SingleStack")
KEY_USAGES = enum(
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
MATCH_POLICIES = enum("Equivalent", "Exact")
MODIFY_VOLUME_STATES = enum("InProgress", "Infeasible", "Pending")
MOUNT_PROPAGATIONS = enum("Bidirectional", "HostToContainer", "None")
NAMESPACE_PHASES = enum("Active", "Terminating")
NODE_INCLUSION_POLICIES = enum("Honor", "Ignore")
NODE_PHASES = enum("Pending", "Running", "Terminated")
NODE_SELECTOR_OPERATORS = enum("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")
OPERATIONS = enum("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
PATCH_TYPES = enum("ApplyConfiguration", "JSONPatch")
PATH_TYPES = enum("Exact", "ImplementationSpecific", "Prefix")
POD_FAILURE_ACTIONS = enum("Count", "FailIndex", "FailJob", "Ignore")
POD_MANAGEMENT_POLICIES = enum("OrderedReady", "Parallel")
POD_PHASES = enum("Failed", "Pending", "Running", "Succeeded", "Unknown")
POD_REPLACEMENT_POLICIES = enum("Failed", "TerminatingOrFailed")
POLICY_TYPES = enum("Egress", "Ingress")
PREEMPTION_POLICIES = enum("Never", "PreemptLowerPriority")
PROC_MOUNTS = enum("Default", "Unmasked")
PROFILE_TYPES = enum("Localhost", "RuntimeDefault", "Unconfined")
PROTOCOLS = enum("SCTP", "TCP", "UDP")
PULL_POLICIES = enum("Always", "IfNotPresent", "Never")
QOS_CLASSES = enum("BestEffort", "Burstable", "Guaranteed")
QUOTA_SCOPES = enum(
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
RECLAIM_POLICIES = enum("Delete", "Recycle", "Retain")
REINVOCATION_POLICIES = enum("IfNeeded", "Never")
RESTART_POLICIES = enum("Always", "Never", "OnFailure")
RULE_REASONS = enum(
    "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
)
SCOPES = enum("*", "Cluster", "Namespaced")
SCOPE_OPERATORS = enum("DoesNotExist", "Exists", "In", "NotIn")
SERVICE_TYPES = enum("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
SIDE_EFFECTS = enum("None", "NoneOnDryRun", "Some", "Unknown")
_PLAIN_SIGNALS = (
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP "
    "TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ"
)
SIGNALS = enum(
    *sorted(
        (
            *(f"SIG{name}" for name in _PLAIN_SIGNALS.split()),
            *("SIGRTMIN", *(f"SIGRTMIN+{number}" for number in range(1, 16))),
            *("SIGRTMAX", *(f"SIGRTMAX-{number}" for number in range(1, 15))),
        )
    )
)
SUPPLEMENTAL_GROUPS_POLICIES = enum("Merge", "Strict")
TAINT_EFFECTS = enum("NoExecute", "NoSchedule", "PreferNoSchedule")
TERMINATION_MESSAGE_POLICIES = enum("FallbackToLogsOnError", "File")
TOLERATION_OPERATORS = enum("Equal", "Exists", "Gt", "Lt")
TRAFFIC_POLICIES = enum("Cluster", "Local")
UNSATISFIABLE_ACTIONS = enum("DoNotSchedule", "ScheduleAnyway")
UPDATE_STRATEGIES = enum("OnDelete", "RollingUpdate")
URI_SCHEMES = enum("HTTP", "HTTPS")
VALIDATION_ACTIONS = enum("Audit", "Deny", "Warn")
VOLUME_MODES = enum("Block", "Filesystem")
VOLUME_PHASES = enum("Available", "Bound", "Failed", "Pending", "Released")
