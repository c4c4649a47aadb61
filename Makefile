# Each target installs what it needs; a new machine needs only Python 3.11 or later, and make.
# `make` lists the targets.

.DEFAULT_GOAL := help
.PHONY: help install run migrate reset demo-data migration resource remove mine token test test-all rehearse shapes smoke failed-events test-tokens lint cost scan format openapi release prove bench build debugger up down clean

export PORT ?= 3000
export SAM_CLI_TELEMETRY := 0
# Keep bytecode, also of tests: without it each process of `make test` starts a second later.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := .tools/uv/bin/uv
# Variables, such as MESSAGE='5 $ a "day"', reach a recipe's environment unchanged.
$(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(eval export $(name))\
	$(eval override $(name) := $$(value $(name)))))
# The Python of a new .venv, such as `make install PYTHON=python3.12`; empty: the best on the PATH.
PYTHON :=

help:            ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## install all packages into .venv, as pinned in uv.lock (GROUP=delivery for one group)

run: $(READY)    ## run the API on http://127.0.0.1:3000 (PORT=… for another port)
	@$(BIN)/python -m local run

migrate: $(READY)  ## migrate the database's schema
	@$(BIN)/python -m local migrate

reset: $(READY)  ## empty the local databases
	@$(BIN)/python -m local reset

demo-data: $(READY)  ## fill the database with realistic users and posts (USERS=10000 POSTS=50000)
	@$(BIN)/python -m local demo-data $(if $(USERS),--users "$$USERS") $(if $(POSTS),--posts "$$POSTS")

token: $(READY)  ## print a token for the API of `make run` (ROLE=author SUBJECT=ada)
	@$(BIN)/python -m local token $(if $(ROLE),--role "$$ROLE") $(if $(SUBJECT),--subject "$$SUBJECT")

test: $(READY)   ## run the product's tests, in parallel (ARGS='tests/layer -k name' for some)
	@$(BIN)/pytest $(ARGS)

test-all: $(READY)  ## run all tests, those of the laboratory included (ARGS='-n 2' in two processes)
	@$(BIN)/pytest --laboratory $(ARGS)

smoke: $(READY)  ## check a deployed API (STAGE=staging, or BASE_URL=… ADMIN_TOKEN=… READER_TOKEN=…)
	@$(BIN)/pytest -v -m smoke tests/smoke $(ARGS)

failed-events: $(READY)  ## print why a stage's last deployment failed, nested stacks included (STAGE=staging)
	@$(BIN)/python -m tests.smoke.stage "$$STAGE"

shapes: $(READY)   ## change a resource in many ways, in copies, and run its suites there (minutes)
	@$(BIN)/pytest -v -m 'not smoke' tests/shapes $(ARGS)

rehearse: $(READY)  ## deploy all profiles to a simulated AWS on this machine (minutes)
	@$(BIN)/pytest -v -n 2 -m rehearsal tests/rehearsal $(ARGS)

test-tokens: $(READY)  ## send forged tokens to a running API (BASE_URL=…; see docs/development.md)
	@$(BIN)/pytest tests/tokens/test_forgeries.py -q $(ARGS)

lint: $(READY)   ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

cost: $(READY)   ## estimate what a profile costs a month (PROFILE=standard ARGS=--proxy)
	@$(BIN)/python -m tests.template.cost $(if $(PROFILE),--profile "$$PROFILE") $(ARGS) 2>/dev/null

scan: $(READY)   ## scan the templates and their IAM policies for insecure settings
	@$(BIN)/python -m tests.template.scan

format: $(READY)  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

migration: $(READY)  ## write a migration to what the models declare (MESSAGE='…')
	@$(BIN)/python -m local.generate.migration "$$MESSAGE"

resource: $(READY)  ## write a resource and its tests (NAME=tickets FIELDS='title:str due:date?')
	@$(BIN)/python -m local.generate.resource "$$NAME" --of "$$OF" --item "$$ITEM" --key "$$KEY" --fields "$$FIELDS" \
		--owners "$$OWNERS"

remove: $(READY)  ## remove resources: tables, function, routes, tests (NAME=tickets, or several)
	@$(BIN)/python -m local.generate.remove "$$NAME"

mine: $(READY)   ## make the repository a product's own (NAME=shop TITLE='Shop API' LAB=drop EXAMPLES=drop)
	@$(BIN)/python -m local.generate.mine "$$NAME" "$$TITLE" --lab "$${LAB:-keep}" --examples "$${EXAMPLES:-keep}"

openapi: $(READY)  ## write what follows from the routes: OpenAPI document, sample events, tables of the API's page
	@$(BIN)/python -m local.generate.derived

release: $(READY)  ## write what a release consists of to dist/ (TAG=v1.2.0 must be the version)
	@$(BIN)/python -m local.generate.release "$$TAG"

prove: $(READY)  ## check the cache's consistency while workers are killed (minutes)
	@$(BIN)/python -m tests.coherence.prove $(ARGS)

bench: $(READY)  ## measure this project against the baseline (ARGS=warm for one part)
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(READY)  ## sam build: build functions and layers for deployment
	@$(BIN)/sam build

debugger: $(READY)  ## install the debugger for `sam local … --config-env debug`
	@sh local/install_debugger.sh

up:              ## start PostgreSQL and Valkey in Docker, for sam local
	docker compose -f local/compose.yaml up -d --wait

down:            ## stop PostgreSQL and Valkey in Docker; their data is kept
	docker compose -f local/compose.yaml down

clean:           ## remove everything that the other targets created, including the local databases
	rm -rf $(VENV) .tools .local .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml uv.lock local/install.sh local/uv-requirements.txt $(UV)
	@sh local/install.sh $(VENV) $(UV) $(PYTHON)
	@touch $@

$(UV):           # installed by local/install.sh
