# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake
CORES ?= 2
NAME ?= mini

.DEFAULT_GOAL := help
.PHONY: help setup demo real test lint bench study taxonomy clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp is newer than the lock: a second run installs nothing.
.venv/installed: envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the locked environment into .venv (about 7 GB; some minutes, once)."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r envs/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: .venv/installed ## install everything that the other targets need into .venv (about 7 GB)

demo: setup ## draw specimens and run the whole method on them (4 minutes on 2 cores)
	$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml --quiet reason
	@$(BIN)/python -m cladeclip.reporting.summary results/demo

real: setup ## run it on your pictures: make real DATA=FOLDER [NAME=mini]
	@test -n "$(DATA)" || { echo "Say where the pictures are: make real DATA=FOLDER (with CATEGORY/images/ and CATEGORY/metadata/*.csv)"; exit 1; }
	$(SNAKEMAKE) --cores $(CORES) --configfile config/mini.yaml --config 'dataset={"name": "$(NAME)", "root": "$(DATA)"}' --quiet reason
	@$(BIN)/python -m cladeclip.reporting.summary results/$(NAME)

test: setup ## run the test suite
	$(BIN)/pytest

lint: setup ## check style, types and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(SNAKEMAKE) --lint

bench: setup ## measure against peers: make bench [DATA=FOLDER] [SMALL=1]; results/benchmarks.csv
	$(BIN)/python -m benchmarks $(if $(SMALL),--small) $(if $(DATA),--data "$(DATA)")

study: setup ## does it work? 79 trainings, 45 minutes on 2 cores: make study DATA=FOLDER; results/study/study.md
	$(BIN)/python -m benchmarks.study $(if $(DATA),--data "$(DATA)")

taxonomy: setup ## names at several ranks beside a flat softmax: make taxonomy DATA=FOLDER [NAME=mini] (4 minutes after make real)
	@test -n "$(DATA)" || { echo "Say where the pictures are: make taxonomy DATA=FOLDER"; exit 1; }
	$(BIN)/python -m benchmarks.taxonomy --data "$(DATA)" --name "$(NAME)" $(if $(SMALL),--small)

clean: ## remove the results and data of the demo; everything else stays
	rm -rf results/demo data/demo
