# Commands for users and developers. They need Python 3.11 or newer and make; all else goes to .venv.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory

BACKEND_PORT ?= 8000
FRONTEND_PORT ?= 8501
DATA ?=
MODEL ?= mnist-cnn
UPGRADE ?=
MINUTES ?= 10
HOST ?=
RATE ?=
# Peers of the benchmark with large installations: gradio, ray.
PEERS ?= gradio
CONTAINER_ENGINE ?= docker
# Index of CPU builds of torch; empty: the default index.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The interpreter that creates .venv: the first suitable one of these.
PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14 python

python := .venv/bin/python
stamps := .venv/.stamps
benchmark_venv := .venv-bench
peers := $(benchmark_venv)/bin/python
log := install.log
install := -m pip --disable-pip-version-check install --no-input
pip := PIP_USER=0 $(python) $(install)
install_peers := PIP_USER=0 $(peers) $(install)
# The images are for Linux and Python 3.11; x86_64 and ARM resolve alike.
compile = .venv/bin/uv pip compile --quiet --generate-hashes --only-binary=:all: --no-annotate \
	--python-version=3.11 --python-platform=linux --custom-compile-command='make lock' $(if $(UPGRADE),--upgrade)
is_new := import sys; sys.exit(sys.version_info < (3, 11))
has_venv := import ensurepip, venv
report_failure := { printf 'The installation failed: %s (see $(log))\n' \
	"$$(grep -m1 -i '^error' $(log) || tail -n1 $(log))" >&2; exit 1; }

# Threads of torch that wait for others leave the processor to other tests.
test test-e2e test-extended: export OMP_WAIT_POLICY = PASSIVE

.PHONY: help run test test-e2e test-extended check setup lock train load bench images containers sbom fuzz screenshots wheel force

help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

run: $(stamps)/run ## start backend and frontend (BACKEND_PORT=8000 FRONTEND_PORT=8501); Ctrl-C stops both
	@exec $(python) -m deploy.local --backend-port=$(BACKEND_PORT) --frontend-port=$(FRONTEND_PORT)

# The tests of one file share servers, so they run in the same process. Three processes keep two cores
# busy: many tests wait for deadlines.
test: $(stamps)/dev ## run the fast tests, under 6 minutes on 2 cores (ARGS=... for pytest)
	@$(python) -m pytest --numprocesses=3 --dist=loadfile --ignore=tests/e2e --ignore=tests/extended $(ARGS)

test-e2e: $(stamps)/dev ## run the tests with browsers, several processes, databases and deployments
	@$(python) -m pytest --numprocesses=2 --dist=loadfile $(ARGS) tests/e2e

test-extended: $(stamps)/dev ## run the long-running tests: other frameworks, 50 kills, hostile traffic, fuzzing (not part of CI)
	@PRISM_KILL_ROUNDS=50 PRISM_DRAIN_ROUNDS=20 PRISM_FUZZ_FACTOR=20 $(python) -m pytest $(ARGS) \
		tests/extended tests/e2e/test_history.py tests/e2e/test_drain.py tests/e2e/test_workers.py \
		tests/api/test_multipart.py tests/inference/images/test_loading.py tests/inference/test_decoder.py \
		tests/fuzz/test_targets.py

check: $(stamps)/dev ## check formatting, lint and types
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@$(python) -m mypy

setup: $(stamps)/dev ## install everything for development into .venv
	@echo "Ready: .venv holds everything for development."

# The images install these versions; `make run` and `make setup` install any that the ranges allow.
lock: $(stamps)/dev ## update the lock files of the images (UPGRADE=1: to the newest allowed versions)
	@$(compile) requirements/serving.txt -o requirements/serving.lock
	@$(compile) requirements/gcs.txt -c requirements/serving.lock -o requirements/gcs.lock
	@$(compile) requirements/otel.txt -c requirements/serving.lock -c requirements/gcs.lock -o requirements/otel.lock
	@$(compile) requirements/postgres.txt -c requirements/serving.lock -o requirements/postgres.lock
	@$(compile) requirements/grpc.txt -c requirements/serving.lock -c requirements/gcs.lock -c requirements/otel.lock -o requirements/grpc.lock
	@$(compile) requirements/mcp.txt -c requirements/serving.lock -c requirements/gcs.lock -c requirements/otel.lock -c requirements/grpc.lock -o requirements/mcp.lock
	@$(compile) requirements_frontend.txt -c requirements/otel.lock -o requirements/frontend.lock

train: $(stamps)/dev ## train MODEL=mnist-cnn into models/ (DATA=folder of the MNIST files; default: download)
	@$(python) -m training.train $(MODEL) $(if $(DATA),--data "$(DATA)") --out models/

load: $(stamps)/dev ## find the saturation point of a backend (HOST=http://... RATE=500 ARGS=...; --help)
	@$(python) -m benchmarks.load $(if $(HOST),--host "$(HOST)") $(if $(RATE),--rate "$(RATE)") $(ARGS)

# The development environment packages the models; the peers run in an environment of their own.
bench: $(stamps)/dev $(benchmark_venv)/.stamp $(PEERS:%=$(benchmark_venv)/peers/%.stamp) ## compare with other servers and with the limits of the machine (ARGS='--only digits' PEERS='gradio ray'; --help)
	@$(peers) -m benchmarks.serving $(ARGS)

images: ## build both container images (CONTAINER_ENGINE=docker)
	@command -v $(firstword $(CONTAINER_ENGINE)) >/dev/null || \
		{ echo "$(firstword $(CONTAINER_ENGINE)) is not installed. Name another engine: make images CONTAINER_ENGINE=podman" >&2; exit 1; }
	$(CONTAINER_ENGINE) build -f backend.dockerfile -t prism-backend .
	$(CONTAINER_ENGINE) build -f frontend.dockerfile -t prism-frontend .

containers: $(stamps)/dev ## build both images and run them read-only with little memory under load (BUILT=1: skip the build)
	@$(python) -m deploy.containers --engine "$(CONTAINER_ENGINE)" $(if $(BUILT),--built)

sbom: $(stamps)/dev ## write CycloneDX SBOMs of both images to sbom/ and compare them with the lock files
	@$(python) -m deploy.sbom --engine "$(CONTAINER_ENGINE)" $(ARGS)

wheel: $(stamps)/dev ## build the wheel of the client, prism-classify-client, into dist/
	@PYTHONPATH= $(python) -m build --no-isolation --outdir dist client

fuzz: $(stamps)/dev ## fuzz the parsers; continues where the last run stopped (MINUTES=10 ARGS=...; --help)
	@$(python) -m tests.fuzz --minutes "$(MINUTES)" $(ARGS)

screenshots: $(stamps)/dev ## take the screenshots of the documentation (needs Chromium; ARGS=names of pages)
	@PYTHONPATH=. $(python) docs/images/capture.py $(ARGS)

# A stamp marks that .venv holds what the requirements files named when the stamp was made.

$(stamps)/run: requirements/run.txt requirements/serving.txt requirements/evaluation.txt requirements_frontend.txt | $(stamps)/venv
	@echo "Installing the runtime dependencies into .venv (1-2 minutes the first time) ..."
	@$(pip) -r requirements/run.txt >$(log) 2>&1 || $(report_failure)
	@touch $@

# torch and torchvision are installed first, alone and without dependencies: only these two are
# requested from the CPU index, once. If it does not respond, the last step takes them from the
# default index.
$(stamps)/dev: $(filter-out requirements/benchmarks.txt requirements/peer-%.txt requirements/bulk-%.txt,$(wildcard requirements_*.txt requirements/*.txt)) | $(stamps)/venv
	@echo "Installing the development dependencies into .venv (some minutes the first time) ..."
	@: >$(log)
	@test -z "$(TORCH_INDEX)" || $(pip) --no-deps --index-url "$(TORCH_INDEX)" --retries 0 --timeout 10 \
		-c requirements_backend.txt torch torchvision >>$(log) 2>&1 || true
	@$(pip) -r requirements/dev.txt >>$(log) 2>&1 || $(report_failure)
	@touch $(stamps)/run $@

$(benchmark_venv)/.stamp: requirements/benchmarks.txt requirements/serving.txt | $(stamps)/venv
	@echo "Installing the benchmark dependencies into $(benchmark_venv) (some minutes the first time) ..."
	@: >$(log)
	@$(peers) -c 'import pip' >/dev/null 2>&1 || $(python) -m venv --clear $(benchmark_venv) >$(log) 2>&1 || $(report_failure)
	@test -z "$(TORCH_INDEX)" || $(install_peers) --no-deps --index-url "$(TORCH_INDEX)" --retries 0 --timeout 10 \
		-c requirements_backend.txt torch torchvision >>$(log) 2>&1 || true
	@$(install_peers) -r requirements/benchmarks.txt >>$(log) 2>&1 || $(report_failure)
	@touch $@

# Peers whose requirements conflict with Prism's have folders of their own. Without one, it is not measured.
$(benchmark_venv)/peers/%.stamp: requirements/peer-%.txt $(benchmark_venv)/.stamp
	@echo "Installing $* into $(benchmark_venv)/peers/$* ..."
	@mkdir -p $(@D)
	@$(install_peers) --upgrade --target $(benchmark_venv)/peers/$* -r $< >>$(log) 2>&1 || \
		echo "$* cannot be installed and is left out (see $(log))" >&2
	@touch $@

# An existing .venv that works is kept.
$(stamps)/venv:
	@if $(python) -c 'import pip' >/dev/null 2>&1; then \
		$(python) -c '$(is_new)' || \
			{ echo "The Python in .venv is older than 3.11. Remove .venv and try again." >&2; exit 1; }; \
		mkdir -p $(stamps); touch $@; exit; fi; \
	found=; for candidate in $(PYTHON); do \
		"$$candidate" -c '$(is_new)' >/dev/null 2>&1 || continue; \
		found=$$candidate; "$$candidate" -c '$(has_venv)' >/dev/null 2>&1 && break; done; \
	test -n "$$found" || { echo "Prism needs Python 3.11 or newer. Install it, or name its path: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$found" -c '$(has_venv)' >/dev/null 2>&1 || \
		{ echo "$$found has no venv module. Install it (Debian, Ubuntu: apt install python3-venv), or name another interpreter: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$found" -m venv --clear .venv >$(log) 2>&1 || $(report_failure); \
	mkdir -p $(stamps); touch $@

# An environment whose interpreter is gone (upgraded, moved) is created again, despite its stamps.
ifneq ($(wildcard .venv),)
ifneq ($(shell $(python) -c 'import pip' >/dev/null 2>&1 || echo broken),)
$(stamps)/venv $(stamps)/run $(stamps)/dev: force
endif
endif
