# The commands for newcomers, developers and CI. `make help` lists them.
#
# Each step of the setup leaves a stamp in .venv, so it is repeated only when its
# inputs have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROXY := $(VENV)/share/caesarion/proxy
AIMOCK := $(VENV)/share/caesarion/aimock
CHROMIUM := chromium chromium-browser google-chrome google-chrome-stable

# For `make images`: the program that builds them, and the prefix of their names.
ENGINE ?= docker
REGISTRY ?= caesarion
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' extension/caesarion/__init__.py)

# For `make test`: tests mostly wait, so two processes suit two cores.
WORKERS ?= 2

DOCKERFILES := hub_config/Dockerfile singleuser_image/Dockerfile

# Everything from PyPI is locked with hashes: singleuser_image/requirements.py.
LOCK_OF_BUILD := singleuser_image/requirements-build.txt
LOCK_OF_NODE := hub_config/proxy/requirements.txt
LOCK_OF_LITELLM := tests/fakes/litellm-requirements.txt
LOCKED = $(BIN)/python -m pip install --require-hashes --only-binary :all: --no-deps -r
OURS = $(BIN)/python -m pip install --no-deps --no-build-isolation -e .

# What an editable install copies or builds; it links to the Python files.
INSTALLED := pyproject.toml hatch_build.py \
	$(wildcard extension/jupyter-config/* singleuser_image/*.json) \
	$(wildcard extension/labextension/*.json extension/labextension/src/* extension/labextension/style/*)

# $(call quietly,description,command): runs a command and shows its output only if it fails.
define quietly
@echo "$(1) ..."
@$(2) >$(VENV)/step.log 2>&1 || { cat $(VENV)/step.log; echo "That failed: its output is above."; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help up test check format bench images requirements clean

help:
	@echo "make up      start Caesarion on http://127.0.0.1:8000; Ctrl-C stops it"
	@echo "make test    run all tests, or TESTS=tests/unit, with WORKERS=2 processes"
	@echo "make check   check format, lint, types, import layers, chart and images"
	@echo "make format  format the Python files as check requires"
	@echo "make bench   measure, and print ratios"
	@echo "make images  build the images of the hub and of a user's server (ENGINE=docker)"
	@echo "make requirements  update the locks of what pip installs (UPGRADE=--upgrade: the newest)"
	@echo "make clean   remove everything that make has built, but not the state in .caesarion"

up: $(VENV)/.up $(VENV)/.proxy
	@exec $(BIN)/python -m caesarion_hub.up

test: $(VENV)/.test $(VENV)/.proxy $(VENV)/.aimock $(VENV)/.litellm $(VENV)/.chromium $(VENV)/.helm $(VENV)/.postgres
	@$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: $(VENV)/.test $(VENV)/.node $(VENV)/.helm
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python extension/labextension/bundle.py check
	$(BIN)/hadolint $(DOCKERFILES)
	PATH="$(CURDIR)/$(BIN):$$PATH" helm lint --strict --quiet helm/caesarion

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test $(VENV)/.proxy $(VENV)/.helm
	@$(BIN)/python -m tests.bench

images:
	$(ENGINE) build -f hub_config/Dockerfile -t $(REGISTRY)/hub:$(VERSION) .
	$(ENGINE) build -f singleuser_image/Dockerfile -t $(REGISTRY)/singleuser:$(VERSION) .

requirements: $(VENV)/.test
	$(BIN)/python singleuser_image/requirements.py $(UPGRADE)

clean:
	rm -rf $(VENV) extension/caesarion/labextension extension/labextension/lib \
		extension/labextension/node_modules extension/labextension/tsconfig.tsbuildinfo \
		.pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache test-artefacts

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) says: $$($(PYTHON) --version 2>&1)." \
			"Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@mkdir -p $(VENV)
	$(call quietly,Making $(VENV),$(PYTHON) -m venv --clear $(VENV))
	@touch $@

# Node with npm, unless the machine has a suitable one.
$(VENV)/.node: $(VENV)/.venv hub_config/caesarion_hub/up/nodejs.py $(LOCK_OF_NODE)
	@$(BIN)/python hub_config/caesarion_hub/up/nodejs.py || { \
		echo "Installing Node, since the machine has no suitable one with npm ..."; \
		$(LOCKED) $(LOCK_OF_NODE) >$(VENV)/step.log 2>&1 || { \
			cat $(VENV)/step.log; \
			echo "That failed: its output is above. Install Node 22.12 or newer with npm."; \
			exit 1; }; }
	@touch $@

$(VENV)/.up: $(VENV)/.venv $(INSTALLED) requirements.txt $(LOCK_OF_BUILD) | $(VENV)/.node
	$(call quietly,Installing Caesarion and its dependencies; the first time takes some minutes, \
		{ $(LOCKED) $(LOCK_OF_BUILD) && $(LOCKED) requirements.txt && $(OURS); })
	@touch $@

$(VENV)/.test: $(VENV)/.up tests/requirements.txt
	$(call quietly,Installing the dependencies of the tests,$(LOCKED) tests/requirements.txt)
	@touch $@

$(VENV)/.proxy: $(VENV)/.venv hub_config/proxy/package.json hub_config/proxy/package-lock.json | $(VENV)/.node
	@mkdir -p $(PROXY)
	@cp hub_config/proxy/package.json hub_config/proxy/package-lock.json $(PROXY)
	$(call quietly,Installing the proxy,PATH="$(CURDIR)/$(BIN):$$PATH" \
		npm ci --prefix $(PROXY) --ignore-scripts --no-audit --no-fund)
	@touch $@

# Model servers that other people wrote, each in a place of its own: what LiteLLM needs
# is not what we need.
$(VENV)/.aimock: $(VENV)/.venv tests/fakes/aimock/package-lock.json | $(VENV)/.node
	@mkdir -p $(AIMOCK)
	@cp tests/fakes/aimock/package.json tests/fakes/aimock/package-lock.json $(AIMOCK)
	$(call quietly,Installing aimock,PATH="$(CURDIR)/$(BIN):$$PATH" \
		npm ci --prefix $(AIMOCK) --ignore-scripts --no-audit --no-fund)
	@touch $@

$(VENV)/.litellm: $(VENV)/.venv $(LOCK_OF_LITELLM)
	$(call quietly,Installing LiteLLM,$(PYTHON) -m venv $(VENV)/litellm && \
		$(VENV)/litellm/bin/python -m pip install --require-hashes --only-binary :all: \
		-r $(LOCK_OF_LITELLM))
	@touch $@

$(VENV)/.helm: $(VENV)/.venv helm/install_tools.py
	$(call quietly,Installing helm and kubectl,$(BIN)/python helm/install_tools.py $(BIN))
	@touch $@

# The system's; else Debian's, if we may install it; else Playwright's own.
$(VENV)/.chromium: $(VENV)/.test
	@for name in $(CHROMIUM); do command -v $$name >/dev/null && touch $@ && exit 0; done; \
	echo "Installing Chromium for the browser tests ..."; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; }; \
	else \
		$(BIN)/python -m playwright install chromium; \
	fi >$(VENV)/step.log 2>&1 || { cat $(VENV)/step.log; echo "That failed: its output is above."; exit 1; }
	@touch $@

# Debian's when we may install it; the tests need its programs, not its service, and a locale.
$(VENV)/.postgres: $(VENV)/.venv
	@{ ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; } >/dev/null 2>&1 && \
	{ ls /usr/share/i18n/locales/en_US || locale -a | grep -i '^en_US\.utf-\{0,1\}8$$'; } >/dev/null 2>&1 || { \
	echo "Installing PostgreSQL and a locale for the ledger's tests ..."; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql locales; }; \
	else \
		echo "There is no initdb, or no locale en_US.UTF-8. On Debian and Ubuntu: apt-get install postgresql locales"; false; \
	fi >$(VENV)/step.log 2>&1 || { cat $(VENV)/step.log; echo "That failed: its output is above."; exit 1; }; }
	@touch $@
