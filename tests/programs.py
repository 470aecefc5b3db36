"""Programs for the tests of functions: scripts in a folder that only their owner may write."""

from __future__ import annotations

from pathlib import Path


def functions_directory(folder: Path) -> Path:
    """A folder for programs, safe as far as the way to it is."""
    made = folder / "functions"
    made.mkdir(mode=0o755)
    return made


def script(directory: Path, name: str, body: str, interpreter: str = "/bin/sh") -> Path:
    """Write an executable script."""
    path = directory / name
    path.write_text(f"#!{interpreter}\n{body}\n", "utf-8")
    path.chmod(0o755)
    return path
