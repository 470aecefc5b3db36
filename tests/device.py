"""The package on a real boot: `python -m tests.device`, by way of scripts/test-device.

A Debian root is made with debootstrap and kept; a copy of it is booted under systemd-nspawn, with
the simulated board and platform outside. Each proof prints one line as it passes.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.device_container import Container, Failed
from tests.device_outside import Outside, SilentDisk
from tests.device_proofs import HUNG_PORT, PROOFS
from tests.device_root import PROJECT, NotHere, debian_root, require_containers, require_tools
from tests.device_scene import Scene
from tests.fuse import NoFuse, require_fuse

SKIPPED = 77
"""Exit status where it can't be done here, as automake's tests have it."""
SUITES = ("bookworm", "trixie")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proofs: 0 all hold, 1 one does not, 77 it can't be done here."""
    parser = argparse.ArgumentParser(prog="scripts/test-device", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="Debian's release")
    parser.add_argument("--keep", action="store_true", help="keep the container's folder")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        require_tools()
        require_fuse()
        tell(f"a root of Debian {options.suite}")
        root = debian_root(options.suite)
        require_containers(root)
    except (NotHere, NoFuse) as reason:
        print(f"SKIPPED: the package was not booted, {reason}", flush=True)
        return SKIPPED
    folder = Path(tempfile.mkdtemp(prefix="smarttel-device-"))
    try:
        _prove(folder, root, tell)
    except Failed as failure:
        tell(f"FAILED: {failure}")
        return 1
    finally:
        if options.keep:
            tell(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    tell(f"all {len(PROOFS)} proofs hold on Debian {options.suite}")
    return 0


def _prove(folder: Path, root: Path, say: Callable[[str], None]) -> None:
    copy = folder / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(copy)], check=True)
    say("the package is built")
    packages = _build(folder)
    for package in packages:
        shutil.copy(package, copy / "root" / package.name)
    _hand_over_the_project(copy)
    outside = Outside(folder)
    disk = SilentDisk(folder / "hang")
    outside.start()
    binds = (f"{outside.port}:/dev/ttyRJ11", f"{folder / 'hang'}:{Path(HUNG_PORT).parent}")
    machine = Container(copy, binds, folder / "console.log")
    try:
        machine.boot()
        say("it has booted")
        names = (f"/root/{packages[0].name}", f"/root/{packages[1].name}")
        scene = Scene(machine, outside, disk, names)
        for proof in PROOFS:
            say(f"proved: {_result(proof, scene)}")
    finally:
        machine.power_off()
        disk.close()
        outside.stop()


def _result(proof: Callable[[Scene], str], scene: Scene) -> str:
    """Run a proof; where it fails, add what the agent and systemd said last."""
    try:
        return proof(scene)
    except Failed as failure:
        try:
            said = scene.machine.journal("-n", "25")
        except Failed:
            said = "(its journal can't be read)"
        raise Failed(f"{failure}\nThe journal's last lines:\n{said}") from None


def _build(folder: Path) -> tuple[Path, Path]:
    """Build the package, and make a later version of it."""
    built = subprocess.run(
        [str(PROJECT / "scripts" / "build-deb"), "--output", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise Failed("the package was not built:\n" + built.stderr[-2000:])
    first = Path(built.stdout.strip())
    tree = folder / "later"
    subprocess.run(["dpkg-deb", "-R", str(first), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    text = control.read_text("utf-8")
    version = next(line.split()[1] for line in text.splitlines() if line.startswith("Version:"))
    control.write_text(text.replace(f"Version: {version}", f"Version: {version}+later"), "utf-8")
    second = folder / "later.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(second)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(tree)
    return first, second


def _hand_over_the_project(copy: Path) -> None:
    """Put the project and the wheels that its installer asks for into the container."""
    target = copy / "root" / "project"
    target.mkdir()
    for name in ("agent", "docs", "scripts", "systemd"):
        shutil.copytree(PROJECT / name, target / name)
    for name in ("README.md", "config.example.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, target / name)
    python = max(path.name.removeprefix("python") for path in copy.glob("usr/lib/python3.*"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    needs = project["project"]["dependencies"] + project["build-system"]["requires"] + ["wheel"]
    wheels = str(copy / "root" / "wheels")
    # sdnotify comes as an archive only; the others are fetched for the container's Python.
    _pip("wheel", "--no-deps", "-w", wheels, *(each for each in needs if "sdnotify" in each))
    tags = (
        f"--platform={each}_{platform.machine()}" for each in ("manylinux2014", "manylinux_2_28")
    )
    _pip(
        *("download", "--only-binary=:all:", "--find-links", wheels, "-d", wheels),
        *("--python-version", python, *tags, *needs),
    )


def _pip(command: str, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "-q", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed("the wheels for scripts/install were not fetched:\n" + done.stderr[-2000:])


if __name__ == "__main__":
    sys.exit(main())
