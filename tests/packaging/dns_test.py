#!/usr/bin/env python3
"""Nodes that find each other in DNS, as in Kubernetes: pods of a StatefulSet with a headless service.

  dns_test.py COMMAND        COMMAND is the path of barrel_p2p

It serves the names barrel-p2p-N.barrel-p2p.default.svc.cluster.local; the resolver has the search list and `ndots:5` of a pod, and
each node is in a network namespace of its own, with its own address. All of that is in namespaces (unshare) that end with the test.
Where they are not permitted it says "skipped: ..." and does nothing.
"""
import http.client
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE = 60.0  # Seconds within which anything that is awaited comes, on a machine that has other things to do.
DOMAIN = "barrel-p2p.default.svc.cluster.local"
COOKIE = "of the test of discovery in DNS"
TYPE_A = 1
PORT, ADMIN_PORT = 4433, 9180
GATEWAY = "10.99.0.254"
ADDRESSES = ("10.99.0.1", "10.99.0.2", "10.99.0.3", "10.99.0.21")


class NameServer(threading.Thread):
    """Answers with the A records of `records`, and that there is no such name otherwise; names that begin with one of `silent`, not at all."""

    def __init__(self):
        super().__init__(daemon=True)
        self.records, self.asked, self.silent = {}, [], set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((GATEWAY, 53))

    def run(self):
        while True:
            packet, client = self.socket.recvfrom(512)
            labels, at = [], 12
            while packet[at]:
                labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
                at += 1 + packet[at]
            kind = struct.unpack(">H", packet[at + 1 : at + 3])[0]
            question = packet[12 : at + 5]
            name = ".".join(labels)
            self.asked.append(name)
            if labels[0] in self.silent:
                continue
            known = name in self.records
            addresses = self.records.get(name, []) if kind == TYPE_A else []
            flags = 0x8180 if known else 0x8183  # an answer, recursion available; 3: no such name
            answer = packet[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question
            for address in addresses:
                answer += struct.pack(">HHHIH", 0xC00C, TYPE_A, 1, 5, 4) + socket.inet_aton(address)
            self.socket.sendto(answer, client)


class Pod:
    """One node, at an address; what it needs to know is in its environment, as in packaging/kubernetes."""

    def __init__(self, number, address, data):
        self.address, self.killed = address, False
        environment = {
            "PATH": os.environ["PATH"],
            "BARREL_P2P_NAME": f"node@barrel-p2p-{number}.barrel-p2p",
            "BARREL_P2P_CONTACT_NODES": ",".join(f"node@barrel-p2p-{one}.barrel-p2p" for one in range(3)),
            "BARREL_P2P_DISCOVERY_BACKENDS": "dns",
            "BARREL_P2P_LISTEN": address,
            "BARREL_P2P_LISTEN_PORT": str(PORT),
            "BARREL_P2P_ADMIN_LISTEN": address,
            "BARREL_P2P_ADMIN_PORT": str(ADMIN_PORT),
            "BARREL_P2P_ADMIN_TOKEN": "sixteen-bytes-and-more",
            "BARREL_P2P_DIST_COOKIE": COOKIE,
            "BARREL_P2P_DATA_DIR": str(data),
        }
        self.log = open(f"{data}.log", "ab")
        self.process = subprocess.Popen(["ip", "netns", "exec", address, command, "node"], env=environment, stdout=self.log, stderr=self.log)

    def ready(self):
        """The probe of a pod: it has a neighbour."""
        connection = http.client.HTTPConnection(self.address, ADMIN_PORT, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def neighbours(self):
        return self.told("barrel_p2p", "active_view")

    def told(self, module, function):
        visit = [command, "call", "--at", f"{self.address}:{PORT}", "--key-dir", "visitor", "--cookie", COOKIE]
        name = f"node@barrel-p2p-{numbers[self.address]}.barrel-p2p"
        visit = subprocess.run(visit + [name, module, function], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return visit.stdout

    def kill(self):
        self.killed = True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Discovery(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="barrel_p2p-dns-"))
        os.chdir(self.directory)
        server.records.clear()
        self.pods = []

    def tearDown(self):
        for pod in self.pods:
            pod.kill()
            pod.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, number, address):
        numbers[address] = number
        self.pods.append(Pod(number, address, self.directory / f"pod{number}"))
        return self.pods[-1]

    def until(self, what, true):
        end = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > end or any(pod.process.poll() for pod in self.pods if not pod.killed):
                logs = "".join(f"\n== {log}\n{log.read_text(errors='replace')[-3000:]}" for log in sorted(self.directory.glob("*.log")))
                self.fail(what + logs)
            time.sleep(0.05)

    def test_pods_of_a_headless_service_find_each_other(self):
        for number in range(3):
            server.records[f"barrel-p2p-{number}.{DOMAIN}"] = [f"10.99.0.{number + 1}"]
        pods = [self.start(number, f"10.99.0.{number + 1}") for number in range(3)]
        for pod in pods:
            self.until("a pod has no neighbour", pod.ready)
        self.until("not all pods are neighbours", lambda: all(pod.neighbours().count("node@") == 2 for pod in pods))
        self.assertIn(f"barrel-p2p-0.{DOMAIN}", server.asked)

    def test_a_name_with_several_addresses_is_tried_at_each(self):
        # While a pod is replaced, its name has the address of the one that is gone as well.
        server.records[f"barrel-p2p-0.{DOMAIN}"] = ["10.99.0.9", "10.99.0.8", "10.99.0.1"]
        self.start(0, "10.99.0.1")
        second = self.start(1, "10.99.0.2")
        self.until("the pod was not found behind two dead addresses", second.ready)

    def visit(self, node, *options):
        words = [command, "call", node, "barrel_p2p", "active_view", "--key-dir", "visitor", "--cookie", COOKIE, *options]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_a_command_finds_a_node_by_its_name_alone(self):
        # The second address is that of a pod that is gone.
        server.records[f"barrel-p2p-0.{DOMAIN}"] = ["10.99.0.1", "10.99.0.9"]
        self.start(0, "10.99.0.1")
        self.until("the pod was not found by the name of its node", lambda: self.visit("node@barrel-p2p-0.barrel-p2p").stdout == "[]\n")

    def test_a_command_waits_for_name_servers_no_longer_than_its_limit(self):
        server.silent.add("silent")
        for options in ["--timeout", "500"], ["--timeout", "500", "--at", f"silent:{PORT}"]:
            began = time.monotonic()
            visit = self.visit("node@silent", *options)
            self.assertLess(time.monotonic() - began, 5)  # What the resolver waits for the first answer.
            self.assertEqual(visit.returncode, 4, visit.stdout)
            self.assertIn("no name server says where silent is; give the address with --at HOST:PORT", visit.stdout)

    def test_a_command_says_which_ways_it_tried(self):
        visit = self.visit("node@nowhere")
        self.assertEqual(visit.returncode, 4, visit.stdout)
        self.assertRegex(visit.stdout, "unreachable: .*file: .*dns: .*Give the --discovery-dir in which it publishes itself, or --at HOST:PORT")

    def test_a_pod_that_comes_back_at_another_address_is_found_there(self):
        # All know the first only, so the others have it as the way to each other.
        for number in range(3):
            server.records[f"barrel-p2p-{number}.{DOMAIN}"] = [f"10.99.0.{number + 1}"]
        pods = [self.start(number, f"10.99.0.{number + 1}") for number in range(3)]
        for pod in pods:
            self.until("a pod has no neighbour", pod.ready)
        pods[1].kill()
        self.until("nobody noticed", lambda: "barrel-p2p-1" not in pods[0].neighbours())
        server.records[f"barrel-p2p-1.{DOMAIN}"] = ["10.99.0.21"]
        moved = self.start(1, "10.99.0.21")
        self.until("the pod did not come back", moved.ready)
        self.until("the pod is not found at its new address", lambda: "barrel-p2p-1" in pods[0].neighbours())


def enter():
    """Runs this program again in namespaces of its own. Status 77: that is not permitted here."""
    here = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run(here + ["ip", "link", "set", "lo", "up"], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: no right to make namespaces, or no unshare and ip")
        sys.exit(0)
    sys.exit(subprocess.run(here + [sys.executable, __file__, command, "--inside"]).returncode)


def prepare():
    run = lambda *words: subprocess.run(words, check=True)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")  # for the names of the networks
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY}/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    for number, address in enumerate(ADDRESSES):
        run("ip", "netns", "add", address)
        run("ip", "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", address)
        run("ip", "link", "set", f"to{number}", "master", "bridge", "up")
        run("ip", "-n", address, "link", "set", "lo", "up")
        run("ip", "-n", address, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", address, "link", "set", "eth0", "up")
    files = {
        "/etc/resolv.conf": f"search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver {GATEWAY}\noptions ndots:5\n",
        "/etc/nsswitch.conf": "hosts: files dns\n",
        "/etc/hosts": "127.0.0.1 localhost\n",
    }
    for place, text in files.items():
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        run("mount", "--bind", file.name, place)
        os.unlink(file.name)  # What is mounted stays until the namespace goes.


command, numbers = os.path.abspath(sys.argv[1]), {}
if "--inside" not in sys.argv:
    enter()
prepare()
server = NameServer()
server.start()
unittest.main(argv=sys.argv[:1])
