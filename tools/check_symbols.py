#!/usr/bin/env python3
"""check_symbols.py NM LIBRARY SONAME: the shared library exports names of barrel_p2p, the whole C interface, and
nothing else, and its SONAME, the version of its symbols and the inline namespace of its C++ names carry the same ABI
version.

A symbol that leaks from a dependency's inline code could replace, or be replaced by, the one of another version of
that dependency in the user's program. Two ABI versions under one SONAME would replace each other.
"""
import pathlib
import re
import subprocess
import sys

OURS = re.compile(r"^_Z(T[ISVT]|GV)?N[KOR]*10barrel_p2p|^BARREL_P2P_\d+$")
C_HEADER = pathlib.Path(__file__).resolve().parent.parent / "include" / "barrel_p2p" / "c.h"
C_FUNCTION = re.compile(r"^BARREL_P2P_C_API [\w ]+[ *](barrel_p2p_\w+)\(", re.MULTILINE)


def namespaces(output):
    """The N of `barrel_p2p::vN`: mangled, a name follows its length, here that of `vN`."""
    return {digits[: int(length) - 1] for length, digits in re.findall(r"10barrel_p2p(\d)v(\d+)", output)}


def main():
    nm, library, soname = sys.argv[1:]
    output = subprocess.run([nm, "-D", "--defined-only", "--format=posix", library], check=True, text=True, stdout=subprocess.PIPE).stdout
    names = [line.split()[0].split("@")[0] for line in output.splitlines()]
    in_c = set(C_FUNCTION.findall(C_HEADER.read_text()))
    foreign = [name for name in names if not OURS.match(name) and name not in in_c]
    missing = sorted(in_c - set(names))
    ours = len(names) - len(foreign)
    for name in foreign:
        print(f"exported, but not ours: {name}")
    for name in missing:
        print(f"in c.h, but not exported: {name}")
    print(f"{ours} exported symbols of barrel_p2p, {len(in_c)} of them for C, {len(foreign)} others, {len(missing)} missing")
    abi = soname.rsplit(".", 1)[-1]
    versions = {"the symbols": set(re.findall(r"@BARREL_P2P_(\d+) ", output)), "the namespace": namespaces(output)}
    for where, found in versions.items():
        if found != {abi}:
            print(f"{soname} has ABI version {abi}, {where} {', '.join(sorted(found)) or 'none'}")
            return 1
    # Without exports of its own the library would be useless, and the test blind.
    return 1 if foreign or missing or ours < 10 or len(in_c) < 10 else 0


sys.exit(main())
