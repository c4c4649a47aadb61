# Each target brings what it needs; a fresh machine needs Python 3.11 or later, and make.
# `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help install run migrate demo-data test lint format openapi prove bench build debugger up down clean

export PORT ?= 3000
export SAM_CLI_TELEMETRY := 0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := .tools/uv/bin/uv
# What a new .venv is made with; empty: the best on the PATH. `make install PYTHON=python3.12`
PYTHON :=

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 20

install: $(READY)  ## bring all packages into .venv, as uv.lock pins them

run: $(READY)    ## run the API on http://127.0.0.1:3000 (PORT=… for another port)
	@$(BIN)/python -m local run

migrate: $(READY)  ## bring the database's schema up to date
	@$(BIN)/python -m local migrate

demo-data: $(READY)  ## fill the database with realistic users and posts (USERS=10000 POSTS=50000)
	@$(BIN)/python -m local demo-data $(if $(USERS),--users $(USERS)) $(if $(POSTS),--posts $(POSTS))

test: $(READY)   ## run all tests (ARGS='-k name' for some)
	@$(BIN)/pytest $(ARGS)

lint: $(READY)   ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)  ## put the code into its format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

openapi: $(READY)  ## write the merged OpenAPI document and the sample events
	@$(BIN)/python -m local.generate.openapi
	@$(BIN)/python -m local.generate.sample_events

prove: $(READY)  ## prove the cache coherent over real sandboxes that are killed (minutes)
	@$(BIN)/python -m tests.coherence.prove $(ARGS)

bench: $(READY)  ## measure ours beside the ordinary way (ARGS=warm for one part)
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(READY)  ## sam build: functions and layers as they are deployed
	@$(BIN)/sam build

debugger: $(READY)  ## bring the debugger that `sam local … --config-env debug` puts into containers
	@sh local/install_debugger.sh

up:              ## start PostgreSQL and Valkey in Docker, for sam local
	docker compose -f local/compose.yaml up -d --wait

down:            ## stop them; their data stays
	docker compose -f local/compose.yaml down

clean:           ## remove what the other targets made, the local databases included
	rm -rf $(VENV) .tools .local .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml uv.lock local/install.sh local/uv-requirements.txt $(UV)
	@sh local/install.sh $(VENV) $(UV) $(PYTHON)
	@touch $@

$(UV):           # install.sh brings it
