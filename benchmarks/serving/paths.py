"""Where things lie: the checkout, and what the benchmark makes for itself and keeps."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".bench"
LOGS = CACHE / "logs"
RESULTS = CACHE / "results"
EXAMPLES = ROOT / "frontend" / "examples"
SHIPPED = ROOT / "models"
PACKAGED = CACHE / "models"
