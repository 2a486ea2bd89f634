"""cloudbuild.yaml as Cloud Build reads it: its substitutions, and the order of its steps."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from tests.deploy.gcloud_commands import DROPS

BUILTIN = {
    "PROJECT_ID": "demo",
    "PROJECT_NUMBER": "123456789012",
    "COMMIT_SHA": "0123abc",
}
# What has to be done before what.
ORDER = (
    ("test", "build-backend", "push-backend", "deploy-backend"),
    ("test", "build-frontend", "push-frontend", "deploy-frontend"),
    ("deploy-backend", "let-the-page-ask", "deploy-frontend", "identify", "smoke"),
)
AT_LEAST = 30 * 60  # seconds that tests, two images and two deployments take
INVOKER = ("--member=serviceAccount:${_FRONTEND}@${_ACCOUNTS}", "--role=roles/run.invoker")

_DOLLARS = re.compile(r"\$\$|\$(?:\{(\w+)\}|([A-Z_]+))")


def substituted(build: Mapping[str, Any], **given: str) -> dict[str, Any]:
    """The build with values in the place of its substitutions; KeyError for one that is unknown."""
    values = {**BUILTIN, **build["substitutions"], **given}

    def fill(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: fill(value) for name, value in found.items()}
        if isinstance(found, list):
            return [fill(value) for value in found]
        if not isinstance(found, str):
            return found
        return _DOLLARS.sub(lambda m: "$" if m[0] == "$$" else fill(values[m[1] or m[2]]), found)

    return {name: fill(value) for name, value in build.items() if name != "substitutions"}


def problems(build: Mapping[str, Any]) -> list[str]:
    """What Cloud Build would refuse, do too early, leave out or let pass; a sentence each."""
    return [*_substitutions(build), *_order(build), *_access(build), *_guards(build), *_run(build)]


def _substitutions(build: Mapping[str, Any]) -> Iterator[str]:
    declared = build["substitutions"]
    used = {m[1] or m[2] for text in _texts(dict(build)) for m in _DOLLARS.finditer(text)}
    for name in sorted(used - set(declared) - set(BUILTIN) - {None}):
        yield f"{name} is used and not declared"
    for name in sorted(set(declared) - used):
        yield f"{name} is declared and not used"
    for name in declared:
        if not re.fullmatch(r"_[A-Z0-9_]+", name):
            yield f"{name} cannot be the name of a substitution"


def _order(build: Mapping[str, Any]) -> Iterator[str]:
    waits: dict[str, set[str]] = {}
    for step in build["steps"]:
        awaited = set(step.get("waitFor", []))
        for unknown in sorted(awaited - set(waits)):
            yield f"{step['id']} waits for {unknown}, which does not come before it"
        waits[step["id"]] = awaited.union(*(waits.get(one, set()) for one in awaited))
    for chain in ORDER:
        for earlier, later in pairwise(chain):
            if earlier not in waits.get(later, set()):
                yield f"{later} does not wait for {earlier}"


def _access(build: Mapping[str, Any]) -> Iterator[str]:
    steps = {step["id"]: step for step in build["steps"]}
    if not set(INVOKER) <= set(steps.get("let-the-page-ask", {}).get("args", [])):
        yield "the page's account may not ask the backend"
    if build["substitutions"].get("_BACKEND_ACCESS") != "--no-allow-unauthenticated":
        yield "everybody may ask the backend"
    if build["substitutions"].get("_FRONTEND_ACCESS") != "--allow-unauthenticated":
        yield "nobody may open the page"


def _guards(build: Mapping[str, Any]) -> Iterator[str]:
    steps = {step["id"]: step for step in build["steps"]}
    test = steps.get("test", {})
    if (test.get("entrypoint"), test.get("args")) != ("bash", [".ci/run"]):
        yield "the tests are not run"
    if "CI=true" not in test.get("env", []):
        yield "what the tests miss is skipped"
    for name, step in steps.items():
        if step.get("allowFailure") or step.get("allowExitCodes"):
            yield f"{name} may fail"
        for text in _texts(step.get("args", [])):
            if re.search(r"\|\|\s*(true|:|exit 0)|set \+e", text):
                yield f"{name} hides a failure"
            if dropped := DROPS.match(text):
                yield f"{name} drops what the service has: {dropped[0]}"
        is_script = step.get("entrypoint") in {"bash", "sh"} and step is not test
        if is_script and not re.match(r"-\w*e", " ".join(step.get("args", []))):
            yield f"{name} goes on after a failure"
    for name in ("build-backend", "build-frontend"):
        if "DOCKER_BUILDKIT=1" not in steps.get(name, {}).get("env", []):
            yield f"{name} makes stages that nothing needs"
    if "--build-arg=POSTGRES=1" not in steps.get("build-backend", {}).get("args", []):
        yield "the backend cannot open a database"


def _run(build: Mapping[str, Any]) -> Iterator[str]:
    options = build.get("options", {})
    if "serviceAccount" in build and not (options.get("logging") or "logsBucket" in build):
        yield "an account of its own needs a place for the log"
    if options.get("dynamicSubstitutions") is not True:
        yield "substitutions within substitutions stay as they are"
    if int(build.get("timeout", "600s").removesuffix("s")) < AT_LEAST:
        yield "there is too little time"


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from _texts(one)
    elif isinstance(found, str):
        yield found
