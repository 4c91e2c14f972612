# Two commands for a new machine: `make run` and `make test`. Everything else is CMake (see CMakePresets.json).
# nproc answers OMP_NUM_THREADS where that is set, which is for the programs.
jobs := $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)

.PHONY: help setup build run test python notebooks encoder format docs-tables results results-stale clean

# Of `make results`: a Python (some tables need numpy and scikit-learn), tables (none: all), the folder of the data sets.
PYTHON ?= python3
TABLES ?=
DATA ?= $(BILEVEL_DATA)

help:
	@echo 'make run          build, then train on the built-in example'
	@echo 'make test         build everything and run all tests'
	@echo 'make build        build the program: build/bilevel'
	@echo 'make python       install the Python module into an environment of its own, build/python-venv, and test it there'
	@echo 'make notebooks    write the Python examples as notebooks into build/notebooks'
	@echo 'make encoder      fetch the sentence encoder of tests and benchmarks into build/encoder/minilm'
	@echo 'make docs-tables  write the options of solvers and jobs into their pages'
	@echo 'make results TABLES="NAME ..." DATA=FOLDER  make tables of docs/results.md again (CONTRIBUTING.md)'
	@echo 'make results-stale                          mark the tables whose sources have changed'
	@echo 'make format       clang-format all sources in place'
	@echo 'make clean        remove the build folder'
	@echo 'run, test, build, docs-tables and results first install what is missing (Debian packages, LibTorch in build/venv).'
	@echo 'CMAKE_PREFIX_PATH may lead to a LibTorch of your own; CMAKE_ARGS is handed to the configuration.'

setup:
	@cmake/setup.sh

build: setup
	@cmake --build build -j $(jobs) --target bilevel_cli

run: build
	@build/bilevel demo

test: setup
	@cmake --build build -j $(jobs)
	@ctest --test-dir build -j $(jobs) --output-on-failure

python:
	@cmake/setup.sh packages
	@cmake/python.sh

notebooks:
	@python3 cmake/notebooks.py build/notebooks

encoder:
	@cmake/encoder.sh

format:
	@git ls-files -z --cached --others --exclude-standard '*.h' '*.cpp' | xargs -0 clang-format -i

docs-tables: setup
	@cmake --build build -j $(jobs) --target bilevel_cli extra_program
	@cmake/docs_tables.sh

results: setup
	@cmake --build build -j $(jobs) --target bilevel_cli interval_benchmark
	@$(PYTHON) benchmarks/make_results.py $(if $(DATA),--data "$(DATA)") $(TABLES)

results-stale:
	@$(PYTHON) benchmarks/make_results.py --stale

clean:
	@rm -rf build
