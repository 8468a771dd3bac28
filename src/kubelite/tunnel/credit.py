"""Credit of a stream: how many bytes one end may send before the other end has passed on earlier ones.

Both ends of a new stream have FIRST_CREDIT. The receiver grants more as its socket takes what came; once it does, the
window may be widened, so a stream that nobody reads never holds more than the first credit.
"""

from kubelite.tunnel.frames import BrokenTunnel

FIRST_CREDIT = 64 * 1024
CREDIT_MAX = 16 * 1024 * 1024  # more than any receiver grants


class SendCredit:
    """The bytes that may still be sent."""

    __slots__ = ("available",)

    def __init__(self) -> None:
        self.available = FIRST_CREDIT

    def take(self, wanted: int) -> int:
        """Use up credit for at most `wanted` bytes; return for how many."""
        taken = min(wanted, self.available)
        self.available -= taken
        return taken

    def grant(self, more: int) -> None:
        """Add what the receiver granted. Raises BrokenTunnel if it is nothing, or more than any receiver holds."""
        if not 0 < more <= CREDIT_MAX - self.available:
            raise BrokenTunnel(f"WINDOW grants {more} bytes beyond {self.available}")
        self.available += more


class ReceiveWindow:
    """What the sender may make this end hold: at most `size` bytes were received and not granted again."""

    __slots__ = ("held", "size")

    def __init__(self) -> None:
        self.size = FIRST_CREDIT
        self.held = 0  # received and not granted again

    def receive(self, count: int) -> None:
        """Count received bytes. Raises BrokenTunnel if the sender had no credit for them."""
        if count > self.size - self.held:
            raise BrokenTunnel("DATA exceeds the credit")
        self.held += count

    def grant(self, unsent: int) -> int:
        """Return the bytes to grant while `unsent` of those received still wait here; 0 below half of the window."""
        passed = self.held - min(unsent, self.held)
        if passed * 2 < self.size:
            return 0
        self.held -= passed
        return passed

    def widen(self, size: int) -> int:
        """Enlarge the window to `size` bytes; return the bytes to grant for that."""
        more = max(0, size - self.size)
        self.size += more
        return more
