# `make help` lists what there is; `make dev` is all that is needed to start.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := backend/requirements/dev.txt
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished
RUN := cd backend && exec ../$(BIN)/python
ARGS ?=
COMPILE := ../$(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --quiet

MAKEFLAGS += --no-print-directory

# Quotes inside of quotes of the same kind end those: the shell makes further goals of what follows, and ARGS is cut.
ifneq ($(strip $(value ARGS)),)
ifneq ($(word 2,$(MAKECMDGOALS)),)
$(error ARGS goes to one target, and here are $(MAKECMDGOALS). For quotes inside of ARGS use the other kind outside: \
make cli ARGS='dead list --error "it broke"')
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup dev dev-web dev-worker shell cli demo services stop migrate catalog test check fuzz conformance chaos bench lint types imports docs docs-check format package lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Create .venv with the locked dependencies

# A run that was interrupted leaves $(UNFINISHED) behind: what it installed may be half there, so start afresh.
$(STAMP): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(UNFINISHED)
	@echo "Installing the dependencies; the first time takes about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	@rm -f $(UNFINISHED)
	@touch $(STAMP)

dev: setup ## Redis, PostgreSQL, web process and worker, with reload; Ctrl-C stops all of it
	@$(RUN) -m app.dev up

dev-web: setup ## The web process only (and the servers)
	@$(RUN) -m app.dev web

dev-worker: setup ## The worker only (and the servers)
	@$(RUN) -m app.dev worker

shell: setup ## A Python shell with the tasks' registry and the container, on the servers of `make dev` or its own
	@$(RUN) -m app.dev shell

cli: setup ## The command line, on the servers of `make dev` or its own; ARGS="dead list", ARGS="--help"
	@$(RUN) -m app.dev cli $(value ARGS)

demo: setup ## Fill the console of a running `make dev` with a day of lifelike jobs; ARGS=--remove takes them away
	@$(RUN) -m app.dev demo $(value ARGS)

services: setup ## Redis and PostgreSQL in the background, until `make stop`
	@$(RUN) -m app.dev services

stop: setup ## Stop all processes of this checkout
	@$(RUN) -m app.dev stop

migrate: setup ## Upgrade the database to the newest migration
	@$(RUN) -m app.dev migrate

catalog: setup ## Regenerate app/queue/catalog.py, the typed names of all tasks
	@$(RUN) -m app.dev catalog $(value ARGS)

# Images set it: each of the tests' processes would compile all modules.
test fuzz: export PYTHONDONTWRITEBYTECODE :=

test: setup ## All tests, on eight processes; ARGS="-k users -x" goes to pytest, on one
	@$(RUN) -m pytest $(or $(value ARGS),--processes 8)

check: lint types imports docs test fuzz ## Everything that CI checks

fuzz: setup ## Requests generated from the OpenAPI document: none may cause a server error
	@$(RUN) -m pytest tests/fuzz/server_errors.py $(value ARGS)

conformance: setup ## SAQ's own tests of queue, worker and job, on the engine; ARGS="--stock" on SAQ's classes
	@$(RUN) -m tests.conformance $(value ARGS)

chaos: setup ## Inject faults into workers, Redis, PostgreSQL and networks while jobs run; ARGS="--plan durable --seed 7", ARGS="--list"
	@$(RUN) -m tests.chaos $(value ARGS)

bench: setup ## Compare with stock SAQ, and regenerate docs/reference/benchmarks.md; ARGS="--quick" saves nothing
	@$(RUN) -m benchmarks $(value ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check backend
	@$(BIN)/ruff format --check backend

types: setup ## mypy and pyright
	@cd backend && ../$(BIN)/mypy
	@cd backend && ../$(BIN)/pyright

imports: setup ## The import rule of the architecture
	@cd backend && ../$(BIN)/lint-imports

docs: setup ## Build the documents as a site into backend/site, with the API reference; a broken link fails
	@$(RUN) -m mkdocs build --quiet

docs-check: setup ## The documents: paths, commands, code blocks
	@$(RUN) -m pytest tests/docs

format: setup ## Fix what ruff can fix, and format
	@$(BIN)/ruff check --fix backend
	@$(BIN)/ruff format backend

package: setup ## Build the wheel and the sdist of the library into backend/dist
	@rm -rf backend/dist
	@cd backend && ../$(BIN)/uv build --quiet --no-index --out-dir dist
	@ls backend/dist

lock: setup ## Update the locked dependencies of backend/pyproject.toml
	@cd backend && $(COMPILE) pyproject.toml --extra cli --extra dishka --extra prometheus --group app -o requirements/base.txt
	@cd backend && $(COMPILE) pyproject.toml --all-extras --group dev -c requirements/base.txt -o requirements/dev.txt
	@cd backend && $(COMPILE) pyproject.toml --all-extras requirements/examples.in -c requirements/dev.txt -o requirements/examples.txt
	@cd backend && $(COMPILE) requirements/conformance.in -c requirements/dev.txt -o requirements/conformance.txt
	@cd backend && for peer in requirements/bench-*.in; do $(COMPILE) --no-strip-extras $$peer -o $${peer%.in}.txt || exit; done

clean: ## Remove .venv, caches and the embedded servers' data
	@if [ -e $(STAMP) ] && [ -d .dev ]; then $(MAKE) stop; fi
	@rm -rf $(VENV) .dev backend/dist backend/site backend/.mypy_cache backend/.pytest_cache backend/.ruff_cache backend/.import_linter_cache backend/*.egg-info .ruff_cache
	@find backend -name __pycache__ -prune -exec rm -rf {} +
