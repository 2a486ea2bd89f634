"""Model folders, network architectures and checkpoints."""
