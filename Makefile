# make demo   train a spiking network on real handwritten digits, in a fresh .venv
# make test   the whole test suite
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Huge pages for large tensors: page faults cost as much as the kernels.
export THP_MEM_ALLOC_ENABLE ?= 1

.PHONY: demo test test-slow test-long lint docs links notebooks results guard mutants bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras; constraints.txt pins the tested versions (torch==2.13.0 is the CPU build).
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.train

demo: $(VENV)/.train
	$(BIN)/ranvier train digits

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m slow

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m long

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The site, in docs/_build/html: no network is needed, and a warning is an error.
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html

# Opens every outside link of the site, over the network: by hand.
links: $(VENV)/.dev
	$(BIN)/python -m sphinx -q -E -b linkcheck docs docs/_build/links

# Runs the notebooks of the course again and keeps their outputs.
notebooks: $(VENV)/.dev
	$(BIN)/python docs/notebooks.py

# Trains every entry of docs/results.md with three seeds, an hour and more; ONLY="digits spoken-digits" for some.
results: $(VENV)/.dev
	$(BIN)/python docs/results.py $(if $(ONLY),--only $(ONLY))

# A minute of the benchmarks: an error where a kernel is many times slower than the memory it moves.
guard: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py neuron --quick
	$(BIN)/python benchmarks/run.py sparse --quick

# Plants faults, one at a time, and says which no test notices; FOLDERS="derive nn" for some of them. Half an hour.
mutants: $(VENV)/.dev
	$(BIN)/python tests/mutants/run.py $(FOLDERS)

# Other versions of Python, torch and Triton, each in an environment of its own below .peers (10 GB; by hand).
matrix:
	$(PYTHON) tests/matrix.py $(ONLY)

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py all

clean:
	rm -rf $(VENV) runs .pytest_cache .hypothesis .ruff_cache docs/_build docs/reference
