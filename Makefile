# Every target works from a bare clone: Python 3.11+ and make are all it takes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed_dev
DOCS := $(VENV)/.installed_docs
RUN ?= runs/demo

.PHONY: demo test lint bench docs notebooks install clean
install: $(STAMP)

$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "jaxsed needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[report]'
	@touch $@

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

demo: $(STAMP)
	JAX_PLATFORMS=cpu $(BIN)/python -m jaxsed.main --config=configs/demo.py --workdir=$(RUN)

test: $(DEV)
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(DEV)
	JAX_PLATFORMS=cpu $(BIN)/python -m benchmarks.pipeline_ablation --workdir=runs/ablation

notebooks: $(DEV)
	$(BIN)/python -m notebooks.execute

docs: $(DOCS)
	JAX_PLATFORMS=cpu $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) runs build site *.egg-info
