"""The functions' part of `smarttel-agent check`: what messages may name, and what would refuse."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agent.commands.findings import Device, Finding
from agent.function_queue import REBOOT
from agent.functions import BUILT_IN
from agent.language import marked, said, text_of
from agent.program_files import ProgramDirectory, ProgramRefused, is_program_name
from agent.settings import Functions

_GUARD = marked("make it root's and writable by root alone: chown root:root, chmod go-w")
_PROGRAM = marked(
    "mend it (chown root:root, chmod 755; a link: put the file itself there), or take it away"
)
_NAME = marked(
    "rename it: letters, digits and . _ - only, at most 64, the first a letter, digit or _"
)


def check_functions(device: Device) -> Iterator[Finding]:
    """Look at the programs that messages may name, the aliases and the reboot."""
    section = device.settings.functions
    programs: list[str] = []
    if section.directory is not None:
        directory = ProgramDirectory(Path(section.directory), _owners(device))
        try:
            names = directory.names()
        except ProgramRefused as refusal:
            yield Finding(
                said("functions.directory: {why}", why=text_of(refusal)),
                said("correct it, or {guard}", guard=said(_GUARD)),
            )
            return
        for name in names:
            fault = _fault(directory, name)
            if fault is None:
                programs.append(name)
            else:
                yield fault
        told = ", ".join(programs) or said("no program yet")
        yield Finding(
            said("functions.directory: {path} holds {what}", path=section.directory, what=told)
        )
    yield from _check_aliases(section, programs)
    if section.reboot and not os.access(section.reboot_command[0], os.X_OK):
        yield Finding(
            said(
                "functions.reboot_command: {program} can't be run",
                program=section.reboot_command[0],
            ),
            said("correct it, or set functions.reboot to false"),
        )


def _fault(directory: ProgramDirectory, name: str) -> Finding | None:
    if not is_program_name(name):
        return Finding(
            said("functions: {name} can't be named by a message", name=repr(name)), said(_NAME)
        )
    if name in {*BUILT_IN, REBOOT}:
        return Finding(
            said("functions: {name} is never run, the built-in function has its name", name=name),
            said("rename it, and map the message's name to it in functions.aliases"),
        )
    try:
        with directory.opened(name):
            return None
    except ProgramRefused as refusal:
        return Finding(said("functions: {why}", why=text_of(refusal)), said(_PROGRAM))


def _check_aliases(section: Functions, programs: list[str]) -> Iterator[Finding]:
    for name, function in section.aliases.items():
        if function == REBOOT and not section.reboot:
            yield Finding(
                said(
                    "functions.aliases.{name}: {function} is switched off",
                    name=name,
                    function=function,
                ),
                said("set functions.reboot to true, or take the alias away"),
            )
        elif function not in {*BUILT_IN, REBOOT, *programs}:
            known = ", ".join([*BUILT_IN, REBOOT, *programs])
            yield Finding(
                said(
                    "functions.aliases.{name}: there is no function {function}",
                    name=name,
                    function=function,
                ),
                said("name one of these: {names}", names=known),
            )


def _owners(device: Device) -> frozenset[int]:
    """Who may own programs: root, and the agent's user, who need not be the one that checks."""
    owners = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        owners.add(Path(device.settings.state_directory).stat().st_uid)
    return frozenset(owners)
