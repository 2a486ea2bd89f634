"""Code that classifies the same image: curl and Python."""

import json
import os
import re
import shlex
from urllib.parse import quote

import streamlit as st

from frontend.service import identity
from frontend.service.session import Service
from frontend.ui.formatting import printable

_KEY_VARIABLE = "PRISM_API_KEY"
_SIMPLE_NAME = re.compile(r"[\w./+-]+")


def show(service: Service, name: str, key: str) -> None:
    """Show code for this backend, the chosen model and the file `name`."""
    with st.expander("Use from code", icon=":material/code:", key=f"code {key}"):
        st.caption("Run it in the folder that contains the image.")
        show_commands(service.client.url, service.model.name, name)


def show_commands(url: str, model: str, name: str, *, has_python: bool = True) -> None:
    """Show a curl command, and a Python program, that classify the file `name`."""
    has_key = bool(os.environ.get("BACKEND_API_KEY", "").strip())
    has_token = identity.create_auth(url, os.environ) is not None
    curl = curl_command(url, model, name, has_key=has_key, has_token=has_token)
    st.code(curl, "bash", wrap_lines=True)
    if has_python:
        python = python_program(url, model, name, has_key=has_key, has_token=has_token)
        st.code(python, "python", wrap_lines=True)
    if has_key:
        st.caption(f"Set {_KEY_VARIABLE} to your API key.")


def curl_command(
    url: str, model: str, name: str, *, has_key: bool = False, has_token: bool = False
) -> str:
    """Return a command for a POSIX shell that classifies the file `name`.

    It omits the probabilities of all classes, which would fill the screen.

    With `has_key` it sends an API key, with `has_token` a Google ID token.
    """
    lines = ["curl"]
    if has_key:
        lines.append(f'-H "X-API-Key: ${_KEY_VARIABLE}"')
    if has_token:
        lines.append('-H "Authorization: Bearer $(gcloud auth print-identity-token)"')
    lines.append(f"-F {shlex.quote(f'file=@{_curl_name(printable(name))}')}")
    query = f"model={quote(model, safe='')}&probabilities=false"
    lines.append(shlex.quote(f"{url}/classify?{query}"))
    return " \\\n  ".join(lines)


def python_program(
    url: str, model: str, name: str, *, has_key: bool = False, has_token: bool = False
) -> str:
    """Return a program that classifies the file `name` with requests and prints the prediction."""
    imports, headers = [], []
    if has_key:
        imports.append("import os")
        headers.append(f'"X-API-Key": os.environ["{_KEY_VARIABLE}"]')
    if has_token:
        imports.append("import subprocess")
        headers.append('"Authorization": f"Bearer {token}"')
    lines = [*imports, *([""] if imports else []), "import requests", ""]
    if has_token:
        command = '["gcloud", "auth", "print-identity-token"]'
        lines.append(f"token = subprocess.check_output({command}, text=True).strip()")
    lines += [
        f'with open({_literal(printable(name))}, "rb") as image:',
        "    response = requests.post(",
        f"        {_literal(f'{url}/classify')},",
        f'        params={{"model": {_literal(model)}}},',
        *([f"        headers={{{', '.join(headers)}}},"] if headers else []),
        '        files={"file": image},',
        "        timeout=30,",
        "    )",
        "response.raise_for_status()",
        "answer = response.json()",
        'if answer["in_distribution"] is False:',
        '    print("not one of the model\'s classes")',
        "else:",
        '    print(answer["prediction"], answer["confidence"])',
    ]
    return "\n".join(lines)


def _curl_name(name: str) -> str:
    """Return a file name as curl expects it: quoted where it would end at ";" or ","."""
    if name == "-":
        return "./-"  # "-" is the standard input
    if _SIMPLE_NAME.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Return a Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)
