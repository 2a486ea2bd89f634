"""What a refusal tells to type."""

from pathlib import Path

from backend.inference.models.networks import torchvision_names


def in_double_quotes(code: str) -> str:
    """Return code as it is written between double quotes in a shell."""
    for character in '\\"$`':
        code = code.replace(character, f"\\{character}")
    return code


def suggest_architecture(weights: Path) -> str:
    """Return what to pass as --architecture for a file, which may be named after its network."""
    known = torchvision_names()
    stem = weights.stem.lower()
    example = max((name for name in known if stem.startswith(name)), key=len, default="resnet18")
    return (
        "pass the network's name as --architecture torchvision/NAME or timm/NAME, for instance "
        f"--architecture torchvision/{example}"
    )
