#!/usr/bin/env python3
"""Keeps the code in README.md, CONTRIBUTING.md and docs/ true.

C++ and TOML: each ```cpp or ```toml block follows a line `<!-- from FILE -->`, and its text stands in that file of the tree,
line for line (as a whole, equally indented). The file is one that the tests compile and run.

Tests: `Suite.a_test_that_is_named` is one of tests/.

Console: each ```console block is executed in an empty directory. Lines that start with `$ ` are commands, what follows
them is exactly what they print.

  check_docs.py --path BIN   BIN: where the barrel_p2p command lies
  check_docs.py --self-test  planted violations are found
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

TEST_NAME = re.compile(r"`([A-Z]\w*)\.([a-z0-9]+(?:_[a-zA-Z0-9]+){2,})`")
TEST_MACRO = re.compile(r"\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\)")
BLOCK = re.compile(r"(?:<!-- from (?P<source>\S+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FROM_FILE = ("cpp", "toml")
COMMAND_SECONDS_MAX = 60


def stands_in(text, source):
    """Whether the lines of text are consecutive lines of source, all indented by the same amount more."""
    wanted = textwrap.dedent(text).rstrip("\n").split("\n")
    lines = source.split("\n")
    for start in range(len(lines) - len(wanted) + 1):
        window = textwrap.dedent("\n".join(lines[start : start + len(wanted)])).split("\n")
        if window == wanted:
            return True
    return False


def check_source(root, block):
    if not block["source"]:
        return "this block names no source: write <!-- from FILE --> in the line before it"
    path = root / block["source"]
    if not path.is_file():
        return f"there is no {block['source']}"
    if not stands_in(block["text"], path.read_text()):
        return f"this block does not stand in {block['source']}"
    return None


def check_console(block, environment):
    steps = []
    for line in block["text"].splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps:
            steps[-1][1].append(line)
        else:
            return "a console block starts with a command: `$ ...`"
    if not steps:
        return "this console block has no command"
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**environment, "XDG_DATA_HOME": f"{scratch}/.kept"}  # what commands keep goes with the block
        for command, expected in steps:
            result = subprocess.run(["bash", "-c", command], cwd=scratch, env=environment, stdin=subprocess.DEVNULL, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS_MAX)
            if result.stdout.splitlines() != expected:
                return f"`{command}` prints\n{textwrap.indent(result.stdout, '    ')}  and not\n{textwrap.indent(chr(10).join(expected), '    ')}"
    return None


def names_of_tests(root):
    return {match.groups() for source in (root / "tests").rglob("*.cpp") for match in TEST_MACRO.finditer(source.read_text())}


def check(root, path):
    tests = names_of_tests(root)
    documents = [root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md", *sorted((root / "docs").rglob("*.md"))]
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    findings, blocks = [], 0
    for document in (document for document in documents if document.is_file()):
        text = document.read_text()
        for match in TEST_NAME.finditer(text):
            if match.groups() not in tests:
                line = text.count("\n", 0, match.start()) + 1
                findings.append(f"{document.relative_to(root)}:{line}: there is no test {match[1]}.{match[2]}")
        for match in BLOCK.finditer(text):
            block = match.groupdict()
            if block["language"] in FROM_FILE:
                finding = check_source(root, block)
            elif block["language"] == "console":
                finding = check_console(block, environment)
            else:
                continue
            blocks += 1
            if finding:
                line = text.count("\n", 0, match.start("language")) + 1
                findings.append(f"{document.relative_to(root)}:{line}: {finding}")
    return findings, blocks


def self_test():
    good = {
        "README.md": "<!-- from examples/a.cpp -->\n```cpp\nint a;\n\nint b;\n```\n\n```console\n$ echo hello\nhello\n$ true\n$ echo you\nyou\n```\n",
        "examples/a.cpp": "void f() {\n  int a;\n\n  int b;\n}\n",
        "SECURITY.md": "`Suite.it_does_something` and `Suite.goes_on_for_ever`, but `json.loads`\n",
        "tests/a_test.cpp": "TEST(Suite, it_does_something) {\nTEST_F(Suite, goes_on_for_ever) {\n",
    }
    planted = [
        ("```cpp\nint a;\n```\n", "names no source"),
        ("<!-- from examples/gone.cpp -->\n```cpp\nint a;\n```\n", "there is no examples/gone.cpp"),
        ("<!-- from examples/a.cpp -->\n```cpp\nint c;\n```\n", "does not stand in"),
        ("<!-- from examples/a.cpp -->\n```cpp\nint a;\nint b;\n```\n", "does not stand in"),
        ("```console\n$ echo hello\ngoodbye\n```\n", "prints"),
        ("```console\n$ true\ngoodbye\n```\n", "prints"),
        ("```console\nhello\n```\n", "starts with a command"),
        ("`Suite.it_does_nothing`\n", "there is no test Suite.it_does_nothing"),
    ]

    def run(extra):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            for name, text in {**good, **extra}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return check(root, "/bin")

    findings = []
    clean, blocks = run({})
    if clean or blocks != 2:
        findings.append(f"a good tree with 2 blocks gives {blocks} blocks and {clean}")
    for text, wanted in planted:
        found, _ = run({"docs/deep/a.md": text})
        if not any(wanted in finding for finding in found):
            findings.append(f"planted {text!r}: expected '{wanted}', got {found}")
    return findings, len(planted)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    findings, blocks = self_test() if arguments.self_test else check(root, arguments.path)
    for finding in findings:
        print(finding)
    print(f"{blocks} blocks, {len(findings)} findings")
    return 1 if findings else 0


sys.exit(main())
