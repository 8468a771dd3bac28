"""The rows of workloads, their autoscalers and their disruption budgets."""

from kubelite.api.kinds import apps, autoscaling_v1, autoscaling_v2, batch, policy
from kubelite.api.machinery.columns import workloads as workloads_columns
from kubelite.api.machinery.defaults import apps as apps_defaults
from kubelite.api.machinery.defaults import autoscaling as autoscaling_defaults
from kubelite.api.machinery.defaults import batch as batch_defaults
from kubelite.api.machinery.field_selectors import METADATA, Fields, path_of
from kubelite.api.registry.builtin.core import PODS_MADE, SCALE
from kubelite.api.registry.builtin.row import ALL, row
from kubelite.api.registry.rules import batch as batch_rules
from kubelite.api.registry.rules import scaling as scaling_rules
from kubelite.api.registry.rules import workloads as workloads_rules
from kubelite.api.registry.rules.sets import Rules, Warnings
from kubelite.api.registry.rules.warnings import workloads as workloads_warnings
from kubelite.api.registry.strategies.workloads import (
    JOB_ORPHANS,
    DaemonSetStrategy,
    DeploymentStrategy,
    JobStrategy,
)
from kubelite.api.registry.strategy import Conduct
from kubelite.api.registry.views import HPA_V1

APPS = (
    row(
        apps.ControllerRevision,
        "controllerrevisions",
        rules=Rules(
            workloads_rules.controller_revision, workloads_rules.controller_revision_update
        ),
        layout=workloads_columns.CONTROLLER_REVISION,
    ),
    row(
        apps.DaemonSet,
        "daemonsets",
        "status",
        short=("ds",),
        categories=ALL,
        rules=Rules(
            workloads_rules.daemon_set,
            workloads_rules.daemon_set_update,
            workloads_rules.daemon_set_status,
        ),
        warnings=Warnings(workloads_warnings.daemon_set, workloads_warnings.daemon_set_update),
        defaults=apps_defaults.default_daemon_set,
        layout=workloads_columns.DAEMON_SET,
        strategy=DaemonSetStrategy,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        apps.Deployment,
        "deployments",
        SCALE,
        "status",
        short=("deploy",),
        categories=ALL,
        rules=Rules(
            workloads_rules.deployment,
            workloads_rules.deployment_update,
            workloads_rules.deployment_status,
        ),
        warnings=PODS_MADE,
        defaults=apps_defaults.default_deployment,
        layout=workloads_columns.DEPLOYMENT,
        strategy=DeploymentStrategy,
        conduct=Conduct(counts_generation=True, status_keeps_labels=True),
    ),
    row(
        apps.ReplicaSet,
        "replicasets",
        SCALE,
        "status",
        short=("rs",),
        categories=ALL,
        rules=Rules(
            workloads_rules.replica_set,
            workloads_rules.replica_set_update,
            workloads_rules.replica_set_status,
        ),
        warnings=PODS_MADE,
        defaults=apps_defaults.default_replica_set,
        layout=workloads_columns.REPLICATION_CONTROLLER,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        apps.StatefulSet,
        "statefulsets",
        SCALE,
        "status",
        short=("sts",),
        categories=ALL,
        rules=Rules(
            workloads_rules.stateful_set,
            workloads_rules.stateful_set_update,
            workloads_rules.stateful_set_status,
        ),
        warnings=Warnings(workloads_warnings.stateful_set, workloads_warnings.stateful_set_update),
        defaults=apps_defaults.default_stateful_set,
        layout=workloads_columns.STATEFUL_SET,
        conduct=Conduct(counts_generation=True),
    ),
)

_AUTOSCALERS = row(
    autoscaling_v2.HorizontalPodAutoscaler,
    "horizontalpodautoscalers",
    "status",
    short=("hpa",),
    categories=ALL,
    rules=Rules(scaling_rules.autoscaler, validate_status_update=scaling_rules.autoscaler_status),
    defaults=autoscaling_defaults.default_autoscaler_v2,
    layout=workloads_columns.HORIZONTAL_POD_AUTOSCALER,
)

AUTOSCALING = (
    _AUTOSCALERS,
    row(
        autoscaling_v1.HorizontalPodAutoscaler,
        "horizontalpodautoscalers",
        "status",
        short=("hpa",),
        categories=ALL,
        stored_as=_AUTOSCALERS,
        conversion=HPA_V1,
        rules=Rules(
            scaling_rules.autoscaler, validate_status_update=scaling_rules.autoscaler_status
        ),
        defaults=autoscaling_defaults.default_autoscaler,
        layout=workloads_columns.HORIZONTAL_POD_AUTOSCALER,
    ),
)

BATCH = (
    row(
        batch.CronJob,
        "cronjobs",
        "status",
        short=("cj",),
        categories=ALL,
        rules=Rules(batch_rules.cron_job, batch_rules.cron_job_update),
        warnings=Warnings(workloads_warnings.cron_job, workloads_warnings.cron_job_update),
        defaults=batch_defaults.default_cron_job,
        layout=workloads_columns.CRON_JOB,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        batch.Job,
        "jobs",
        "status",
        categories=ALL,
        rules=Rules(batch_rules.job, batch_rules.job_update, batch_rules.job_status),
        warnings=Warnings(workloads_warnings.job, workloads_warnings.job_update),
        defaults=batch_defaults.default_job,
        layout=workloads_columns.JOB,
        fields=Fields(
            {**METADATA, "status.successful": path_of("status.succeeded", "0")},
            "field label {quoted} not supported for Job",
        ),
        strategy=JobStrategy,
        conduct=Conduct(counts_generation=True, default_orphan=True, orphan_warning=JOB_ORPHANS),
    ),
)

POLICY = (
    row(
        policy.PodDisruptionBudget,
        "poddisruptionbudgets",
        "status",
        short=("pdb",),
        rules=Rules(scaling_rules.budget, validate_status_update=scaling_rules.budget_status),
        layout=workloads_columns.POD_DISRUPTION_BUDGET,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
)
