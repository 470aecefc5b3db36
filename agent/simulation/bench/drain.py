"""How fast a backlog goes out, beside rclone and curl with as many connections."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from agent.simulation.bench.backlog import fill, shut_window
from agent.simulation.bench.daemon import daemon
from agent.simulation.bench.figures import Bench, Figure, Row
from agent.simulation.bench.peers import bare_python, curl_all, rclone_copy
from agent.simulation.bench.sending import wait_for_files, wait_for_scan
from agent.simulation.bench.sink import SinkProcess, sink
from agent.simulation.bench.stock import Stock, gateway_settings

MANY, FEW = 10_000, 200
SAMPLE = 500
"""Files that rclone copies: its WebDAV side rests 10 ms before each request, but for releases in
which that can be put off (see PACER), and sends thirty a second, the first as the last."""
WORKERS = 2
LEAST = 0.9
GIGABIT = 10**9 // 8
"""Bytes a second that the fastest port of any such box carries."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Let all of them send the same files: over the loop, then as over a gigabit line."""
    count = FEW if bench.short else MANY
    stock = Stock(bench.folder)
    files = stock.make(count)
    stock.put(files)
    files = sorted(stock.directory.iterdir())
    fill(bench.folder / "filled", files)
    return [
        figure
        for where, rate in (("loopback", 0), ("a gigabit line", GIGABIT))
        for figure in _drain(bench, stock, where, rate)
    ]


def _drain(bench: Bench, stock: Stock, where: str, rate: int) -> list[Figure]:
    files = sorted(stock.directory.iterdir())
    folder = bench.folder
    with sink(rate) as server:
        bench.say(f"{len(files)} recordings over {where}: curl")
        curl = curl_all(files, server, folder, WORKERS).seconds
        bench.say(f"{len(files)} recordings over {where}: rclone")
        rclone = rclone_copy(_sample(folder, files), server, folder, WORKERS).seconds
        bench.say(f"{len(files)} recordings over {where}: the barest Python")
        bare = bare_python(files, server, folder, WORKERS).seconds
        bench.say(f"{len(files)} recordings over {where}: the agent")
        ours = _agent(bench, server)
    rates = (len(files) / curl, min(len(files), SAMPLE) / rclone)
    return [
        Figure(
            f"{len(files):,} recordings over {where}",
            len(files) / ours / max(rates),
            "x the faster of rclone and curl",
            least=LEAST,
        ),
        Figure(f"the agent over {where}", len(files) / ours, "files a second"),
        Figure(f"curl --parallel over {where}", rates[0], "files a second"),
        Figure(f"rclone copy over {where}", rates[1], "files a second"),
        Figure(f"the barest Python over {where}", len(files) / bare, "files a second"),
    ]


def _sample(folder: Path, files: Sequence[Path]) -> Path:
    sample = folder / "sample"
    shutil.rmtree(sample, ignore_errors=True)
    sample.mkdir()
    for file in files[:SAMPLE]:
        (sample / file.name).hardlink_to(file)
    return sample


def _agent(bench: Bench, server: SinkProcess) -> float:
    """Seconds from the moment at which recordings may be sent to the last one's arrival."""
    folder = bench.folder
    shutil.rmtree(folder / "state", ignore_errors=True)
    shutil.copytree(folder / "filled", folder / "state")
    arrived = server.counts().files
    count = sum(1 for _ in (folder / "recordings").iterdir())
    closed = {"window": shut_window(), "workers": WORKERS}
    with (
        gateway_settings(folder, server.url, uploads=closed) as settings,
        daemon(folder, settings) as running,
    ):
        wait_for_scan(running)
        began = time.time()
        running.reload({**settings, "uploads": {"workers": WORKERS}})
        wait_for_files(server, arrived + count)
        return server.counts().latest_ended - began


ROW = Row("drain", "Draining 10,000 recordings of 480 kB, two workers", measure)
