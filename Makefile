# Two commands do everything on a machine that has Python (3.11 or newer) and git:
#   make demo   installs, and runs the main job on tiny rendered data
#   make test   installs, and passes the tests
# A third, `make bench`, also installs the peers and compares: docs/performance.md.
# `make demo CPU=1` leaves out what only a GPU needs and torch starts without: Triton, a GB of 6.6. (The CUDA libraries
# are linked into torch's wheel on PyPI, and stay.)
PYTHON ?= python3
VENV   ?= .venv
PEERS   = .venv-peers
TRACKERS = .venv-trackers
BIN     = $(VENV)/bin
LEFT_OUT = $(if $(CPU),triton,nothing)

.PHONY: help install demo test test-fast lint types contracts check-tables check-performance check-docs site check peers trackers bench \
	performance docs mutants mutants-page faults fuzz concurrency lock clean

help:
	@echo "make demo | test | test-fast (not the slow ones) | check (lint, types, contracts, tests, tables, pages)"
	@echo "     lint | types | contracts"
	@echo "     mutants (one-line mistakes, and whether tests notice; hours) | mutants-page"
	@echo "     faults (300 SIGKILLs; an hour) | fuzz (100,000 damaged inputs) | concurrency (20 processes on one folder)"
	@echo "     bench (measures against the peers) | performance, docs (their pages alone) | peers | lock | clean"
	@echo "     trackers (the adapters with the libraries themselves; installs these, some 500 MB)"
	@echo "     site (the documentation as a site, in build/site)"

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bench needs Python 3.11 or newer; set PYTHON=python3.11")'
	@echo "installing into $(VENV): a few GB, a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements-build.lock
	sed '/^$(LEFT_OUT)==/,/[^\]$$/d' requirements.lock > $(VENV)/requirements.lock
	MMCV_WITH_OPS=0 $(BIN)/uv pip sync --quiet --system-certs --python $(BIN)/python --compile-bytecode --require-hashes \
		--build-constraints requirements-build.lock $(VENV)/requirements.lock
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Two pretrainings (ours and the control) to two downstream tasks, and the table.
demo: install
	$(BIN)/bench run --smoke --pretrain coco_two_loss random_init --downstream cityscapes_pspnet imagenet_linear \
		--work-dir runs/demo

# Three tests at a time, one thread each, since some wait for processes; files in their order, so that the long ones do not
# come last. The slowest are listed at the end.
test: install
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 25

# What one runs after every edit: all but the tests that are marked as slow.
test-fast: install
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

check-tables: install
	$(BIN)/bench table --check

check-performance: install
	$(BIN)/python benchmarks/page.py --check

check-docs: install
	$(BIN)/python docs/objectives.py --check
	$(BIN)/python docs/recipes.py --check
	$(BIN)/python docs/positive_control.py --check
	$(BIN)/python docs/scale.py --check
	$(BIN)/python docs/reference.py --check
	$(BIN)/python mutation/survivors.py --check

check: lint types contracts check-tables check-performance check-docs site test

# docs as a site in build/site, without a network: warnings and broken links are errors.
site: install
	$(BIN)/python docs/build_site.py

# What this project is measured against, in an environment of its own. solo-learn cannot be installed (it pins torch
# 1.9.1): its files go into a folder there, and benchmarks/sololearn.py says what becomes of them.
peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/peers.lock benchmarks/sololearn.lock | install
	@echo "installing the peers into $(PEERS): a few GB, a minute or more"
	$(BIN)/python -m venv --without-pip $(PEERS)
	$(BIN)/uv pip sync --quiet --system-certs --python $(PEERS)/bin/python --compile-bytecode --require-hashes \
		benchmarks/peers.lock
	rm -rf $(PEERS)/sololearn
	$(BIN)/uv pip install --quiet --system-certs --python $(PEERS)/bin/python --no-deps --only-binary :all: \
		--require-hashes --target $(PEERS)/sololearn --requirements benchmarks/sololearn.lock
	touch $@

# Each tracker's library in a folder of its own, since they disagree on versions, and the tests that use it. No network is
# used by these. ARGS: options of pytest.
trackers: install
	set -e; for name in mlflow trackio wandb swanlab aim; do \
		more=$$([ $$name = mlflow ] && echo mlflow-skinny sqlalchemy alembic || echo $$name); \
		[ -f $(TRACKERS)/$$name/.installed ] || $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python \
			--target $(TRACKERS)/$$name $$more; \
		touch $(TRACKERS)/$$name/.installed; \
		BENCH_NEEDS_TRACKERS=$$name PYTHONPATH=$(CURDIR)/$(TRACKERS)/$$name $(BIN)/python -m pytest -k $$name \
			tests/trackers/test_real_trackers.py $(ARGS); \
	done

# All comparisons on the CPU, one after the other, and the page. ARGS: --only NAME …, --images DIR, --quick.
bench: install peers
	$(BIN)/python benchmarks/run.py $(ARGS)

performance: install
	$(BIN)/python benchmarks/page.py

# docs/objectives.md, from docstrings, constructors, configs and the names of tests, docs/recipes.md, from the table in
# tests/recipes, docs/positive_control.md with its pictures, from the records in results, docs/scale.md, from what
# bench plan --simulate computes, the pages of commands, configs and protocols, from the parser and the configs, and
# docs/plots.md with its figures, from records.
docs: install
	$(BIN)/python docs/objectives.py
	$(BIN)/python docs/recipes.py
	$(BIN)/python docs/positive_control.py
	$(BIN)/python docs/scale.py
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/plots.py

# One-line mistakes in the sources, and whether tests notice. ARGS: --minutes, --seed, --count, --only FOLDER …, --again.
mutants: install
	$(BIN)/python mutation/campaign.py $(ARGS)

mutants-page: install
	$(BIN)/python mutation/survivors.py

# What docs/reliability.md reports. ARGS: --kills, --seed, --only SUBJECT, --work-dir DIR (continues), --write.
faults: install
	$(BIN)/python faults/killing.py $(ARGS)

# ARGS: --count (100,000), --seed, --only KIND …, --write.
fuzz: install
	$(BIN)/python fuzz/fuzzing.py $(ARGS)

# ARGS: --trials, --seed, --write.
concurrency: install
	$(BIN)/python faults/concurrency.py $(ARGS)

# Pins and hashes, no URLs and no hosts: the machine that installs decides where packages come from.
lock:
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --output-file requirements.lock
	printf 'uv\nsetuptools\nwheel\nhatchling\neditables\n' | $(BIN)/uv pip compile --quiet - --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --output-file requirements-build.lock
	$(BIN)/uv pip compile --quiet benchmarks/peers.in --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --output-file benchmarks/peers.lock

clean:
	rm -rf $(VENV) $(PEERS) $(TRACKERS) runs build .mypy_cache .ruff_cache .pytest_cache
