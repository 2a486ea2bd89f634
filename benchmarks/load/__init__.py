"""Load tests: whoever uses the page and the backend, in numbers."""
