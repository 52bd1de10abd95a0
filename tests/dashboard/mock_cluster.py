#!/usr/bin/env python3
"""A cluster that is not there: serves what the endpoint of a node serves, for N made-up nodes, to develop and measure the page.

  mock_cluster.py --nodes 1000 --port 9180 --page DIR    DIR: what `npm run build` made

GET /mock/kill/NAME and /mock/revive/NAME change the cluster; /mock/refuse/1 makes the endpoint refuse all until /mock/refuse/0.
"""
import argparse
import collections
import http.server
import json
import mimetypes
import pathlib
import random
import socketserver
import threading
import time
import urllib.parse

ACTIVE_SIZE = 5
PASSIVE_SIZE = 30
# The policy of the real endpoint (src/admin/pages.cpp): a page that breaks it must break here, too.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
# Names and values come from peers, and a peer may be hostile.
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


def now_ms():
    return int(time.time() * 1000)


class Cluster:
    """Equal seeds give equal clusters. Not the protocol: only views and tables that look like its results."""

    def __init__(self, count, seed=7, lonely=False):
        self.random = random.Random(seed)
        self.changed = threading.Condition()
        self.version = 0
        self.started = now_ms() - 4_523_000
        self.ticks = 0
        self.log = collections.deque(maxlen=200)
        self.logged = 0
        self.names = [f"n{at:04d}@10.0.{at // 250}.{at % 250 + 1}" for at in range(count)] if count > 9 else \
            [f"{name}@db{at + 1}.example.net" for at, name in enumerate(("ams", "fra", "lon", "nyc", "sfo", "sgp", "syd", "gru", "waw")[:count])]
        self.dead = set()
        self.kinds = {name: "erlang" if at % 3 == 2 else "cpp" for at, name in enumerate(self.names)}
        self.active = {name: set() for name in self.names}
        for at, name in enumerate(self.names):
            for other in self.random.sample(self.names[:at], min(at, 2)):
                self.join(name, other)
        for name in self.names:
            while len(self.active[name]) < min(ACTIVE_SIZE, count - 1):
                self.join(name, self.random.choice([other for other in self.names if other != name]))
        self.passive = {name: self.random.sample(self.names, min(PASSIVE_SIZE, count)) for name in self.names}
        self.lonely = lonely
        self.peers = {name: {"sent": 0, "received": 0, "lost": 0.0, "rtt": self.random.uniform(0.4, 60)} for name in self.names[1:]}
        self.services = [] if lonely else [
            (self.random.choice(("orders", "billing", "search", "{chat,<<\"lobby\">>}", "{room,%d}" % at, "metrics")), self.random.choice(self.names), at)
            for at in range(min(400, count * 4))]
        self.map_entries = {"users": {f'<<"user:{at:05d}">>': f'#{{name => <<"User {at}">>,visits => {at * 7 % 113}}}' for at in range(1234)},
                            "flags": {'<<"dark_launch">>': "true", f'<<"{HOSTILE}">>': f'<<"{HOSTILE}">>'}, "empty": {}}
        if not lonely:
            for at, name in enumerate(self.names[1:12]):
                self.say("info", "up", name, f"connected to {name}", "dialled")

    def join(self, one, other):
        self.active[one].add(other)
        self.active[other].add(one)

    def say(self, severity, kind, peer, text, reason=""):
        self.logged += 1
        self.log.append((self.logged, {"time": now_ms(), "severity": severity, "kind": kind, "peer": peer, "text": text, "reason": reason}))

    def change(self):
        with self.changed:
            self.version += 1
            self.changed.notify_all()

    def kill(self, name):
        self.dead.add(name)
        self.say("warning", "down", name, f"{name} is down", "nothing was heard from it for 3200 ms")
        for other in self.active[name]:
            self.active[other].discard(name)
        self.change()

    def revive(self, name):
        self.dead.discard(name)
        self.join(name, self.names[0])
        self.say("info", "up", name, f"connected to {name}", "it dialled")
        self.change()

    def tick(self):
        self.ticks += 1
        for peer in self.peers.values():
            sent = int(self.random.expovariate(1 / 40000))
            peer["sent"] += sent
            peer["received"] += int(self.random.expovariate(1 / 60000))
            peer["lost"] += sent * (self.random.random() ** 8) * 0.08
            peer["rtt"] = max(0.2, peer["rtt"] * self.random.uniform(0.94, 1.065))
        self.change()

    def state(self):
        me = self.names[0]
        alive = [name for name in self.names if name not in self.dead]
        time_ms = now_ms()

        def node(name):
            dead = name in self.dead
            return {"name": name, "kind": self.kinds[name], "state": "down" if dead else "alive", "self": name == me,
                    "connected": not dead and name in self.active[me], "active": None if dead else sorted(self.active[name]),
                    "passive": None if dead else self.passive[name], "age_ms": 0 if name == me else self.ticks % 9 * 1000 + 120}

        peers = [{"name": name, "rtt_ms": peer["rtt"], "rtt_min_ms": peer["rtt"] * 0.8, "loss": peer["lost"] / max(1, peer["sent"]),
                  "sent_bytes": peer["sent"], "received_bytes": peer["received"], "in_flight": peer["sent"] % 9000, "queued_bytes": 0,
                  "streams": 3, "address": f"[2001:db8::{at + 2:x}]:4370"}
                 for at, (name, peer) in enumerate(self.peers.items()) if name not in self.dead and name in self.active[me]]
        partitions = 0 if self.lonely else 128
        reminders = [] if self.lonely else [{"key": f'<<"invoice:{at}">>', "due": self.started + 4_523_000 + 40_000 * (at + 1), "here": at % 3 == 0}
                                            for at in range(14)]
        return {
            "time": time_ms,
            "node": {"name": me, "kind": "cpp", "version": "0.1.0", "uptime_ms": time_ms - self.started, "port": 4370, "started": self.started},
            "health": {"live": True, "ready": True, "reasons": []},
            "nodes": [node(name) for name in self.names],
            "services": [{"name": name, "node": where, "pid": f"<0.{100 + at}.0>", "meta": "#{version => 3}"}
                         for name, where, at in self.services if where not in self.dead],
            "services_total": sum(where not in self.dead for _, where, _ in self.services),
            "leaders": [] if self.lonely else [
                {"role": "scheduler", "node": alive[0], "pid": "<0.211.0>", "fence": "{1796224012345,0,42}", "here": True, "candidates": 3},
                {"role": "{shard,7}", "node": alive[-1], "pid": "<0.98.0>", "fence": "{1796224098765,2,17}", "here": False, "candidates": 2}],
            "placement": {"partitions": partitions, "members": alive,
                          "owners": [hash_of(at) % len(alive) for at in range(partitions)]},
            "maps": [] if self.lonely else [{"name": name, "size": len(entries), "persist": name == "users"} for name, entries in self.map_entries.items()],
            "reminders": {"pending": len(reminders), "next": reminders},
            "peers": peers,
            "totals": {"dials": 12, "connections": len(peers), "processes": 31},
        }


def hash_of(number):
    return (number * 2654435761 + 12345) % 4294967296 >> 7


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        cluster = self.server.cluster
        if path.startswith("/mock/"):
            _, _, what, argument = path.split("/", 3)
            if what == "refuse":
                self.server.refuses = argument == "1"
                cluster.change()
            else:
                getattr(cluster, what)(argument)
            return self.answer(200, "text/plain", b"")
        if self.server.refuses and path.startswith("/api/"):
            return self.answer(500, "text/plain", b"refused\n")
        if path == "/api/state":
            return self.answer(200, "application/json", json.dumps(cluster.state()).encode())
        if path == "/api/events":
            return self.events(cluster)
        if path.startswith("/api/maps/"):
            return self.map(cluster, path.removeprefix("/api/maps/"), dict(urllib.parse.parse_qsl(url.query)))
        file = (self.server.page / ("index.html" if path == "/" else path.lstrip("/"))).resolve()
        if not file.is_relative_to(self.server.page) or not file.is_file():
            return self.answer(404, "text/plain", b"there is nothing at this address\n")
        kind = {".js": "text/javascript", ".svg": "image/svg+xml"}.get(file.suffix) or mimetypes.guess_type(file.name)[0]
        return self.answer(200, f"{kind}; charset=utf-8", file.read_bytes())

    def map(self, cluster, name, query):
        entries = cluster.map_entries.get(name)
        if entries is None:
            return self.answer(404, "text/plain", b"no such map\n")
        wanted = query.get("prefix", "")
        keys = sorted(key for key in entries if (key.startswith(wanted) or key.startswith('<<"' + wanted)) and key > query.get("after", ""))
        limit = int(query.get("limit", 100))
        shown = keys[:limit]
        page = {"name": name, "size": len(entries), "entries": [{"key": key, "value": entries[key]} for key in shown],
                "next": shown[-1] if len(keys) > limit else None}
        return self.answer(200, "application/json", json.dumps(page).encode())

    def events(self, cluster):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        told, version = 0, -1
        try:
            while not self.server.stopped and not self.server.refuses:
                state = cluster.state()
                text = "".join(f"event: log\ndata: {json.dumps(entry)}\n\n" for number, entry in list(cluster.log) if number > told)
                told = cluster.logged
                if cluster.version != version:
                    version = cluster.version
                    text += f"event: state\ndata: {json.dumps(state)}\n\n"
                self.server.sent_at = time.time()
                self.wfile.write((text or ": alive\n").encode())
                with cluster.changed:
                    cluster.changed.wait_for(lambda: cluster.version != version or self.server.stopped, 15)
        except OSError:
            pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    stopped = False
    refuses = False
    sent_at = 0.0

    def __init__(self, cluster, page, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.cluster = cluster
        self.page = pathlib.Path(page).resolve()

    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def start(self, tick_seconds=1.0):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        if tick_seconds:
            threading.Thread(target=self.ticks, args=(tick_seconds,), daemon=True).start()
        return self

    def ticks(self, seconds):
        while not self.stopped:
            time.sleep(seconds)
            self.cluster.tick()

    def stop(self):
        self.stopped = True
        self.cluster.change()
        self.shutdown()
        self.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--port", type=int, default=9180)
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "dashboard" / "dist")
    arguments = parser.parse_args()
    server = Server(Cluster(arguments.nodes, lonely=arguments.nodes == 1), arguments.page, arguments.port).start()
    print(server.address(), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
