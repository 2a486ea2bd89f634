"""What the commands of the documents do, typed with tools that only write down what they get."""

from collections.abc import Iterator, Set
from pathlib import Path

from tests.deploy import engine, variables
from tests.deploy.commands import DROPS, ROOT, blocks
from tests.deploy.manifests import NAMES, settings, text, uncommented
from tests.deploy.recorder import Call, grants, run

DEPLOY, CLOUD_RUN, PLATFORMS = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("deploy", "cloud-run", "platforms")
)
PROJECT, REGISTRY = "my-project", "europe-west1-docker.pkg.dev/my-project/prism"
PAGE_ASKS = ("prism-backend", "prism-frontend", "run.invoker")
READS = "secretmanager.secretAccessor"
# Who gets which role on what, below which heading: no more than that, and no less.
GRANTS = {
    "Once for a project": {
        ("prism-cookie-secret", "prism-frontend", READS),
        (PROJECT, "prism-build", "run.admin"),
        (PROJECT, "prism-build", "run.invoker"),
        (PROJECT, "prism-build", "artifactregistry.writer"),
        (PROJECT, "prism-build", "logging.logWriter"),
        (PROJECT, "prism-build", "storage.objectViewer"),
        ("prism-backend", "prism-build", "iam.serviceAccountUser"),
        ("prism-frontend", "prism-build", "iam.serviceAccountUser"),
        ("prism-build", "prism-build", "iam.serviceAccountOpenIdTokenCreator"),
    },
    "By command": {PAGE_ASKS},
    "By file": {PAGE_ASKS, ("prism-frontend", "allUsers", "run.invoker")},
    "Does it work?": {("prism-backend", "me", "run.invoker")},
    "How the page finds the backend": {("prism-backend", "prism-frontend", "run.viewer")},
    "A page for some people only": {
        ("prism-frontend", "TEAM", "run.invoker"),
        ("prism-frontend", "TEAM", "run.viewer"),  # `services proxy` looks the service up
    },
    "With a history": {
        (PROJECT, "prism-backend", "cloudsql.client"),
        ("prism-database-url", "prism-backend", READS),
    },
    "With a public backend": {
        ("prism-api-key", "prism-frontend", READS),
        ("prism-api-key", "prism-build", READS),
        ("prism-api-key-hashes", "prism-backend", READS),
        ("prism-backend", "allUsers", "run.invoker"),
    },
}
TAKEN = {"A page for some people only": {("prism-frontend", "allUsers", "run.invoker")}}
APIS = {
    "artifacts": "artifactregistry",
    "builds": "cloudbuild",
    "run": "run",
    "secrets": "secretmanager",
    "sql": "sqladmin",
}


def typed(folder: Path, page: str, *headings: str) -> list[Call]:
    """Type what stands below these headings of `page`, after the variables of deploy.md."""
    script = [block for heading in headings for block in blocks(page, heading)]
    return run("\n".join([*blocks(DEPLOY, "Cloud Run"), *script]), folder)


def problems(heading: str, calls: list[Call], enabled: Set[str] = frozenset()) -> list[str]:
    """What is wrong with what is typed below a heading, where these APIs are enabled already."""
    return [
        *engine.problems(calls),
        *variables.problems(calls),
        *_access(heading, calls),
        *_apis(calls, enabled | apis(calls)),
        *_services(calls),
        *_secrets(calls),
        *_images(calls),
    ]


def apis(calls: list[Call]) -> set[str]:
    """The APIs that these commands enable."""
    return {
        word.partition(".")[0]
        for call in calls
        if call.words[:3] == ["gcloud", "services", "enable"]
        for word in call.words[3:]
    }


def _access(heading: str, calls: list[Call]) -> Iterator[str]:
    for verb, meant in (("add", GRANTS), ("remove", TAKEN)):
        found = grants(calls, f"{verb}-iam-policy-binding")
        for what, who, role in sorted(found - meant.get(heading, set())):
            yield f"nobody means to {verb} {role} on {what} for {who}"
        for what, who, role in sorted(meant.get(heading, set()) - found):
            yield f"{who} has to have {role} on {what}: {verb}"


def _apis(calls: list[Call], enabled: Set[str]) -> Iterator[str]:
    needed = {APIS[call.words[1]] for call in calls if call.words[1:2] and call.words[1] in APIS}
    if any(role == "iam.serviceAccountOpenIdTokenCreator" for _, _, role in grants(calls)):
        needed.add("iamcredentials")
    for name in sorted(needed - enabled):
        yield f"the API {name} is not enabled"


def _services(calls: list[Call]) -> Iterator[str]:
    for call in calls:
        if call.words[:2] == ["gcloud", "run"]:
            name = variables.service(call)
            if name not in {"prism-backend", "prism-frontend", "-"}:
                yield f"there is no service {name!r}"
            if call.option("region") != "europe-west1":
                yield f"{name} is looked for in no region"
            yield from (f"{word} drops what is there" for word in call.words if DROPS.match(word))


def _secrets(calls: list[Call]) -> Iterator[str]:
    meant = {part: settings(uncommented(text(part))) for part in NAMES}
    for call in calls:
        part = variables.service(call).removeprefix("prism-")
        for given in call.option("update-secrets").split(","):
            name, _, secret = given.partition("=")
            if name and meant[part].get(name) != f"secret {secret.removesuffix(':latest')}":
                yield f"{name} is not what {secret} holds"


def _images(calls: list[Call]) -> Iterator[str]:
    for call in calls:
        if call.words[1:3] == ["artifacts", "repositories"]:
            named = f"{call.option('location')}-docker.pkg.dev/{PROJECT}/{call.words[4]}"
            if named != REGISTRY:
                yield f"images are at {REGISTRY}, not {named}"
            if call.words[3] == "create" and call.option("repository-format") != "docker":
                yield "the repository is not for images"
