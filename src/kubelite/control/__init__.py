"""Controllers and the scheduler: they bring what is to what is wanted, through the API only."""

from kubelite.control.deployment import DeploymentController
from kubelite.control.endpoints import EndpointsController
from kubelite.control.endpointslice import EndpointSliceController
from kubelite.control.namespace import NamespaceController
from kubelite.control.replicaset import ReplicaSetController, ReplicationControllerController
from kubelite.control.root_ca import RootCAPublisher
from kubelite.control.runtime import ControllerFactory
from kubelite.control.serviceaccount import ServiceAccountController

# All that run, in the order in which they start. Each name is that of the service account it acts as.
CONTROLLERS: tuple[tuple[str, ControllerFactory], ...] = tuple(
    (controller.name, controller)
    for controller in (
        NamespaceController,
        ServiceAccountController,
        RootCAPublisher,
        DeploymentController,
        ReplicaSetController,
        ReplicationControllerController,
        EndpointsController,
        EndpointSliceController,
    )
)
