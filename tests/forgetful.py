"""A disk that forgets, as a power cut makes it: only what was synchronised is sure to be there.

Pure: files and folder entries in memory, each in two images. A write goes to the image that
programs see; `fsync` makes a file's content durable, `fsync` of the folder its entries. At a cut,
what was not synchronised survives in part: any of its sectors, in any order, torn pages and all, as
a disk with a cache may leave it. A sector of 512 bytes is whole or not written at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise

SECTOR = 512
"""Bytes that a disk writes as one, whatever happens to the power."""


class Survival(Enum):
    """What becomes, at a cut, of that which was not synchronised."""

    NOTHING = auto()
    ALL = auto()
    BEGINNING = auto()
    """The writes in their order, up to one of them."""
    SCATTERED = auto()
    """Any sectors of any writes."""


@dataclass(frozen=True, slots=True)
class _Change:
    """One write, or with `data` None a new length."""

    offset: int
    data: bytes | None

    def apply(self, image: bytearray) -> None:
        if self.data is None:
            del image[self.offset :]
            image.extend(bytes(self.offset - len(image)))
            return
        image.extend(bytes(max(0, self.offset - len(image))))
        image[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self) -> list[_Change]:
        """The pieces of it that a disk writes one by one."""
        if self.data is None:
            return [self]
        first = SECTOR - self.offset % SECTOR
        cuts = [0, *range(first, len(self.data), SECTOR), len(self.data)]
        return [_Change(self.offset + begin, self.data[begin:end]) for begin, end in pairwise(cuts)]


@dataclass(eq=False)
class ForgetfulFile:
    """One file, whatever its name."""

    mode: int = 0o644
    content: bytearray = field(default_factory=bytearray)
    """As programs see it."""
    modified: float = 0.0
    """UNIX seconds."""
    _durable: bytes = b""
    _changes: list[_Change] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        self._change(_Change(offset, data))

    def truncate(self, size: int) -> None:
        self._change(_Change(size, None))

    def synchronise(self) -> None:
        """All that was written is on the disk."""
        self._durable = bytes(self.content)
        self._changes.clear()

    def survivor(self, survival: Survival, chance: random.Random) -> ForgetfulFile:
        """The file as it is found after a cut."""
        image = bytearray(self._durable)
        for change in self._surviving(survival, chance):
            change.apply(image)
        return ForgetfulFile(self.mode, image, self.modified, bytes(image))

    def _change(self, change: _Change) -> None:
        change.apply(self.content)
        self._changes.append(change)

    def _surviving(self, survival: Survival, chance: random.Random) -> list[_Change]:
        changes = self._changes
        if survival is Survival.NOTHING:
            return []
        if survival is Survival.ALL:
            return changes
        if survival is Survival.BEGINNING:
            whole = changes[: chance.randint(0, len(changes))]
            # The power failed in the middle of the next one.
            torn = [
                piece for one in changes[len(whole) : len(whole) + 1] for piece in one.sectors()
            ]
            return whole + torn[: chance.randint(0, len(torn))]
        pieces = [piece for change in changes for piece in change.sectors()]
        likely = chance.random()
        return [piece for piece in pieces if chance.random() < likely]


class ForgetfulFolder:
    """One folder of files. No folders below it: a ledger has none."""

    def __init__(self) -> None:
        self.entries: dict[str, ForgetfulFile] = {}
        """As programs see them."""
        self._durable: dict[str, ForgetfulFile] = {}

    def create(self, name: str, mode: int) -> ForgetfulFile:
        file = ForgetfulFile(mode)
        self.entries[name] = file
        return file

    def rename(self, old: str, new: str) -> None:
        self.entries[new] = self.entries.pop(old)

    def unlink(self, name: str) -> None:
        del self.entries[name]

    def synchronise(self) -> None:
        """The entries, though not the files' content, are on the disk."""
        self._durable = dict(self.entries)

    def survivor(self, chance: random.Random) -> ForgetfulFolder:
        """The folder as it is found after a cut.

        Of entries made, moved or removed since they were synchronised, some are as they were.
        """
        survival = chance.choice(list(Survival))
        found: dict[str, ForgetfulFile] = {}
        for name in sorted(self.entries.keys() | self._durable.keys()):
            versions = {
                Survival.NOTHING: self._durable.get(name),
                Survival.ALL: self.entries.get(name),
            }
            version = versions.get(survival, chance.choice(list(versions.values())))
            if version is not None:
                found[name] = version
        after = ForgetfulFolder()
        after.entries = {name: file.survivor(survival, chance) for name, file in found.items()}
        after.synchronise()
        return after
