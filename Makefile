# kedge: `make demo` shows the main job, `make test` proves it. Both set up everything they need.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help install install-dev demo test test-unit test-vm lint conformance bench clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Put kedge, kedged and kedge-runtime into .venv/bin

install-dev: $(VENV)/.installed-dev ## The same with the tools the tests need

$(VENV)/bin/python:
	@./scripts/ensure-venv $(PYTHON) $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --retries 10 --timeout 60 --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints-dev.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --retries 10 --timeout 60 --disable-pip-version-check --constraint constraints-dev.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

demo: ## Build an image, run it, look at its page: the main job as a tutorial
	@if [ "$$(id -u)" != 0 ]; then echo "kedge: make demo needs root for namespaces and mounts: run  sudo make demo" >&2; exit 1; fi
	@$(MAKE) --no-print-directory install
	@./scripts/demo

test: ## Run every test, with its own set-up
	@if [ "$$(id -u)" != 0 ]; then echo "kedge: make test needs root for namespaces and mounts: run  sudo make test" >&2; exit 1; fi
	@$(MAKE) --no-print-directory install-dev
	@./scripts/test-setup
	@$(BIN)/python -m pytest -m "" -n 2 --dist loadgroup -q

test-unit: install-dev ## Run the tests that need neither root nor network
	@$(BIN)/python -m pytest tests/unit tests/contract -q

test-vm: ## Boot Linux 6.12 and 6.1 under emulation: cgroup v2 and a real reboot
	@if [ "$$(id -u)" != 0 ]; then echo "kedge: make test-vm needs root to share the host's tree: run  sudo make test-vm" >&2; exit 1; fi
	@$(MAKE) --no-print-directory install-dev
	@./scripts/test-setup
	@./scripts/test-vm

lint: install-dev ## Linters, types, import contracts
	@$(BIN)/python -m pytest tests/meta -m "" -q

conformance: install ## Run the validation programs of OCI runtime-tools (needs root and Go; ten minutes)
	@$(BIN)/python scripts/oci-validation --write

bench: install ## Measure kedge beside the engines that are installed, in one run
	@$(BIN)/python bench/run.py

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
