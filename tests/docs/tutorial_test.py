#!/usr/bin/env python3
"""tutorial_test.py TUTORIAL BUILD: does what a tutorial tells, with the programs that were built in BUILD, as processes."""
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

SECONDS = 60  # for anything that must come: far longer than it takes on a busy machine


class Program:
    def __init__(self, directory, *arguments):
        self.process = subprocess.Popen(arguments, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self, wanted, begin=0):
        """Waits until it has said this, after the first `begin` lines."""
        with self.changed:
            came = self.changed.wait_for(lambda: wanted in self.lines[begin:] or self.ended, SECONDS)
            if not came or wanted not in self.lines[begin:]:
                raise SystemExit(f"`{wanted}` did not come, but {self.lines}")

    def listed(self):
        begin = len(self.lines)
        self.say("list")
        self.said("end of the list", begin)
        return self.lines[begin:]

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(SECONDS)
        if status != 0:
            raise SystemExit(f"{self.process.args} ended with {status}")


class Terminal(Program):
    """A shell in a terminal of its own, as a reader has it: what runs in the background cannot read from it."""

    def __init__(self, directory):
        self.master, slave = pty.openpty()
        shell = ["setsid", "--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]
        self.process = subprocess.Popen(shell, cwd=directory, stdin=slave, stdout=slave, stderr=slave,
                                        env={**os.environ, "PS1": "", "TERM": "dumb"})
        os.close(slave)
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        rest = b""
        while True:
            try:
                part = os.read(self.master, 4096)
            except OSError:  # nobody has the other end any more
                part = b""
            *whole, rest = (rest + part).replace(b"\r", b"").split(b"\n")
            with self.changed:
                self.lines += [line.decode(errors="replace") for line in whole]
                self.ended = not part
                self.changed.notify_all()
            if not part:
                return

    def say(self, line):
        os.write(self.master, (line + "\n").encode())

    def end(self):
        self.say("exit")
        status = self.process.wait(SECONDS)
        os.close(self.master)
        if status != 0:
            raise SystemExit(f"the last program of a terminal ended with {status}: {self.lines}")


def hello_cluster(build, directory):
    """Types what stands below "Run it" into the terminals that are named there."""
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/tutorials/hello-cluster.md").read_text()
    typed = re.findall(r"^    (\./build/.*?)(?:\s+# (.*))?$", page.split("## Run it")[1].split("Try this")[0], re.MULTILINE)
    if not typed:
        raise SystemExit("the page has no commands below `Run it`")
    pathlib.Path(directory, "build").symlink_to(build)
    terminals = {}
    for line, comment in typed:
        answer = re.search("the counter at .*", comment)
        where = "second" if comment.startswith("second terminal") else "first"
        if where not in terminals:
            terminals[where] = Terminal(directory)
        begin = len(terminals[where].lines)
        terminals[where].say(line)
        terminals[where].said(answer.group() if answer else "counting", begin)
    for terminal in terminals.values():
        if terminal is terminals["first"]:
            terminal.say("")  # the return key
        terminal.end()
    the_other_counts_when_one_is_killed(build, directory)


def the_other_counts_when_one_is_killed(build, directory):
    first = Program(directory, build / "counter", "a@127.0.0.1")
    first.said("counting")
    other = Program(directory, build / "counter", "d@127.0.0.1", "a@127.0.0.1")
    other.said("counting")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(SECONDS)

    def counts():
        ask = subprocess.run([build / "ask", "b@127.0.0.1", "d@127.0.0.1", "1"], cwd=directory, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, timeout=SECONDS, check=False)
        return ask.stdout.startswith("the counter at d@127.0.0.1 says ")

    becomes_true(counts)
    other.end()


def becomes_true(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("a condition did not come true")
        time.sleep(0.05)


def orders(build, directory):
    book = "1 #{paid => false,what => <<\"a book\">>}"
    pen = "2 #{paid => %s,what => <<\"a pen\">>}"
    a = Program(directory, build / "orders", "a@127.0.0.1")
    a.said("ready")
    b = Program(directory, build / "orders", "b@127.0.0.1", "a@127.0.0.1")
    b.said("ready")
    a.say("order 1 a book")
    a.said("order 1: done")
    b.say("order 2 a pen")
    b.said("order 2: done")
    becomes_true(lambda: pen % "false" in a.listed())  # the order of b is on its way to a
    a.say("pay 2")
    a.said("pay 2: done")
    becomes_true(lambda: "order 1 is not paid" in a.lines + b.lines)  # by the node that owns the order
    becomes_true(lambda: {book, pen % "true"} <= set(b.listed()))
    a.end()
    b.end()
    again = Program(directory, build / "orders", "b@127.0.0.1")  # alone, with what is on its disk
    again.said("ready")
    if not {book, pen % "true"} <= set(again.listed()):
        raise SystemExit(f"after a restart of all there is {again.lines}")
    again.end()


def main():
    tutorial, build = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        {"hello_cluster": hello_cluster, "orders": orders}[tutorial](build, directory)
    return 0


sys.exit(main())
