"""What documents have docker do, beside what the dockerfiles say."""

import re
from collections.abc import Iterator

from tests.deploy.commands import ROOT
from tests.deploy.recorder import Call


def build_args(call: Call) -> dict[str, str]:
    """The build arguments of `docker build` that are not empty."""
    pairs = (one.partition("=") for one in call.options("build-arg"))
    return {name: value for name, _, value in pairs if value}


def problems(calls: list[Call]) -> Iterator[str]:
    """What would not build, or not run as the images can; a line each."""
    networks: set[str] = set()
    containers: dict[str, str] = {}  # name -> the port it listens on
    for call in calls:
        match call.words[:3]:
            case ["docker", "network", "create"]:
                networks.add(call.words[3])
            case ["docker", "build", *_]:
                yield from _build(call)
            case ["docker", "run", *_]:
                yield from _run(call, networks, containers)


def _build(call: Call) -> Iterator[str]:
    dockerfile = ROOT / (call.option("f") or call.option("file"))
    if not dockerfile.is_file():
        yield f"there is no {dockerfile.name}"
        return
    text = dockerfile.read_text()
    for name in set(build_args(call)) - set(re.findall(r"^ARG (\w+)=", text, re.M)):
        yield f"{dockerfile.name} has no argument {name}"
    target = call.option("target")
    if target and not re.search(rf"^FROM .* AS {target}$", text, re.M):
        yield f"{dockerfile.name} has no target {target}"


def _run(call: Call, networks: set[str], containers: dict[str, str]) -> Iterator[str]:
    part = call.words[-1].removeprefix("prism-")
    text = (ROOT / f"{part}.dockerfile").read_text()
    port = re.findall(r"^EXPOSE (\d+)$", text, re.M)[-1]
    containers[call.option("name")] = port
    if call.option("network") not in networks:
        yield f"{part} is in a network that nobody made"
    if "--read-only" not in call.words or call.option("tmpfs") != "/tmp":
        yield f"{part} can write to more than /tmp"
    if call.option("p") != f"{port}:{port}":
        yield f"{part} is published from another port than {port}"
    for variable in call.options("e"):
        name, _, url = variable.partition("=")
        if name == "BACKEND" and url not in {f"http://{n}:{p}" for n, p in containers.items()}:
            yield f"{part} looks for the backend at {url}"
