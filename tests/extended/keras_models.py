"""Writes models of Keras and TensorFlow, and what they answer for images.

    python keras_models.py IMAGES OUT

runs in the environment of the converter and imports nothing of ours. Beside every model NAME, the
file NAME.npy holds its probabilities (N, C), with the preprocessing that its framework documents.
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image, ImageOps

IMAGES = sorted(Path(sys.argv[1]).glob("*.png"))
OUT = Path(sys.argv[2])
LABELS = ("cat", "dog", "owl")
SIZE = (48, 64)
APPLICATIONS = keras.applications


def load(size: tuple[int, int]) -> Any:
    """Return the images as Keras' documentation loads them, values of 0 to 255."""
    images = [
        keras.utils.load_img(path, target_size=size, interpolation="bilinear") for path in IMAGES
    ]
    return np.stack([keras.utils.img_to_array(image) for image in images])


def network(first: Any = None) -> Any:
    """Return a small network whose first layer is `first`."""
    inputs = keras.Input((*SIZE, 3))
    x = first(inputs) if first else inputs
    x = keras.layers.Conv2D(12, 5, strides=2, activation="relu", padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return sharpen(keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)))


def sharpen(model: Any, factor: int = 4) -> Any:
    """Make answers differ: those of random weights are all alike."""
    layer = model.layers[-1]
    layer.set_weights([factor * values for values in layer.get_weights()])
    return model


def settle(model: Any, batch: Any) -> None:
    """Set the statistics of batch normalization; deep random networks are constant without them."""
    layers = [model]
    while layers:
        layer = layers.pop()
        layers += getattr(layer, "layers", [])
        if "BatchNormalization" in type(layer).__name__:
            layer.momentum = 0.0
    model(batch, training=True)


def store(name: str, probabilities: Any) -> None:
    """Write the probabilities (N, C) of a model."""
    np.save(OUT / f"{name}.npy", np.asarray(probabilities, dtype=np.float32))


def write_keras() -> None:
    """Write models of Keras 3."""
    raw = load(SIZE)
    adapted = keras.layers.Normalization()
    adapted.adapt(raw)
    scaled = {
        "rescaling.keras": network(keras.layers.Rescaling(1 / 127.5, offset=-1)),
        "rescaling.h5": network(keras.layers.Rescaling(1 / 255)),
        "normalization.keras": network(adapted),
        "operators.keras": network(APPLICATIONS.mobilenet_v2.preprocess_input),
    }
    for name, model in scaled.items():
        model.save(OUT / name)
        store(name, model.predict(raw, verbose=0))
    plain = network()
    plain.save(OUT / "plain.keras")
    store("plain.keras", plain.predict(raw / 255, verbose=0))
    for name, module, builder, side in (
        ("mobilenetv2.keras", APPLICATIONS.mobilenet_v2, APPLICATIONS.MobileNetV2, 96),
        ("resnet50.h5", APPLICATIONS.resnet50, APPLICATIONS.ResNet50, 64),
    ):
        base = builder(weights=None, include_top=False, input_shape=(side, side, 3), pooling="avg")
        top = keras.layers.Dense(3, activation="softmax")
        model = sharpen(keras.Model(base.input, top(base.output)))
        pixels = module.preprocess_input(load((side, side)).copy())
        settle(model, pixels)
        model.save(OUT / name)
        store(name, model.predict(pixels, verbose=0))
    network(keras.layers.Lambda(lambda x: x / 255)).save(OUT / "lambda.keras")


def write_tensorflow() -> None:
    """Write a SavedModel and models of TensorFlow Lite."""
    raw = load(SIZE)
    model = network(keras.layers.Rescaling(1 / 255))
    model.export(OUT / "saved", verbose=False)
    store("saved", model.predict(raw, verbose=0))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (OUT / "float.tflite").write_bytes(converter.convert())
    store("float.tflite", model.predict(raw, verbose=0))
    plain = network()
    converter = tf.lite.TFLiteConverter.from_keras_model(plain)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None] / 255] for row in raw)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (OUT / "quantized.tflite").write_bytes(converter.convert())
    store("quantized.tflite", run_quantized(OUT / "quantized.tflite", raw))


def run_quantized(path: Path, raw: Any) -> Any:
    """Return the probabilities of a quantized model, computed by TensorFlow Lite."""
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in raw:
        interpreter.set_tensor(first["index"], image[None].astype(np.uint8))
        interpreter.invoke()
        scale, zero = last["quantization"]
        rows.append((interpreter.get_tensor(last["index"])[0].astype(np.float32) - zero) * scale)
    return np.stack(rows)


def write_teachable_machine() -> None:
    """Write the three exports of Teachable Machine, whose networks are those of Keras 2."""
    layers = tf_keras.layers
    base = tf_keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(224, 224, 3), alpha=0.35
    )
    body = tf_keras.Sequential([base, layers.GlobalAveragePooling2D()], name="sequential_1")
    head = tf_keras.Sequential(
        [
            layers.Dense(16, activation="relu", input_shape=(1280,)),
            layers.Dense(3, activation="softmax", use_bias=False),
        ],
        name="sequential_3",
    )
    sharpen(head, 2)
    model = tf_keras.Sequential([body, head])
    labels = "".join(f"{number} {label}\n" for number, label in enumerate(LABELS))
    rows = []
    for path in IMAGES:  # as the code that Teachable Machine shows
        image = Image.open(path).convert("RGB")
        image = ImageOps.fit(image, (224, 224), Image.Resampling.LANCZOS)
        rows.append((np.asarray(image).astype(np.float32) / 127.5) - 1)
    settle(model, np.stack(rows))
    probabilities = model.predict(np.stack(rows), verbose=0)
    model.save(OUT / "keras_model.h5")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    exports = {
        "converted_keras.zip": {
            "keras_model.h5": (OUT / "keras_model.h5").read_bytes(),
            "labels.txt": labels,
        },
        "converted_tflite.zip": {"model_unquant.tflite": converter.convert(), "labels.txt": labels},
        "tm-my-image-model.zip": tensorflow_js(model),
    }
    (OUT / "keras_model.h5").unlink()
    for name, files in exports.items():
        with zipfile.ZipFile(OUT / name, "w") as archive:
            for file, content in files.items():
                archive.writestr(file, content)
        store(name, probabilities)
    model.save(OUT / "saved_keras2")


def tensorflow_js(model: Any) -> dict[str, str | bytes]:
    """Return the files of a layers model of TensorFlow.js."""
    entries = [
        {"name": each.name.split(":")[0], "shape": list(each.shape), "dtype": "float32"}
        for each in model.weights
    ]
    content = {
        "format": "layers-model",
        "modelTopology": {"model_config": json.loads(model.to_json())},
        "weightsManifest": [{"paths": ["weights.bin"], "weights": entries}],
    }
    data = b"".join(np.asarray(each, dtype=np.float32).tobytes() for each in model.weights)
    metadata = {"labels": LABELS, "imageSize": 224, "modelName": "my-image-model"}
    return {
        "model.json": json.dumps(content),
        "metadata.json": json.dumps(metadata),
        "weights.bin": data,
    }


keras.utils.set_random_seed(0)
tf_keras.utils.set_random_seed(0)
write_keras()
write_tensorflow()
write_teachable_machine()
