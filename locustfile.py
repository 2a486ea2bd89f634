"""Load test of the backend: people who upload pictures of digits.

.venv/bin/locust --headless --users 16 --spawn-rate 16 --run-time 30s --host http://localhost:8000

Without --headless Locust serves its own page on port 8089. An answer other than 200 counts as a
failure, a 429 too: it says that the queue was full.
"""

import io
import random

from locust import HttpUser, between, task
from PIL import Image, ImageDraw, ImageFont


def picture(digit: int, rng: random.Random) -> bytes:
    """Draw `digit` as a PNG: dark on light, with a size and a place of its own."""
    size = rng.randint(96, 320)
    height = rng.randint(size // 2, size * 3 // 4)
    image = Image.new("L", (size, size), rng.randint(220, 255))
    ImageDraw.Draw(image).text(
        (rng.randint(size // 10, size // 3), rng.randint(0, size // 6)),
        str(digit),
        fill=rng.randint(0, 60),
        font=ImageFont.load_default(height),
    )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


PICTURES = [picture(digit, random.Random(seed)) for digit in range(10) for seed in range(10)]


class Uploader(HttpUser):
    """Uploads one picture after the other, each under the same file name, as cameras do."""

    host = "http://localhost:8000"
    wait_time = between(0.0, 0.1)

    @task
    def classify(self) -> None:
        """Upload a picture and see whether an answer with a label comes back."""
        files = {"file": ("digit.png", random.choice(PICTURES), "image/png")}
        with self.client.post("/classify", files=files, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif "prediction" not in response.json():
                response.failure("an answer without a prediction")
