"""Is the recording directory there, and is it the one that is watched?"""

from __future__ import annotations

import os
from pathlib import Path

from agent.language import said
from agent.recordings.files import Identity
from agent.recordings.hints import HintBox, TreeWatch, identity_of
from agent.recordings.troubles import Troubles
from agent.system_words import system_words


class Presence:
    """The directory and the watch over it, through deletion, unmounting and mounting."""

    def __init__(self, directory: Path, box: HintBox, troubles: Troubles) -> None:
        self._directory = directory
        self._box = box
        self._troubles = troubles
        self._watch: TreeWatch | None = None
        self._identity: Identity | None = None

    @property
    def there(self) -> bool:
        """The directory could be read at the last check."""
        return self._identity is not None

    @property
    def watched(self) -> bool:
        """Events come."""
        return self._watch is not None

    def check(self) -> bool:
        """Look; True where everything must be scanned anew: it came, or is another one."""
        try:
            identity = identity_of(self._directory)
            # It may be there and not readable. (iterdir() would read all names of a backlog.)
            with os.scandir(self._directory) as entries:
                next(entries, None)
        except OSError as error:
            self._identity = None
            self.close()
            self._troubles.note(
                "directory",
                said("the recording directory can't be read: {why}", why=system_words(error)),
            )
            return False
        self._troubles.over("directory")
        lost = self._watch is not None and not self._watch.watches(identity)
        anew = lost or identity != self._identity
        if anew:
            self.close()
        self._identity = identity
        return anew

    def watch(self) -> None:
        """Begin to watch where that is not done yet; what stands in the way is noted."""
        if self._watch is not None:
            return
        try:
            self._watch = TreeWatch(self._directory, self._box)
        except OSError as error:
            self._troubles.note(
                "watch",
                said(
                    "no events from the recording directory ({why}), so recordings are found by"
                    " scans alone, later; a higher fs.inotify.max_user_watches may help",
                    why=system_words(error),
                ),
            )
        else:
            self._troubles.over("watch")

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
