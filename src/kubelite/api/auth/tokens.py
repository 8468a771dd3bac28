"""Makes and checks the tokens of service accounts (JSON Web Tokens, ES256), and publishes their public keys.

A token is valid while its account and the pod, node or secret it is bound to exist. The signature is checked once per
token and cached; the objects are looked up at each request.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.recent import Recent
from kubelite.api.errors import BadRequest, Cause, Conflict, Invalid, NotFound
from kubelite.api.kinds.authentication import (
    BoundObjectReference,
    TokenRequest,
    TokenRequestStatus,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.join_secrets import decoded
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.randomness import Randomness

ALGORITHM = "ES256"
LEGACY_ISSUER = "kubernetes/serviceaccount"  # of tokens stored in Secrets, which do not expire
SHORTEST_SECONDS = 600
LONGEST_SECONDS = 2**32
DEFAULT_SECONDS = 3600
# The ServiceAccount admission requests this lifetime. Old clients never reread the token, so it is valid for a year.
REREAD_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 3600
LEEWAY = timedelta(minutes=1)  # between clocks, as in go-jose
LAST_SECOND = (
    253_402_300_799 - 24 * 3600
)  # a day before the year 10000, so that a leeway can be added
TOKEN_BYTES_LIMIT = 16 * 1024
REMEMBERED = 4096

USER_PREFIX = "system:serviceaccount:"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
POD_NAME, POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
NODE_NAME, NODE_UID = (
    "authentication.kubernetes.io/node-name",
    "authentication.kubernetes.io/node-uid",
)

K = TypeVar("K", bound=Kind)


class TokenInvalid(Exception):
    """The token names an issuer of this server but is not valid."""


class Signing(Struct, frozen=True):
    """A signing key with its key ID, the `kid` of its tokens."""

    identifier: str
    key: ec.EllipticCurvePrivateKey


class TokenIssuer:
    """Issues tokens, answers TokenRequests and publishes the keys."""

    def __init__(
        self,
        *,
        issuer: str,
        audiences: Sequence[str],
        keys: Sequence[ec.EllipticCurvePrivateKey],
        lookup: Lookup,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        """`keys` come from `Pki.signing_keys`; the first one signs. Without `audiences` the issuer is the only one."""
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self.keys = [Signing(key_identifier(key.public_key()), key) for key in keys]
        self._lookup = lookup
        self._clock = clock
        self._randomness = randomness

    def request(self, namespace: str, name: str, body: TokenRequest) -> TokenRequest:
        """Answer a POST to serviceaccounts/token; raises NotFound, Conflict, Invalid and BadRequest."""
        account = self._lookup.get(ServiceAccount, name, namespace)
        if account is None:
            raise _missing("serviceaccounts", name)
        if problems := _problems(namespace, name, body):
            raise _invalid(problems)
        spec, meta = body.spec, body.metadata
        if meta.uid and meta.uid != account.metadata.uid:
            raise Conflict(
                f'Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "{name}": the UID in the token '
                f"request ({meta.uid}) does not match the UID of the service account ({account.metadata.uid})",
                group="authentication.k8s.io",
                kind="TokenRequest",
                name=name,
            )
        seconds = DEFAULT_SECONDS if spec.expirationSeconds is None else spec.expirationSeconds
        audiences = tuple(spec.audiences) or self.audiences
        bound = self._bound(namespace, name, spec.boundObjectRef)
        token = self._issue(account, bound, seconds, audiences)
        now = self._clock.now()
        return TokenRequest(
            metadata=_replace_meta(body, account, now),
            spec=_spec(body, list(audiences), seconds),
            status=TokenRequestStatus(
                token=token, expirationTimestamp=format_time(now + timedelta(seconds=seconds))
            ),
        )

    def issue_legacy(self, namespace: str, name: str, uid: str, secret: str) -> str:
        """Return the token for a Secret of type kubernetes.io/service-account-token; valid while the Secret exists."""
        prefix = "kubernetes.io/serviceaccount"
        claims = {
            "iss": LEGACY_ISSUER,
            "sub": f"{USER_PREFIX}{namespace}:{name}",
            f"{prefix}/namespace": namespace,
            f"{prefix}/service-account.name": name,
            f"{prefix}/service-account.uid": uid,
            f"{prefix}/secret.name": secret,
        }
        return self._sign(claims)

    def discovery(self, jwks_uri: str) -> dict[str, Any]:
        """Return the document of /.well-known/openid-configuration."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def key_set(self) -> dict[str, Any]:
        """Return the JSON Web Key Set of /openid/v1/jwks."""
        return {"keys": [_web_key(signing) for signing in self.keys]}

    def _bound(
        self, namespace: str, account: str, ref: BoundObjectReference | None
    ) -> dict[str, Any]:
        if ref is None:
            return {}
        if ref.apiVersion != "v1" or ref.kind not in ("Pod", "Node", "Secret"):
            group, _, version = ref.apiVersion.rpartition("/")
            kind = f"{group}/{version}, Kind={ref.kind}"
            raise BadRequest(f"cannot bind token to object of type {kind}")
        claims: dict[str, Any] = {}
        if ref.kind == "Pod":
            pod = self._found(Pod, "pods", ref, namespace)
            if pod.spec.serviceAccountName != account:
                raise BadRequest(
                    f'cannot bind token for serviceaccount "{account}" to pod running with different '
                    "serviceaccount name."
                )
            claims["pod"] = _reference(pod)
            if pod.spec.nodeName:
                node = self._lookup.get(Node, pod.spec.nodeName)
                claims["node"] = _reference(node) if node else {"name": pod.spec.nodeName}
        elif ref.kind == "Node":
            claims["node"] = _reference(self._found(Node, "nodes", ref, ""))
        else:
            claims["secret"] = _reference(self._found(Secret, "secrets", ref, namespace))
        return claims

    def _found(self, kind: type[K], resource: str, ref: BoundObjectReference, namespace: str) -> K:
        found = self._lookup.get(kind, ref.name, namespace)
        if found is None:
            raise _missing(resource, ref.name)
        if ref.uid and ref.uid != _uid(found):
            raise Conflict(
                f'Operation cannot be fulfilled on {ref.kind} "{ref.name}": the UID in the bound object reference '
                f"({ref.uid}) does not match the UID in record. The object might have been deleted and then recreated",
                kind=ref.kind,
                name=ref.name,
            )
        return found

    def _issue(
        self, account: ServiceAccount, bound: dict[str, Any], seconds: int, audiences: Sequence[str]
    ) -> str:
        now = int(self._clock.now().timestamp())
        private: dict[str, Any] = {
            "namespace": account.metadata.namespace,
            "serviceaccount": _reference(account),
        }
        private |= bound
        lifetime = seconds
        if "pod" in bound and seconds == REREAD_SECONDS and set(audiences) <= set(self.audiences):
            lifetime = EXTENDED_SECONDS
            private["warnafter"] = now + seconds
        claims = {
            "aud": list(audiences),
            "exp": now + lifetime,
            "iat": now,
            "iss": self.issuer,
            "jti": self._randomness.uid(),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{USER_PREFIX}{account.metadata.namespace}:{account.metadata.name}",
        }
        return self._sign(claims)

    def _sign(self, claims: dict[str, Any]) -> str:
        signing = self.keys[0]
        return jwt.encode(
            claims, signing.key, algorithm=ALGORITHM, headers={"kid": signing.identifier}
        )


class Proved(Struct, frozen=True):
    """The caller that a token proves, and its audiences that the reader accepts."""

    caller: Caller
    audiences: tuple[str, ...]


class _Known:
    """A token with a valid signature, and its parsed dates; cached between requests."""

    __slots__ = ("caller", "claims", "expires", "issued", "starts")

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims
        self.expires = _date(claims, "exp")
        self.starts = _date(claims, "nbf")
        self.issued = _date(claims, "iat")
        self.caller: Caller | None = None  # set once all objects it names were found


class ServiceAccountTokens:
    """Checks tokens issued by a `TokenIssuer` of this cluster."""

    def __init__(
        self,
        *,
        issuer: str,
        audiences: Sequence[str],
        keys: Sequence[ec.EllipticCurvePublicKey],
        lookup: Lookup,
        clock: Clock,
    ) -> None:
        self._issuers = (issuer, LEGACY_ISSUER)
        self._audiences = tuple(audiences) or (issuer,)
        self._keys = {key_identifier(key): key for key in keys}
        self._lookup = lookup
        self._clock = clock
        self._known: Recent[bytes, _Known] = Recent(REMEMBERED)

    def prove(self, token: str, audiences: Sequence[str] = ()) -> Proved | None:
        """Return what a token proves; None for a token of another issuer.

        `audiences` are those the reader accepts, by default the API server's. Raises TokenInvalid.
        """
        if not is_web_token(token):
            return None
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            verified = self._verified(token)
            if verified is None:
                return None
            known = _Known(verified)
            self._known.put(digest, known)
        claims = known.claims
        matching = self._matching(claims, audiences)
        if claims["iss"] == LEGACY_ISSUER:
            return Proved(self._permanent(claims, token), matching)
        now = self._clock.now()
        _check_dates(known, now)
        self._check_alive(claims, now)
        if known.caller is None:
            known.caller = _caller_of(claims)
        return Proved(known.caller, matching)

    def _verified(self, token: str) -> dict[str, Any] | None:
        try:
            unproved = jwt.decode(token, options={"verify_signature": False})
            identifier = jwt.get_unverified_header(token).get("kid")
        except (
            jwt.PyJWTError,
            ValueError,
            RecursionError,
        ):  # deeply nested JSON exceeds the recursion limit
            return None
        if unproved.get("iss") not in self._issuers:
            return None
        key = self._keys.get(str(identifier))
        if key is None:
            raise TokenInvalid("invalid bearer token: signed with an unknown key")
        try:
            # The claims are cached, so dates and audiences are checked at each request, by the injected clock.
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise TokenInvalid(f"invalid bearer token: {error}") from error
        return claims

    def _matching(self, claims: dict[str, Any], audiences: Sequence[str]) -> tuple[str, ...]:
        accepted = tuple(audiences) or self._audiences
        if claims["iss"] == LEGACY_ISSUER:
            carried: Any = self._audiences
        else:
            carried = claims.get("aud")
        if isinstance(carried, str):
            carried = [carried]
        elif not isinstance(carried, Sequence):
            carried = ()  # null or an object: no audience
        matching = tuple(audience for audience in accepted if audience in carried)
        if not matching:
            raise TokenInvalid(
                f"token audiences {_go_list(carried)} is invalid for the target audiences {_go_list(accepted)}"
            )
        return matching

    def _check_alive(self, claims: dict[str, Any], now: datetime) -> None:
        """Raise TokenInvalid if an object that the token names is deleted or was created anew."""
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        self._same(ServiceAccount, account, namespace, "service account", now)
        if secret := private.get("secret"):
            self._same(Secret, secret, namespace, "secret", now)
        if pod := private.get("pod"):
            self._same(Pod, pod, namespace, "pod", now)
        elif node := private.get("node"):
            self._same(Node, node, "", "node", now)

    def _same(
        self, kind: type[Kind], ref: dict[str, str], namespace: str, noun: str, now: datetime
    ) -> None:
        found: Any = self._lookup.get(kind, ref.get("name", ""), namespace)
        if found is None:
            raise TokenInvalid(
                f'serviceaccounts "{ref.get("name", "")}" not found'
                if kind is ServiceAccount
                else "service account token has been invalidated"
            )
        if found.metadata.uid != ref.get("uid"):
            raise TokenInvalid(
                f"{noun} UID ({found.metadata.uid}) does not match claim ({ref.get('uid')})"
            )
        if _is_gone(found, now):
            raise TokenInvalid("service account token has been invalidated")

    def _permanent(self, claims: dict[str, Any], token: str) -> Caller:
        prefix = "kubernetes.io/serviceaccount"
        namespace, name, uid, secret_name = (
            str(claims.get(f"{prefix}/{part}", ""))
            for part in ("namespace", "service-account.name", "service-account.uid", "secret.name")
        )
        reference = {"name": name, "uid": uid}
        self._same(ServiceAccount, reference, namespace, "service account", self._clock.now())
        secret = self._lookup.get(Secret, secret_name, namespace)
        if secret is None or secret.metadata.deletionTimestamp:
            raise TokenInvalid("service account token has been invalidated")
        kept = decoded(secret.data).get("token", b"")
        # Replacing the token in the Secret revokes the old one.
        if not hmac.compare_digest(kept, token.encode()):
            raise TokenInvalid("Token does not match server's copy")
        return service_account_caller(namespace, name, uid)


def is_web_token(token: str) -> bool:
    """Return whether a token may be a JSON Web Token: three parts in ASCII, at most `TOKEN_BYTES_LIMIT` bytes."""
    return token.isascii() and token.count(".") == 2 and len(token) <= TOKEN_BYTES_LIMIT


def numeric_date(value: Any) -> datetime | None:
    """Return the date of a claim in POSIX seconds, clamped to 1970-9999; None for a value that is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return None
    seconds = min(max(value, 0), LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC)


def _date(claims: dict[str, Any], name: str) -> datetime | None:
    return numeric_date(claims.get(name))


def _check_dates(known: _Known, now: datetime) -> None:
    if known.expires is None or now - LEEWAY > known.expires:
        raise TokenInvalid("service account token has expired")
    if known.starts is not None and now + LEEWAY < known.starts:
        raise TokenInvalid("service account token is not valid yet")
    if known.issued is not None and now + LEEWAY < known.issued:
        raise TokenInvalid("service account token is issued in the future")


def _caller_of(claims: dict[str, Any]) -> Caller:
    """Return the caller of a token whose objects have been found."""
    private = claims["kubernetes.io"]
    account = private["serviceaccount"]
    extra: dict[str, tuple[str, ...]] = {}
    if jti := claims.get("jti"):
        extra[CREDENTIAL_ID] = (f"JTI={jti}",)
    if pod := private.get("pod"):
        extra |= {POD_NAME: (pod["name"],), POD_UID: (pod["uid"],)}
    if node := private.get("node"):
        extra[NODE_NAME] = (node["name"],)
        if node.get("uid"):
            extra[NODE_UID] = (node["uid"],)
    return service_account_caller(private["namespace"], account["name"], account["uid"], extra)


def service_account_caller(
    namespace: str, name: str, uid: str = "", extra: dict[str, tuple[str, ...]] | None = None
) -> Caller:
    """Return the identity of a service account, without system:authenticated."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return Caller(f"{USER_PREFIX}{namespace}:{name}", groups, uid, extra or {})


def key_identifier(key: ec.EllipticCurvePublicKey) -> str:
    """Return the `kid` of a key: the SHA-256 of its DER form in base64url, as in Kubernetes."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _web_key(signing: Signing) -> dict[str, Any]:
    numbers = signing.key.public_key().public_numbers()
    return {
        "use": "sig",
        "kty": "EC",
        "kid": signing.identifier,
        "crv": "P-256",
        "alg": ALGORITHM,
        "x": _coordinate(numbers.x),
        "y": _coordinate(numbers.y),
    }


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()


def _is_gone(found: Any, now: datetime) -> bool:
    deletion = found.metadata.deletionTimestamp
    return deletion is not None and datetime.fromisoformat(deletion) < now - LEEWAY


def _reference(found: Any) -> dict[str, str]:
    return {"name": found.metadata.name, "uid": found.metadata.uid}


def _uid(found: Any) -> str:
    uid: str = found.metadata.uid
    return uid


def _go_list(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _missing(resource: str, name: str) -> NotFound:
    return NotFound(f'{resource} "{name}" not found', kind=resource, name=name)


def _problems(namespace: str, name: str, body: TokenRequest) -> list[Cause]:
    causes = []
    for field, actual, wanted in (
        ("name", body.metadata.name, name),
        ("namespace", body.metadata.namespace, namespace),
    ):
        if actual and actual != wanted:
            message = (
                f'Invalid value: "{actual}": must match the service account {field} if specified'
            )
            causes.append(Cause(f"metadata.{field}", "FieldValueInvalid", message))
    seconds = body.spec.expirationSeconds
    if seconds is not None and not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        limit = "less than 10 minutes" if seconds < SHORTEST_SECONDS else "larger than 2^32 seconds"
        message = f"Invalid value: {seconds}: may not specify a duration {limit}"
        causes.append(Cause("spec.expirationSeconds", "FieldValueInvalid", message))
    return causes


def _invalid(causes: Sequence[Cause]) -> Invalid:
    details = ", ".join(f"{cause.path}: {cause.message}" for cause in causes)
    details = f"[{details}]" if len(causes) > 1 else details
    return Invalid(
        f'TokenRequest.authentication.k8s.io "" is invalid: {details}',
        group="authentication.k8s.io",
        kind="TokenRequest",
        causes=causes,
    )


def _replace_meta(body: TokenRequest, account: ServiceAccount, now: datetime) -> Any:
    meta = account.metadata
    return replace(
        body.metadata,
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        creationTimestamp=format_time(now),
    )


def _spec(body: TokenRequest, audiences: list[str], seconds: int) -> Any:
    return replace(body.spec, audiences=audiences, expirationSeconds=seconds)
