"""Test of a running backend against its OpenAPI document."""
