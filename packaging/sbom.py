"""What a program is made of, as CycloneDX 1.5, from `cargo metadata` on standard input: python3 sbom.py PROGRAM."""

import json
import sys

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}


def built_in(node):
    """Packages that get into the program: neither what only tests need nor what runs while it is built."""
    return [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]


def component(package):
    name, version = package["name"], package["version"]
    made = {
        "type": "library",
        "bom-ref": f"pkg:cargo/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return made


[root] = [package["id"] for package in metadata["packages"] if package["name"] == sys.argv[1]]
found, ahead = set(), [root]
while ahead:
    package = ahead.pop()
    if package not in found:
        found.add(package)
        ahead.extend(built_in(nodes[package]))

references = {package: component(packages[package])["bom-ref"] for package in found}
program = component(packages[root]) | {"type": "application"}
json.dump(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program},
        "components": sorted(
            (component(packages[package]) for package in found - {root}), key=lambda one: one["bom-ref"]
        ),
        "dependencies": [
            {
                "ref": references[package],
                "dependsOn": sorted({references[other] for other in built_in(nodes[package])}),
            }
            for package in sorted(found)
        ],
    },
    sys.stdout,
    indent=1,
)
print()
