#!/usr/bin/env python3
"""Checks that all files of a target can be compiled as one: check_units.py BUILD

Tests, the command and the simulator are compiled several files as one (cmake/unity.cmake), and which ones go together
changes with each new file. So names of unnamed namespaces are unique within a target: nothing new can meet its like.
BUILD is a configured directory of such a build, with compile_commands.json. Nothing is built.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

UNIT = re.compile(r"(.*)/Unity/unity_(\d+)_cxx\.cxx")
TREES = ("apps", "sim", "tests")


def targets_of(build):
    """The units of each target in their order, and how one of them is compiled."""
    targets = {}
    for command in json.loads((build / "compile_commands.json").read_text()):
        match = UNIT.fullmatch(command["file"])
        if match is None:
            continue
        place = pathlib.Path(match[1]).relative_to(build.resolve())
        if place.parts[0] in TREES:
            targets.setdefault(str(place), []).append((int(match[2]), command))
    if not targets:
        sys.exit(f"units: {build} compiles no files as one; configure it with CMAKE_UNITY_BUILD=ON")
    return {name: [command for _, command in sorted(units, key=lambda unit: unit[0])] for name, units in targets.items()}


def files_of(units):
    """The lines that include them."""
    return [line for unit in units for line in pathlib.Path(unit["file"]).read_text().splitlines() if line.startswith("#include")]


def findings_of(units):
    words = shlex.split(units[0]["command"])
    if pathlib.Path(words[0]).name == "ccache":
        del words[0]
    del words[words.index("-c"):]
    if "-o" in words:
        at = words.index("-o")
        del words[at:at + 2]
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch) / "all.cpp"
        source.write_text("\n".join(files_of(units)) + "\n")
        compiled = subprocess.run([*words, "-fsyntax-only", str(source)], cwd=units[0]["directory"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return compiled.stdout if compiled.returncode != 0 else ""


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    targets = targets_of(pathlib.Path(sys.argv[1]))
    shared = {name: units for name, units in targets.items() if len(files_of(units)) > 1}
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count() or 1))) as pool:
        found = dict(zip(shared, pool.map(findings_of, shared.values())))
    found = {name: text for name, text in found.items() if text}
    for name, text in found.items():
        print(f"{name}: its files do not compile as one; give what clashes a name of its own, or share it:\n{text}")
    print(f"units: {len(shared)} targets of several files, {len(found)} with findings")
    return 1 if found else 0


sys.exit(main())
