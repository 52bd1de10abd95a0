#!/usr/bin/env python3
"""scheduler_test.py PROGRAM: three schedulers as processes; the leader is killed in the midst of its work."""
import programs

JOBS = 12


class Scheduler(programs.ExampleTest):
    def scheduler(self, name, contact=None):
        scheduler = self.start(f"{name}@127.0.0.1", self.directory, *([f"{contact}@127.0.0.1"] if contact else []))
        scheduler.shows("ready")
        return scheduler

    def ledger(self):
        """Fence, node and name of each job that was done, in order."""
        path = self.directory / "ledger"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.split()[1], line.rsplit(" ", 1)[1]) for line in lines]

    def done(self):
        return {job for _, _, job in self.ledger()}

    def submit(self, nodes, numbers):
        """Shared out over the nodes; when it returns all of them are accepted."""
        for at, number in enumerate(numbers):
            node = nodes[sorted(nodes)[at % len(nodes)]]
            seen = len(node.lines)
            node.say(f"in {100 * at} job{number}")
            node.shows("accepted ", seen)

    def test_a_killed_leader_loses_no_job_and_no_job_is_done_twice(self):
        nodes = {"a": self.scheduler("a")}
        nodes["b"] = self.scheduler("b", "a")
        nodes["c"] = self.scheduler("c", "a")
        self.submit(nodes, range(JOBS))
        self.eventually(self.ledger, "the first job is done")
        leader = self.ledger()[0][1][0]
        nodes.pop(leader).kill()
        self.submit(nodes, range(JOBS, 2 * JOBS))
        self.eventually(lambda: len({node for _, node, _ in self.ledger()}) > 1, "another one leads")
        # What it accepted last may be on its disk alone.
        nodes[leader] = self.scheduler(leader, min(nodes))

        wanted = {f"job{number}" for number in range(2 * JOBS)}
        self.eventually(lambda: self.done() == wanted, "all jobs are done")
        ledger = self.ledger()
        self.assertEqual(len(ledger), len(wanted), "each one once")
        self.assertEqual([fence for fence, _, _ in ledger], sorted(fence for fence, _, _ in ledger), "no old leader wrote after a new one")
        for node in nodes.values():
            self.assertEqual(node.finish(), 0)

    def test_a_job_outlives_all_nodes(self):
        node = self.scheduler("a")
        node.say("in 2000 later")
        node.shows("accepted ")
        node.kill()
        node = self.scheduler("a")
        self.eventually(lambda: self.done() == {"later"}, "it is done by the next one")
        self.assertEqual(node.finish(), 0)

    def test_nonsense_is_answered(self):
        node = self.scheduler("a")
        for line in ("", "in", "in a moment", "in -1 x", "at 5 x"):
            at = len(node.lines)
            node.say(line)
            node.shows("in MILLISECONDS WHAT", at)
        self.assertEqual(node.finish(), 0)


programs.main(Scheduler)
