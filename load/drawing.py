"""Many people draw at once: how long each waits for the answer to a stroke.

python -m load.drawing http://localhost:8501 --sessions 20 --seconds 30
"""

import argparse
import base64
import io
import random
import statistics
import sys
import threading
import time

from PIL import Image, ImageDraw

from load.session import Session

SIDE = 280
PAUSE = (0.5, 1.5)  # s between two strokes, as people draw


def main() -> int:
    """Draw, print the waiting times; 1 where a stroke failed or p95 is above `--p95`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("url", nargs="?", default="http://localhost:8501")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--p95", type=float, default=2.0, help="seconds (default 2)")
    args = parser.parse_args()
    waits: list[float] = []
    failures: list[str] = []
    end = time.monotonic() + args.seconds
    people = [
        threading.Thread(target=_draw, args=(args.url, end, waits, failures), daemon=True)
        for _ in range(args.sessions)
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    if len(waits) < 2:
        print(f"no answers; {failures[:3]}")
        return 1
    p95 = statistics.quantiles(waits, n=20)[-1]
    print(
        f"{args.sessions} sessions, {len(waits)} strokes, {len(waits) / args.seconds:.1f} a second:"
        f" p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s, longest {max(waits):.2f} s; "
        f"{len(failures)} failed {failures[:2] or ''}"
    )
    return int(bool(failures) or p95 > args.p95)


def _draw(url: str, end: float, waits: list[float], failures: list[str]) -> None:
    rng = random.Random()
    try:
        with Session(url) as visitor:
            visitor.open("draw")
            while time.monotonic() < end:
                drawing = {"png": _picture(rng), "strokes": []}
                started = time.perf_counter()
                visitor.set_component("drawing_pad", {"drawing": drawing})
                waits.append(time.perf_counter() - started)
                said = " ".join(visitor.texts())
                if "%" not in said:
                    failures.append(said[-80:])
                time.sleep(rng.uniform(*PAUSE))
    except (OSError, RuntimeError, LookupError) as error:
        failures.append(repr(error))


def _picture(rng: random.Random) -> str:
    """Return a stroke with corners of its own, as a data URL: no two are asked alike."""
    image = Image.new("L", (SIDE, SIDE), 255)
    corners = [(rng.randint(60, 220), rng.randint(30, 250)) for _ in range(4)]
    ImageDraw.Draw(image).line(corners, fill=0, width=18, joint="curve")
    out = io.BytesIO()
    image.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


if __name__ == "__main__":
    sys.exit(main())
