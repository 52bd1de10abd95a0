#!/usr/bin/env python3
"""Keeps the code in README.md, CONTRIBUTING.md and docs/ true.

C++, C, Python, CMake, TOML and Erlang: each block follows a line `<!-- from FILE -->`, and its text stands in that file of the tree,
line for line (as a whole, equally indented). The file is one that the tests compile, read or run.

Tests: `Suite.a_test_that_is_named` is one of tests/.

Links: [text](FILE#heading) leads to a file of the tree and a heading of it. Every page is in the map, docs/README.md.

Metrics: `barrel_p2p_..._total`, `..._seconds` and `..._bytes` are in docs/metrics.md.

User stories: every row of docs/user-stories.md says where the story is documented, and names tests, programs or pages with
console blocks that play it; each of them is there.

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
FROM_FILE = ("cpp", "c", "python", "cmake", "toml", "erlang", "elixir")
COMMAND_SECONDS_MAX = 60
FENCED = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
METRIC = re.compile(r"\bbarrel_p2p_[a-z0-9_]+_(?:total|seconds|bytes)\b")
MAP = pathlib.Path("docs/README.md")
STORIES = pathlib.Path("docs/user-stories.md")
STORY = re.compile(r"^\| (?P<number>[0-9]+\.[0-9]+(?:[a-z])?|[0-9]+[a-z]?) \|(?P<story>[^|]*)\|(?P<documented>[^|]*)\|(?P<played>[^|]*)\|$")
STORIES_OF_THE_CHECKLIST = 34


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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # a node that ends may still write there
        environment = {**environment, "XDG_DATA_HOME": f"{scratch}/.kept"}  # what commands keep goes with the block
        for command, expected in steps:
            try:
                result = subprocess.run(["bash", "-c", command], cwd=scratch, env=environment, stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                return f"`{command}` does not end within {COMMAND_SECONDS_MAX} s"
            if result.stdout.splitlines() != expected:
                return f"`{command}` prints\n{textwrap.indent(result.stdout, '    ')}  and not\n{textwrap.indent(chr(10).join(expected), '    ')}"
    return None


def blank(text, pattern):
    """The text with what matches the pattern as spaces, line by line as before."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def anchors(text):
    """The anchors of the headings, as GitHub makes them (and the site, see tools/site)."""
    found, seen = set(), {}
    for heading in HEADING.findall(blank(text, re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        times = seen[slug] = seen.get(slug, -1) + 1
        found.add(f"{slug}-{times}" if times else slug)
    return found


def check_link(root, document, target):
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    if not path.exists() or not path.is_relative_to(root.resolve()):
        return f"the link {target} leads nowhere"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
        return f"the link {target} leads to no heading of {path.relative_to(root.resolve())}"
    return None


def check_links(root, document, text):
    plain = blank(text, FENCED)
    for match in LINK.finditer(plain):
        finding = check_link(root, document, match["target"])
        if finding:
            yield text.count("\n", 0, match.start()) + 1, finding


def check_map(root, documents):
    """Pages that the map does not lead to."""
    if not (root / MAP).is_file():
        return
    text = blank((root / MAP).read_text(), FENCED)
    listed = {((root / MAP).parent / match["target"].partition("#")[0]).resolve() for match in LINK.finditer(text)}
    for document in documents:
        inside = document.relative_to(root).parts
        if inside[0] == "docs" and inside[1] != "decisions" and document != root / MAP and document.resolve() not in listed:
            yield f"{document.relative_to(root)}:1: {MAP} does not lead to this page"


def check_metrics(root, text):
    page = root / "docs/metrics.md"
    known = page.read_text() if page.is_file() else ""
    for match in METRIC.finditer(text):
        if f"`{match[0]}`" not in known:
            yield text.count("\n", 0, match.start()) + 1, f"there is no metric {match[0]}"


def plays(root, tests, name):
    """What is wrong with a name that is said to play a story."""
    suite, _, test = name.partition(".")
    if (suite, test) in tests:
        return None
    path = root / name
    if not path.is_file():
        return f"there is no test and no program {name}"
    if path.suffix == ".md" and "\n```console\n" not in path.read_text():
        return f"{name} has no console block"
    if path.suffix == ".cpp" and path.parts[-2] not in ("examples", "demo") and "tutorials" not in path.parts:
        return f"{name} is not run as a test"
    return None


def check_stories(root, tests):
    path = root / STORIES
    if not path.is_file():
        return
    numbers = set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not re.match(r"\| [0-9]", line):
            continue
        row = STORY.match(line)
        if not row:
            yield f"{STORIES}:{number}: a row is | number | story | where | what plays it |"
            continue
        numbers.add(re.match(r"[0-9.]+", row["number"])[0])
        played = re.findall(r"`([^`]+)`", row["played"])
        if not LINK.search(row["documented"]):
            yield f"{STORIES}:{number}: story {row['number']} is documented nowhere"
        if not played:
            yield f"{STORIES}:{number}: story {row['number']} is played by nothing"
        for name in played:
            finding = plays(root, tests, name)
            if finding:
                yield f"{STORIES}:{number}: {finding}"
    missing = [str(story) for story in range(1, STORIES_OF_THE_CHECKLIST + 1) if str(story) not in numbers]
    if missing:
        yield f"{STORIES}:1: stories {', '.join(missing)} are missing"


def names_of_tests(root):
    return {match.groups() for source in (root / "tests").rglob("*.cpp") for match in TEST_MACRO.finditer(source.read_text())}


def check(root, path):
    tests = names_of_tests(root)
    documents = [root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md", *sorted((root / "docs").rglob("*.md"))]
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    documents = [document for document in documents if document.is_file()]
    findings, blocks = [*check_map(root, documents), *check_stories(root, tests)], 0
    for document in documents:
        text = document.read_text()
        for line, finding in [*check_links(root, document, text), *check_metrics(root, text)]:
            findings.append(f"{document.relative_to(root)}:{line}: {finding}")
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
        "docs/README.md": "# Map\n\n[a](deep/a.md)\n[stories](user-stories.md)\n[metrics](metrics.md)\n",
        "docs/metrics.md": "`barrel_p2p_good_total`\n",
        "docs/user-stories.md": "".join(f"| {n} | s | [a](README.md#map) | `Suite.short`, `examples/a.cpp` |\n" for n in range(1, 35)),
        "docs/deep/a.md": "# A `b`: c\n\n[here](#a-b-c) [there](../../SECURITY.md) barrel_p2p_good_total `[no](link)`\n",
        "SECURITY.md": "`Suite.it_does_something` and `Suite.goes_on_for_ever`, but `json.loads`\n",
        "tests/a_test.cpp": "TEST(Suite, it_does_something) {\nTEST_F(Suite, goes_on_for_ever) {\nTEST(Suite, short) {\n",
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
        ("[gone](../gone.md)\n", "leads nowhere"),
        ("[gone](../../../etc/passwd)\n", "leads nowhere"),
        ("[gone](#gone)\n", "leads to no heading"),
        ("[gone](../README.md#gone)\n", "leads to no heading"),
        ("```cmake\nadd_executable(a)\n```\n", "names no source"),
        ("barrel_p2p_gone_total\n", "there is no metric"),
    ]
    stories = good["docs/user-stories.md"]
    planted_stories = [
        (stories.replace("| 7 |", "| 70 |"), "stories 7 are missing"),
        (stories.replace("| 7 | s |", "| 7 | s"), "a row is"),
        (stories.replace("| 7 | s | [a](README.md#map) |", "| 7 | s | |"), "documented nowhere"),
        (stories + "| 35 | s | [a](README.md) | |\n", "played by nothing"),
        (stories.replace("Suite.short", "Suite.gone"), "there is no test and no program Suite.gone"),
        (stories.replace("examples/a.cpp", "examples/gone.cpp"), "there is no test and no program examples/gone.cpp"),
        (stories.replace("examples/a.cpp", "tests/a_test.cpp"), "is not run as a test"),
        (stories.replace("examples/a.cpp", "docs/README.md"), "has no console block"),
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
    trees = [({"docs/deep/a.md": text}, wanted) for text, wanted in planted]
    trees += [({str(STORIES): text}, wanted) for text, wanted in planted_stories]
    trees.append(({"docs/lost.md": "# Lost\n"}, "does not lead to this page"))
    for tree, wanted in trees:
        found, _ = run(tree)
        if not any(wanted in finding for finding in found):
            findings.append(f"planted {tree!r}: expected '{wanted}', got {found}")
    return findings, len(trees)


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
