"""Where the kernel says what a container may use."""

from collections.abc import Iterator
from pathlib import Path


def folders(root: Path, controller: str, *mounts: str) -> Iterator[Path]:
    """Where this process's limits may stand, from its own cgroup up to the root of each tree.

    `mounts` are other names of the controller's tree in version 1. `root` is where /proc and /sys
    are looked for. Inside a container the path is often the host's and leads nowhere: the root is
    what counts.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for tree in (controllers, controller, *mounts) if controllers else ("", "unified"):
            top = root / "sys/fs/cgroup" / tree
            own = top / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))
