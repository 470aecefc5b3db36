"""What a file is, judged by its content: a recording, half of one, an empty one, or none."""

from __future__ import annotations

from typing import BinaryIO

from agent.recordings.mpeg import inspect_mp3
from agent.recordings.riff import MAGIC, inspect_wav
from agent.recordings.verdict import Audio, Verdict, empty

__all__ = ["Audio", "Verdict", "inspect"]


def inspect(file: BinaryIO, size: int, name: str) -> Audio:
    """Judge an open file of `size` bytes by its first bytes; `name` is only for the words.

    Reads a few headers (an MP3 without an index is walked, in blocks of 64 KiB); raises OSError
    where the file itself can't be read, and nothing else.
    """
    if size == 0:
        return empty(None, "an empty file")
    file.seek(0)
    first = file.read(4)
    if not first:
        return empty(None, "an empty file")
    if first in MAGIC or (size < 4 and any(magic.startswith(first) for magic in MAGIC)):
        found = inspect_wav(file, size)
    else:
        found = inspect_mp3(file, size)
    return _named(found, name)


def _named(found: Audio, name: str) -> Audio:
    """Say so where the name's ending and the content disagree; the content counts."""
    ending = name.rpartition(".")[2].lower()
    if found.container is None or ending not in {"wav", "mp3"} or ending == found.container:
        return found
    note = f"called .{ending}, and is {found.container}"
    reason = f"{found.reason}; {note}" if found.reason else note
    return Audio(found.verdict, found.container, found.codec, found.duration, reason)
