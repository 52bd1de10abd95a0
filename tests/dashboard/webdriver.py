"""A browser, driven by W3C WebDriver over plain HTTP: what the test of the page needs of it, and nothing else."""
import base64
import http.client
import json
import pathlib
import random
import shutil
import socket
import subprocess
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver, section 12: the key of a reference to an element.


class Problem(Exception):
    pass


def available():
    """None, or what is missing."""
    if not shutil.which("chromedriver"):
        return "chromedriver is not installed (package chromium-driver)"
    if not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        return "Chromium is not installed (package chromium)"
    return None


def free_port():
    """A port that stays free: none of those that systems give to whoever connects somewhere."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Browser:
    """Chromium without a window. `log`: where chromedriver writes."""

    def __init__(self, log: pathlib.Path, profile: pathlib.Path, width=1280, height=800, limit=60):
        self.limit = limit
        self.port = free_port()
        self.session = None
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}", f"--log-path={log}"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.await_(lambda: self.ready(), "chromedriver does not answer")
            chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            options = {"binary": chromium, "args": [
                "--headless=new", "--disable-gpu", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
                f"--user-data-dir={profile}", f"--window-size={width},{height}"]}
            answer = self.request("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = f"/session/{answer['sessionId']}"
            self.post("/timeouts", {"script": limit * 1000, "pageLoad": limit * 1000})
            self.emulate("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        except BaseException:
            self.close()
            raise

    def ready(self):
        try:
            return self.request("GET", "/status")["ready"]
        except OSError:
            return False

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.limit * 2)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        if response.status != 200:
            raise Problem(f"{method} {path}: {value.get('error')}: {value.get('message')}")
        return value

    def post(self, path, body):
        return self.request("POST", self.session + path, body)

    def emulate(self, command, **parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.post("/url", {"url": url})

    def run(self, script, *arguments):
        """`script` is the body of a function; an element in its result comes back as a reference."""
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        """`script` calls its last argument with the result."""
        return self.post("/execute/async", {"script": script, "args": list(arguments)})

    def keys(self, text):
        """To whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click_at(self, x, y):
        actions = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}, {"type": "pointerDown", "button": 0},
                   {"type": "pointerUp", "button": 0}]
        self.post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}]})

    def text(self):
        return self.run("return document.body.innerText")

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.request("GET", f"{self.session}/screenshot")))

    def console(self):
        """What the browser complained of since the last call: violations of the policy are among it."""
        return [entry["message"] for entry in self.post("/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]

    def await_(self, condition, otherwise):
        until = time.monotonic() + self.limit
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > until:
                raise Problem(otherwise() if callable(otherwise) else otherwise)
            time.sleep(0.05)

    def await_text(self, *texts):
        self.await_(lambda: all(text in self.text() for text in texts), lambda: f"the page never shows {texts}; it shows:\n{self.text()}")

    def close(self):
        if self.session:
            try:
                self.request("DELETE", self.session)
            except (OSError, Problem):
                pass
        self.driver.terminate()
        self.driver.wait()
