#!/usr/bin/env python3
"""Checks how the house is laid out.

  check_rooms.py rooms                   no file includes what its place forbids
  check_rooms.py headers --compiler CXX  each public header compiles alone and reaches no third-party header
  check_rooms.py self-test --compiler CXX  planted violations of every rule are found

The order of the rooms is the order of the add_room lines of CMakeLists.txt. --root names another tree (the default is
the one that this file lies in).
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
PUBLIC = "barrel_p2p/"
THIRD_PARTY = re.compile(r"(^|/)(boost|gnutls|ngtcp2|spdlog|fmt|toml\+\+|CLI|zlib\.h|zconf\.h|sqlite3\.h|xxhash\.h|prometheus|gtest|rapidcheck|benchmark)(/|$)")


def rooms_of(root):
    text = (root / "CMakeLists.txt").read_text()
    return re.findall(r"^add_room\((\w+)", text, re.MULTILINE)


def sources(directory):
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.rglob("*") if path.suffix in (".hpp", ".cpp", ".h"))


def includes(path):
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start(2)) + 1, match.group(1) == '"', match.group(2)


def check_rooms(root):
    """Returns a list of findings, one sentence each."""
    rooms = rooms_of(root)
    findings = []

    def report(path, line, message):
        findings.append(f"{path.relative_to(root)}:{line}: {message}")

    def check_file(path, allowed, forbidden_reason, extra=(), beside=()):
        """`extra`: where other files may lie. `beside`: directories of the tree that are no rooms, and may be included from."""
        for line, quoted, name in includes(path):
            first = name.split("/")[0]
            if not quoted:
                if name.startswith(PUBLIC) and not (root / "include" / name).is_file():
                    report(path, line, f"<{name}> does not exist")
                elif first in rooms:
                    report(path, line, f"write \"{name}\": the rooms are ours")
                continue
            if name.startswith(PUBLIC):
                report(path, line, f"write <{name}>: it is a public header")
            elif first in rooms and first not in allowed:
                report(path, line, f"\"{name}\": {forbidden_reason}")
            elif first in rooms and (root / "src" / name).is_file() or first in beside and (root / name).is_file():
                continue
            elif not any((base / name).is_file() for base in extra):
                report(path, line, f"\"{name}\" is no \"ROOM/FILE\" of src")

    for directory in sorted((root / "src").iterdir()):
        room = directory.name
        if not directory.is_dir() or not sources(directory):
            continue
        if room not in rooms:
            findings.append(f"src/{room}: no add_room({room}) in CMakeLists.txt, so its place is not known")
            continue
        below = rooms[: rooms.index(room) + 1]
        for path in sources(directory):
            check_file(path, below, f"room '{room}' is below it")
    for room in rooms:
        for path in sources(root / "tests" / room):
            below = rooms[: rooms.index(room) + 1]
            check_file(path, below, f"tests of room '{room}' stay at or below it", [root / "tests"], beside=["relay"])
    for path in sources(root / "include"):
        check_file(path, [], "public headers include public headers only")
        for line, _, name in includes(path):
            if THIRD_PARTY.search(name):
                report(path, line, f"<{name}>: public headers include no third-party header")
    for path in sources(root / "examples"):
        check_file(path, [], "examples include public headers only", [path.parent])
    # The simulator runs machines of the rooms up to the services; commands and tests run the simulator.
    below_sim = rooms[: rooms.index("services") + 1] if "services" in rooms else rooms
    for path in sources(root / "sim"):
        check_file(path, below_sim, "the simulator includes rooms up to 'services' only", beside=["sim"])
    for path in sources(root / "relay"):
        check_file(path, [], "the relay knows nothing of rooms")
    for path in sources(root / "apps"):
        check_file(path, rooms, "", [path.parent], beside=["relay", "sim"])
    return findings


def check_header(root, compiler, header):
    """Compiles one header alone, as a user's first include would, and lists all that it reaches; *.h as C too."""
    with tempfile.TemporaryDirectory() as scratch:
        for language in ("-xc -std=c99", "-xc++ -std=c++23") if header.endswith(".h") else ("-xc++ -std=c++23",):
            unit = pathlib.Path(scratch) / "unit"
            unit.write_text(f"#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n")
            command = [compiler, *language.split(), "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{root / 'include'}", str(unit)]
            compiled = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if compiled.returncode != 0:
                return [f"include/{header}: does not compile alone:\n{compiled.stdout}"]
        listed = subprocess.run([*command, "-M"], check=True, text=True, stdout=subprocess.PIPE).stdout
    reached = re.split(r"\s+|\\\n", listed.split(":", 1)[1])
    ours = str(root / "include") + "/"
    foreign = sorted({path for path in reached if THIRD_PARTY.search(path.removeprefix("/usr/include/")) and not path.startswith(ours)})
    return [f"include/{header}: reaches {path}" for path in foreign]


def check_headers(root, compiler):
    headers = [str(path.relative_to(root / "include")) for path in sources(root / "include")]
    if not headers:
        return ["include: there are no public headers"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda header: check_header(root, compiler, header), headers)
    return [finding for result in results for finding in result]


def self_test(compiler):
    """Every rule: a tree that breaks it, and what has to be said about it."""
    good = {
        "CMakeLists.txt": "add_room(base LIBRARIES x)\nadd_room(term)\n",
        "include/barrel_p2p/term.hpp": "#pragma once\n#include <string>\n",
        "src/base/clock.hpp": "#include <chrono>\n",
        "src/term/term.cpp": '#include <barrel_p2p/term.hpp>\n#include "base/clock.hpp"\n#include <boost/asio.hpp>\n',
        "tests/term/term_test.cpp": '#include "base/clock.hpp"\n#include "relay/relay.hpp"\n#include "support/world.hpp"\n',
        "relay/relay.hpp": "",
        "tests/support/world.hpp": "",
        "examples/terms.cpp": "#include <barrel_p2p/term.hpp>\n",
    }
    planted = [
        ({"src/base/clock.hpp": '#include <chrono>\n#include "term/term.hpp"\n', "src/term/term.hpp": ""}, "src/base/clock.hpp:2: \"term/term.hpp\": room 'base' is below it"),
        ({"src/base/a.cpp": '  #  include "clock.hpp"\n'}, '"clock.hpp" is no "ROOM/FILE" of src'),
        ({"src/term/a.cpp": '#include "../base/clock.hpp"\n'}, 'is no "ROOM/FILE" of src'),
        ({"src/term/a.cpp": "#include <base/clock.hpp>\n"}, 'write "base/clock.hpp"'),
        ({"src/term/a.cpp": '#include "barrel_p2p/term.hpp"\n'}, "write <barrel_p2p/term.hpp>"),
        ({"src/term/a.cpp": "#include <barrel_p2p/gone.hpp>\n"}, "<barrel_p2p/gone.hpp> does not exist"),
        ({"src/attic/a.cpp": ""}, "no add_room(attic)"),
        ({"tests/base/a_test.cpp": '#include "term/term.hpp"\n', "src/term/term.hpp": ""}, "tests of room 'base' stay at or below it"),
        ({"tests/base/a_test.cpp": '#include "term/world.hpp"\n', "tests/term/world.hpp": ""}, "tests of room 'base' stay at or below it"),
        ({"tests/base/a_test.cpp": '#include "sim/disk.hpp"\n', "sim/disk.hpp": ""}, 'is no "ROOM/FILE" of src'),
        ({"relay/a.hpp": '#include "base/clock.hpp"\n'}, "the relay knows nothing of rooms"),
        ({"include/barrel_p2p/a.hpp": '#include "base/clock.hpp"\n'}, "public headers include public headers only"),
        ({"include/barrel_p2p/a.hpp": "#include <boost/json.hpp>\n"}, "no third-party header"),
        ({"examples/a.cpp": '#include "base/clock.hpp"\n'}, "examples include public headers only"),
    ]
    planted_headers = [
        ({"include/barrel_p2p/a.hpp": "inline std::string text;\n"}, "does not compile alone"),
        ({"include/barrel_p2p/a.hpp": "int twice;\n"}, "does not compile alone"),
        ({"include/barrel_p2p/a.h": "#include <string>\n"}, "does not compile alone"),
        ({"include/barrel_p2p/a.h": "struct a { int x; }; static inline struct a *f(void *p) { return p; }\n"}, "does not compile alone"),
        ({"include/barrel_p2p/a.hpp": "#pragma once\n#if __has_include(<zlib.h>)\n#include <zlib.h>\n#endif\n"}, "zlib.h"),
    ]

    def run(check, extra):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            for name, text in {**good, **extra}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return check(root)

    findings = []
    for check, cases in ((check_rooms, planted), (lambda root: check_headers(root, compiler), planted_headers)):
        clean = run(check, {})
        if clean:
            findings.append(f"a good tree is refused: {clean}")
        for extra, wanted in cases:
            found = run(check, extra)
            if not any(wanted in finding for finding in found):
                findings.append(f"planted {extra}: expected a finding with '{wanted}', got {found}")
    return findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rooms", "headers", "self-test"])
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    arguments = parser.parse_args()
    if arguments.what == "rooms":
        findings = check_rooms(arguments.root)
    elif arguments.what == "headers":
        findings = check_headers(arguments.root, arguments.compiler)
    else:
        findings = self_test(arguments.compiler)
    for finding in findings:
        print(finding)
    print(f"{arguments.what}: {len(findings)} findings")
    return 1 if findings else 0


sys.exit(main())
