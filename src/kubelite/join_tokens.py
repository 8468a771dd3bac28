"""Join tokens for `kubelite token`: created, listed and deleted through the API, with an administrator's kubeconfig."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from kubelite.api.auth.bootstrap_tokens import new_token
from kubelite.api.auth.join_token import JoinToken, TokenMalformed, certificate_hash
from kubelite.api.client.kubeconfig import Access, KubeconfigInvalid, read_kubeconfig
from kubelite.api.client.remote import RemoteClient
from kubelite.api.errors import AlreadyExists, APIError, NotFound
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import (
    EXPIRATION,
    GROUPS,
    KIND_GROUPS,
    NAMESPACE,
    ONCE,
    TOKEN_PREFIX,
    TOKEN_TYPE,
    encoded,
    kind_of,
    texts,
    use_of,
)
from kubelite.api.machinery.times import format_time, human_duration, parse_duration, parse_time
from kubelite.clock import Clock
from kubelite.randomness import Randomness

TTL_MAX = timedelta(days=3650)  # as long as a CA lives
DESCRIPTION_MAX = 1000  # characters
TRIES = 5  # of creating a token whose ID another one has
COLUMNS = ("ID", "KIND", "TTL", "ONE-TIME", "USED-BY", "DESCRIPTION")


class TokenFailed(Exception):
    """A command cannot be carried out; the message is one line for the user."""


class Wanted(Struct, frozen=True):
    """A token to create."""

    kind: str = "agent"
    ttl: timedelta | None = timedelta(hours=24)  # None: it never expires
    is_one_time: bool = False
    description: str = ""


def parse_ttl(text: str) -> timedelta | None:
    """Parse a lifetime such as ``24h`` or ``1h30m``; 0 means for ever (None). Raises TokenFailed."""
    try:
        ttl = parse_duration(text)
    except ValueError:
        raise TokenFailed(
            f"cannot use --ttl {text[:80]!r}: must be a duration such as 30m or 24h, or 0 for ever"
        ) from None
    if not ttl:
        return None
    if not timedelta(seconds=1) <= ttl <= TTL_MAX:
        raise TokenFailed(
            f"cannot use --ttl {text}: must be 1s to {TTL_MAX.days * 24}h, or 0 for ever"
        )
    return ttl


def wanted(kind: str, ttl: str, description: str, *, is_one_time: bool) -> Wanted:
    """Return the token that is asked for. Raises TokenFailed."""
    if len(description) > DESCRIPTION_MAX:
        raise TokenFailed(
            f"cannot use --description: it must have no more than {DESCRIPTION_MAX} characters"
        )
    return Wanted(kind, parse_ttl(ttl), is_one_time, description)


def identifier_of(text: str) -> str:
    """Return the ID of a token that is given by its ID or as a whole. Raises TokenFailed."""
    try:
        # An ID alone is checked as part of a token, so that both obey one rule.
        whole = text if "." in text or "::" in text else f"{text}.{'0' * 16}"
        return JoinToken.parse(whole).id
    except TokenMalformed as error:
        raise TokenFailed(
            str(error).replace("cannot read the join token", "cannot delete a token")
        ) from error


def secret_of(token: JoinToken, wanted: Wanted, now: datetime) -> Secret:
    """Return the Secret of a new token."""
    data = {
        "token-id": token.id,
        "token-secret": token.secret,
        "usage-bootstrap-authentication": "true",
        GROUPS: KIND_GROUPS[wanted.kind],
        EXPIRATION: format_time(now + wanted.ttl) if wanted.ttl else "",
        ONCE: "true" if wanted.is_one_time else "",
        "description": wanted.description,
    }
    return Secret(
        metadata=ObjectMeta(name=TOKEN_PREFIX + token.id, namespace=NAMESPACE),
        type=TOKEN_TYPE,
        data=encoded({name: text for name, text in data.items() if text}),
    )


def row_of(secret: Secret, now: datetime) -> tuple[str, ...]:
    """Return the cells of a token in the order of `COLUMNS`; never its secret."""
    data, use = texts(secret), use_of(secret)
    cells = (
        data.get("token-id") or secret.metadata.name.removeprefix(TOKEN_PREFIX),
        kind_of(data.get(GROUPS, "")) or "-",
        time_left(data.get(EXPIRATION, ""), now),
        "yes" if use.once else "no",
        use.node or "-",
        data.get("description") or "-",
    )
    return tuple(map(_printable, cells))


def time_left(expiration: str, now: datetime) -> str:
    """Return how long a token with this date is valid."""
    if not expiration:
        return "forever"
    try:
        seconds = (parse_time(expiration) - now).total_seconds()
    except ValueError:  # authentication takes it for expired
        return "invalid"
    return human_duration(seconds) if seconds > 0 else "expired"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with its heading."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


class JoinTokens:
    """The tokens of one cluster."""

    def __init__(
        self, client: RemoteClient, ca_pem: bytes, clock: Clock, randomness: Randomness
    ) -> None:
        self._client = client
        self._ca_pem = ca_pem
        self._clock = clock
        self._randomness = randomness

    async def create(self, wanted: Wanted) -> JoinToken:
        """Create a token and return it in its secure form. Raises TokenFailed."""
        ca_hash = _hash_of(self._ca_pem)
        for _ in range(TRIES):
            token = JoinToken(ca_hash, *new_token(self._randomness))
            try:
                await self._client.create(secret_of(token, wanted, self._clock.now()))
            except AlreadyExists:
                continue
            except APIError as error:
                raise _failed("create a token", error) from error
            return token
        raise TokenFailed("cannot create a token: every ID that was drawn exists; try again")

    async def list(self) -> list[str]:
        """Return the lines of a table of all tokens. Raises TokenFailed."""
        try:
            secrets = await self._client.list(
                Secret, NAMESPACE, field_selector=f"type={TOKEN_TYPE}"
            )
        except APIError as error:
            raise _failed("list tokens", error) from error
        now = self._clock.now()
        return table(sorted(row_of(secret, now) for secret in secrets))

    async def delete(self, identifier: str) -> None:
        """Delete a token. Raises TokenFailed."""
        try:
            await self._client.delete(Secret, TOKEN_PREFIX + identifier, NAMESPACE)
        except NotFound:
            raise TokenFailed(
                f"cannot delete token {identifier}: there is no such token; see kubelite token list"
            ) from None
        except APIError as error:
            raise _failed(f"delete token {identifier}", error) from error


@asynccontextmanager
async def opened(
    kubeconfig: Path, clock: Clock, randomness: Randomness
) -> AsyncIterator[JoinTokens]:
    """Yield the tokens of the cluster of a kubeconfig. Raises TokenFailed."""
    access = _access(kubeconfig)
    client = RemoteClient(
        access.server,
        ssl_context=access.ssl_context,
        token=access.token,
        randomness=randomness,
        field_manager="kubelite-token",
    )
    try:
        yield JoinTokens(client, access.ca_pem, clock, randomness)
    finally:
        await client.close()


def _access(kubeconfig: Path) -> Access:
    try:
        return read_kubeconfig(kubeconfig)
    except KubeconfigInvalid as error:
        raise TokenFailed(str(error)) from error


def _hash_of(ca_pem: bytes) -> str:
    """Return the hash of the first certificate of a bundle, which is the current CA's. Raises TokenFailed."""
    import ssl

    end = b"-----END CERTIFICATE-----"
    first, found, _ = ca_pem.partition(end)
    start = first.rfind(b"-----BEGIN CERTIFICATE-----")
    if not found or start < 0:
        raise TokenFailed(
            "cannot create a token: the kubeconfig does not hold the cluster's CA; "
            "give the one that the server wrote by --kubeconfig"
        )
    return certificate_hash(ssl.PEM_cert_to_DER_cert((first[start:] + end).decode()))


def _failed(what: str, error: APIError) -> TokenFailed:
    reason = " ".join(error.message.split())
    return TokenFailed(f"cannot {what}: {reason}; see --kubeconfig, and kubelite status")


def _printable(text: str) -> str:
    """Return a text of others without what a terminal would obey."""
    return "".join(one if one.isprintable() else "�" for one in text)
