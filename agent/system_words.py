"""The system's own words for an error, where they can be told in another language.

The C library, its resolver and SQLite speak English here, since no locale is set; what a gateway
meets of them is a short list. Others stay as they are.
"""

from __future__ import annotations

from agent.language import marked, said

_KNOWN = frozenset(
    (
        # <errno.h>
        marked("No such file or directory"),
        marked("Permission denied"),
        marked("Operation not permitted"),
        marked("Input/output error"),
        marked("No such device"),
        marked("No such device or address"),
        marked("Device or resource busy"),
        marked("Not a directory"),
        marked("Is a directory"),
        marked("No space left on device"),
        marked("Read-only file system"),
        marked("Too many open files"),
        marked("Too many levels of symbolic links"),
        marked("Stale file handle"),
        marked("Connection refused"),
        marked("Connection reset by peer"),
        marked("Connection timed out"),
        marked("Broken pipe"),
        marked("Network is unreachable"),
        marked("Network is down"),
        marked("No route to host"),
        marked("Cannot assign requested address"),
        marked("Inappropriate ioctl for device"),
        # getaddrinfo(3)
        marked("Name or service not known"),
        marked("No address associated with hostname"),
        marked("Temporary failure in name resolution"),
        # SQLite
        marked("database or disk is full"),
        marked("disk I/O error"),
        marked("attempt to write a readonly database"),
        marked("unable to open database file"),
        marked("database is locked"),
        marked("database disk image is malformed"),
        marked("file is not a database"),
    )
)


def system_words(error: BaseException) -> str:
    """Return the system's words for an error, else the error's own, else its kind."""
    words = getattr(error, "strerror", None)
    if not isinstance(words, str) or not words:
        words = str(error)
    return known(words) if words else type(error).__name__


def known(words: str) -> str:
    """Return words of the system so that they can be told in another language."""
    return said(words) if words in _KNOWN else words
