"""Puts the access to a cluster into a kubeconfig that has others, as kubectl would: nothing of theirs is lost.

Cluster, user and context get one name. The file keeps its mode and its owner, is replaced at once, and its former
content stays beside it. The lock is kubectl's own: a file FILE.lock that exists while somebody writes.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kubelite.api.auth.secret_files import sync_folder, temporary_of
from kubelite.api.client.kubeconfig import FILE_BYTES_MAX

NAME = "kubelite"  # of cluster, user and context
BACKUP_SUFFIX = ".before-kubelite"
LISTS = {"clusters": "cluster", "users": "user", "contexts": "context"}

Document = dict[str, Any]


class NotMerged(Exception):
    """A kubeconfig cannot be read or changed; the message is one line for the user."""


def merged(
    present: Document, own: Document, name: str, *, overwrite: bool = False, switch: bool = False
) -> Document:
    """Return a kubeconfig with the current context of `own` in it, called `name`. Raises NotMerged.

    Entries of that name are replaced if they are of the same cluster, or with `overwrite`. The current context stays
    unless there is none, or with `switch`.
    """
    found = _current(own)
    entries: Document = {
        "clusters": found["cluster"],
        "users": found["user"],
        "contexts": {"cluster": name, "user": name},
    }
    former = _named(present, "clusters", name)
    if former is not None and not overwrite and not _is_same(former, found["cluster"]):
        raise NotMerged(
            f"cannot merge: there is another cluster {name}; choose another name by --name, or give --overwrite"
        )
    result = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **present}
    for plural, field in LISTS.items():
        others = [one for one in _entries(present, plural) if _name(one) != name]
        entry = dict(entries[plural])
        if plural == "contexts" and (was := _named(present, plural, name)):
            entry = {**was, **entry}  # a namespace that was chosen stays
        result[plural] = [*others, {"name": name, field: entry}]
    if switch or not present.get("current-context"):
        result["current-context"] = name
    return result


def with_server(own: Document, server: str) -> Document:
    """Return a kubeconfig whose clusters have another URL."""
    clusters = [
        {**one, "cluster": {**one.get("cluster", {}), "server": server}}
        for one in _entries(own, "clusters")
    ]
    return {**own, "clusters": clusters}


def _current(own: Document) -> Mapping[str, Document]:
    context = _named(own, "contexts", str(own.get("current-context", "")))
    if context is None:
        raise NotMerged(
            "cannot merge: the kubeconfig of the server has no current context; start the server, which writes it anew"
        )
    cluster = _named(own, "clusters", str(context.get("cluster", "")))
    user = _named(own, "users", str(context.get("user", "")))
    if cluster is None or user is None:
        raise NotMerged(
            "cannot merge: the kubeconfig of the server lacks a cluster or user; start the server, which writes it anew"
        )
    return {"cluster": cluster, "user": user}


def _is_same(one: Document, other: Document) -> bool:
    key = "certificate-authority-data"
    return bool(one.get(key)) and one.get(key) == other.get(key)


def _entries(document: Document, plural: str) -> list[Any]:
    found = document.get(plural)
    return found if isinstance(found, list) else []


def _name(entry: Any) -> Any:
    return entry.get("name") if isinstance(entry, dict) else None


def _named(document: Document, plural: str, name: str) -> Document | None:
    for entry in _entries(document, plural):
        if _name(entry) == name and isinstance(entry.get(LISTS[plural]), dict):
            return dict(entry[LISTS[plural]])
    return None


def read(path: Path) -> Document:
    """Return the content of a kubeconfig, empty if there is none. Raises NotMerged."""
    import yaml

    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NotMerged(f"cannot read {path}: {error.strerror}; run as a user who may") from error
    if len(text) > FILE_BYTES_MAX:
        raise NotMerged(
            f"cannot use {path}: it is larger than {FILE_BYTES_MAX} bytes; name another by --file"
        )
    try:
        document = yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        where = " ".join(str(error).split())[:200]
        raise NotMerged(
            f"cannot use {path}: it is no YAML: {where}; mend it, or name another by --file"
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise NotMerged(
            f"cannot use {path}: it holds no clusters and users; name another by --file"
        )
    return document


def text_of(document: Document) -> str:
    """Return a kubeconfig as YAML."""
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def merge_into(
    path: Path, own: Document, name: str = NAME, *, overwrite: bool = False, switch: bool = False
) -> Path:
    """Merge `own` into a file, which is made if it is not there; return where it is. Blocks; raises NotMerged.

    If the file is a link, what it leads to is changed.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target):
            present = read(target)
            content = text_of(merged(present, own, name, overwrite=overwrite, switch=switch))
            _replace(target, content.encode())
    except OSError as error:
        raise NotMerged(
            f"cannot write {error.filename or target}: {error.strerror}; name another by --file"
        ) from error
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold kubectl's lock of a kubeconfig. Raises NotMerged if somebody else does."""
    lock = path.with_name(path.name + ".lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise NotMerged(
            f"cannot change {path}: {lock} exists, so another program writes it; remove that file if none does"
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically; the new one has mode and owner of the former one, which is kept as a backup."""
    try:
        status: os.stat_result | None = path.stat()
    except FileNotFoundError:
        status = None
    if status is not None:
        _copy(path.read_bytes(), path.with_name(path.name + BACKUP_SUFFIX), status)
    _copy(content, path, status)


def _copy(content: bytes, path: Path, like: os.stat_result | None) -> None:
    temporary = temporary_of(path)
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        if like is not None:
            with suppress(PermissionError):  # not root: it is this user's anyway
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
