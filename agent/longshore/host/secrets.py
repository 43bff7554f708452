"""Secrets: files that exist in memory alone, for as long as the container runs.

All containers' lie in one tmpfs of ours, which is there while there are any. A container's are
written into a folder with another name, so that one that has its name is whole: it belongs to the
process that runs, and a start after that finds none.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from longshore.errors import Exhausted, HostFailed, InvalidSpec, LongshoreError, SecretNotFound
from longshore.host import mounts as kernel
from longshore.host.beneath import open_allowed
from longshore.host.hangs import Hangs
from longshore.host.mountinfo import mount_points
from longshore.host.placing import owner_of, place
from longshore.host.sealing import Sealing
from longshore.model.host import Ids
from longshore.model.injected import SECRET_MAX, Secret
from longshore.model.layout import Layout
from longshore.model.names import Names, is_container_id

#: Where an operator puts what requests refer to.
FOLDER = Path("/etc/longshore/secrets")
#: Bytes of all containers' secrets together.
SIZE = 64 * 2**20
#: Seconds for one of the node's own, which may lie on a file system that does not answer.
_DEADLINE = 10.0
_FOLDER_MODE = 0o700
_TOO_LARGE = f"it has more than {SECRET_MAX} bytes"
_HALF = ".new"
T = TypeVar("T")


class Secrets:
    """Satisfies lifecycle.ports.Secrets.

    Args:
        folder: files that a request may refer to by name; it need not be there.
        size: bytes that all containers' secrets may take.
        swaps: where the kernel lists what it swaps to, after a headline.
    """

    def __init__(
        self,
        layout: Layout,
        folder: Path = FOLDER,
        size: int = SIZE,
        swaps: Path = Path("/proc/swaps"),
    ) -> None:
        self._layout = layout
        self._folder = folder
        self._size = size
        self._swaps = swaps
        self._sealing = Sealing(layout.secret_key)
        self._guard = threading.Lock()
        self._hangs = Hangs(_DEADLINE)

    def check(self, secrets: Sequence[Secret]) -> None:
        for index, secret in enumerate(secrets):
            if secret.reference is not None:
                size = self._soon(secret.reference, partial(self._size_of, secret.reference, index))
                if size > SECRET_MAX:
                    raise _unusable(secret.reference, index, _TOO_LARGE, InvalidSpec)

    def mark(self, secrets: Sequence[Secret]) -> Mapping[str, str]:
        """Raises HostFailed: as `seal`."""
        return {one.name: self._sealing.mark(one.data) for one in secrets if one.data is not None}

    def seal(self, names: Names, secrets: Sequence[Secret]) -> Mapping[str, str]:
        """Raises HostFailed: the node's key cannot be read or made."""
        return {
            one.name: self._sealing.seal(_whose(names, one), one.data)
            for one in secrets
            if one.data is not None
        }

    def write(
        self, names: Names, secrets: Sequence[Secret], sealed: Mapping[str, str], ids: Ids | None
    ) -> None:
        """Raises:
        SecretNotFound: a reference leads nowhere any more.
        InvalidSpec: an owner that the container has not.
        Exhausted: the containers' secrets together are too large.
        HostFailed: a value cannot be decrypted; there can be no tmpfs.
        """
        whole = self._place(names)
        if not secrets or whole.is_dir():
            return
        # Before others have to wait: the node's own secrets may be on a file system that hangs.
        values = [self._value(names, index, one, sealed) for index, one in enumerate(secrets)]
        with self._guard, _translated("write the secrets of", names):
            self._mount()
            half = whole.with_name(whole.name + _HALF)
            _clear(half)
            half.mkdir(_FOLDER_MODE)
            for index, secret in enumerate(secrets):
                owner = owner_of(ids, secret.uid, secret.gid, f"secrets[{index}]")
                place(half / str(index), values[index], mode=secret.mode, owner=owner)
            half.rename(whole)

    def remove(self, names: Names) -> None:
        whole = self._place(names)
        ours = [one for one in (whole, whole.with_name(whole.name + _HALF)) if one.is_dir()]
        if not ours:
            return
        with self._guard, _translated("remove the secrets of", names):
            for folder in ours:
                _clear(folder)
            if not os.listdir(self._layout.secrets) and self._layout.secrets.is_mount():
                kernel.detach(self._layout.secrets)

    def owned(self) -> set[str]:
        """Ids of the containers that have secrets here, half written ones too."""
        with _translated("list the secrets of", None):
            try:
                there = os.listdir(self._layout.secrets)
            except FileNotFoundError:
                return set()
        return {id for name in there if is_container_id(id := name.removesuffix(_HALF))}

    def findings(self) -> list[str]:
        """What is wrong with this node, as far as secrets go."""
        told = [
            f"{path} tells everybody this node's secrets: chmod go= {path}"
            for path, allowed in ((self._layout.secret_key, 0), (self._folder, stat.S_IRWXG))
            if _mode(path) & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed
        ]
        if self._may_be_swapped():
            told.append(
                "the secrets of containers may be written to this node's swap: "
                "swapoff -a, or Linux 6.4 or later"
            )
        return told

    def _may_be_swapped(self) -> bool:
        """Now: what is mounted was asked not to be, which older kernels do not know."""
        swaps = self._swaps.read_text().splitlines()[1:]
        return bool(swaps) and any(
            point.path == self._layout.secrets and "noswap" not in point.options
            for point in mount_points()
        )

    def _place(self, names: Names) -> Path:
        return self._layout.secret(names, 0).parent

    def _value(self, names: Names, index: int, secret: Secret, sealed: Mapping[str, str]) -> bytes:
        if secret.reference is not None:
            return self._soon(secret.reference, partial(self._referred, secret.reference, index))
        if secret.name not in sealed:
            raise HostFailed(
                f"cannot write secret {secret.name}: its value is not in the journal",
                field=f"secrets[{index}]",
                object=secret.name,
            )
        return self._sealing.open(_whose(names, secret), sealed[secret.name])

    def _soon(self, reference: str, work: Callable[[], T]) -> T:
        return self._hangs.run(f"use secret {reference}", str(self._folder), work)

    def _size_of(self, reference: str, index: int) -> int:
        fd = self._open(reference, index)
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _referred(self, reference: str, index: int) -> bytes:
        fd = self._open(reference, index)
        try:
            with open(f"/proc/self/fd/{fd}", "rb") as file:
                data = file.read(SECRET_MAX + 1)
        finally:
            os.close(fd)
        if len(data) > SECRET_MAX:
            raise _unusable(reference, index, _TOO_LARGE)
        return data

    def _open(self, reference: str, index: int) -> int:
        """An O_PATH descriptor of a regular file."""
        field = f"secrets[{index}].reference"
        try:
            fd = open_allowed(
                self._folder / reference,
                [self._folder],
                field,
                verb="use secret",
                missing=SecretNotFound,
                rule="secrets.folder",
            )
        except SecretNotFound as error:
            raise _unusable(reference, index, f"this node has none in {self._folder}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise _unusable(reference, index, "it is no file")
        return fd

    def _mount(self) -> None:
        """Raises OSError."""
        folder = self._layout.secrets
        folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        if folder.is_mount():
            return
        options = f"mode={_FOLDER_MODE:o},size={self._size}"
        try:
            kernel.mount_tmpfs(folder, f"{options},noswap")
        except OSError as error:
            # EINVAL: before Linux 6.4 there was no such option.
            if error.errno != errno.EINVAL:
                raise
            kernel.mount_tmpfs(folder, options)


def _whose(names: Names, secret: Secret) -> str:
    return f"{names.id}/{secret.name}"


def _unusable(
    reference: str, index: int, why: str, kind: type[LongshoreError] = SecretNotFound
) -> LongshoreError:
    field = f"secrets[{index}].reference"
    return kind(
        f"cannot use secret {reference}: {why}",
        field=field,
        object=reference,
        details={"faults": [{"field": field, "why": why}]},
    )


def _clear(folder: Path) -> None:
    """One that is gone is fine."""
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in files:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0  # Not there: it tells nobody anything.


@contextmanager
def _translated(what: str, names: Names | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        kind: type[LongshoreError] = Exhausted if full else HostFailed
        whose = "containers" if names is None else names.id
        raise kind(
            f"cannot {what} {whose}: {error.strerror}",
            object=None if names is None else names.id,
            hint="[secrets] size bounds those of all containers together" if full else None,
        ) from error
