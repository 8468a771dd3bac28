"""The options of a request, beside its path and body."""

from typing import Literal

from msgspec import Struct

Propagation = Literal["", "Foreground", "Background", "Orphan"]


class ReadOptions(Struct, frozen=True, kw_only=True):
    """Options of a get or list."""

    resource_version: str = ""
    resource_version_match: str = ""  # "", Exact or NotOlderThan
    limit: int = 0  # 0: all
    continue_token: str = ""
    label_selector: str = ""
    field_selector: str = ""
    send_initial_events: bool | None = None  # of a watch only


class WatchOptions(ReadOptions, frozen=True, kw_only=True):
    """Options of a watch. The HTTP handler ends it after `timeout_seconds`; the hub only sends bookmarks."""

    timeout_seconds: float | None = None
    bookmarks: bool = False


class WriteOptions(Struct, frozen=True, kw_only=True):
    """Options of a create, update or patch."""

    dry_run: bool = False
    field_manager: str = ""
    names_manager: bool = (
        False  # the caller named the field manager, which else comes from its user agent
    )
    field_validation: str = ""  # Strict, Warn or Ignore; "" is Warn
    force: bool = False  # server-side apply: take fields from other managers
    body_bytes: int = (
        0  # of the body, for the cost of work on it; 0: a small body of a component of this process
    )
    duplicate_fields: tuple[str, ...] = ()  # warnings about fields that occur twice in the body
    wants_warnings: bool = False  # a caller over HTTP is shown warnings


class DeletionOptions(Struct, frozen=True, kw_only=True):
    """Options of a delete; `uid` and `resource_version` are preconditions."""

    grace_seconds: int | None = None
    propagation: Propagation = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
