"""A real filesystem whose files misbehave on command: FUSE, spoken straight to the kernel.

https://docs.kernel.org/filesystems/fuse/ and include/uapi/linux/fuse.h; only what reading takes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.optional_programs import NO_MOUNTS, leave_out

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = (
    1, 2, 3, 14, 15, 18, 25, 26, 27, 28, 29,
)  # fmt: skip
MKNOD, INTERRUPT, BATCH_FORGET = 8, 36, 42
HEADER = struct.Struct("<IIQQIIIHH")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
ROOT = 1
DETACH = 2
DIRECT_IO = 1
LARGEST = 1 << 20


def unmount(folder: Path) -> None:
    ctypes.CDLL(None).umount2(bytes(folder), DETACH)


class FuseFiles:
    """Files of so many bytes each in one folder. A name in ``faults`` fails with that errno.

    ``shrunk`` end early: they say to be as large as ever. ``hung`` are never answered, until
    `let_go`.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        self.names = list(sizes)
        self.sizes = sizes
        self.open_faults: dict[str, int] = {}
        self.read_faults: dict[str, int] = {}
        self.shrunk: dict[str, int] = {}
        self.hung: set[str] = set()
        self.reached: set[str] = set()
        self._go_on = threading.Event()
        self._device = -1

    @contextmanager
    def mounted(self, folder: Path) -> Iterator[Path]:
        """Mount it; without the right to mount the test is left out."""
        folder.mkdir(exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            leave_out(NO_MOUNTS)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if libc.mount(b"faults", bytes(folder), b"fuse", 0, options.encode()):
            os.close(self._device)
            leave_out(NO_MOUNTS)
        # Several: one that hangs holds up no other.
        for _ in range(4):
            threading.Thread(target=self._serve, daemon=True).start()
        try:
            yield folder
        finally:
            self.let_go()
            unmount(folder)
            self.disappear()

    def disappear(self) -> None:
        """As if the filesystem's process were killed: files say that it is not connected."""
        device, self._device = self._device, -1
        if device >= 0:
            # The connection ends when nobody reads of it any more.
            os.close(device)

    def let_go(self) -> None:
        self._go_on.set()

    def _serve(self) -> None:
        while (device := self._device) >= 0:
            try:
                request = os.read(device, LARGEST + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return
            _, operation, unique, node, *_ = HEADER.unpack_from(request)
            if operation in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                answer = self._answer(operation, node, request[HEADER.size :])
                code = 0
            except OSError as error:
                answer, code = b"", -(error.errno or errno.EIO)
            with suppress(OSError):
                os.write(device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)

    def _answer(self, operation: int, node: int, body: bytes) -> bytes:
        if operation == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 16, 12, LARGEST, 1, 0, 0, 0)
        if operation == LOOKUP:
            return self._look_up(body.rstrip(b"\0").decode())
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if operation in (OPEN, OPENDIR):
            self._fail(self.open_faults, node)
            # Past the kernel's cache: each read is asked of us.
            return struct.pack("<QII", 0, DIRECT_IO if operation == OPEN else 0, 0)
        if operation == READ:
            return self._read(node, *struct.unpack_from("<QQI", body)[1:])
        if operation == READDIR:
            return self._list(*struct.unpack_from("<QQI", body)[1:])
        if operation in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        if operation == MKNOD:
            raise OSError(errno.EEXIST, "")
        raise OSError(errno.ENOSYS, "")

    def _name(self, node: int) -> str:
        return "" if node == ROOT else self.names[node - ROOT - 1]

    def _fail(self, faults: dict[str, int], node: int) -> None:
        name = self._name(node)
        self.reached.add(name)
        if number := faults.get(name):
            raise OSError(number, "")

    def _look_up(self, name: str) -> bytes:
        if name not in self.sizes:
            raise OSError(errno.ENOENT, "")
        node = self.names.index(name) + ROOT + 1
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _attributes(self, node: int) -> bytes:
        size = self.sizes.get(self._name(node), 0)
        mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
        links, block = 1, 4096
        return ATTRIBUTES.pack(
            node, size, size // 512, *(0,) * 3, *(0,) * 3, mode, links, 0, 0, 0, block, 0
        )

    def _read(self, node: int, offset: int, count: int) -> bytes:
        name = self._name(node)
        if offset:
            self._fail(self.read_faults, node)
        self.reached.add(name)
        if name in self.hung and offset:
            self._go_on.wait()
        end = self.shrunk.get(name, self.sizes[name])
        return b"x" * max(0, min(count, end - offset))

    def _list(self, offset: int, count: int) -> bytes:
        listed = b""
        for number, name in list(enumerate(self.names, 1))[offset:]:
            text = name.encode()
            entry = struct.pack("<QQII", number + ROOT, number, len(text), stat.S_IFREG >> 12)
            entry += text
            entry += b"\0" * (-len(entry) % 8)
            if len(listed) + len(entry) > count:
                break
            listed += entry
        return listed
