"""Gradio as in its documentation, with the torch network behind an endpoint of its API.

BENCH_MODEL=FOLDER python -m uvicorn benchmarks.serving.peers.gradio_peer:app --port 8000

The endpoint bypasses Gradio's queue, which would need two requests for each image.
"""

import gradio as gr
import torch
from fastapi import FastAPI
from PIL import Image

from benchmarks.serving.peers import model

network = model.network()
transform = model.transform()


def predict(image: Image.Image) -> dict[str, float]:
    """Return the probability of each label."""
    batch = transform(image.convert(model.image_mode())).unsqueeze(0)
    with torch.no_grad():
        probabilities = torch.softmax(network(batch), dim=1)[0]
    return dict(zip(model.LABELS, probabilities.tolist(), strict=True))


with gr.Blocks() as demo:
    image = gr.Image(type="pil")
    label = gr.Label(num_top_classes=3)
    button = gr.Button("Classify")
    button.click(predict, image, label, api_name="predict", queue=False)

app = gr.mount_gradio_app(FastAPI(), demo, path="/")
