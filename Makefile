# The project's one task runner; `make help` lists what there is. CI calls only targets from here.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
# The cluster that `make cluster`, `make demo` and `make test-e2e` share.
CLUSTER ?= mlpipeline
# For how long `make test-outages` keeps the parts of Airflow away.
MINUTES ?= 15

VENV := .venv
BIN := $(VENV)/bin
SOURCES := operator dags trainer tools tests
PYTEST := $(BIN)/python -m pytest
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header

export PYTHONDONTWRITEBYTECODE := 1
export MLP_CLUSTER := $(CLUSTER)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

##@ Use

.PHONY: demo
demo: ## Cluster, operator and the MNIST pipeline, until its metrics are in the status
	@$(PYTHON) -m tools.demo --name $(CLUSTER)

.PHONY: cluster
cluster: ## Bring up a real Kubernetes (kind where Docker works, else its components as root)
	@$(PYTHON) -m tools.cluster up --name $(CLUSTER)

.PHONY: cluster-down
cluster-down: ## End the cluster and leave the machine as it was
	@$(PYTHON) -m tools.cluster down --name $(CLUSTER)

.PHONY: kubeconfig
kubeconfig: ## Print the path of the cluster's kubeconfig
	@$(PYTHON) -m tools.cluster kubeconfig --name $(CLUSTER)

.PHONY: images
images: ## Build the images whose inputs changed
	@$(PYTHON) -m tools.cluster images build

##@ Develop

.PHONY: venv
venv: ## Make .venv from requirements/dev.txt, when that changed
	@$(PYTHON) -m tools.venv requirements/dev.txt $(VENV) >/dev/null

.PHONY: fmt
fmt: venv ## Format and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

.PHONY: check
check: venv ## Format, lint, types, layers, CRDs up to date, nothing of this machine in the tree
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "Run 'make fmt'."; exit 1; }
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/mypy
	@PYTHONPATH=operator:dags:trainer $(BIN)/lint-imports --no-cache
	@PYTHONPATH=operator $(BIN)/python -m mlpipeline_operator.api.crd --out crds --check
	@$(BIN)/python -m tools.check_tree
	@echo "make check: all well"

.PHONY: crds
crds: venv ## Generate crds/ from the models
	@PYTHONPATH=operator $(BIN)/python -m mlpipeline_operator.api.crd --out crds

.PHONY: requirements
requirements: venv ## Compile the requirements with hashes, each file after those that it includes
	@for name in bootstrap operator dev trainer trainer-test airflow-test; do \
	  $(COMPILE) --universal --python-version 3.11 requirements/$$name.in -o requirements/$$name.txt; \
	done
	@$(COMPILE) --python-version 3.13 requirements/airflow.in -o requirements/airflow.txt

##@ Test

.PHONY: test
test: check test-trainer test-airflow ## All checks and tests; the end-to-end ones on a real cluster
	@$(PYTEST) tests/unit tests/integration tests/e2e

.PHONY: test-unit
test-unit: venv ## Without any cluster, in seconds
	@$(PYTEST) tests/unit

.PHONY: test-trainer
test-trainer: ## The trainer with TensorFlow, in an environment of its own; a process for each file
	@trainer=$$($(PYTHON) -m tools.venv requirements/trainer-test.txt --cached trainer) && \
	failed= && for file in tests/trainer/test_*.py; do \
	  $$trainer/bin/python -m pytest -c trainer/pyproject.toml $$file || failed="$$failed $$file"; \
	done && { test -z "$$failed" || { echo "failed:$$failed"; exit 1; }; }

.PHONY: test-airflow
test-airflow: ## DAG, bundle and worker in a real Airflow, in an environment of its own
	@airflow=$$($(PYTHON) -m tools.venv requirements/airflow-test.txt --cached airflow) && \
	$$airflow/bin/python -m pytest -c tests/airflow/pytest.ini tests/airflow

.PHONY: test-integration
test-integration: venv ## Against a real API server that the tests bring up
	@$(PYTEST) tests/integration

.PHONY: test-e2e
test-e2e: venv ## The whole chain on the real cluster; one that the tests started is ended
	@$(PYTEST) tests/e2e

.PHONY: test-outages
test-outages: venv ## Trainings while a part of Airflow is away for MINUTES; not part of `make test`
	@MINUTES=$(MINUTES) $(PYTEST) tests/outages

.PHONY: bench
bench: venv ## Measure the operator with 1,000 pipelines on a control plane of its own
	@PYTHONPATH=operator $(BIN)/python -m tools.bench

.PHONY: bench-runs
bench-runs: venv ## Measure 5,000 runs of 1,000 pipelines, against a fake Airflow on loopback
	@PYTHONPATH=operator $(BIN)/python -m tools.bench --runs 5
