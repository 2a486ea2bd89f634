"""Serves the backend on a local Ray, overloads it, and prints the responses as JSON.

Runs in an environment of its own, with requirements/serving.txt and `ray[serve]`, in the root of
the repository: python tests/extended/ray_serve_load.py PORT FOLDER
"""

import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ray
import requests
from ray import serve

SETTINGS = {"PRISM_MODELS": "mnist-mlp", "PRISM_HISTORY": "false", "PRISM_QUEUE_SIZE": "4"}
CLIENTS, REQUESTS = 40, 240
IMAGE = Path("frontend/examples/seven.png")


def main(port: int, folder: str) -> dict[str, object]:
    """Return the responses of an idle and of an overloaded service, and its metrics."""
    root = str(Path.cwd())
    sys.path.insert(0, root)
    variables = {**SETTINGS, "PYTHONPATH": root, "PRISM_MODELS_DIR": f"{root}/models"}
    ray.init(
        include_dashboard=False, num_cpus=2, runtime_env={"env_vars": variables}, _temp_dir=folder
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    from deploy.ray_serve import backend

    serve.run(backend, route_prefix="/")
    url, content = f"http://127.0.0.1:{port}", IMAGE.read_bytes()
    end = time.monotonic() + 120
    while requests.get(f"{url}/ready", timeout=60).status_code != 200 and time.monotonic() < end:
        time.sleep(0.2)

    def classify(_: int) -> tuple[int, str]:
        files = {"file": ("seven.png", content)}
        response = requests.post(f"{url}/classify", files=files, timeout=60)
        if response.ok:
            return response.status_code, response.json()["prediction"]
        assert response.headers["Retry-After"]
        return response.status_code, response.json()["code"]

    idle = classify(0)
    with ThreadPoolExecutor(CLIENTS) as threads:
        busy = Counter(threads.map(classify, range(REQUESTS)))
    metrics = requests.get(f"{url}/metrics", timeout=60).text
    shed = [line for line in metrics.splitlines() if line.startswith("prism_images_shed_total")]
    serve.shutdown()
    ray.shutdown()
    return {
        "idle": idle,
        "busy": [[*outcome, count] for outcome, count in busy.items()],
        "shed": sum(float(line.split()[-1]) for line in shed),
    }


if __name__ == "__main__":
    found = main(int(sys.argv[1]), sys.argv[2])
    print(json.dumps(found))
