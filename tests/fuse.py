"""A file system of one folder, served from this process over the kernel's FUSE protocol.

Just what SQLite asks of a disk: files, `fsync`, shared memory mapped into it, locks (the kernel
keeps those itself). Needs root and /dev/fuse. Source: the kernel's include/uapi/linux/fuse.h; all
numbers stand in the machine's own order and alignment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.forgetful import ForgetfulFile, ForgetfulFolder

DEVICE = Path("/dev/fuse")
MOST_WRITE = 128 * 1024
"""Bytes of one write, as the kernel is told."""
FOR_EVER = 86_400
"""Seconds for which the kernel may trust what it was told: nobody else changes it."""
ROOT = 1
BIG_WRITES = 1 << 5
DETACH = 2
NO_SETUID_NO_DEVICES = 2 | 4

_IN, _OUT = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_SIZE_IS_SET = 1 << 3


class NoFuse(Exception):
    """Why it can't be done here, in words."""


def require_fuse() -> None:
    """Raise NoFuse where this machine or user can't mount such a file system."""
    if os.geteuid() != 0:
        raise NoFuse("mounting a file system takes root")
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        raise NoFuse(f"{DEVICE}: {error.strerror}") from None


class FolderServer:
    """Serves a folder at a mount point, in a thread, until it is closed.

    `before(name)` is called with each request that changes something, by its name, before it is
    obeyed, and `after(name)` before it is answered. Where one returns False, the power is gone:
    the request, and all later ones, are never answered.
    """

    def __init__(
        self,
        at: Path,
        folder: ForgetfulFolder,
        before: Callable[[str], bool],
        after: Callable[[str], bool],
    ) -> None:
        """Raises OSError where the kernel does not take the mount."""
        self._at = at
        self._folder = folder
        self._before, self._after = before, after
        self._files: dict[int, ForgetfulFile] = {}
        self._numbers: dict[ForgetfulFile, int] = {}
        self._device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        self._libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        flags = NO_SETUID_NO_DEVICES
        if self._libc.mount(b"forgetful", bytes(at), b"fuse", flags, options.encode()):
            code = ctypes.get_errno()
            os.close(self._device)
            raise OSError(code, os.strerror(code), str(at))
        self._thread = threading.Thread(target=self._serve, name="fuse", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._libc.umount2(bytes(self._at), DETACH)
        self._thread.join()

    def _serve(self) -> None:
        try:
            self._obey_all()
        finally:
            # Whoever waits for an answer gets an error now.
            os.close(self._device)

    def _obey_all(self) -> None:
        while True:
            try:
                request = os.read(self._device, MOST_WRITE + 4096)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.EINTR, errno.EAGAIN}:
                    continue
                return
            _, code, unique, node, *_ = _IN.unpack_from(request)
            name, obey = _OPERATIONS.get(code, ("", None))
            if name in _UNANSWERED:
                continue
            if name in _CHANGES and not self._before(name):
                return
            answer, failure = b"", errno.ENOSYS
            if obey is not None:
                try:
                    answer, failure = obey(self, node, request[_IN.size :]), 0
                except OSError as error:
                    failure = error.errno or errno.EIO
                except KeyError:
                    failure = errno.ENOENT
            if name in _CHANGES and not self._after(name):
                return
            self._answer(unique, failure, answer)

    def _answer(self, unique: int, failure: int, answer: bytes) -> None:
        answer = b"" if failure else answer
        # Whoever asked may have been killed meanwhile.
        with contextlib.suppress(OSError):
            head = _OUT.pack(_OUT.size + len(answer), -failure, unique)
            os.write(self._device, head + answer)

    # What is asked.

    def _begin(self, _node: int, _body: bytes) -> bytes:
        return struct.pack(
            "=4I2H2I2H8I", 7, 31, MOST_WRITE, BIG_WRITES, 16, 12, MOST_WRITE, 1, *[0] * 10
        )

    def _look_up(self, _node: int, body: bytes) -> bytes:
        return self._entry(self._folder.entries[_text(body)])

    def _attributes(self, node: int, _body: bytes) -> bytes:
        return struct.pack("=QII", FOR_EVER, 0, 0) + self._stat(node)

    def _set_attributes(self, node: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("=IIQQ", body)
        if valid & _SIZE_IS_SET:
            self._files[node].truncate(size)
        return self._attributes(node, body)

    def _create(self, _node: int, body: bytes) -> bytes:
        _, mode, _, _ = struct.unpack_from("=4I", body)
        file = self._folder.create(_text(body[16:]), stat.S_IMODE(mode))
        return self._entry(file) + _OPENED

    def _open(self, _node: int, _body: bytes) -> bytes:
        return _OPENED

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        return bytes(self._files[node].content[offset : offset + size])

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        file = self._files[node]
        file.write(offset, body[40 : 40 + size])
        file.modified = time.time()
        return struct.pack("=II", size, 0)

    def _nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def _synchronise(self, node: int, _body: bytes) -> bytes:
        self._files[node].synchronise()
        return b""

    def _synchronise_folder(self, _node: int, _body: bytes) -> bytes:
        self._folder.synchronise()
        return b""

    def _unlink(self, _node: int, body: bytes) -> bytes:
        self._folder.unlink(_text(body))
        return b""

    def _rename(self, _node: int, body: bytes) -> bytes:
        return self._renamed(body[8:])

    def _rename_more(self, _node: int, body: bytes) -> bytes:
        return self._renamed(body[16:])

    def _renamed(self, names: bytes) -> bytes:
        old, new = names.split(b"\0")[:2]
        self._folder.rename(old.decode(), new.decode())
        return b""

    def _list(self, _node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        listed = b""
        for place, name in enumerate(sorted(self._folder.entries), start=1):
            encoded = name.encode()
            number = self._number(self._folder.entries[name])
            entry = struct.pack("=QQII", number, place, len(encoded), stat.S_IFREG >> 12) + encoded
            entry += b"\0" * (-len(entry) % 8)
            if place > offset and len(listed) + len(entry) <= size:
                listed += entry
        return listed

    def _figures(self, _node: int, _body: bytes) -> bytes:
        blocks = 1 << 20
        return struct.pack(
            "=5Q4I6I", blocks, blocks, blocks, 1 << 16, 1 << 16, 4096, 255, 4096, *[0] * 7
        )

    # How it is answered.

    def _entry(self, file: ForgetfulFile) -> bytes:
        number = self._number(file)
        return struct.pack("=4Q2I", number, 0, FOR_EVER, FOR_EVER, 0, 0) + self._stat(number)

    def _number(self, file: ForgetfulFile) -> int:
        number = self._numbers.setdefault(file, ROOT + 1 + len(self._numbers))
        self._files[number] = file
        return number

    def _stat(self, number: int) -> bytes:
        file = self._files.get(number)
        if file is None:
            mode, size, modified = stat.S_IFDIR | 0o755, 0, 0.0
        else:
            mode, size, modified = stat.S_IFREG | file.mode, len(file.content), file.modified
        times, parts = [int(modified)] * 3, [int(modified % 1 * 1e9)] * 3
        blocks = -(-size // 512)
        return _ATTRIBUTES.pack(number, size, blocks, *times, *parts, mode, 1, 0, 0, 0, 4096, 0)


_OPENED = struct.pack("=QII", 0, 0, 0)


def _text(body: bytes) -> str:
    return body.split(b"\0", 1)[0].decode()


_Obey = Callable[[FolderServer, int, bytes], bytes]
_OPERATIONS: dict[int, tuple[str, _Obey | None]] = {
    1: ("look up", FolderServer._look_up),
    2: ("forget", None),
    3: ("attributes", FolderServer._attributes),
    4: ("set attributes", FolderServer._set_attributes),
    10: ("unlink", FolderServer._unlink),
    12: ("rename", FolderServer._rename),
    14: ("open", FolderServer._open),
    15: ("read", FolderServer._read),
    16: ("write", FolderServer._write),
    17: ("figures", FolderServer._figures),
    18: ("release", FolderServer._nothing),
    20: ("synchronise", FolderServer._synchronise),
    25: ("flush", FolderServer._nothing),
    26: ("begin", FolderServer._begin),
    27: ("open folder", FolderServer._open),
    28: ("list", FolderServer._list),
    29: ("release folder", FolderServer._nothing),
    30: ("synchronise folder", FolderServer._synchronise_folder),
    34: ("access", FolderServer._nothing),
    35: ("create", FolderServer._create),
    36: ("interrupt", None),
    42: ("forget", None),
    45: ("rename more", FolderServer._rename_more),
}
_UNANSWERED = frozenset({"forget", "interrupt"})
_CHANGES = frozenset(
    {
        "set attributes",
        "unlink",
        "rename",
        "rename more",
        "write",
        "synchronise",
        "synchronise folder",
        "create",
    }
)
