# The words people try first. They need Python 3.11 or newer and make; the rest goes into .venv.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory

BACKEND_PORT ?= 8000
FRONTEND_PORT ?= 8501
DATA ?=
MODEL ?= mnist-cnn
HOST ?=
RATE ?=
CONTAINER_ENGINE ?= docker
# Where CPU builds of torch come from; empty: from where everything else does.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The interpreter that makes .venv; by default the first suitable one of these.
PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14 python

python := .venv/bin/python
stamps := .venv/.stamps
peers := .venv-bench/bin/python
log := install.log
install := -m pip --disable-pip-version-check install --no-input
pip := PIP_USER=0 $(python) $(install)
into_peers := PIP_USER=0 $(peers) $(install)
is_new := import sys; sys.exit(sys.version_info < (3, 11))
has_venv := import ensurepip, venv
say_why := { printf 'The installation failed: %s (all of it: $(log))\n' \
	"$$(grep -m1 -i '^error' $(log) || tail -n1 $(log))" >&2; exit 1; }

.PHONY: help run test check setup train load bench images containers screenshots force

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

run: $(stamps)/run ## start backend and frontend (BACKEND_PORT=8000 FRONTEND_PORT=8501); Ctrl-C stops both
	@exec $(python) -m deploy.local --backend-port=$(BACKEND_PORT) --frontend-port=$(FRONTEND_PORT)

# A file's tests share a browser and a page, so they stay together.
test: $(stamps)/dev ## run all tests, in a browser too where Chromium is installed (ARGS=... for pytest)
	@$(python) -m pytest --numprocesses=2 --dist=loadfile $(ARGS)

check: $(stamps)/dev ## check formatting, lint and types
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@$(python) -m mypy

setup: $(stamps)/dev ## install everything for development into .venv
	@echo "Ready: .venv holds everything for development."

train: $(stamps)/dev ## train MODEL=mnist-cnn into models/ (DATA=folder of the MNIST files, else downloaded)
	@$(python) -m training.train $(MODEL) $(if $(DATA),--data "$(DATA)") --out models/

load: $(stamps)/dev ## find how much one backend answers before people only wait (HOST=http://... RATE=500 ARGS=...; --help)
	@$(python) -m benchmarks.load $(if $(HOST),--host "$(HOST)") $(if $(RATE),--rate "$(RATE)") $(ARGS)

# The models are packaged by what development has installed; all else is in an environment of its own.
bench: $(stamps)/dev .venv-bench/.stamp ## compare with other servers and the machine itself (ARGS='--only digits'; --help)
	@$(peers) -m benchmarks.serving $(ARGS)

images: ## build both container images (CONTAINER_ENGINE=docker)
	@command -v $(firstword $(CONTAINER_ENGINE)) >/dev/null || \
		{ echo "$(firstword $(CONTAINER_ENGINE)) is not installed; name another engine: make images CONTAINER_ENGINE=podman" >&2; exit 1; }
	$(CONTAINER_ENGINE) build -f backend.dockerfile -t prism-backend .
	$(CONTAINER_ENGINE) build -f frontend.dockerfile -t prism-frontend .

containers: $(stamps)/dev ## build both images, run them read-only in little memory, use, load and stop them (BUILT=1: they are built)
	@$(python) -m deploy.containers --engine "$(CONTAINER_ENGINE)" $(if $(BUILT),--built)

screenshots: $(stamps)/dev ## take the pictures of all pages for the documents (needs Chromium; ARGS=names of pages)
	@PYTHONPATH=. $(python) docs/images/take.py $(ARGS)

# A stamp says that .venv holds what the requirements files named when it was made.

$(stamps)/run: requirements/run.txt requirements/serving.txt requirements/evaluation.txt requirements_frontend.txt | $(stamps)/venv
	@echo "Installing what running needs into .venv (the first time this takes a minute or two) ..."
	@$(pip) -r requirements/run.txt >$(log) 2>&1 || $(say_why)
	@touch $@

# torch and torchvision come first and alone, without their dependencies: only those two are asked
# of the CPU index, once. Where it does not answer, the last step takes them from the default one.
$(stamps)/dev: $(filter-out requirements/benchmarks.txt,$(wildcard requirements_*.txt requirements/*.txt)) | $(stamps)/venv
	@echo "Installing what development needs into .venv (the first time this takes some minutes) ..."
	@: >$(log)
	@test -z "$(TORCH_INDEX)" || $(pip) --no-deps --index-url "$(TORCH_INDEX)" --retries 0 --timeout 10 \
		-c requirements_backend.txt torch torchvision >>$(log) 2>&1 || true
	@$(pip) -r requirements/dev.txt >>$(log) 2>&1 || $(say_why)
	@touch $(stamps)/run $@

.venv-bench/.stamp: requirements/benchmarks.txt requirements/serving.txt | $(stamps)/venv
	@echo "Installing what the benchmark needs into .venv-bench (the first time this takes some minutes) ..."
	@: >$(log)
	@$(peers) -c 'import pip' >/dev/null 2>&1 || $(python) -m venv --clear .venv-bench >$(log) 2>&1 || $(say_why)
	@test -z "$(TORCH_INDEX)" || $(into_peers) --no-deps --index-url "$(TORCH_INDEX)" --retries 0 --timeout 10 \
		-c requirements_backend.txt torch torchvision >>$(log) 2>&1 || true
	@$(into_peers) -r requirements/benchmarks.txt >>$(log) 2>&1 || $(say_why)
	@touch $@

# A .venv that works is kept, whoever made it.
$(stamps)/venv:
	@if $(python) -c 'import pip' >/dev/null 2>&1; then \
		$(python) -c '$(is_new)' || \
			{ echo "The Python in .venv is older than 3.11. Remove .venv and try again." >&2; exit 1; }; \
		mkdir -p $(stamps); touch $@; exit; fi; \
	found=; for candidate in $(PYTHON); do \
		"$$candidate" -c '$(is_new)' >/dev/null 2>&1 || continue; \
		found=$$candidate; "$$candidate" -c '$(has_venv)' >/dev/null 2>&1 && break; done; \
	test -n "$$found" || { echo "Prism needs Python 3.11 or newer. Install it, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$found" -c '$(has_venv)' >/dev/null 2>&1 || \
		{ echo "$$found comes without its venv module. Install it (Debian, Ubuntu: apt install python3-venv), or name another Python: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$found" -m venv --clear .venv >$(log) 2>&1 || $(say_why); \
	mkdir -p $(stamps); touch $@

# An environment whose Python has gone (upgraded, moved) is made anew, whatever its stamps say.
ifneq ($(wildcard .venv),)
ifneq ($(shell $(python) -c 'import pip' >/dev/null 2>&1 || echo broken),)
$(stamps)/venv $(stamps)/run $(stamps)/dev: force
endif
endif
