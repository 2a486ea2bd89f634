"""Classifies millions of images into Parquet files, on one machine or on a Ray cluster."""
