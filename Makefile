# Two commands matter to a user: `make demo` and `make test`. Both do all the set-up by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Test processes side by side; the suite is written for two cores.
WORKERS ?= 2

.PHONY: demo test check verify bench clean

demo: $(READY)
	$(BIN)/hillock compare --data digits --network resnet8 \
	  --activations relu,leaky_relu,elu,gelu,mish,sigmoid --seeds 12 --epochs 4 --rope 0.5 --out runs/demo --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules hillock

verify: $(READY)
	$(BIN)/hillock bench verify --out benchmarks/results

bench: $(READY)
	$(BIN)/hillock bench kernels --out benchmarks/results

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hillock needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; use: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
