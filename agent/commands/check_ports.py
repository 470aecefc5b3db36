"""The serial devices' part of `smarttel-agent check`: is the port there, permitted, and free."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from serial.tools import list_ports

from agent.commands.check_agents import command_line, is_agent
from agent.commands.findings import Finding
from agent.config_text import user_name
from agent.language import Said, said
from agent.system_words import system_words

MOST_PORTS_NAMED = 8
"""Other ports that a finding names."""

_PSEUDO_TERMINALS = Path("/dev/pts")
"""Whoever makes a pseudo-terminal may hold the end that is our port too, and rightly so."""


def device_fault(path: Path, name: str) -> Finding | None:
    """Tell what stands in the way of opening a board's device; `name` is the board in words."""
    try:
        status = path.stat()
    except OSError as error:
        return Finding(
            said("{board}: {why}", board=name, why=system_words(error)),
            said(
                "plug the adapter in or correct the board's port; {others}",
                others=other_ports(path),
            ),
        )
    if not stat.S_ISCHR(status.st_mode):
        return Finding(
            said("{board}: is not a serial device", board=name),
            said("correct the board's port; {others}", others=other_ports(path)),
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(
            said("{board}: user {user} may not read and write it", board=name, user=user_name()),
            said(
                "add the user to the group {group} (usermod -aG {group} {user}), then log in anew",
                group=_group(status.st_gid),
                user=user_name(),
            ),
        )
    return None


def other_ports(path: Path) -> Said:
    """Say which ports there are besides the one that is configured."""
    known = {each.device for each in list_ports.comports()}
    present = sorted(known - {str(path), os.path.realpath(path)})[:MOST_PORTS_NAMED]
    if not present:
        return said("no other serial port is there")
    return said("other ports here: {ports}", ports=", ".join(present))


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def held(path: Path, name: str) -> Finding | None:
    """Tell of another process that has the device open, where /proc shows it."""
    pid = _holder(path)
    if pid is None:
        return None
    command = command_line(pid)
    if is_agent(command):
        return Finding(
            said(
                "{board}: held by another agent, pid {pid} ({command})",
                board=name,
                pid=pid,
                command=command,
            ),
            said(
                "one agent a box: end that one (kill {pid}), or correct the configuration that"
                " names its state_directory",
                pid=pid,
            ),
        )
    return Finding(
        said("{board}: held by {command} (pid {pid})", board=name, command=command, pid=pid),
        said("end that program (kill {pid}); the agent needs the port", pid=pid),
    )


def _holder(path: Path) -> int | None:
    target = path.resolve()
    if target.is_relative_to(_PSEUDO_TERMINALS):
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(each.readlink() == target for each in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue  # ended in between, or another user's
    return None
