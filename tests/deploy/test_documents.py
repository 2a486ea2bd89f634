"""The commands of deploy.md and cloud-run.md, typed as they stand.

That gcloud understands them is for test_commands.py, what they deploy for test_rehearsal.py.
"""

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from backend.settings import Settings
from tests.deploy import engine
from tests.deploy.commands import ROOT
from tests.deploy.documents import CLOUD_RUN, DEPLOY, GRANTS, TAKEN, apis, problems, typed
from tests.deploy.manifests import filled, text, uncommented
from tests.deploy.pipeline import substituted
from tests.deploy.recorder import Call, secrets

HEADINGS = [
    (page, heading)
    for page in (DEPLOY, CLOUD_RUN)
    for heading, below in re.findall(r"^##+ (.*)\n((?:(?!^##).*\n)*)", page, re.M)
    if "```bash" in below and heading != "Cloud Run"
]
URL = "https://prism-{}-123456789012.europe-west1.run.app"


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The APIs that a project has once it is made ready."""
    return apis(typed(tmp_path_factory.mktemp("once"), DEPLOY, "Once for a project"))


@pytest.mark.parametrize(("page", "heading"), HEADINGS, ids=[heading for _, heading in HEADINGS])
def test_what_is_typed_is_right(page: str, heading: str, enabled: set[str], tmp_path: Path) -> None:
    already = enabled if heading != "Once for a project" else set[str]()
    assert problems(heading, typed(tmp_path, page, heading), already) == []


def test_every_role_is_given_by_a_command() -> None:
    assert {*GRANTS, *TAKEN} <= {heading for _, heading in HEADINGS}


@pytest.mark.parametrize(
    ("heading", "right", "wrong", "problem"),
    [
        ("Build", "TORCH_INDEX=", "TORCH_INDX=", "has no argument TORCH_INDX"),
        ("Build", "--target torch", "--target tourch", "has no target tourch"),
        ("Run on one machine", "-p 8501:8501", "-p 8501:8000", "another port than 8501"),
        ("Run on one machine", "backend:8000 ", "backend:8001 ", "looks for the backend at"),
        ("Run on one machine", "--read-only ", "", "can write to more than /tmp"),
        ("Run on one machine", "docker network create prism\n", "", "that nobody made"),
        ("Run on one machine", "-e BACKEND=", "-e BACKND=", "does not know BACKND"),
        ("Once for a project", "secretmanager.googleapis.com ", "", "API secretmanager is not"),
        ("Once for a project", " iamcredentials.googleapis.com", "", "API iamcredentials is not"),
        ("Once for a project", "create prism ", "create prisms ", "images are at"),
        ("Once for a project", 'location="$REGION"', "location=us", "images are at"),
        ("Once for a project", "format=docker", "format=npm", "not for images"),
        ("By command", "roles/run.invoker", "roles/run.admin", "nobody means to add run.admin"),
        ("By command", "PRISM_HISTORY=", "PRISM_HISTRY=", "backend does not know PRISM_HISTRY"),
        ("By command", "--update-env-vars", "--set-env-vars", "drops what is there"),
        ("How the page finds the backend", "roles/run.viewer", "roles/editor", "to add editor"),
        ("How the page finds the backend", "PRISM_BACKEND_", "BACKEND_", "does not know BACKEND_"),
        ("A page for some people only", " run.viewer", "", "TEAM has to have run.viewer"),
        (
            "A page for some people only",
            "remove-iam-policy-binding prism-frontend",
            "remove-iam-policy-binding prism-backend",
            "nobody means to remove run.invoker on prism-backend",
        ),
        (
            "Back to an earlier version",
            "update-traffic prism-backend",
            "update-traffic backend",
            "there is no service 'backend'",
        ),
        ("With a history", "PRISM_HISTORY_OPEN", "PRISM_HISTRY_OPEN", "not know PRISM_HISTRY_"),
        ("With a history", "--update-env-vars", "--set-env-vars", "drops what is there"),
        ("With a history", "gcloud services enable sqladmin.googleapis.com\n", "", "API sqladmin"),
        (
            "With a public backend",
            "PRISM_API_KEYS=prism-api-key-hashes",
            "PRISM_API_KEYS=prism-api-key",
            "PRISM_API_KEYS is not what prism-api-key:latest holds",
        ),
        ("With a public backend", "BACKEND_API_KEY=$", "BACKEND_APIKEY=$", "BACKEND_APIKEY"),
        ("With a public backend", "--member=allUsers", "--member=user:me", "allUsers has to have"),
    ],
)
def test_a_mistake_is_found(
    heading: str, right: str, wrong: str, problem: str, enabled: set[str], tmp_path: Path
) -> None:
    (page,) = (page for page, one in HEADINGS if one == heading)
    prose, fence, section = page.partition(f"# {heading}\n")[2].partition("```bash")
    assert right in section
    planted = prose + fence + section.replace(right, wrong, 1)
    calls = typed(tmp_path, f"# {heading}\n{planted}", heading)
    found = problems(heading, calls, enabled if heading != "Once for a project" else set[str]())
    assert any(problem in one for one in found), found


def test_a_project_is_made_ready_for_both_services_and_the_build(tmp_path: Path) -> None:
    calls = typed(tmp_path, DEPLOY, "Once for a project")
    made = {call.words[-1] for call in calls if call.words[1:3] == ["iam", "service-accounts"]}
    assert {"prism-backend", "prism-frontend", "prism-build"} <= made
    assert re.fullmatch(r"[0-9a-f]{64}\n", secrets(calls)["prism-cookie-secret"])


def test_images_are_built_for_cloud_run_as_by_cloud_build_and_pushed(tmp_path: Path) -> None:
    docker = [one for one in typed(tmp_path, DEPLOY, "By command") if one.words[0] == "docker"]
    steps = substituted(yaml.safe_load((ROOT / "cloudbuild.yaml").read_text()))["steps"]
    by_cloud_build = [Call(one["args"], "", {}) for one in steps if one["args"][:1] == ["build"]]
    by_command = [one for one in docker if one.words[1] == "build"]
    assert [*map(engine.build_args, by_command)] == [*map(engine.build_args, by_cloud_build)]
    images = [
        f"europe-west1-docker.pkg.dev/my-project/prism/{n}:0123abc" for n in ("back", "front")
    ]
    images = [image.replace(":", "end:") for image in images]
    assert [one.words[-2] for one in by_command] == images
    assert [one.words[-1] for one in docker if one.words[1] == "push"] == images
    assert all("--platform=linux/amd64" in one.words for one in by_command)


def test_the_smoke_test_is_typed_with_a_token_of_somebody_who_may_ask(tmp_path: Path) -> None:
    calls = typed(tmp_path, DEPLOY, "Does it work?")
    asked = ["-m", "deploy.smoke", URL.format("backend"), "--frontend", URL.format("frontend")]
    assert calls[-1].words == ["python", *asked]
    assert calls[-1].secrets == {"BACKEND_ID_TOKEN": "an ID token"}


def test_a_database_is_one_that_the_backend_can_open(tmp_path: Path) -> None:
    calls = typed(tmp_path, CLOUD_RUN, "With a history")
    (url,) = secrets(calls).values()
    assert Settings(database_url=url).database_url == url
    (password,) = {call.option("password") for call in calls} - {""}
    assert url == (
        f"postgresql://prism:{password}@/prism?host=/cloudsql/my-project:europe-west1:prism"
    )
    instance = "my-project:europe-west1:prism"
    assert calls[-1].option("add-cloudsql-instances") == instance
    manifest = filled(uncommented(text("backend"))).replace("demo:", "my-project:")
    assert f"run.googleapis.com/cloudsql-instances: {instance}\n" in manifest
    create = next(call for call in calls if call.words[1:4] == ["sql", "instances", "create"])
    assert create.words[4] == "prism"
    # 15 for each of 4 instances, and as many for the revision that takes their place
    assert int(create.option("database-flags").removeprefix("max_connections=")) >= 2 * 4 * 15


def test_the_key_of_a_public_backend_is_one_that_it_accepts(tmp_path: Path) -> None:
    calls = typed(tmp_path, CLOUD_RUN, "With a public backend")
    made = secrets(calls)
    key = made["prism-api-key"]
    accepted = Settings(api_keys=made["prism-api-key-hashes"]).api_keys
    assert accepted == hashlib.sha256(key.encode()).hexdigest()
    assert calls[-1].secrets["BACKEND_API_KEY"] == key


def test_a_build_on_every_push_is_the_one_that_is_sent_by_hand(tmp_path: Path) -> None:
    (trigger,) = [
        call for call in typed(tmp_path, CLOUD_RUN, "On every push") if "triggers" in call.words
    ]
    assert trigger.option("build-config") == "cloudbuild.yaml"
    account = substituted(yaml.safe_load((ROOT / "cloudbuild.yaml").read_text()))["serviceAccount"]
    assert trigger.option("service-account") == account.replace("demo", "my-project")
    assert trigger.option("substitutions") == "_REGION=europe-west1"


def test_the_proxy_listens_where_people_are_sent(tmp_path: Path) -> None:
    heading = "A page for some people only"
    *_, proxy = typed(tmp_path, CLOUD_RUN, heading)
    assert proxy.words[3] == "proxy"
    section = CLOUD_RUN.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    assert re.findall(r"http://localhost:(\d+)", section) == [proxy.option("port")]


def test_every_secret_that_is_made_is_named_where_all_is_removed() -> None:
    made = set(re.findall(r"gcloud secrets create ([\w-]+)", DEPLOY + CLOUD_RUN))
    away = CLOUD_RUN.partition("## Away with it\n")[2]
    assert made
    assert {name for name in made if not re.search(rf"\b{name}(?![\w-])", away)} == set()
