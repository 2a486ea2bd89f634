"""A tiny backbone whose features are the mean color of an image."""

from pathlib import Path

import onnx

from backend.inference.models import artifact
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.fake_models import write_model
from tests.inference.cam_network import LABELS, make_network
from training.package.activation_map import add_activation_map
from training.package.features import add_features

PHOTO = PhotoPreprocess(resize=64, crop=(64, 64), mean=(0, 0, 0), std=(1, 1, 1))


def write_backbone(models_dir: Path, name: str = "photos") -> Path:
    """Write the model folder of a network whose features (N, 3) are the mean of R, G and B."""
    network = make_network()
    add_activation_map(network)
    add_features(network)
    folder = write_model(models_dir, name, labels=LABELS, preprocess=PHOTO)
    onnx.save(network, folder / artifact.ONNX)
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return folder
