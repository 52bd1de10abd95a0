#!/usr/bin/env python3
"""cache_test.py PROGRAM: nodes of a cache as processes, and clients over TCP."""
import re
import socket
import time

import programs


class Client:
    def __init__(self, test, node):
        shown = "listening on "
        port = int(node.lines[node.shows(shown)].removeprefix(shown))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=programs.PATIENCE_S)
        self._answers = self._socket.makefile("r")
        test.addCleanup(self._socket.close)
        test.addCleanup(self._answers.close)

    def ask(self, line):
        self._socket.sendall(line.encode() + b"\n")
        return self._answers.readline().rstrip("\n")


class Cache(programs.ExampleTest):
    def node(self, name, contact=None):
        return self.start(f"{name}@127.0.0.1", self.directory, 0, *([f"{contact}@127.0.0.1"] if contact else []))

    def becomes(self, client, question, answer):
        self.eventually(lambda: client.ask(question) == answer, f"{question} gives {answer}")

    def test_what_one_node_is_told_all_nodes_answer_also_when_it_is_gone(self):
        first = self.node("a")
        a = Client(self, first)
        self.assertEqual(a.ask("GET colour"), "NONE")
        self.assertEqual(a.ask("SET colour 3600 dark green"), "OK")
        self.assertEqual(a.ask("GET colour"), "VALUE dark green")

        second = self.node("b", "a")
        b = Client(self, second)
        self.becomes(b, "GET colour", "VALUE dark green")
        self.assertEqual(b.ask("SET colour 3600 blue"), "OK")
        self.becomes(a, "GET colour", "VALUE blue")
        self.assertEqual(a.ask("DEL colour"), "OK")
        self.becomes(b, "GET colour", "NONE")

        self.assertEqual(a.ask("SET shape 3600 round"), "OK")
        self.becomes(b, "GET shape", "VALUE round")
        first.kill()
        self.assertEqual(b.ask("GET shape"), "VALUE round")
        self.assertEqual(second.finish(), 0)

    def test_a_value_ends_with_its_time_and_is_cleared_away_on_all_nodes(self):
        first, second = self.node("a"), self.node("b", "a")
        a, b = Client(self, first), Client(self, second)
        for number in range(20):
            self.assertEqual(a.ask(f"SET short{number} 1 gone soon"), "OK")
        set_by = time.time()
        self.assertEqual(a.ask("SET long 3600 stays"), "OK")
        self.becomes(b, "GET long", "VALUE stays")
        self.becomes(a, "GET short0", "NONE")
        self.assertGreater(time.time(), set_by, "not before its time")
        self.becomes(a, "SIZE", "SIZE 1")
        self.becomes(b, "SIZE", "SIZE 1")
        self.assertEqual(b.ask("GET long"), "VALUE stays")
        self.assertEqual(first.finish(), 0)
        self.assertEqual(second.finish(), 0)

    def test_nonsense_is_answered(self):
        node = self.node("a")
        client = Client(self, node)
        for line in ("", "HELLO", "SET", "SET a", "SET a b c", "SET a 0 c", "SET a -1 c", "SET a 99999999999 c", "SET a 1"):
            self.assertRegex(client.ask(line), re.compile("^ERROR "), line)
        self.assertEqual(client.ask("SIZE"), "SIZE 0")
        self.assertEqual(node.finish(), 0)


programs.main(Cache)
