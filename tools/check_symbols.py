#!/usr/bin/env python3
"""check_symbols.py NM LIBRARY: the shared library exports names of barrel_p2p and nothing else.

A symbol that leaks from a dependency's inline code could replace, or be replaced by, the one of another version of
that dependency in the user's program.
"""
import re
import subprocess
import sys

OURS = re.compile(r"^_Z(T[ISVT]|GV)?N[KOR]*10barrel_p2p|^BARREL_P2P_\d+$")


def main():
    nm, library = sys.argv[1:]
    output = subprocess.run([nm, "-D", "--defined-only", "--format=posix", library], check=True, text=True, stdout=subprocess.PIPE).stdout
    names = [line.split()[0].split("@")[0] for line in output.splitlines()]
    foreign = [name for name in names if not OURS.match(name)]
    ours = len(names) - len(foreign)
    for name in foreign:
        print(f"exported, but not ours: {name}")
    print(f"{ours} exported symbols of barrel_p2p, {len(foreign)} others")
    # Without exports of its own the library would be useless, and the test blind.
    return 1 if foreign or ours < 10 else 0


sys.exit(main())
