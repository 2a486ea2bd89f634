"""The paths of all routes, also of those that the OpenAPI document leaves out."""

from importlib import import_module
from itertools import chain
from pkgutil import walk_packages

from fastapi import FastAPI

from backend import api


def all_paths(app: FastAPI) -> set[str]:
    """Return every path of the application, with values for its parameters."""
    modules = walk_packages(api.__path__, f"{api.__name__}.")
    routers = [getattr(import_module(module.name), "router", None) for module in modules]
    routes = chain(app.routes, *(router.routes for router in routers if router))
    templates = {str(getattr(route, "path_format", "/")) for route in routes}
    return {path.replace("{id}", "1").replace("{name}", "fake") for path in templates}
