"""Makes the file system of the container image of the server: `python packaging/image.py OUT`.

Its programs are the files of Debian packages that are installed on this machine, with all that these depend on, and
kubelite with what requirements/run.txt names. `docker build OUT` makes the image, without a network.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import build

# The interpreter, its library, time zones for CronJobs, and what compiled packages are linked to.
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "tzdata", "base-files")
# They configure packages on a machine that lives, which an image does not.
LEFT_OUT = frozenset({"debconf", "debconf-2.0", "dpkg", "perl-base", "awk", "mawk", "media-types"})
SKIPPED = (
    "/usr/share/doc/",
    "/usr/lib/x86_64-linux-gnu/gconv/",
    "/usr/lib/aarch64-linux-gnu/gconv/",
    "/usr/share/man/",
    "/usr/share/lintian/",
    "/usr/share/locale/",
    "/var/lib/dpkg/",
)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # of issuers and webhooks on other machines
USER, DATA = 65532, "var/lib/kubelite"
FOLDER = "usr/lib/kubelite"  # of the packages
PASSWD = f"root:x:0:0:root:/root:/sbin/nologin\nkubelite:x:{USER}:{USER}::/{DATA}:/sbin/nologin\n"
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}


def main(arguments: Sequence[str]) -> None:
    """Write root.tar and the Dockerfile into a folder."""
    out = Path(arguments[0]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="kubelite-image-") as folder:
        work = Path(folder)
        source = build.copied_sources(work / "source")
        made = build.wheel(source, work)
        write_root(build.packages(work / "site", made, ()), out / "root.tar")
    shutil.copy(build.ROOT / "packaging" / "Dockerfile", out)


def write_root(site: Path, path: Path) -> None:
    """Write the file system, with one date, in the order of the names."""
    epoch = build.epoch()

    def same(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uname, member.gname = epoch, "", ""
        if not member.name.startswith(DATA):
            member.uid = member.gid = 0
        if member.name.startswith(FOLDER):  # wherever the packages were installed
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "w") as archive:
        root = Path(folder)
        for name in sorted(set(_files(PACKAGES))):
            _copy(name, root)
        _copy(CERTIFICATES, root)
        shutil.copytree(site, root / FOLDER)
        (root / DATA).mkdir(parents=True)
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/passwd").write_text(PASSWD)
        (root / "tmp").mkdir(exist_ok=True)
        (root / "tmp").chmod(0o1777)
        for link, target in LINKS.items():
            if not (root / link).is_symlink():
                (root / link).symlink_to(target)
        os.chown(root / DATA, USER, USER)
        (root / DATA).chmod(0o700)
        for each in sorted(root.rglob("*")):
            archive.add(each, str(each.relative_to(root)), recursive=False, filter=same)


def _files(names: Sequence[str]) -> Iterator[str]:
    """Yield the files of packages and of all that they depend on. Ends the program if one is not installed."""
    for name in _closure(names):
        listed = subprocess.run(["dpkg", "-L", name], check=True, capture_output=True, text=True)
        for path in listed.stdout.splitlines():
            if path.startswith("/") and not path.startswith(SKIPPED):
                yield path


def _closure(names: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen or name in LEFT_OUT:
            continue
        ask = [
            "dpkg-query",
            "--show",
            "--showformat=${db:Status-Status};${Pre-Depends},${Depends}",
            name,
        ]
        asked = subprocess.run(ask, check=False, capture_output=True, text=True)
        state, _, needs = asked.stdout.partition(";")
        if asked.returncode or state != "installed":
            if name in names:
                sys.exit(f"cannot make the image: the Debian package {name} is not installed")
            continue  # an alternative, or a virtual package
        seen.add(name)
        waiting += re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]*)", needs)
    return seen


def _copy(name: str, root: Path) -> None:
    """Copy a file or link to its real place: /lib is a link, and packages name files below it."""
    source = Path(name)
    if not (source.is_symlink() or source.is_file()):
        return
    target = root / (source.parent.resolve() / source.name).relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        if not target.is_symlink():
            target.symlink_to(source.readlink())
    else:
        shutil.copy2(source, target)


if __name__ == "__main__":
    main(sys.argv[1:])
