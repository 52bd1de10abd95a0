#!/usr/bin/env python3
"""tutorial_test.py TUTORIAL BUILD: does what a tutorial tells, with the programs that were built in BUILD, as processes."""
import pathlib
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


def hello_cluster(build, directory):
    counter = Program(directory, build / "counter", "a@127.0.0.1")
    counter.said("counting")
    for name, number, count in (("b", 5, 5), ("c", 37, 42)):
        ask = Program(directory, build / "ask", f"{name}@127.0.0.1", "a@127.0.0.1", str(number))
        ask.said(f"the counter at a@127.0.0.1 says {count}")
        ask.end()
    counter.end()


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
