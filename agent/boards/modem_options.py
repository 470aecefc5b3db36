"""The options of a modem board: `boards[].options` of the driver `modem`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from agent.boards.driver import OptionValue
from agent.boards.options import choice, known, seconds, yes_or_no

KEYS = ("ring_cadence", "caller_id", "handset", "extension_off_hook", "hang_up_after")


class ModemOptions(Struct, frozen=True):
    """What a modem can't be asked."""

    ring_cadence: float = 6.0
    """Seconds from one ring to the next: 6 in North America, 5 in China (BOARDS.md 2)."""
    raw: bool = False
    """Whether the whole caller ID packet is asked for, in hexadecimal digits."""
    handset: bool = False
    """Whether the chip tells in voice mode that a telephone was lifted; many USB modems do not."""
    extension_off_hook: str = "P"
    """The DLE code for a parallel telephone lifted; the other one, `P` or `p`, is its opposite."""
    hang_up_after: float = 30.0
    """Seconds after dialling in which somebody must lift a telephone; then the modem lets go."""

    @classmethod
    def read(cls, options: Mapping[str, OptionValue]) -> ModemOptions:
        """Read them as configured. Raises BadOption."""
        known(options, KEYS)
        default = cls()
        return cls(
            ring_cadence=seconds(options, "ring_cadence", default.ring_cadence, 1, 30),
            raw=choice(options, "caller_id", "formatted", ("formatted", "raw")) == "raw",
            handset=yes_or_no(options, "handset", default.handset),
            extension_off_hook=choice(
                options, "extension_off_hook", default.extension_off_hook, ("P", "p")
            ),
            hang_up_after=seconds(options, "hang_up_after", default.hang_up_after, 1, 600),
        )
