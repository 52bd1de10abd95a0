#!/usr/bin/env python3
"""cluster_test.py BUILD: `make cluster` brings three nodes together and shows them on its page, and SIGTERM ends them."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SECONDS = 60  # far longer than it takes on a busy machine


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        return three_come_together(directory)


def three_come_together(directory):
    root = pathlib.Path(__file__).resolve().parents[2]
    script = subprocess.Popen([root / "tools/cluster", sys.argv[1], "3", directory], stdout=subprocess.PIPE, text=True)
    try:
        url = next(found[0] for line in script.stdout if (found := re.search(r"http://\S+", line)))
        deadline = time.monotonic() + SECONDS
        members = []
        while len(members) < 3 and time.monotonic() < deadline:
            state = json.load(urllib.request.urlopen(f"{url}/api/state", timeout=SECONDS))
            members = [node for node in state["nodes"] if node.get("state") == "alive"]
            time.sleep(0.1)
        print(f"{len(members)} nodes at {url}")
        return 0 if len(members) == 3 else 1
    finally:
        script.send_signal(signal.SIGTERM)
        script.wait(SECONDS)


sys.exit(main())
