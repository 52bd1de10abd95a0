#!/usr/bin/env python3
"""The page of a node in headless Chromium: with clusters that are made up (mock_cluster.py), and with real nodes of which one is
killed.

  browser_test.py --page DIR --scratch DIR [--command BARREL_P2P]

Without --command the real nodes are left out. BARREL_P2P_REWRITE=1 renews the pictures in docs/figures. Where Chromium is missing
it says "skipped: ..." and does nothing.
"""
import argparse
import http.client
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

import mock_cluster
import small_png
import webdriver

FIGURES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "figures"
VIEWS = ("overview", "members", "services", "leaders", "ring", "maps", "reminders", "peers", "events")
# W3C Web Content Accessibility Guidelines 2.1, 1.4.3.
CONTRAST_MIN = 4.5
ESCAPE, RIGHT = "\ue00c", "\ue014"

options = None  # Of the command line.

# What a reader without sight or mouse needs: a name for each control. Returns those without.
NAMELESS = """
return [...document.querySelectorAll('button, input, select, a[href], canvas, svg[role=img], [role=region]')]
  .filter((one) => !one.parentElement.closest('[role=img]')).filter((one) =>
  !(one.getAttribute('aria-label') || one.textContent.trim() || one.title || one.closest('label')?.textContent.trim()))
  .map((one) => one.outerHTML);
"""

CONTRASTS = """
const style = getComputedStyle(document.documentElement);
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const luminance = (name) => {
  canvas.fillStyle = style.getPropertyValue('--' + name);
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const pairs = [];
for (const on of ['surface', 'raised', 'bg']) for (const text of ['text', 'muted', 'accent', 'good', 'warn', 'bad']) pairs.push([text, on]);
pairs.push(['accent', 'accent-soft'], ['bad', 'bad-soft'], ['good', 'good-soft']);
return pairs.map(([text, on]) => {
  const [high, low] = [luminance(text), luminance(on)].sort((one, other) => other - one);
  return [`${text} on ${on}`, (high + 0.05) / (low + 0.05)];
});
"""

# ACT: what to do; SHOWN: whether it is done. Gives the milliseconds until the frame behind the one that shows it, which is when
# the reader sees it.
REACTION = """
const callback = arguments[0], from = performance.now();
ACT;
const look = () => (SHOWN ? requestAnimationFrame(() => callback(performance.now() - from)) : requestAnimationFrame(look));
requestAnimationFrame(look);
"""

# Sets `shownAt` to the moment, in ms since 1970, at which the page shows that so many nodes are missing.
WATCH_DEATHS = """
const wanted = ` ${arguments[0]} not,`;
window.shownAt = undefined;
const look = () => (document.querySelector('canvas').getAttribute('aria-label').includes(wanted)
  ? requestAnimationFrame(() => { window.shownAt = Date.now(); }) : requestAnimationFrame(look));
look();
"""

CLICK_NODE = """
const canvas = document.querySelector('canvas'), at = canvas.spotOf('n0500@10.0.2.1'), box = canvas.getBoundingClientRect();
for (const kind of ['pointerdown', 'pointerup'])
  canvas.dispatchEvent(new PointerEvent(kind, { clientX: box.left + at.x, clientY: box.top + at.y, pointerId: 1 }))
"""
CLOSE_NODE = "[...document.querySelectorAll('.detail button')].find((one) => one.innerText === 'Close').click()"
FILTER = "const box = document.querySelector('.search'); box.value = '%s'; box.dispatchEvent(new Event('input', { bubbles: true }))"


class PageTest(unittest.TestCase):
    """One browser for all tests; each has an address of its own, so none sees what another made the page keep."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp(dir=options.scratch))
        cls.addClassCleanup(shutil.rmtree, cls.scratch, ignore_errors=True)
        cls.browser = webdriver.Browser(cls.scratch / "chromedriver.log", cls.scratch / "profile")
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.size(1280, 800)
        self.browser.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        self.browser.console()

    def tearDown(self):
        # Before its node ends: a page that looks for a node that is gone would complain in the next test.
        self.browser.open("about:blank")

    def serve(self, cluster, tick_seconds=1.0):
        server = mock_cluster.Server(cluster, options.page).start(tick_seconds)
        self.addCleanup(server.stop)
        self.browser.open(server.address())
        self.browser.await_text("Live", cluster.names[0])
        return server

    def show(self, view):
        self.browser.run("location.hash = '#/' + arguments[0]", view)
        self.browser.await_(lambda: self.browser.run("return document.querySelector('main').dataset.view") == view.split("/")[0], f"no view {view}")

    def settled(self):
        self.browser.await_(lambda: self.browser.run("return document.querySelector('canvas').dataset.settled") == "true", "the graph never rests")

    def scheme(self, value):
        self.browser.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])
        self.browser.await_(lambda: self.browser.run("return document.documentElement.dataset.theme") == value, f"the page does not become {value}")

    def size(self, width, height):
        self.browser.emulate("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, name):
        self.browser.screenshot(options.scratch / name)
        if os.environ.get("BARREL_P2P_REWRITE"):
            (FIGURES / name).write_bytes(small_png.small((options.scratch / name).read_bytes()))

    def no_complaints(self):
        self.assertEqual(self.browser.console(), [])

    def type_into_filter(self, text):
        self.browser.run("document.activeElement.blur()")
        self.browser.keys("/")
        self.browser.run("document.activeElement.select()")
        self.browser.keys(text)


class Simulated(PageTest):
    def test_every_view_is_one_key_away_and_has_a_name_for_every_control(self):
        self.serve(mock_cluster.Cluster(9))
        for number, view in enumerate(VIEWS, 1):
            self.browser.keys(str(number))
            self.browser.await_(lambda: self.browser.run("return document.querySelector('main').dataset.view") == view, f"{number} does not show {view}")
            self.browser.await_(lambda: self.browser.run("return document.querySelector('main .card') !== null"), f"{view} is empty")
            self.assertEqual(self.browser.run(NAMELESS), [], view)
        self.no_complaints()

    def test_a_node_that_dies_is_shown_with_the_reason(self):
        server = self.serve(mock_cluster.Cluster(9))
        victim = server.cluster.names[4]
        self.browser.await_text("Members alive", "6 C++ · 3 Erlang")
        server.cluster.kill(victim)
        self.browser.await_text("1 down of 9", f"{victim} is down", "nothing was heard from it")
        self.show("members")
        self.browser.await_text(f"{victim}\t")
        row = self.browser.await_(lambda: self.browser.run("return document.querySelector('.row-dead')?.innerText"), "no row is marked as dead")
        self.assertIn(victim, row)
        self.assertIn("down", row)
        server.cluster.revive(victim)
        self.browser.await_(lambda: self.browser.run("return document.querySelector('.row-dead') === null"), "it stays dead")
        self.no_complaints()

    def test_what_comes_from_the_cluster_is_shown_as_text(self):
        self.serve(mock_cluster.Cluster(3))
        self.show("maps/flags")
        self.browser.await_text(mock_cluster.HOSTILE)
        self.assertEqual(self.browser.run("return document.querySelectorAll('img').length"), 0)
        self.assertNotEqual(self.browser.run("return document.title"), "broken")
        self.no_complaints()

    def test_maps_are_searched_and_paged(self):
        self.serve(mock_cluster.Cluster(3))
        self.show("maps/users")
        self.browser.await_text('<<"user:00000">>', "page 1")
        self.browser.run("[...document.querySelectorAll('.pages button')].at(-1).click()")
        self.browser.await_text('<<"user:00050">>', "page 2")
        self.type_into_filter("user:0123")
        self.browser.await_text('<<"user:01230">>', '<<"user:01233">>')
        self.browser.await_(lambda: '<<"user:00050">>' not in self.browser.text(), "the search changes nothing")
        self.type_into_filter("nothing like it")
        self.browser.await_text("No key starts like that")
        self.show("maps/empty")
        self.browser.await_text("This map is empty", "barrel_p2p map put empty")

    def test_a_lost_node_is_shown_as_lost_until_it_answers_again(self):
        server = self.serve(mock_cluster.Cluster(3))
        server.refuses = True
        server.cluster.change()
        self.browser.await_text("Disconnected since", "next try")
        self.assertTrue(self.browser.run("return document.querySelector('main').classList.contains('stale')"))
        server.refuses = False
        self.browser.await_(lambda: "Live" in self.browser.text() and "Disconnected" not in self.browser.text(), "it never comes back")

    def test_the_graph_is_used_by_keys_alone(self):
        self.serve(mock_cluster.Cluster(9))
        self.settled()
        self.browser.run("document.querySelector('canvas').focus()")
        self.browser.keys(RIGHT)
        self.browser.await_text("this node", "Active view")
        first = self.browser.run("return document.querySelector('.detail h2').innerText")
        chosen = self.browser.await_(lambda: self.other_than(first), "no arrow key leads to another node")
        self.assertIn(chosen, self.browser.text())
        self.browser.keys(ESCAPE)
        self.browser.await_(lambda: self.browser.run("return document.querySelector('.detail') === null"), "Escape does not close it")

    def other_than(self, first):
        for arrow in "\ue012\ue013\ue014\ue015":
            self.browser.keys(arrow)
            name = self.browser.run("return document.querySelector('.detail h2').innerText")
            if name != first:
                return name
        return None

    def test_a_node_alone_says_what_to_do(self):
        self.serve(mock_cluster.Cluster(1, lonely=True))
        self.browser.await_text("Alone so far", "--join")
        for view, words in (("services", "No service is registered"), ("leaders", "Nobody campaigns"), ("ring", "No ring yet"),
                            ("maps", "No map is open"), ("reminders", "No reminder is pending"), ("peers", "No peer is connected"),
                            ("events", "Nothing happened yet")):
            self.show(view)
            self.browser.await_text(words)

    def test_it_fits_a_telephone(self):
        self.size(390, 800)
        self.serve(mock_cluster.Cluster(9))
        for view in VIEWS:
            self.show(view)
            self.browser.await_(lambda: self.browser.run("return document.querySelector('main .card') !== null"), f"{view} is empty")
            self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), 390, view)

    def test_light_and_dark_follow_the_system_or_the_reader_and_can_be_read(self):
        server = self.serve(mock_cluster.Cluster(9, seed=11), tick_seconds=0.6)
        server.cluster.kill(server.cluster.names[6])
        self.browser.await_text("1 down of 9")
        self.settled()
        for scheme in ("light", "dark"):
            self.scheme(scheme)
            for pair, contrast in self.browser.run(CONTRASTS):
                self.assertGreaterEqual(contrast, CONTRAST_MIN, f"{pair}, {scheme}")
            self.show("overview")
            self.settled()
            self.picture(f"dashboard-{scheme}.png")
        self.show("peers")
        self.browser.await_(lambda: self.browser.run("return document.querySelectorAll('.u-over').length") == 3, "there are no charts")
        self.browser.await_(lambda: server.cluster.ticks > 14, "the cluster stands still")
        self.picture("dashboard-peers.png")
        self.browser.run("[...document.querySelectorAll('.top button')].find((one) => one.innerText === 'Light').click()")
        self.browser.await_(lambda: self.browser.run("return document.documentElement.dataset.theme") == "light", "the switch does nothing")
        self.browser.open(server.address())
        self.browser.await_text("Live")
        self.assertEqual(self.browser.run("return document.documentElement.dataset.theme"), "light", "the choice is forgotten")

    def test_a_thousand_nodes(self):
        """Prints how long the reader waits. The figures are no assertions: a machine may be busy with something else."""
        server = self.serve(mock_cluster.Cluster(1000), tick_seconds=0)
        self.browser.await_text("1,000")
        self.settled()
        figures = {"a node that dies": self.deaths(server)}
        self.settled()
        there = "document.querySelector('main').dataset.view === '%s' && document.querySelector('main .card')"
        figures["a click on a node"] = self.reactions(CLICK_NODE, "document.querySelector('.detail')", CLOSE_NODE)
        figures["the table of members"] = self.reactions("location.hash = '#/members'", there % "members", "location.hash = '#/overview'")
        self.show("members")
        figures["the graph again"] = self.reactions("location.hash = '#/overview'", there % "overview", "location.hash = '#/members'")
        self.show("members")
        figures["a letter in a filter"] = self.reactions(FILTER % "n050", "document.querySelectorAll('tbody tr').length === 10", FILTER % "")
        for name, values in figures.items():
            print(f"1,000 nodes: {name} is shown after {statistics.median(values):.0f} ms (median of {len(values)}; at most {max(values):.0f})")
        self.show("overview")
        self.settled()
        self.picture("dashboard-1000.png")
        self.no_complaints()

    def deaths(self, server):
        """From the moment the node tells of a death until the page shows it."""
        values = []
        for count in range(1, 6):
            self.browser.run(WATCH_DEATHS, count)
            server.cluster.kill(server.cluster.names[100 * count])
            shown = self.browser.await_(lambda: self.browser.run("return window.shownAt"), "a death is not shown")
            values.append(shown - server.sent_at * 1000)
        return values

    def reactions(self, act, shown, undo):
        values = []
        for _ in range(5):
            values.append(self.browser.run_async(REACTION.replace("ACT", act).replace("SHOWN", shown)))
            self.browser.run_async(REACTION.replace("ACT", undo).replace("SHOWN", f"!({shown})"))
        return values


class Real(PageTest):
    """Nodes as separate processes; the page is the one that is built into them."""

    def setUp(self):
        if not options.command:
            self.skipTest("no command with an endpoint is built")
        super().setUp()
        self.port = webdriver.free_port()
        self.nodes = {}
        self.home = pathlib.Path(tempfile.mkdtemp(dir=self.scratch))

    def start(self, name, *arguments):
        log = open(self.home / f"{name}.log", "ab")
        self.addCleanup(log.close)
        command = [options.command, "node", "--name", f"{name}@127.0.0.1", "--data", self.home / name,
                   "--discovery-dir", self.home / "discovery", "--log-level", "warning", *arguments]
        self.nodes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "BARREL_P2P_COOKIE": "browser test"})
        self.addCleanup(self.end, self.nodes[name])

    def end(self, process):
        if process.poll() is None:
            process.terminate()
            process.wait(60)

    def answers(self):
        self.assertIsNone(self.nodes["ams"].poll(), (self.home / "ams.log").read_text())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def graph(self):
        return self.browser.run("return document.querySelector('canvas')?.getAttribute('aria-label')") or ""

    def test_a_killed_node_is_shown_and_so_is_its_return(self):
        self.start("ams", "--admin-port", str(self.port))
        self.browser.await_(self.answers, "the endpoint does not answer")
        self.browser.open(f"http://127.0.0.1:{self.port}/")
        self.browser.await_text("Live", "ams@127.0.0.1", "Alone so far")
        for name in ("fra", "lon", "nyc"):
            self.start(name, "--join", "ams@127.0.0.1")
        self.browser.await_(lambda: "4 nodes alive, 0 not" in self.graph(), lambda: f"four nodes are never seen: {self.graph()}")
        self.browser.await_text("lon@127.0.0.1")
        self.settled()

        self.nodes["lon"].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        self.browser.await_(lambda: "3 nodes alive, 1 not" in self.graph(), lambda: f"the death of a node is never seen: {self.graph()}")
        print(f"a node that was killed is shown as such after {time.monotonic() - killed:.1f} s")
        self.browser.await_text("1 down of 4")
        self.settled()
        self.picture("dashboard-killed.png")
        self.show("members")
        row = self.browser.await_(lambda: self.browser.run("return document.querySelector('.row-dead')?.innerText"), "no row is marked as dead")
        self.assertIn("lon@127.0.0.1", row)
        self.show("events")
        self.browser.await_(lambda: self.browser.run("return [...document.querySelectorAll('.row-warning')].some((one) => one.innerText.includes('lon@127.0.0.1'))"),
                            lambda: f"no event tells of it:\n{self.browser.text()}")

        self.nodes["lon"].wait()
        self.start("lon", "--join", "ams@127.0.0.1")
        self.show("overview")
        self.browser.await_(lambda: "4 nodes alive, 0 not" in self.graph(), lambda: f"its return is never seen: {self.graph()}")
        self.no_complaints()

    def test_a_node_that_ends_leaves_a_page_that_says_so(self):
        self.start("ams", "--admin-port", str(self.port))
        self.browser.await_(self.answers, "the endpoint does not answer")
        self.browser.open(f"http://127.0.0.1:{self.port}/")
        self.browser.await_text("Live")
        self.end(self.nodes["ams"])
        self.browser.await_text("Disconnected since")
        self.start("ams", "--admin-port", str(self.port))
        self.browser.await_(lambda: "Live" in self.browser.text() and "Disconnected" not in self.browser.text(), "it never comes back")


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=pathlib.Path, required=True)
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--command", type=pathlib.Path)
    return parser.parse_known_args()


def main():
    global options
    options, rest = command_line()
    missing = webdriver.available()
    if missing:
        print(f"skipped: {missing}")
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
