# mcnet: from a bare machine to a moving face, or to a green test run.  `make help` lists the targets.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PACKAGED := settings.ini setup.py constraints.txt

.PHONY: help install demo test lint export notebooks docs picture constraints clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none is on the PATH; install it or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m virtualenv $(VENV); } || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# One stamp per extra. torch goes first and alone, so that pip takes the CPU wheel where it sees one.
$(VENV)/.installed: EXTRAS =
$(VENV)/.installed-dev: EXTRAS = [dev]
$(VENV)/.installed-docs: EXTRAS = [dev,docs]
$(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-docs: $(PACKAGED) | $(BIN)/python
	@echo "installing mcnet$(EXTRAS) and what it needs into $(VENV) (once; some minutes)"
	@$(PIP) torch
	@$(PIP) -e '.$(EXTRAS)'
	@touch $(VENV)/.installed $@

install: $(VENV)/.installed  ## the package alone, in .venv

demo: $(VENV)/.installed  ## draw a person who never was, animate it: demo.mp4 and demo.png
	@$(BIN)/mcnet demo --out .

test: $(VENV)/.installed-dev  ## every check, style and types too; the last line counts them
	@$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.installed-dev  ## style and types of the Python files alone
	@$(BIN)/ruff check --quiet
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

export: $(VENV)/.installed-dev  ## write mcnet/ from the notebooks
	@$(BIN)/nbdev_export

notebooks: $(VENV)/.installed-dev  ## run every notebook and keep its outputs (ONLY=nbs/baseline/05_keypoints.ipynb for one)
	@$(BIN)/python docs/run_notebooks.py $(ONLY)

docs: $(VENV)/.installed-docs  ## the site, in _site/
	@$(BIN)/python docs/build.py

picture: demo  ## the README's picture, from the demo
	@$(BIN)/python docs/picture.py demo.mp4

constraints: $(VENV)/.installed-docs  ## pin what is installed in .venv
	@$(BIN)/python .ci/constraints.py

clean:  ## remove what can be made again (not .venv)
	rm -rf _proc _site build dist .pytest_cache .ruff_cache demo.mp4 demo.png
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
