"""Decoding of image files to upright RGB pixels, within limits on pixels and memory."""
