"""What hinders, by topic: logged when it comes and when it goes, shown in between."""

from __future__ import annotations

import logging

from agent.language import Said, joined, said
from agent.text import printable

_LOG = logging.getLogger(__name__)


class Troubles:
    """One trouble a topic; one thread notes, any may read."""

    def __init__(self) -> None:
        self._by_topic: dict[str, tuple[str, str]] = {}

    def note(self, topic: str, trouble: str, detail: str = "") -> None:
        """Something hinders; `detail` may change without a new line in the log."""
        known = self._by_topic.get(topic)
        self._by_topic[topic] = (trouble, detail)
        if known is None or known[0] != trouble:
            _LOG.warning("%s; the agent goes on and tries again", _words(trouble, detail))

    def over(self, topic: str) -> None:
        """It does not hinder any more, if it ever did."""
        known = self._by_topic.pop(topic, None)
        if known is not None:
            _LOG.info("over: %s", printable(known[0]))

    def words(self) -> str | None:
        """All that hinders just now; None where nothing does."""
        return joined(_words(*one) for one in tuple(self._by_topic.values())) or None


def _words(trouble: str, detail: str) -> str:
    if detail:
        return said("{trouble}: {detail}", trouble=trouble, detail=detail)
    return trouble if isinstance(trouble, Said) else printable(trouble)
