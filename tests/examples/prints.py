#!/usr/bin/env python3
"""prints.py FILE PROGRAM: the program ends by itself with status 0 and has printed what is in the file."""
import difflib
import pathlib
import subprocess
import sys


def main():
    expected = pathlib.Path(sys.argv[1]).read_text()
    result = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if result.stdout != expected:
        print("".join(difflib.unified_diff(expected.splitlines(True), result.stdout.splitlines(True), "expected", "printed")))
        return 1
    return result.returncode


sys.exit(main())
