"""The board's side of each driver's wire, by the driver's name."""

from __future__ import annotations

from collections.abc import Callable

from agent.simulation.board_model import BoardModel
from agent.simulation.modem_model import ModemModel
from agent.simulation.port_model import OnChange, PortModel
from agent.simulation.whozz_model import WhozzModel
from agent.simulation.yes4_model import Yes4Model

MODELS: dict[str, Callable[[int, int, OnChange], PortModel]] = {
    "native": BoardModel,
    "whozz": WhozzModel,
    "modem": ModemModel,
    "yes4": Yes4Model,
}
"""Each is made with the number of the box, the number of ports, and what hears of changes."""
PORTS = {"native": 8, "whozz": 8, "modem": 1, "yes4": 4}
"""Ports of a board where nothing else is asked for."""
RESTS = {"modem": 9.0}
"""Seconds between two calls on one port, where a board needs them: of ringing that nobody answers a
modem tells no end, and until the next ring is overdue what follows is taken for the same call."""
OPTIONS: dict[str, dict[str, str]] = {"modem": {"handset": "yes"}}
"""`boards[].options` with which an agent hears all that the simulated board can tell."""
