"""The stage of `scripts/test-device`: what a technician, a caller and a recorder do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.device_container import Container, Failed, wait_until
from tests.device_outside import SATELLITE, USER, Outside, SilentDisk

CONFIGURATION = "/etc/smarttel-agent/config.yaml"
SECRET = "/etc/smarttel-agent/platform-password"
RECORDINGS = "/var/spool/smarttel/recordings"
SOON = 90.0
"""Seconds for what takes a few: a restart takes five by the unit."""


@dataclass(slots=True)
class Scene:
    """What the proofs work on."""

    machine: Container
    outside: Outside
    disk: SilentDisk
    packages: tuple[str, str]
    """Where the two packages lie in the container: a version, and a later one."""
    calls: int = 0
    files: int = 0

    def configure(self, **more: object) -> None:
        """Write the configuration as a technician would."""
        settings = {
            "identity": {"satellite": SATELLITE},
            "platform": {
                "url": self.outside.platform.url,
                "account": {"user": USER, "password_md5": f"file:{Path(SECRET).name}"},
            },
            "boards": [{"port": "/dev/ttyRJ11"}],
            "recordings": {"directory": RECORDINGS, "settle": 0.5, "attach_window": 2}
            | {"after_upload": "delete"},
            "reports": {"interval": 2},
            "retry": {"first": 1, "longest": 3},
            **more,
        }
        self.machine.run("tee", CONFIGURATION, text=yaml.safe_dump(settings))

    def is_well(self) -> bool:
        """Tell whether the agent hears its board."""
        status = self.machine.status()
        return status.get("pid") == self.machine.pid and status["boards"][0]["link"] == "up"

    def wait_until_well(self) -> None:
        """Wait until the agent hears its board."""
        try:
            wait_until(self.is_well, "the agent hears its board", SOON)
        except Failed as failure:
            raise Failed(f"{failure}\n{self.machine.journal('-n', '12')}") from None

    def wait_for_pid_other_than(self, pid: int) -> None:
        """Wait until another process is the agent and well."""
        wait_until(lambda: self.machine.pid not in {0, pid}, "the agent was started anew", SOON)
        self.wait_until_well()

    def begin_call(self, channel: int) -> str:
        """Ring and answer; return the number."""
        phone = self.outside.new_phone()
        self.outside.board.ring(channel, phone)
        self.outside.board.answer(channel)
        wait_until(lambda: self._state(channel) == 2, f"port {channel} is in a call", SOON)
        return phone

    def end_call(self, channel: int, phone: str, *, recorded: bool = True) -> None:
        """Hang up, with a recording as the recorder's own user leaves it."""
        if recorded:
            began = time.strftime("%Y%m%d-%H%M%S", time.localtime(time.time() - 1))
            name = f"{began}_{channel}_in_{phone}.wav"
            handed = self.machine.root / "var/tmp/sound.wav"
            handed.write_bytes(self.outside.sound(name).read_bytes())
            # On its standard input: a command line would stand in the journal, number and all.
            copy = f"umask 022; mkdir -p {RECORDINGS}/day; cp /var/tmp/sound.wav {RECORDINGS}/day/"
            self.machine.run("runuser", "-u", "recorder", "--", "sh", text=copy + name)
            self.files += 1
        self.outside.board.hang_up(channel)
        self.calls += 1

    def whole_call(self, channel: int) -> None:
        """A call from its first ring to its recording."""
        self.end_call(channel, self.begin_call(channel))

    def wait_for_all(self) -> None:
        """Wait until every call and recording so far has arrived, then compare."""
        self.outside.wait_for_records(self.calls)
        self.outside.wait_for_files(self.files)
        self.outside.compare()

    def waiting(self) -> int:
        """How many records wait for delivery."""
        queue = self.machine.status().get("queue", {})
        return int(queue.get("records_waiting", 0))

    def _state(self, channel: int) -> int:
        boards = self.machine.status().get("boards", [])
        return int(boards[0]["channels"][channel - 1]["state"]) if boards else 0
