"""The condition of an APIService that this server serves itself.

Source: kube-aggregator, its wording included.
"""

AVAILABLE = "Available"
LOCAL_REASON = "Local"
LOCAL_MESSAGE = "Local APIServices are always available"


def local_condition(now: str) -> dict[str, str]:
    """Return the condition in wire form; `now` is the date of its transition."""
    return {
        "type": AVAILABLE,
        "status": "True",
        "lastTransitionTime": now,
        "reason": LOCAL_REASON,
        "message": LOCAL_MESSAGE,
    }
