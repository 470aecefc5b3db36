"""Each of our drivers keeps the contract that `agent.boards.testing` writes down."""

from __future__ import annotations

from typing import ClassVar

from agent.boards.bench import BoardSide
from agent.boards.frames import frame
from agent.boards.native import NativeDriver
from agent.boards.testing import DriverContract
from agent.boards.whozz import WhozzDriver
from agent.boards.yes4 import Yes4Driver
from agent.simulation.models import MODELS


class TestNative(DriverContract):
    driver = NativeDriver
    can_be_asked = True
    good = (
        frame("HELLO", 1, 1, 4, "test"),
        frame("CH", 1, 2, 3, 2, "13800138000", 0),
        frame("CH", 2, 2, 2, 2, "13800138000", 5),
        frame("BEAT", 2),
        frame("OK", 77),
    )

    def make_board(self, channels: int) -> BoardSide:
        return MODELS["native"](1, channels, lambda _before, _after: None)


class TestWhozz(DriverContract):
    driver = WhozzDriver
    good: ClassVar[tuple[bytes, ...]] = (
        b"01 I S 0276 G B3 09/26 11:28 AM 800-240-4637   CallerID.com\r\n",
        b"01 R             11/07 07:43:52\r\n",
        b"01 F             11/07 17:45:04\r\n",
        b"02 N             11/07 10:46:23\r\n",
        b"$03 O E 0125 G A0 01/01 12:00 PM 18004444444\r\n",
        b"V3.1 EcXUdASoBKT L=01 00/00 00:00:01\r\n",
    )

    def make_board(self, channels: int) -> BoardSide:
        return MODELS["whozz"](1, channels, lambda _before, _after: None)


class TestWhozzOfTwoLines(TestWhozz):
    channels = 2
    good = TestWhozz.good[:4]


class TestYes4(DriverContract):
    driver = Yes4Driver
    can_be_asked = True
    settles_within = 45.0
    good = (
        b"+2,1,001\r\n",
        b"+1,9543440584,Y E S SOFTWARE ,001\r\n",
        b"+2,3,001\r\n",
        b"+7,4,002\r\n",
        b"+5,#,002\r\n",
        b"+6,0504214900,18005551234,NAME,1,002\r\n",
        b"+8,1,003\r\n",
    )

    def make_board(self, channels: int) -> BoardSide:
        return MODELS["yes4"](1, channels, lambda _before, _after: None)
