"""A bad cable: lines that are lost, cut, garbled, or preceded by rubbish."""

from __future__ import annotations

import random
from collections.abc import Callable


class Noise:
    """Damages lines with a given probability, the same ones for the same seed."""

    def __init__(
        self,
        probability: float,
        seed: int,
        on_damage: Callable[[bytes], None] = lambda line: None,
    ) -> None:
        """`on_damage` hears of each line that is damaged, as it was."""
        self._probability = probability
        self._on_damage = on_damage
        self._random = random.Random(seed)

    def over(self, data: bytes) -> bytes:
        """Return the bytes as they come out of the cable."""
        if not self._probability:
            return data
        return b"".join(self._over_line(line) for line in data.splitlines(keepends=True))

    def _over_line(self, line: bytes) -> bytes:
        if self._random.random() >= self._probability:
            return line
        self._on_damage(line)
        at = self._random.randrange(len(line))
        flipped = bytes([line[at] ^ (1 << self._random.randrange(8))])
        damages = (
            b"",
            line[:at],
            line[:at] + flipped + line[at + 1 :],
            self._random.randbytes(8) + line,
        )
        return self._random.choice(damages)
