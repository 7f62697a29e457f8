# Everything a newcomer types. Each target sets up what it needs first (tools/setup.sh): at once when
# all is there, and saying what it does where it is not. `make setup PYTHON=python3.12` chooses one.

BIN := .venv/bin
YAML := $(wildcard playbooks roles)
EVERYDAY := not soak and not gpu

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types unit lab-test bench soak mutants collection clean

help:  ## Show this list
	@echo 'make demo     watch cudactl provision two lab hosts and certify them'
	@echo 'make test     everything CI runs: lint, types, every test (lab hosts and real wheels too)'
	@echo
	@echo 'make setup    install what is missing, and nothing else'
	@echo 'make lint     ruff, yamllint, ansible-lint'
	@echo 'make types    mypy --strict'
	@echo 'make unit     the tests that need neither Docker nor large downloads'
	@echo 'make lab-test the tests on lab hosts'
	@echo 'make bench    measure what the README promises'
	@echo 'make soak     the long tests'
	@echo 'make mutants  change the judge in every small way: does some test see it? (an hour or more)'
	@echo 'make collection  build the Ansible collection cudactl.stack into dist/'
	@echo 'make clean    remove lab hosts, their images and everything that was built'

setup:
	@tools/setup.sh

demo: setup
	@tools/demo.sh

test: lint types
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m '$(EVERYDAY)'

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
ifneq ($(YAML),)
	$(BIN)/yamllint --strict $(YAML)
	PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_ROLES_PATH=roles ANSIBLE_LIBRARY=playbooks/library \
	ANSIBLE_ACTION_PLUGINS=playbooks/action_plugins $(BIN)/ansible-lint --offline -q $(YAML)
endif

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest -m 'not lab and not wheels and $(EVERYDAY)'

lab-test: setup
	$(BIN)/pytest -m 'lab and $(EVERYDAY)'

bench: setup
	$(BIN)/python tools/bench.py

soak: setup
	$(BIN)/pytest -m soak

mutants: setup
	$(BIN)/python tools/mutants.py $(MUTANTS)

collection: setup
	$(BIN)/python tools/collection.py -o dist

clean:
	@if [ -x $(BIN)/cudactl ]; then \
	    CUDACTL_LAB_DIR=$(CURDIR)/.demo/lab $(BIN)/cudactl lab down; \
	    $(BIN)/cudactl lab down --images; \
	fi
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible .demo .lab
