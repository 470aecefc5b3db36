"""A headless Chromium for tests, driven over its debugging pipe; and a folder that it looks at.

`python -m tests.browser FILE` takes the picture of the status page that the README shows.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 30.0
"""Seconds for what takes a fraction of one on a quiet machine."""
MOST_READ = 1 << 20


def chromium() -> str | None:
    """The browser's program; None: there is none on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


_ON_3_AND_4 = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts the browser, which takes its commands on descriptor 3 and answers on 4."""


class Browser:
    """One page of one browser; each command is answered before the next (Chrome DevTools)."""

    def __init__(self, program: str, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_3_AND_4, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._target: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What happened on the page since `open`, by name."""
        self.new_page()

    def new_page(self) -> None:
        """Go on with a page that knows nothing of the one before, its time included."""
        self._session = None
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        attached = self.do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        if self._target is not None:
            self.do("Target.closeTarget", targetId=self._target)
        self._target = target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        os.close(self._out)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def do(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something; return its answer."""
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            told = self._next(deadline)
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                answer: dict[str, Any] = told["result"]
                return answer

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the first such event since `open`, or wait for it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, (name, told) in enumerate(self.events):
                if name == event:
                    del self.events[index]
                    return told
            self._next(deadline)

    def show(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Make the window that wide, on a system that is light or dark."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        self.do(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ],
        )

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.events.clear()
        self.do("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def ask(self, expression: str) -> Any:
        """Return what a line of JavaScript gives on the page."""
        told = self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def let_pass(self, seconds: float) -> None:
        """Let the page's time run ahead by so much."""
        self.do(
            "Emulation.setVirtualTimePolicy",
            policy="pauseIfNetworkFetchesPending",
            budget=seconds * 1000,
        )
        self.wait_for("Emulation.virtualTimeBudgetExpired")

    def picture(self, height: int | None = None, scale: float = 1) -> bytes:
        """Return the whole page, or its upper part, as a PNG."""
        size = self.do("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        told = self.do(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": scale}
        )
        return base64.b64decode(told["data"])

    def complaints(self) -> list[str]:
        """What the page's console and the browser's log have to say since `open`."""
        loud = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(told) for name, told in self.events if name in loud]

    def requests(self) -> set[str]:
        """The addresses that the page asked for since `open`."""
        return {
            told["request"]["url"]
            for name, told in self.events
            if name == "Network.requestWillBeSent"
        }

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._in], [], [], left)[0]:
                piece = os.read(self._in, MOST_READ)
                assert piece, "the browser ended"
                self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        if "method" in told:
            self.events.append((told["method"], told["params"]))
        return told


@contextmanager
def browsing(program: str) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, Path(profile))
        try:
            yield browser
        finally:
            browser.close()


class Folder:
    """A folder that a web server serves, as a technician would do it; it can be cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.closed = False
        folder = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                folder.asked.append(self.path)
                if folder.closed:
                    self.send_error(503)
                else:
                    super().do_GET()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        handler = functools.partial(Handler, directory=str(path))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Folder:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def take_picture(target: Path) -> None:
    """Take the picture for the README."""
    from agent.language import ENGLISH
    from agent.status_page import Page
    from tests.pages import at_work, day, told

    program = chromium()
    assert program is not None, "there is no Chromium on this machine"
    status = at_work(time.time())
    with tempfile.TemporaryDirectory() as folder, browsing(program) as browser:
        path = Path(folder) / "status.html"
        path.write_text(Page(ENGLISH).draw(told(status), day(status, 14, 820)), "utf-8")
        browser.show(1240)
        browser.open(path.as_uri())
        target.write_bytes(browser.picture(938, 0.68))


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]))
