#!/usr/bin/env python3
"""Writes what the program is made of, as CycloneDX 1.5 JSON: every crate that is linked, version, licence, checksum.

From `cargo metadata` and Cargo.lock; the same sources give the same bytes. Dev and build dependencies are left out.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--offline", "--locked"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def linked(data):
    """Ids of the packages that `evenkeel` links, over normal dependencies."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    start = next(p["id"] for p in data["packages"] if p["name"] == "evenkeel")
    found, ahead = set(), [start]
    while ahead:
        one = ahead.pop()
        if one in found:
            continue
        found.add(one)
        for dependency in nodes[one]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                ahead.append(dependency["pkg"])
    return start, found


def main():
    data = metadata()
    start, found = linked(data)
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    sums = {(p["name"], p["version"]): p.get("checksum") for p in locked}
    components, program = [], None
    for package in sorted(data["packages"], key=lambda p: (p["name"], p["version"])):
        if package["id"] not in found:
            continue
        name, version = package["name"], package["version"]
        purl = f"pkg:cargo/{name}@{version}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version}
        if package["source"]:
            component["purl"] = purl
        if package.get("license"):
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        checksum = sums.get((name, version))
        if checksum:
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package["id"] == start:
            program = component | {"type": "application"}
        else:
            components.append(component)
    assert program and len(components) > 100, len(components)
    bom = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": program}, "components": components,
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
