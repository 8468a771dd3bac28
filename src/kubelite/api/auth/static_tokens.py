"""The static token file: lines of ``token,user,uid,"group1,group2"``."""

import csv
import hashlib
import hmac
import io

from kubelite.api.auth.caller import Caller

FIELDS_LEAST = 3


class TokenFileInvalid(Exception):
    """The token file is malformed."""


class StaticTokens:
    """The tokens of a file, which is read at start only, as in Kubernetes."""

    def __init__(self, content: str) -> None:
        """Parse the file's text; raises TokenFileInvalid."""
        self._callers: list[tuple[bytes, Caller]] = []
        try:
            rows = list(csv.reader(io.StringIO(content)))
        except csv.Error as error:  # a field exceeds the size limit of `csv`
            raise TokenFileInvalid(f"cannot read the token file: {error}") from error
        for number, row in enumerate(rows, 1):
            fields = [field.strip() for field in row]
            if not any(fields) or fields[0].startswith("#"):
                continue
            if len(fields) < FIELDS_LEAST or not fields[0] or not fields[1]:
                raise TokenFileInvalid(
                    f"cannot read the token file: line {number} must have at least a token, a user and a uid"
                )
            groups = fields[3] if len(fields) > FIELDS_LEAST else ""
            caller = Caller(
                fields[1], tuple(g.strip() for g in groups.split(",") if g.strip()), fields[2]
            )
            self._callers.append((_digest(fields[0]), caller))

    def caller(self, token: str) -> Caller | None:
        """Return the caller of a token, or None; the time taken does not depend on which token matches."""
        digest, found = _digest(token), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(token: str) -> bytes:
    # Header bytes that are not UTF-8 arrive as lone surrogates, which strict encoding would reject.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
