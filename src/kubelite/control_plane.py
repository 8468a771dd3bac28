"""The API without a network: verbs over a store, with authentication, authorization and admission.

The server puts HTTP in front of it; simulations use it directly. Each component in the process gets a client with an
identity of its own, which is subject to the same authorization and admission as remote clients.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric import ec

from kubelite.api.auth import bootstrap_roles
from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.authenticate import RemoteTokens, UnionAuthenticator
from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.bootstrap_tokens import BootstrapTokens
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.front_proxies import FrontProxies
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.node_identities import NodeIdentities
from kubelite.api.auth.nodes import NodeAuthorizer, NodeGraph
from kubelite.api.auth.rbac import RBAC
from kubelite.api.auth.reviews import Reviews
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import ServiceAccountTokens, TokenIssuer, service_account_caller
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.audited import AuditedClient
from kubelite.api.client.elsewhere import Delegated
from kubelite.api.client.local import LocalClient
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.client.pace import Pace
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.networking import IPAddress
from kubelite.api.kinds.rbac import ClusterRole
from kubelite.api.machinery import join_secrets
from kubelite.api.registry.addresses import ServiceAddresses
from kubelite.api.registry.admission.builtin import builtin_admission
from kubelite.api.registry.bootstrap import CALLER, NAME, NAMESPACE
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.custom import CustomResources
from kubelite.api.registry.handlers import FetchSummary, UsageMetrics
from kubelite.api.registry.hooks import Hooks
from kubelite.api.registry.hub import Hub
from kubelite.api.registry.table import ResourceTable
from kubelite.api.registry.validation import validate, warn
from kubelite.api.registry.verbs import Verbs
from kubelite.api.registry.writing import Writer
from kubelite.clock import Clock
from kubelite.config import METRICS_SERVER, Config
from kubelite.control.needs import Need, SystemObjects
from kubelite.ingress.rights import GatewayRights
from kubelite.offload import AtOnce, Offload
from kubelite.randomness import Randomness
from kubelite.store.protocol import Store
from kubelite.system_needs import ENDPOINT_KEYS, APIPlace, system_needs
from kubelite.tasks import TaskSet


class Measuring:
    """Reads the usage of nodes and pods for metrics.k8s.io; what does it is imported when somebody asks."""

    def __init__(self, lookup: Lookup, clock: Clock, offload: Offload) -> None:
        self._lookup = lookup
        self._clock = clock
        self._offload = offload
        self._tasks = TaskSet()
        self._fetch: FetchSummary | None = None
        self._metrics: UsageMetrics | None = None

    def reach(self, fetch: FetchSummary) -> None:
        """Read the statistics of nodes with `fetch`; before that none can be reached."""
        self._fetch = fetch

    def __call__(self) -> UsageMetrics:
        """Return the usage."""
        if self._metrics is None:
            from kubelite.api.registry.resource_metrics import ResourceMetrics

            self._metrics = ResourceMetrics(
                self._lookup, self._clock, self._offload, self._summary, self._tasks
            )
        return self._metrics

    async def close(self) -> None:
        """Stop asking nodes."""
        await self._tasks.stop()

    async def _summary(self, node: str) -> bytes:
        if self._fetch is None:
            raise ServiceUnavailable("nodes cannot be reached")
        return await self._fetch(node)


class ControlPlane:
    """Verbs, mirrors and identities over one store. Create it on the loop, then await `bootstrap`."""

    def __init__(  # noqa: PLR0913 - it joins what an API is made of
        self,
        store: Store,
        *,
        clock: Clock,
        randomness: Randomness,
        signing_keys: Sequence[ec.EllipticCurvePrivateKey],
        certificates: ClientCertificates,
        proxies: FrontProxies | None = None,
        needs: Sequence[Need] = (),
        config: Config,
        static_tokens: StaticTokens | None = None,
        remote_tokens: Sequence[RemoteTokens] = (),
        offload: Offload | None = None,
        auditor: Auditor | None = None,
        hooks: Callable[[Lookup], Hooks] | None = None,
    ) -> None:
        """`hooks` makes what calls webhooks; without it none is called.

        `proxies` may name callers; without them none may. `needs` are kept beside those that every cluster has.
        Without `offload` all work runs on the loop, as simulations need it.
        """
        self.store = store
        # Component health by name: a function that returns the failure, "" if healthy. Each component adds its own.
        self.probes: dict[str, Callable[[], str]] = {"etcd-0": lambda: store.problem}
        # Reads group versions of other servers, for clients made later.
        self.delegated: Delegated | None = None
        self.resources = builtin_table(metrics=METRICS_SERVER not in config.disabled)
        self.hub = Hub(store)
        self.resources.subscribe(lambda change: self.hub.end(change.ended))
        self.mirrors = Mirrors(store, self.resources, self.hub)
        self.measuring = Measuring(self.mirrors, clock, offload or AtOnce())
        issuer = f"https://kubernetes.default.svc.{config.cluster_domain}"
        self.tokens = TokenIssuer(
            issuer=issuer,
            audiences=(),
            keys=signing_keys,
            lookup=self.mirrors,
            clock=clock,
            randomness=randomness,
        )
        self.authenticator = UnionAuthenticator(
            certificates=certificates,
            proxies=proxies,
            service_accounts=ServiceAccountTokens(
                issuer=issuer,
                audiences=(),
                keys=[key.public_key() for key in signing_keys],
                lookup=self.mirrors,
                clock=clock,
            ),
            audiences=(issuer,),
            bootstrap=BootstrapTokens(self.mirrors, clock),
            static=static_tokens,
            remote=remote_tokens,
            identities=NodeIdentities(
                self.mirrors, own="" if config.disable_agent else config.name_of_node
            ),
        )
        called = hooks(self.mirrors) if hooks is not None else None
        rbac = RBAC(self.mirrors)
        roles = bootstrap_roles.defaults()
        nodes = NodeAuthorizer(NodeGraph(self.mirrors), bootstrap_roles.node_rules(roles))
        self._place = APIPlace(ip_address(config.api_address).version)
        self.system = SystemObjects((*system_needs(config, self._place, roles), *needs))
        self.probes["system-objects"] = lambda: self.system.problem
        self.authorizer = UnionAuthorizer(rbac, nodes)
        reviews = Reviews(
            authenticator=self.authenticator, authorizer=self.authorizer, rbac=rbac, clock=clock
        )
        self.addresses = _addresses(store, self.resources, config, randomness)
        writer = Writer(
            store,
            clock=clock,
            randomness=randomness,
            admission=builtin_admission(
                lookup=self.mirrors,
                store=store,
                resources=self.resources,
                authorizer=self.authorizer,
                rbac=rbac,
                clock=clock,
                randomness=randomness,
                hooks=called,
                mirroring=self.mirrors,
                offload=offload or AtOnce(),
                enable=config.enable_admission_plugins,
                disable=config.disable_admission_plugins,
            ),
            validate=validate,
            warn=warn,
            addresses=self.addresses,
            offload=offload,
        )
        self.verbs = Verbs(
            writer,
            self.resources,
            self.hub,
            authorizer=self.authorizer,
            reviews=reviews,
            issue=self.tokens.request,
            probes=self.probes,
            metrics=self.measuring,
        )
        self.definitions = CustomResources(store, self.resources, called)
        self.definitions.start()
        self._auditor = auditor
        self._config = config
        self._pace = Pace()
        self._rights = GatewayRights(self.client(CALLER, "kube-apiserver"), nodes.serve)

    def client(self, caller: Caller, field_manager: str) -> LocalClient:
        """Return a client that acts as `caller`; its requests are audited if auditing is on."""
        if self._auditor is not None:
            return AuditedClient(
                self.verbs,
                self.authorizer,
                caller,
                self.mirrors,
                auditor=self._auditor,
                field_manager=field_manager,
                pace=self._pace,
                delegated=self.delegated,
            )
        return LocalClient(
            self.verbs,
            self.authorizer,
            caller,
            self.mirrors,
            field_manager=field_manager,
            pace=self._pace,
            delegated=self.delegated,
        )

    def controller_client(self, name: str) -> LocalClient:
        """Return a client with a controller's service account in kube-system, or the API server's own identity."""
        if name == CALLER.user:
            return self.client(CALLER, "kube-apiserver")
        return self.client(service_account_caller("kube-system", name), name)

    async def bootstrap(self, address: str, port: int) -> None:
        """Create missing system objects; pods reach the server at `address` ("": not at all) and `port`.

        `system` keeps the failed ones, which its controller retries later.
        """
        self._place.address, self._place.port = address, port
        self.system.changed(*self.system.needs)
        await self.ensure_system()

    async def ensure_system(self) -> None:
        """Create or correct all system objects now."""
        await self.system.ensure_all(self.controller_client(CALLER.user), self.mirrors)

    def on_release(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when a machine may have lost its node's name; return the call that unsubscribes it."""
        bindings = self.mirrors.mirror(
            Secret, join_secrets.NAMESPACE, field_selector=f"type={join_secrets.IDENTITY_TYPE}"
        )
        return bindings.subscribe(lambda *_: listener())

    @property
    def is_set_up(self) -> bool:
        """Whether the cluster has RBAC roles; without them only administrators are authorized."""
        return bool(self.mirrors.list(ClusterRole))

    def move(self, address: str) -> None:
        """Set the address at which pods reach the server ("" for none), and requeue its endpoints on a change."""
        if address != self._place.address:
            self._place.address = address
            self.system.changed(*ENDPOINT_KEYS)

    @property
    def service_addresses(self) -> tuple[str, ...]:
        """The addresses of the API's Service: the configured one, and one of an older range if it still has it."""
        service = self.mirrors.get(Service, NAME, NAMESPACE)
        given = (service.spec.clusterIP,) if service is not None else ()
        held = tuple(
            address for address in given if address not in ("", "None", self._config.api_address)
        )
        return (self._config.api_address, *held)


def _addresses(
    store: Store, resources: ResourceTable, config: Config, randomness: Randomness
) -> ServiceAddresses:
    return ServiceAddresses(
        store,
        records=resources.of(IPAddress),
        cidr=",".join(config.service_cidrs),
        node_ports=(config.node_ports[0], config.node_ports[-1]),
        randomness=randomness,
    )
