"""Validates manifests against published schemas, and prints the errors as JSON.

Runs in an environment of its own, with the packages `kserve`, `cloudcoil-models-keda` and
`google-api-python-client` (Cloud Run, whose services are those of Knative):

    python custom_resources.py FILE ...
"""

import json
import sys
from pathlib import Path
from typing import Any

import googleapiclient
import kserve
import yaml
from cloudcoil.models.keda import v1alpha1
from pydantic import ValidationError

Document = dict[str, Any]


def keda_errors(document: Document) -> list[str]:
    """Return the errors of a resource by cloudcoil's models, which are made from KEDA's CRDs."""
    try:
        parsed = getattr(v1alpha1, document["kind"]).model_validate(document)
    except ValidationError as error:
        return [str(error)]
    return lost_fields(document, parsed.model_dump(by_alias=True, exclude_none=True, mode="json"))


def lost_fields(given: Any, kept: Any, path: str = "") -> list[str]:
    """Return the fields of `given` that a model did not keep, because it does not have them."""
    if isinstance(given, dict):
        return [
            error
            for name, value in given.items()
            for error in (
                lost_fields(value, kept[name], f"{path}.{name}")
                if isinstance(kept, dict) and name in kept
                else [f"{path}.{name}: unknown"]
            )
        ]
    if isinstance(given, list):
        pairs = zip(given, kept, strict=True)
        return [e for i, (a, b) in enumerate(pairs) for e in lost_fields(a, b, f"{path}[{i}]")]
    return []


def kserve_errors(document: Any, kind: str, path: str = "") -> list[str]:
    """Return the unknown fields of a resource by the models of KServe's SDK."""
    if kind.startswith("list["):
        return [e for one in document for e in kserve_errors(one, kind[5:-1], f"{path}[]")]
    model = getattr(kserve, kind, None)
    if model is None or not hasattr(model, "openapi_types"):
        return []  # of Kubernetes: tests/deploy validates it
    names = {alias: name for name, alias in model.attribute_map.items()}
    unknown = [f"{path}.{name}: unknown" for name in document if name not in names]
    return unknown + [
        error
        for name, value in document.items()
        if name in names
        for error in kserve_errors(value, model.openapi_types[names[name]], f"{path}.{name}")
    ]


def google_errors(document: Any, schemas: Document, schema: Document, path: str = "") -> list[str]:
    """Return unknown fields and wrong types by Google's discovery document of an API."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    types = {"integer": int, "boolean": bool, "string": str, "array": list, "object": dict}
    if not isinstance(document, types[schema["type"]]):
        return [f"{path}: not {schema['type']}"]
    if isinstance(document, list):
        return [
            e for d in document for e in google_errors(d, schemas, schema["items"], f"{path}[]")
        ]
    if not isinstance(document, dict):
        return []
    errors = []
    for name, value in document.items():
        field = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        where = f"{path}.{name}"
        errors += google_errors(value, schemas, field, where) if field else [f"{where}: unknown"]
    return errors


def find_errors(document: Document) -> list[str]:
    """Return the errors of a resource."""
    api, kind = document["apiVersion"], document["kind"]
    if api.startswith("keda.sh/"):
        return keda_errors(document)
    if api.startswith("serving.kserve.io/"):
        return kserve_errors(document, f"V1beta1{kind}")
    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    schemas = json.loads((documents / "run.v1.json").read_text())["schemas"]
    return google_errors(document, schemas, {"$ref": kind})


if __name__ == "__main__":
    found = {
        path: [
            error
            for document in yaml.safe_load_all(Path(path).read_text())
            for error in find_errors(document)
        ]
        for path in sys.argv[1:]
    }
    print(json.dumps(found))
