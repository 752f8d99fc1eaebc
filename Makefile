# The verbs; each is the same here and in CI. ARGS is handed on: make test ARGS="-k book"
BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
HAND_WRITTEN := $(wildcard server clients gateway tests bench proto/generate.py)

.PHONY: setup up test check bench generate lock clean
.DELETE_ON_ERROR:
# Where bytecode is not kept each process compiles all that it loads: a start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# Where the machine has certificates, pip may have been pointed at them; uv trusts its own otherwise.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),true,false)

# Where pip is told to read from a mirror, uv does, which reads none of pip's configuration.
.venv/.runtime .venv/.dev lock: export UV_DEFAULT_INDEX ?= $(shell $(BIN)/pip config list 2>/dev/null | sed -n "s/^[a-z:]*\.index-url='\(.*\)'/\1/p" | head -n 1)

# As pip does, uv goes without a cache where it can't write one: a home that is nobody's.
.venv/.runtime .venv/.dev lock: export UV_NO_CACHE ?= $(shell d=$$($(BIN)/uv cache dir 2>/dev/null) && mkdir -p "$$d" 2>/dev/null && test -w "$$d" && echo false || echo true)

setup:  ## the environment at .venv, with what tests and checks need
	@+$(call made,.venv/.dev)

up:  ## start the exchange: make up ARGS="--help" explains the options
	@+$(call made,.venv/.runtime)
	$(BIN)/exchange up $(ARGS)

test: setup  ## a process for each core, at most four, a file of tests in one; make test ARGS="-n0" for a debugger
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy $(HAND_WRITTEN)
	$(BIN)/python proto/generate.py --check && $(BIN)/pytest -q tests/architecture && $(BIN)/python -m gateway.envoy --validate

bench: setup
	$(BIN)/python -m bench $(ARGS)

generate: setup  ## Python and the descriptor image from proto/**/*.proto
	$(BIN)/python proto/generate.py

lock:  ## renew the pins within pyproject.toml's bounds: make lock ARGS=--upgrade
	@+$(call made,.venv/.uv)
	$(LOCK) pyproject.toml --group build -o requirements.lock $(ARGS)
	$(LOCK) pyproject.toml --group build --group dev -c requirements.lock -o requirements-dev.lock $(ARGS)
	$(LOCK) --group full -o requirements-full.lock $(ARGS)
	$(LOCK) --group installer -o requirements-installer.lock $(ARGS)
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

clean:  ## everything that can be made again; never a data directory
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Of two at once in one tree, the second waits and then finds it made.
made = $(MAKE) --no-print-directory -q $(1) || flock Makefile $(MAKE) --no-print-directory $(1)

# Of no use, so made anew: one whose Python is gone or another, or that was moved from where it was made.
USELESS = cd .venv && test -e .uv && ! { bin/python -c 'import uv' && grep -qF " $$(pwd -P)" pyvenv.cfg; }
ifeq ($(shell { $(USELESS); } 2>/dev/null && echo useless),useless)
.PHONY: .venv/.uv
endif

# Cleared: of one that was interrupted, what is there of pip keeps venv from installing the rest.
.venv/.uv:
	@test -n "$(PYTHON)" || { echo "setup needs Python 3.11 or 3.12 on PATH; name one with: make PYTHON=/path/to/python3.12"; exit 1; }
	"$(PYTHON)" -m venv --clear .venv && $(BIN)/pip install --require-hashes -r requirements-installer.lock && touch $@

# Running needs its own lock only; what is installed on top for tests stays.
.venv/.runtime: .venv/.uv requirements.lock pyproject.toml
	$(BIN)/uv pip install --require-hashes -r requirements.lock && $(EDITABLE) && touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	$(BIN)/uv pip sync --require-hashes requirements-dev.lock && $(EDITABLE) && touch $@
EDITABLE = $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
