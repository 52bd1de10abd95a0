"""How tests of the examples run them: as the processes that a user starts, with lines in and lines out."""
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE_S = 60  # for anything that must come; nobody waits so long but a test that fails


class Program:
    """A process whose lines are read as they come. It is killed, by its pid, when the test is over."""

    def __init__(self, test, *arguments):
        self.arguments = [str(argument) for argument in arguments]
        self.lines = []
        self._arrived = queue.SimpleQueue()
        self._process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        test.addCleanup(self._end)

    def _read(self):
        for line in self._process.stdout:
            self._arrived.put(line.rstrip("\n"))
        self._arrived.put(None)

    def _end(self):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def say(self, line):
        self._process.stdin.write(line + "\n")

    def shows(self, wanted, after=0):
        """Waits for a line that contains the text, from line number `after` on, and returns its number."""
        end = time.monotonic() + PATIENCE_S
        at = after
        while True:
            for number in range(at, len(self.lines)):
                if wanted in self.lines[number]:
                    return number
            at = max(at, len(self.lines))
            try:
                line = self._arrived.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{self.arguments} never showed {wanted!r}, but\n" + "\n".join(self.lines))
            self.lines.append(line)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def signal(self, number):
        self._process.send_signal(number)

    def finish(self):
        """Ends its input, as Ctrl-D does, and waits for its end. Returns the exit status."""
        self._process.stdin.close()
        status = self._process.wait(timeout=PATIENCE_S)
        self._reader.join()
        while (line := self._arrived.get()) is not None:
            self.lines.append(line)
        return status


class ExampleTest(unittest.TestCase):
    """A directory for each test, and programs in it."""

    program = ""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="barrel_p2p-example-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def start(self, *arguments):
        return Program(self, self.program, *arguments)

    def eventually(self, condition, what):
        """For what tells nobody that it has changed."""
        end = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)
        return value


def main(case):
    """NAME_test.py PROGRAM"""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    case.program = os.path.abspath(sys.argv.pop(1))
    unittest.main(module=sys.modules["__main__"], verbosity=2)
