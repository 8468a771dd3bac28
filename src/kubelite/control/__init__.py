"""Controllers and the scheduler: they reconcile the cluster through the API only."""

from kubelite.control.api_availability import APIAvailability
from kubelite.control.api_registration import APIRegistration
from kubelite.control.attach_detach import AttachDetachController
from kubelite.control.certificate_approval import CertificateApprover
from kubelite.control.certificates import CertificateCleaner, CertificateSigningController
from kubelite.control.cluster_role_aggregation import ClusterRoleAggregationController
from kubelite.control.cronjob import CronJobController
from kubelite.control.custom_definitions import CustomDefinitionController
from kubelite.control.daemonset import DaemonSetController
from kubelite.control.definition_cleanup import DefinitionCleanupController
from kubelite.control.deployment import DeploymentController
from kubelite.control.device_taint_eviction import DeviceTaintEvictionController
from kubelite.control.disruption import DisruptionController
from kubelite.control.endpoints import EndpointsController
from kubelite.control.endpointslice import EndpointSliceController
from kubelite.control.endpointslice_mirroring import EndpointSliceMirroringController
from kubelite.control.ephemeral_volumes import EphemeralVolumeController
from kubelite.control.garbage import GarbageCollector
from kubelite.control.gateways import GatewayController
from kubelite.control.horizontal_autoscaler import HorizontalAutoscalerController
from kubelite.control.ingresses import IngressController
from kubelite.control.job import JobController
from kubelite.control.load_balancers import LoadBalancerController
from kubelite.control.local_provisioner import LocalPathProvisioner
from kubelite.control.local_reclaimer import LocalPathReclaimer
from kubelite.control.namespace import NamespaceController
from kubelite.control.node_identities import NodeIdentityController
from kubelite.control.node_ipam import NodeIPAMController
from kubelite.control.node_lifecycle import NodeLifecycleController
from kubelite.control.pod_gc import PodGCController
from kubelite.control.policy_types import PolicyTypeController
from kubelite.control.replicaset import ReplicaSetController, ReplicationControllerController
from kubelite.control.resource_claims import ClaimReleaseController, ResourceClaimController
from kubelite.control.resource_quota import ResourceQuotaController
from kubelite.control.root_ca import RootCAPublisher
from kubelite.control.runtime import ControllerEntry
from kubelite.control.service_cidr import ServiceCIDRController
from kubelite.control.serviceaccount import ServiceAccountController
from kubelite.control.statefulset import StatefulSetController
from kubelite.control.system_objects import SystemObjectsController
from kubelite.control.taint_eviction import TaintEvictionController
from kubelite.control.token_cleaner import TokenCleaner
from kubelite.control.token_secrets import TokenSecretsController
from kubelite.control.ttl_after_finished import TTLAfterFinishedController
from kubelite.control.volume_binder import VolumeClaimBinder, VolumePhaseController
from kubelite.control.volume_protection import (
    AttributesProtectionController,
    ClaimProtectionController,
    VolumeProtectionController,
)
from kubelite.control.volume_recycler import VolumeRecycler

# All controllers, in the order in which they start.
CONTROLLERS: tuple[ControllerEntry, ...] = tuple(
    ControllerEntry(controller.name, getattr(controller, "identity", controller.name), controller)
    for controller in (
        SystemObjectsController,
        CustomDefinitionController,
        DefinitionCleanupController,
        NamespaceController,
        ServiceAccountController,
        RootCAPublisher,
        DeploymentController,
        ReplicaSetController,
        ReplicationControllerController,
        StatefulSetController,
        DaemonSetController,
        JobController,
        CronJobController,
        EndpointsController,
        EndpointSliceController,
        EndpointSliceMirroringController,
        LoadBalancerController,
        IngressController,
        GatewayController,
        ServiceCIDRController,
        NodeIPAMController,
        NodeLifecycleController,
        TaintEvictionController,
        PodGCController,
        GarbageCollector,
        DisruptionController,
        HorizontalAutoscalerController,
        ResourceQuotaController,
        ClusterRoleAggregationController,
        CertificateApprover,
        CertificateSigningController,
        CertificateCleaner,
        NodeIdentityController,
        TokenCleaner,
        TokenSecretsController,
        TTLAfterFinishedController,
        VolumeClaimBinder,
        VolumePhaseController,
        VolumeRecycler,
        ClaimProtectionController,
        VolumeProtectionController,
        AttributesProtectionController,
        EphemeralVolumeController,
        AttachDetachController,
        ResourceClaimController,
        ClaimReleaseController,
        DeviceTaintEvictionController,
        LocalPathProvisioner,
        LocalPathReclaimer,
        APIRegistration,
        APIAvailability,
        PolicyTypeController,
    )
)
