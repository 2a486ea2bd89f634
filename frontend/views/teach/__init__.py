"""The Classify page: classify uploaded images and review the results."""
