#!/usr/bin/env python3
"""What is in packaging/ is well-formed, and says the same as the rest of the tree.

  check.py files              YAML, JSON, TOML and Python parse; versions, ports, users and paths agree
  check.py config COMMAND     `barrel_p2p` (COMMAND) accepts the configuration that is shipped
  check.py unit               systemd-analyze verify has nothing to say of the unit

A check whose tool is missing says "skipped: ..." and is none.
"""
import ast
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
findings = []


def expect(true, what):
    if not true:
        findings.append(what)


def text(*parts):
    return ROOT.joinpath(*parts).read_text()


def skip(why):
    print(f"skipped: {why}")
    sys.exit(0)


def check_files():
    try:
        import yaml
    except ImportError:
        skip("PyYAML is missing (python3-yaml)")
    parsers = {".json": json.loads, ".toml": tomllib.loads, ".py": ast.parse, ".yaml": lambda content: list(yaml.safe_load_all(content))}
    parsed = {}
    for path in sorted([*PACKAGING.rglob("*"), *ROOT.glob("CMakePresets.json")]):
        if path.suffix in parsers:
            try:
                parsed[path.relative_to(ROOT).as_posix()] = parsers[path.suffix](path.read_text())
            except (ValueError, SyntaxError, yaml.YAMLError) as error:
                findings.append(f"{path}: {error}")
    check_versions(parsed)
    check_container(parsed)
    check_kubernetes(parsed)
    print(f"{len(parsed)} files")


def check_versions(parsed):
    version = re.search(r"project\(barrel_p2p VERSION (\S+)", text("CMakeLists.txt"))[1]
    header = re.search(r'define BARREL_P2P_VERSION "(.*)"', text("include", "barrel_p2p", "version.hpp"))[1]
    debian = re.match(r"barrel-p2p \((.*)-\d+\)", text("packaging", "debian", "changelog"))[1]
    image = parsed["packaging/kubernetes/kustomization.yaml"][0]["images"][0]["newTag"]
    port = parsed["packaging/vcpkg/barrel-p2p/vcpkg.json"]["version"]
    expect(port == version, f"packaging/vcpkg/barrel-p2p/vcpkg.json has version {port}, CMakeLists.txt {version}")
    for where, found in {"version.hpp": header, "packaging/debian/changelog": debian, "packaging/kubernetes/kustomization.yaml": image}.items():
        expect(found == version, f"{where} has version {found}, CMakeLists.txt {version}")


def check_container(parsed):
    """What the image, compose and Kubernetes say of the same node."""
    dockerfile = text("packaging", "container", "Dockerfile")
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.M)
    expect(user is not None, "the image runs as root")
    pod = parsed["packaging/kubernetes/statefulset.yaml"][0]["spec"]["template"]["spec"]
    expect(user and int(user[1]) == pod["securityContext"]["runAsUser"], "runAsUser is not the user of the image")
    expect(not re.search(r"^(ENV|ARG) .*(COOKIE|TOKEN)", dockerfile, re.M), "a secret is in the image")
    compose = parsed["packaging/container/compose.yaml"][0]
    contacts = next(iter(compose["services"].values()))["environment"]["BARREL_P2P_CONTACT_NODES"].split(",")
    names = [one["environment"]["BARREL_P2P_NAME"] for one in compose["services"].values()]
    expect(names == contacts, f"the nodes of compose.yaml are {names}, they are to join {contacts}")
    for service, one in compose["services"].items():
        expect(one["environment"]["BARREL_P2P_NAME"] == f"node@{one['hostname']}" == f"node@{service}", f"{service} cannot be found by its name")
        expect(all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), f"{service} is published beyond loopback")


def check_kubernetes(parsed):
    folder = "packaging/kubernetes/"
    listed = parsed[folder + "kustomization.yaml"][0]["resources"]
    objects = {one["kind"]: one for name in listed for one in parsed[folder + name]}
    service, stateful, budget = objects["Service"]["spec"], objects["StatefulSet"]["spec"], objects["PodDisruptionBudget"]["spec"]
    labels = stateful["template"]["metadata"]["labels"]
    for kind, selector in {
        "Service": service["selector"],
        "StatefulSet": stateful["selector"]["matchLabels"],
        "PodDisruptionBudget": budget["selector"]["matchLabels"],
    }.items():
        expect(selector == labels, f"the {kind} selects {selector}, the pods are {labels}")
    expect(service["clusterIP"] == "None" and service["publishNotReadyAddresses"], "pods that are not ready have no names")
    expect(stateful["serviceName"] == objects["Service"]["metadata"]["name"], "the pods have names of another service")
    expect(stateful["podManagementPolicy"] == "Parallel", "the first pod waits for a neighbour that is not started")
    container = stateful["template"]["spec"]["containers"][0]
    ports = {(port["name"], port["containerPort"], port.get("protocol")) for port in container["ports"]}
    expect(ports == {(port["name"], port["port"], port.get("protocol")) for port in service["ports"]}, "the service has other ports than the pod")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        expect(container[probe]["httpGet"]["port"] in {name for name, _, _ in ports}, f"{probe}: no such port")
    security = container["securityContext"]
    expect(security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], "the container is not restricted")
    expect(security["capabilities"] == {"drop": ["ALL"]}, "the container has capabilities")
    contacts = next(one["value"] for one in container["env"] if one["name"] == "BARREL_P2P_CONTACT_NODES").split(",")
    name = objects["StatefulSet"]["metadata"]["name"]
    expect(
        contacts == [f"node@{name}-{number}.{stateful['serviceName']}" for number in range(stateful["replicas"])],
        "contact_nodes are not the pods",
    )


def check_config(command):
    done = subprocess.run([command, "node", "--config", PACKAGING / "barrel_p2p.toml", "--check-config"], stderr=subprocess.PIPE, text=True)
    expect(done.returncode == 0, done.stderr)


def check_unit():
    if not shutil.which("systemd-analyze"):
        skip("systemd-analyze is missing")
    unit = PACKAGING / "barrel_p2p.service"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # The command need not be installed. What concerns units of this machine is not ours.
    lines = [line for line in done.stdout.splitlines() if "barrel_p2p" in line]
    findings.extend(line for line in lines if "/usr/bin/barrel_p2p is not executable" not in line)
    expect("Type=notify\n" in unit.read_text(), "the unit does not wait until the node is ready")


checks = {"files": check_files, "config": check_config, "unit": check_unit}
checks[sys.argv[1]](*sys.argv[2:])
for finding in findings:
    print(finding)
print(f"{len(findings)} findings")
sys.exit(1 if findings else 0)
