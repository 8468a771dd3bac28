"""The text of a join token, which server and agent share: ``K10<CA hash>::<id>.<secret>``, or short ``<id>.<secret>``.

The CA hash is the SHA-256 of a CA certificate's DER in lower-case hexadecimal, as in the secure tokens of k3s. A
machine that joins trusts the server only if the server shows that certificate. The short form, kubeadm's bootstrap
token, says nothing of the CA, so a machine that has only this form needs the CA from elsewhere.
"""

import hashlib
import re

from msgspec import Struct

PREFIX = "K10"  # the format's version, as in k3s
SEPARATOR = "::"
ID_LENGTH, SECRET_LENGTH, HASH_LENGTH = 6, 16, 64
TEXT_LENGTH_MAX = 1024  # beyond it, the text is some other file; a secure token has 92 characters
_HASH = re.compile(rf"[0-9a-f]{{{HASH_LENGTH}}}", re.ASCII)
_ID = re.compile(rf"[a-z0-9]{{{ID_LENGTH}}}", re.ASCII)
_SECRET = re.compile(rf"[a-z0-9]{{{SECRET_LENGTH}}}", re.ASCII)


class TokenMalformed(Exception):
    """The text is no join token; the message is one line and never holds the secret."""


class JoinToken(Struct, frozen=True):
    """A join token. `ca_hash` is None in the short form."""

    ca_hash: str | None
    id: str
    secret: str

    @classmethod
    def parse(cls, text: str) -> "JoinToken":
        """Parse either form; white space around it is ignored, as a file ends with a newline. Raises TokenMalformed."""
        bare = text.strip()
        if not bare:
            raise _malformed("it is empty")
        if len(bare) > TEXT_LENGTH_MAX:
            raise _malformed(f"it has more than {TEXT_LENGTH_MAX} characters")
        if any(character.isspace() for character in bare):
            raise _malformed("it has white space or a line break in it; give one token")
        ca_hash, rest = _split_hash(bare)
        return cls(ca_hash, *_split_bearer(rest))

    @property
    def bearer(self) -> str:
        """The short form, which is sent to the API server as bearer token."""
        return f"{self.id}.{self.secret}"

    def __str__(self) -> str:
        """Return the text: the secure form if the CA's hash is known. It holds the secret."""
        if self.ca_hash is None:
            return self.bearer
        return f"{PREFIX}{self.ca_hash}{SEPARATOR}{self.bearer}"

    def __repr__(self) -> str:
        """Return a form for logs and tracebacks, without the secret."""
        return f"JoinToken(ca_hash={self.ca_hash!r}, id={self.id!r}, secret=…)"


def certificate_hash(der: bytes) -> str:
    """Return the hash of a CA certificate (DER) as a token holds it."""
    return hashlib.sha256(der).hexdigest()


def _split_hash(text: str) -> tuple[str | None, str]:
    """Return the CA hash and the rest of a token; None as hash for the short form. Raises TokenMalformed."""
    if not text.startswith("K"):
        if SEPARATOR in text:
            raise _malformed(f"its beginning is missing: {PREFIX} and the hash of the cluster CA")
        return None, text
    if not text.startswith(PREFIX):
        raise _malformed(f"a secure token begins with {PREFIX}")
    ca_hash, separator, rest = text[len(PREFIX) :].partition(SEPARATOR)
    if not separator:
        raise _malformed("it is cut off: the part after the hash of the cluster CA is missing")
    if _HASH.fullmatch(ca_hash) is None:
        raise _malformed(
            f"the hash of the cluster CA must have {HASH_LENGTH} hexadecimal digits in lower case, "
            f"and has {len(ca_hash)} characters"
        )
    return ca_hash, rest


def _split_bearer(text: str) -> tuple[str, str]:
    """Return identifier and secret of ``id.secret``. Raises TokenMalformed."""
    identifier, dot, secret = text.partition(".")
    if not dot:
        raise _malformed("it has no dot between its ID and its secret")
    if _ID.fullmatch(identifier) is None:
        raise _malformed(
            f"its ID must have {ID_LENGTH} lower-case letters or digits, "
            f"and has {len(identifier)} characters"
        )
    if len(secret) < SECRET_LENGTH:
        raise _malformed(
            f"it is cut off: its secret has {len(secret)} of {SECRET_LENGTH} characters"
        )
    if _SECRET.fullmatch(secret) is None:
        raise _malformed(
            f"its secret must have {SECRET_LENGTH} lower-case letters or digits, "
            f"and has {len(secret)} characters"
        )
    return identifier, secret


def _malformed(reason: str) -> TokenMalformed:
    return TokenMalformed(f"cannot read the join token: {reason}")
