# Everything runs in .venv; nothing outside the checkout is touched. Without make, see README.md.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# empty: where it is set, each process that tests start compiles sanggar anew
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test test-all fuzz trials lint wheel bench docs keys clean

setup: $(VENV)/.ready  ## create .venv and install everything

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: setup  ## the tour: five networks trained, measured and reported on one page, in one to two minutes
	$(BIN)/sanggar tour

test: setup  ## the tests that are quick, in six minutes on two slow cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-all: setup  ## the whole test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

MINUTES ?= 10
fuzz: setup  ## changed files at every door for MINUTES=10; Linux only
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	$(BIN)/python tests/fuzz.py $(MINUTES)

KILLS ?= 500
PAIRS ?= 200
trials: setup  ## commands killed KILLS times and given again, and PAIRS of them on one run at once; Linux only
	PYTHONPATH=tests $(BIN)/python tests/trials.py $(KILLS) $(PAIRS)

lint: setup  ## style, types, and the arrow of the design
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

wheel: setup  ## build the wheel, install it in an empty environment, and run the demo there
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist
	folder=$$(mktemp -d) && $(PYTHON) -m venv $$folder/venv && \
	$$folder/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl && \
	cd $$folder && venv/bin/sanggar run digits-denoising-autoencoder && test -s runs/digits-denoising-autoencoder/report.html && \
	rm -rf $$folder

bench: setup  ## ratios against peers, side by side in one run
	$(BIN)/python -m benchmarks

docs: setup  ## the API reference, into site/
	$(BIN)/pdoc -o site sanggar $$($(BIN)/python -c "import pkgutil, sanggar; print(*(m.name for m in pkgutil.iter_modules(sanggar.__path__, 'sanggar.') if m.name != 'sanggar.__main__'))")

keys: setup  ## docs/recipes.md, from the option classes
	$(BIN)/python -c "from sanggar import keys; print(keys.page(), end='')" > docs/recipes.md

clean:  ## remove what was built; runs/ stays
	rm -rf $(VENV) site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
