"""Load tests of the frontend and the backend, based on Locust."""
