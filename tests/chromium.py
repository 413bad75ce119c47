"""Headless Chromium, driven by the DevTools protocol over a pair of pipes: nothing but the browser is needed."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
# It reads from 3 and writes to 4.
CONNECT = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """Return the path of a Chromium, None if this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A page that is open."""

    def __init__(self, to: int, answers: Iterator[dict[str, Any]]):
        self._to, self._answers = to, answers
        self._number, self._session = 0, {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; what happens meanwhile is added to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        for answer in self._answers:
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)
        raise AssertionError(f"Chromium ended at {method}")

    def open(self, path: Path) -> None:
        """Open a file, and wait until it and all of its parts are there."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(next(self._answers))

    def named(self, *methods: str) -> list[dict[str, Any]]:
        """Return the parameters of events since the page was opened."""
        return [event["params"] for event in self.events if event["method"] in methods]

    def show(self, width: int, height: int = 800, media: str = "screen", scheme: str = "light") -> None:
        """Set the size of the window, and for what and how the page is shown."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def evaluate(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    def screenshot(self) -> bytes:
        """Return a PNG of all of the page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        result = self.call(
            "Page.printToPDF", printBackground=True, preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.7
        )
        return base64.b64decode(result["data"])


@contextmanager
def opened(browser: str, profile: Path) -> Iterator[Page]:
    """Start a Chromium with a new profile, and end it."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    command = [sys.executable, "-c", CONNECT, str(theirs_in), str(theirs_out), browser, *SWITCHES]
    command.append(f"--user-data-dir={profile}")
    process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_in, "rb") as answers:
            yield Page(ours_out, _messages(answers))
    finally:
        os.close(ours_out)  # at which it ends
        process.wait(timeout=30)


def _messages(file: Any) -> Iterator[dict[str, Any]]:
    waiting = b""
    while chunk := file.read1(1 << 16):
        *whole, waiting = (waiting + chunk).split(b"\0")
        yield from map(json.loads, whole)
