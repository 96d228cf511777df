# `make run` on a fresh machine makes a virtual environment, installs, and opens the console. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The libvirt driver compiles against libvirt-dev: installed where that is.
EXTRAS := dev$(shell pkg-config --exists libvirt 2>/dev/null && command -v cc >/dev/null && echo ,libvirt)

.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast lint bench lab lab-stop wheel clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

run: $(STAMP) ## open the console on this machine's own site
	@$(BIN)/fleet

demo: $(STAMP) ## open the console on a simulated fleet that is thrown away afterwards
	@$(BIN)/fleet demo

test: $(STAMP) ## everything this machine can run; says what it skipped and why
	PYTHON=$(abspath $(BIN)/python) tests/run

test-fast: $(STAMP) ## without the slow tests
	$(BIN)/pytest -n 2 -m 'not slow' -q

lint: $(STAMP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## the product's figures beside their yardsticks, in one table
	$(BIN)/python -m bench

lab: $(STAMP) ## three real libvirt/QEMU hosts in namespaces of this machine; needs root
	$(BIN)/python -m tests.lab start

lab-stop: $(STAMP) ## end them, and remove every trace
	$(BIN)/python -m tests.lab stop

wheel: $(STAMP) ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
