# Everything a contributor or a newcomer types. `make run` needs Python 3.11+ and make, nothing else.
#
#   make run            start Tocsin with everything it needs       ARGS="--port 0" is handed on to `tocsin dev`
#   make test           every test that needs no Debian package     ARGS="-k lanes" is handed on to pytest
#   make check          all that CI gates
#   make peers-install  the foreign software the peer tests need (Debian packages: root, or sudo)
#   make test-peers     the tests against software nobody here wrote
#   make hooks          let git run the quick checks before each commit
#   make clean          remove what was built, installed or kept; the sources stay
#
# PYTHON=/path/to/python3 chooses the interpreter.

PYTHON ?=
ARGS ?=
export PYTHON

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test check peers-install test-peers hooks clean install-run install-test install-peers

help:
	@sed -n 's/^#   //p' Makefile

run: install-run
	@exec $(BIN)/tocsin dev $(ARGS)

test: install-test
	@exec $(BIN)/python scripts/gates.py test -- $(ARGS)

check: install-test
	@exec $(BIN)/python scripts/gates.py check

peers-install: install-peers
	@exec scripts/peers-install

test-peers: install-peers
	@exec $(BIN)/python scripts/gates.py peers -- $(ARGS)

hooks:
	git config core.hooksPath .githooks

install-run install-test install-peers: install-%:
	@scripts/bootstrap $*

clean:
	rm -rf .venv .tools .tocsin dist build .coverage .coverage.* htmlcov coverage.xml
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
