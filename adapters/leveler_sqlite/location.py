"""Location: where the file is, and whether queues may live there."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from leveler.adapter import redact
from leveler.errors import AccessDenied, ConfigError

MOUNTS: Final = Path("/proc/self/mountinfo")

#: File systems that other hosts may write to at the same time: neither locks nor shared memory reach across.
_SHARED_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"}
    | {"orangefs", "pvfs2", "smb3", "smbfs", "virtiofs"}
)
#: The same in user space: `fuse.<name>`.
_SHARED_IN_USER_SPACE: Final = frozenset(
    {"blobfuse", "blobfuse2", "ceph-fuse", "gcsfuse", "glusterfs", "goofys", "juicefs", "moosefs", "mfs", "rclone"}
    | {"s3fs", "sshfs"}
)

_FORMS: Final = "write sqlite:///orders.db (three slashes: relative) or sqlite:////var/lib/orders.db (four: absolute)"


class Mount(NamedTuple):
    """Where a file system is mounted, and of what kind it is."""

    folder: str
    kind: str


def path_of(url: str) -> str:
    """The path in a URL, as it stands there.

    Raises:
        ConfigError: it has none, or names a host.
    """
    found = re.fullmatch(r"sqlite://([^/]*)(?:/(.*))?", url, re.DOTALL)
    shown = repr(redact(url))  # it may be another broker's, password and all, with the scheme changed
    if found is None:
        raise ConfigError(f"{shown} is not the URL of a file: {_FORMS}")
    host, path = found[1], unquote(found[2] or "")
    if host:
        raise ConfigError(f"{shown} names a host, but SQLite is a file on this one: {_FORMS}")
    if not path or path.endswith("/"):
        raise ConfigError(f"{shown} names no file: {_FORMS}")
    if path == ":memory:":
        raise ConfigError(f"{shown} would be gone with its process: use memory:// for that, or {_FORMS}")
    if "\0" in path:
        raise ConfigError(f"{shown} has a zero byte in its path: {_FORMS}")
    return path


def locate(path: str) -> str:
    """The full path of a file that is there, or could be made; nothing is made by looking.

    Raises:
        ConfigError: the folder is missing, or the place is not fit for queues.
        AccessDenied: this user may make no file there.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise ConfigError(f"{path}: the folder {folder} does not exist: create it (mkdir -p) or correct the path")
    _check_kind(path, folder)
    if not is_there(path) and not os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise _denied(path, os.strerror(errno.EACCES))
    return path


def is_there(path: str) -> bool:
    """Whether there is such a file, even one that may not be looked at."""
    try:
        os.stat(path)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    return True


def create(path: str) -> None:
    """Make sure that there is a file which can be written, and that nobody else may read a new one.

    Raises:
        AccessDenied: this user may not write there.
    """
    try:
        _create(path)
    except OSError as error:
        raise _denied(path, error.strerror or str(error)) from error


def _denied(path: str, why: str) -> AccessDenied:
    return AccessDenied(
        f"{path}: cannot be opened for writing ({why}): let this user write the file and its folder, "
        "which also holds the -wal and -shm files, or choose another path"
    )


def _create(path: str) -> None:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(file, 0o600)  # the umask may have taken our own rights
    except FileExistsError:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.close(file)


def _check_kind(path: str, folder: str) -> None:
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise ConfigError(f"{path}: is not a file: choose another path")
    mount = mount_of(folder, _mounts())
    if mount is not None and is_shared(mount.kind):
        raise ConfigError(
            f"{path}: {mount.folder} is a network file system ({mount.kind}), on which SQLite cannot keep several "
            "processes apart: put the file on a local disk, or use a broker that is a server"
        )


def is_shared(kind: str) -> bool:
    name, _, inner = kind.partition(".")
    return name in _SHARED_FILE_SYSTEMS or (name in ("fuse", "fuseblk") and inner in _SHARED_IN_USER_SPACE)


def mount_of(folder: str, mounts: str) -> Mount | None:
    """The file system that `folder` is on, from the text of ``/proc/self/mountinfo``; the last one mounted wins."""
    best: Mount | None = None
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        if not dash:
            continue
        mount = Mount(_unescape(before.split(" ")[4]), after.split(" ")[0])
        if _holds(mount.folder, folder) and (best is None or len(mount.folder) >= len(best.folder)):
            best = mount
    return best


def _holds(mount: str, folder: str) -> bool:
    return folder == mount or folder.startswith(mount.rstrip("/") + "/")


def _unescape(text: str) -> str:
    """Spaces and backslashes stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _mounts() -> str:
    try:
        return MOUNTS.read_text(errors="replace")
    except OSError:
        return ""  # not Linux: nothing to go by
