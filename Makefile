# Tightrope: `make help` lists the commands. Everything runs in .venv, which `make setup` fills from pyproject.toml
# (ranges) constrained by requirements.lock (exact versions).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUN    := $(BIN)/python -m
LOG    := $(VENV)/setup.log
# Tests and notebooks run in this many processes, each with one thread.
# nproc counts what OMP_NUM_THREADS says where that is set; here it is one thread of each process.
WORKERS ?= $(shell env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
PYTEST := $(RUN) pytest -n $(WORKERS) --dist loadscope

NOTEBOOKS := $(wildcard notebooks/*/*.ipynb)
# nbval counts by the clock: a cell that takes this many seconds hangs, however busy the machine is.
CELL_TIMEOUT ?= 3600

# How long, and which random networks or rows.
SECONDS ?= 3600
SEED ?= 0

# One line for a step of the set-up; what it says goes to the log, and its end is shown when it fails.
step = printf '  %s ... ' '$(1)'; if { $(2); } >> $(LOG) 2>&1; then echo done; \
    else echo 'failed; the end of $(LOG):'; tail -n 8 $(LOG); exit 1; fi

.PHONY: help setup reproduce report quick test test-long soundness certificates verify verify-all browser lab gallery data bench peers lint format lock

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with the exact versions of requirements.lock

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Tightrope needs Python 3.11 or later; name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@mkdir -p $(VENV) && : > $(LOG)
	@echo "Setting up $(VENV): a few minutes; 2 GB of disk, or 7 where torch comes with CUDA. The log is $(LOG)."
	@$(call step,Python environment,test -x $(BIN)/python || $(PYTHON) -m venv $(VENV))
	@$(call step,packages of requirements.lock and Tightrope itself,$(RUN) pip install --disable-pip-version-check \
	    --progress-bar off -c requirements.lock -e '.[onnx]')
	@touch $@

reproduce: setup  ## run every notebook on embedded data, then print printed / reproduced / verdict
	$(BIN)/tightrope run --all --profile quick
	$(BIN)/tightrope compare

report: setup  ## write figures/site: every printed number beside ours, and the API; open figures/site/index.html
	$(BIN)/tightrope report

quick: lint  ## lint and the fast tests: while working
	$(PYTEST) -m 'not browser and not long and not notebooks and not published' --ignore tests/results --ignore tests/explorers

test: lint  ## lint, unit tests, and the notebooks against their stored outputs
	$(PYTEST) -m 'not browser and not long'
ifneq ($(NOTEBOOKS),)
	$(PYTEST) --nbval-lax --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) notebooks
endif

test-long: setup  ## what `make test` leaves out: the papers' files in full
	$(PYTEST) --dist load -m long

soundness: setup  ## SECONDS=3600 of random small networks with exact answers; SEED=0 goes on where it ended
	$(RUN) tests.soundness --seconds $(SECONDS) --seed $(SEED)

certificates: setup  ## write the certificates that committed rows lack (hours); ARCHIVE=FILE.tar packs all for a release
	$(BIN)/tightrope certificates --jobs $(WORKERS) $(if $(ARCHIVE),--archive $(ARCHIVE))

verify: setup  ## check the certificates of 20 committed rows in exact arithmetic; SEED=0 says which
	$(BIN)/tightrope verify --all --sample 20 --seed $(SEED)

verify-all: setup  ## check the certificates of all committed rows
	$(BIN)/tightrope verify --all

browser: setup  ## drive the explorers in Chromium (apt-get install chromium), in JupyterLab and in Voila
	$(RUN) pip install --quiet -c requirements.lock -e '.[browser]'
	$(RUN) pytest -m browser -s tests/browser

lab: setup  ## open JupyterLab on the gallery of all results
	$(RUN) jupyter lab --notebook-dir=. notebooks/index.ipynb

gallery: setup  ## write notebooks/index.ipynb, and the links of every notebook
	$(RUN) tightrope.report.gallery

data: setup  ## fetch the papers' networks and MNIST, and check every SHA-256
	$(BIN)/tightrope data

bench: setup  ## time the solvers against each other on this machine
	$(RUN) tests.benchmarks

peers: setup  ## ask other verifiers the same questions, each in an environment of its own (hours); LIMIT=25 starts anew
	$(RUN) tests.benchmarks.peers $(LIMIT:%=--limit % --restart)

lint: setup  ## style, formatting, layers and types, without the tests
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(BIN)/lint-imports
	$(RUN) mypy

format: setup  ## format the code
	$(RUN) ruff check --fix --exit-zero --quiet .
	$(RUN) ruff format .

# torch is pinned without its local version (+cpu, +cu...), so that the lock fits any index.
TORCH := torch==2.13.0

lock: setup  ## resolve pyproject.toml anew into requirements.lock
	$(RUN) pip install --quiet -c requirements.lock -e '.[lock]'
	CUSTOM_COMPILE_COMMAND='make lock' $(RUN) piptools compile --quiet --upgrade --strip-extras --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host --no-emit-options --upgrade-package '$(TORCH)' \
	    --extra browser --extra cluster --extra onnx --output-file requirements.lock pyproject.toml
	sed -i.old 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock && rm requirements.lock.old
