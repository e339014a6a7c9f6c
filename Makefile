# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake
CORES ?= 2
NAME ?= mini

# As in the jobs of the workflow: see src/cladeclip/run/job_environment.py.
export GOMP_SPINCOUNT ?= 10000

ifneq ($(words $(CURDIR)),1)
$(error $(CURDIR): programs cannot be started from a path with a space; move the folder to a path without)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo real new doctor check-hub test test-all lint slurm-test torture bench imports demo-time gpu-check gpu-wheels rehearsal study ways taxonomy reproduce clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp is newer than the lock: a second run installs nothing.
.venv/installed: envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the locked environment into .venv (8 GB; three minutes or more, once)."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python envs/install.py $(BIN)/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2> .venv/install-own.log || { cat .venv/install-own.log; exit 1; }
	@touch $@

setup: .venv/installed ## install everything that the other targets need into .venv (8 GB)

demo: setup ## draw specimens and run the whole method on them (3 minutes on 2 cores)
	@$(BIN)/python workflow/warm_snakemake.py --cores $(CORES) --configfile config/demo.yaml
	@$(BIN)/python -m cladeclip.reporting.summary results/demo

real: setup ## run it on your pictures: make real DATA=FOLDER [NAME=mini]
	@test -n "$(DATA)" || { echo "Say where the pictures are: make real DATA=FOLDER (with CATEGORY/images/ and CATEGORY/metadata/*.csv)"; exit 1; }
	$(SNAKEMAKE) --cores $(CORES) --configfile config/mini.yaml --config 'dataset={"name": "$(NAME)", "root": "$(DATA)"}'
	@$(BIN)/python -m cladeclip.reporting.summary results/$(NAME)

new: setup ## look at a folder or table of pictures and write a config for it: make new NAME=mine DATA=FOLDER
	@test "$(origin NAME)" != file -a -n "$(DATA)" || { echo "Say what to call them and where they are: make new NAME=mine DATA=FOLDER (or a table of them)"; exit 1; }
	@$(BIN)/python -m cladeclip.run.new_config "$(NAME)" "$(DATA)"

doctor: setup ## check this machine, and what the configured run needs: make doctor [CONFIG="config/mini.yaml my.yaml"]
	@$(BIN)/python -m cladeclip.run.doctor $(CONFIG)

check-hub: setup ## with internet: compare the model hub with what the config assumes of it: make check-hub [CONFIG=my.yaml]
	@$(BIN)/python -m cladeclip.run.check_hub $(CONFIG)

test: setup ## run the test suite (8 minutes on 2 quiet cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --ignore=tests/workflow/test_slurm.py

test-all: test slurm-test torture ## the test suite, and what needs whole runs: Slurm (root), and 30 kills

lint: setup ## check style, types and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(SNAKEMAKE) --lint

slurm-test: setup ## the Slurm profile on a cluster of this machine alone (15 minutes; needs root and Slurm: apt-get install slurm-wlm munge slurm-client)
	$(BIN)/pytest tests/workflow/test_slurm.py

torture: setup ## kill a run 30 times at random moments and compare its bytes (about 25 minutes)
	$(BIN)/pytest tests/workflow/torture.py

bench: setup ## measure against peers: make bench [DATA=FOLDER] [SMALL=1]; results/benchmarks.csv
	$(BIN)/python -m benchmarks $(if $(SMALL),--small) $(if $(DATA),--data "$(DATA)")

study: setup ## does it work? 79 trainings, 45 minutes on 2 cores: make study DATA=FOLDER; results/study/study.md
	$(BIN)/python -m benchmarks.study $(if $(DATA),--data "$(DATA)")

ways: setup ## which way to train helps, and does one harm? every way on four folds of unseen species (5,000 pictures: four hours on 2 cores): make ways DATA=FOLDER NAME=mine
	@test "$(origin NAME)" != file -a -n "$(DATA)" || { echo "Say what to call it and where the pictures are: make ways DATA=FOLDER NAME=mine"; exit 1; }
	@test -f "config/$(NAME).yaml" || $(BIN)/python -m cladeclip.run.new_config "$(NAME)" "$(DATA)"
	$(SNAKEMAKE) --cores $(CORES) --configfile config/mini.yaml config/$(NAME).yaml config/ways.yaml --config 'dataset={"name": "$(NAME)-ways"}'
	@$(BIN)/python -m cladeclip.reporting.summary results/$(NAME)-ways

taxonomy: setup ## names at several ranks beside a flat softmax: make taxonomy DATA=FOLDER [NAME=mini] (4 minutes after make real)
	@test -n "$(DATA)" || { echo "Say where the pictures are: make taxonomy DATA=FOLDER"; exit 1; }
	$(BIN)/python -m benchmarks.taxonomy --data "$(DATA)" --name "$(NAME)" $(if $(SMALL),--small)

imports: setup ## what starting a job of each kind costs, beside the libraries that it uses
	$(BIN)/python -m benchmarks.imports

rehearsal: setup ## the default experiment at full size with drawn pictures and tiny models, without network (half an hour on two cores): make rehearsal [PICTURES=800]
	$(BIN)/python -m benchmarks.rehearsal --cores $(CORES) $(if $(PICTURES),--pictures $(PICTURES))

# On a machine without network, where `make setup` cannot run, what `make gpu-wheels` packed is installed beside its own torch.
GPU_ENV := $(if $(wildcard .venv/installed),.venv,$(if $(wildcard gpu-wheels/*.whl),.venv-gpu,.venv))

.venv-gpu/installed: $(wildcard gpu-wheels/*.whl)
	@$(PYTHON) -m venv --system-site-packages .venv-gpu
	@.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps gpu-wheels/*.whl
	@touch $@

gpu-check: $(GPU_ENV)/installed ## try this machine's GPU: the same as the CPU, how fast, a whole run (5 minutes; SMALL=1: on the CPU); results/gpu.json
	PYTHONPATH=src $(GPU_ENV)/bin/python -m benchmarks.gpu $(if $(SMALL),--small)

gpu-wheels: setup ## pack what a GPU machine without network lacks into gpu-wheels/ (for Python 3.12, below 60 MiB)
	@$(BIN)/python envs/gpu_wheels.py gpu-wheels

demo-time: setup ## run the demo anew and print where its time goes
	$(BIN)/python -m benchmarks.demo_time

reproduce: setup ## compare a finished run with the manifest.json of another: make reproduce NAME=demo MANIFEST=FILE
	@test -n "$(MANIFEST)" || { echo "Say which manifest: make reproduce NAME=demo MANIFEST=FILE"; exit 1; }
	$(BIN)/python -m cladeclip.run.integrity "results/$(NAME)" "$(MANIFEST)"

clean: ## remove the results and data of the demo; everything else stays
	rm -rf results/demo data/demo
