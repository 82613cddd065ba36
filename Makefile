# Everything runs in .venv, which each target makes for itself. `make help` lists the targets.
#
#   PYTHON=python3.12   the interpreter that makes the environment (default: the first one found that is 3.11 or newer)
#   WORKERS=4           processes of the tests (default 2)
#   ARGS="-k multisite" further arguments of pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SILENT:
.PHONY: help demo test test-corpus check lint format wheel-test data images docs survey clean

WORKERS ?= 2
ARGS ?=
DEMO ?= demo
VENV := .venv
WHEEL_VENV := .venv-wheel
BIN := $(VENV)/bin
# -qq leaves errors only: warnings about caches or mirrors are not the user's business here
PIP_QUIET := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# One thread a process: with as many workers as cores, threads of linear algebra only wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1 NUMBA_NUM_THREADS=1
TEST_VARIABLES := $(ONE_THREAD) MPLBACKEND=Agg
# without the corpus, and without a PYTHONPATH that could hide what is installed
ALONE := env -u PYTHONPATH -u SBMLUMP_CORPUS $(TEST_VARIABLES)
WITH_CORPUS := env -u PYTHONPATH $(TEST_VARIABLES)
PYTEST_ARGS := -q -n $(WORKERS) --dist worksteal $(ARGS)

define FIND_PYTHON
for candidate in "$(PYTHON)" python3.11 python3 python3.12 python3.13 python3.14 python; do \
	if [ -n "$$candidate" ] && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		python=$$candidate; break; \
	fi; \
done; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
fi
endef

help:
	echo "make demo         set everything up and reduce a bundled model"
	echo "make test         set everything up and run the tests (under 10 minutes on 2 cores)"
	echo "make test-corpus  tests on published models: SBMLUMP_CORPUS=DIR, a sample, or everything with ALL=1"
	echo "make check        lint, tests, and the tests once more against the built wheel"
	echo "make lint         ruff, formatting, spelling, mypy --strict, import contracts"
	echo "make format       let ruff correct what it can"
	echo "make wheel-test   build the wheel, install it by itself, run the tests against it"
	echo "make data         write data/*.xml again"
	echo "make images       draw the pictures of the README again"
	echo "make docs         build the site: build/site/index.html (notebooks are run, links are checked)"
	echo "make survey       survey the corpus and write reports/ again (SBMLUMP_CORPUS=DIR)"
	echo "make clean        remove environments, builds and caches"

demo: $(VENV)/run.stamp
	$(BIN)/sbmlump demo -o $(DEMO)

test: $(VENV)/test.stamp
	$(ALONE) $(BIN)/pytest $(PYTEST_ARGS) -m "not corpus"

test-corpus: $(VENV)/test.stamp
	if [ -z "$$SBMLUMP_CORPUS" ]; then \
		echo "Name the folder of the corpus: make test-corpus SBMLUMP_CORPUS=/path/to/corpus" >&2; exit 2; \
	elif [ ! -d "$$SBMLUMP_CORPUS" ]; then \
		echo "SBMLUMP_CORPUS names $$SBMLUMP_CORPUS, which is not a folder" >&2; exit 2; \
	fi
	$(WITH_CORPUS) $(BIN)/pytest $(PYTEST_ARGS) -m corpus

check: lint test wheel-test
	echo "make check: all passed"

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	# texts are UTF-8 whatever the locale, which COPASI sets to C when it is imported
	$(BIN)/ruff check -q --preview --select PLW1514 .
	$(BIN)/ruff format --check -q .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/lint.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format -q .

# The tests run from a copy beside which no source tree lies, so that only the installed wheel can be imported.
wheel-test: $(VENV)/test.stamp
	rm -rf build/wheel build/wheel-test build/lib
	$(PIP_QUIET) $(BIN)/python -m pip wheel -qq --no-deps -w build/wheel .
	test -x $(WHEEL_VENV)/bin/python || $(BIN)/python -m venv $(WHEEL_VENV)
	wheel=$$(ls "$(CURDIR)"/build/wheel/sbmlump-*.whl) && \
		$(PIP_QUIET) $(WHEEL_VENV)/bin/python -m pip install -qq "sbmlump[test] @ file://$$wheel" && \
		$(PIP_QUIET) $(WHEEL_VENV)/bin/python -m pip install -qq --force-reinstall --no-deps "$$wheel"
	mkdir -p build/wheel-test
	tar cf - --exclude=./sbmlump --exclude=./crawler --exclude=./build --exclude=./.git --exclude='./.*' . \
		| tar xf - -C build/wheel-test
	cd build/wheel-test && env -u PYTHONPATH "$(CURDIR)/$(WHEEL_VENV)/bin/python" -c \
		"import crawler, sbmlump; assert all('site-packages' in m.__file__ for m in (crawler, sbmlump))"
	cd build/wheel-test && $(ALONE) "$(CURDIR)/$(WHEEL_VENV)/bin/pytest" $(PYTEST_ARGS) -m "not corpus"

data: $(VENV)/run.stamp
	$(BIN)/python data/make_models.py

images: $(VENV)/run.stamp
	MPLBACKEND=Agg $(BIN)/python docs/make_images.py

# Warnings end it. Nothing here needs the network, once docs.stamp is there.
docs: $(VENV)/docs.stamp
	rm -rf build/site
	env -u PYTHONPATH -u SBMLUMP_CORPUS $(ONE_THREAD) $(BIN)/python -m sphinx -b html -W --keep-going -q \
		-d build/site-cache docs build/site
	$(BIN)/python docs/check_site.py build/site

survey: $(VENV)/survey.stamp
	if [ ! -d "$$SBMLUMP_CORPUS/biomodels" ]; then \
		echo "Name the folder of the corpus: make survey SBMLUMP_CORPUS=/path/to/corpus" >&2; exit 2; \
	fi
	# the limit is generous, so that what is reported does not depend on what else the machine does; what is
	# interrupted goes on where it was when the target is made again
	$(ONE_THREAD) $(BIN)/sbmlump survey "$$SBMLUMP_CORPUS/biomodels" -o build/survey --observe each \
		--method exact,approximate --workers $(WORKERS) --time-limit 10800 --memory-limit 2000
	mkdir -p reports
	$(BIN)/sbmlump survey-report build/survey --summary reports/biomodels.md --sizes reports/biomodels.parquet

clean:
	rm -rf $(VENV) $(WHEEL_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- environments --------------------------------------------------------------------------------------------------------
# Each stamp stands for one installation; a pyproject.toml newer than it may ask for something else.

$(VENV)/made.stamp:
	$(FIND_PYTHON); "$$python" -m venv --clear $(VENV)
	touch $@

$(VENV)/run.stamp: pyproject.toml | $(VENV)/made.stamp
	echo "Installing sbmlump into $(VENV) …" >&2
	$(PIP_QUIET) $(BIN)/python -m pip install -qq -e .
	touch $@

$(VENV)/survey.stamp: pyproject.toml | $(VENV)/made.stamp
	echo "Installing sbmlump and what surveys need into $(VENV) …" >&2
	$(PIP_QUIET) $(BIN)/python -m pip install -qq -e '.[compiled,cvode,survey]'
	touch $(VENV)/run.stamp $@

$(VENV)/test.stamp: pyproject.toml | $(VENV)/made.stamp
	echo "Installing sbmlump and what its tests need into $(VENV) …" >&2
	$(PIP_QUIET) $(BIN)/python -m pip install -qq -e '.[test]'
	touch $(VENV)/run.stamp $@

$(VENV)/docs.stamp: pyproject.toml | $(VENV)/made.stamp
	echo "Installing sbmlump and what its site needs into $(VENV) …" >&2
	$(PIP_QUIET) $(BIN)/python -m pip install -qq -e '.[docs]'
	touch $(VENV)/run.stamp $@

$(VENV)/lint.stamp: pyproject.toml | $(VENV)/made.stamp
	echo "Installing sbmlump and what its checks need into $(VENV) …" >&2
	$(PIP_QUIET) $(BIN)/python -m pip install -qq -e '.[lint]'
	touch $(VENV)/run.stamp $@
