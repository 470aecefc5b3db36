"""The barest Python: the least that a daemon in Python does for a file, if it keeps its promise.

It opens the file, sends it as `multipart/form-data` on a kept connection, reads the answer, and
writes down durably that the platform has it. It looks for no files, judges none, knows no call,
keeps no digest, tries nothing again and says nothing. What the agent takes beyond this is its own;
what this takes beyond curl no design in Python can save.

A program of its own, which imports nothing of the agent but another of these.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from agent.simulation.bench.bare_idle import read_answer

BLOCK = 256 * 1024
"""Bytes read and sent at a time, in one buffer that is used again."""
BOUNDARY = "d7f1c2a4b6e8"
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


class Deliveries:
    """What was delivered: a row and a sync of the disk for each."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE delivered (name TEXT, answer TEXT)")

    def add(self, name: str, answer: str) -> None:
        """Write one down; it is on the disk when this returns."""
        with self._lock:
            self._connection.execute("INSERT INTO delivered VALUES (?, ?)", (name, answer))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class Worker:
    """Sends files on one connection, one after another."""

    def __init__(self, url: str, fields: Sequence[str], deliveries: Deliveries) -> None:
        parts = urlsplit(url)
        self._connection = socket.create_connection((parts.hostname, parts.port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: "
        )
        self._fields = "".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (field.split("=", 1) for field in fields)
        )
        self._deliveries = deliveries
        self._buffer = memoryview(bytearray(BLOCK))

    def run(self, waiting: SimpleQueue[str]) -> None:
        """Send until none waits."""
        try:
            while True:
                self._send(waiting.get_nowait())
        except Empty:
            self._connection.close()

    def _send(self, path: str) -> None:
        name = os.path.basename(path)  # noqa: PTH119 - a Path would cost more
        lead = (
            f'{self._fields}--{BOUNDARY}\r\nContent-Disposition: form-data; name="file";'
            f' filename="{name}"\r\nContent-Type: audio/wav\r\n\r\n'
        )
        file = os.open(path, os.O_RDONLY)
        try:
            size = len(lead) + os.fstat(file).st_size + len(TAIL)
            head = f"{self._head}{size}\r\n\r\n{lead}".encode()
            self._connection.sendall(head, socket.MSG_MORE)
            while count := os.readv(file, [self._buffer]):
                self._connection.sendall(self._buffer[:count], socket.MSG_MORE)
            self._connection.sendall(TAIL)
        finally:
            os.close(file)
        answer = read_answer(self._connection)
        if json.loads(answer)["status"] != 0:
            raise RuntimeError(f"the platform refused {name}")
        self._deliveries.add(name, answer.decode())


def main(arguments: Sequence[str]) -> int:
    """Send all files that are named on standard input, a line each."""
    url, database, workers, *fields = arguments
    waiting: SimpleQueue[str] = SimpleQueue()
    for line in sys.stdin:
        waiting.put(line.rstrip("\n"))
    deliveries = Deliveries(Path(database))
    threads = [
        threading.Thread(target=Worker(url, fields, deliveries).run, args=(waiting,))
        for _ in range(int(workers))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliveries.close()
    return 0 if waiting.empty() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
