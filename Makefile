# The targets that people and CI use; `make` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Of the slow tier: each has a control plane of its own, and waits most of its time.
WORKERS ?= 3
ISTIO ?= 1.31
KUBERNETES ?= 1.36
# Of the dependencies' versions: highest, or lowest-direct for the oldest that are allowed.
RESOLUTION ?= highest

.DEFAULT_GOAL := help
.PHONY: help demo gallery screencast bench test programs as-root test-cluster lint format build lock test-install test-anywhere clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

# One stamp for each set of extras, so that `make demo` installs no test tools.
$(VENV)/.lab: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.lab
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,dev]'
	@touch $@

$(VENV)/.cluster: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,dev,cluster]'
	@touch $@

$(VENV)/.release: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,dev,release]'
	@touch $@

demo: $(VENV)/.lab ## the article's three demos, for real, in under a minute
	$(BIN)/kubectl-egress demo

gallery: $(VENV)/.dev ## pictures of all that the tool shows, from the lab, in build/gallery (PNG where there is Chromium)
	$(BIN)/python -m tests.gallery build/gallery

screencast: $(VENV)/.dev ## record the demo anew, for the README: docs/demo.cast and docs/demo.svg
	$(BIN)/python -m tests.screencast docs/demo

bench: $(VENV)/.dev ## how fast it is beside kubectl, as a table (docs/speed.md says what is measured)
	$(BIN)/python -m tests.bench

test: $(VENV)/.dev ## every test that needs no cluster
	$(BIN)/python -m pytest --numprocesses=auto $(PYTEST_ARGS)

# The slow tier's programs, or nothing where KUBECONFIG_UNDER_TEST names a cluster that is there.
programs: $(VENV)/.cluster ## build the slow tier's programs: KUBERNETES and the Istios in ISTIO (Go 1.26; half an hour for all)
	$(if $(KUBECONFIG_UNDER_TEST),,$(BIN)/python -m tests.cluster.build kwok $(addprefix kubernetes-,$(KUBERNETES)) $(addprefix istio-,$(ISTIO)))

as-root:
	@$(if $(KUBECONFIG_UNDER_TEST),,[ "$$(uname)" = Linux ] || { echo "error: the pods are network namespaces; run it on Linux, or against a cluster that is there: KUBECONFIG_UNDER_TEST=FILE" >&2; exit 1; })
	@$(if $(KUBECONFIG_UNDER_TEST),,[ "$$(id -u)" = 0 ] || { echo "error: proxies have a UID of their own; run it as root: sudo make test-cluster" >&2; exit 1; })

test-cluster: as-root programs ## the slow tier: real kube-apiserver, istiod and pilot-agent (as root; see tests/cluster)
	ISTIO=$(ISTIO) KUBERNETES=$(KUBERNETES) $(BIN)/python -m pytest tests/cluster --numprocesses=$(WORKERS) $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.release ## wheel, sdist and an archive for each platform in dist/; krew-manifest.yaml filled in from them
	$(BIN)/python -m tests.release

# aiohttp and what it needs are of kubernetes.aio, which nothing here imports.
lock: $(VENV)/.release ## choose anew what the archives are made of, as new as the ranges allow
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(addprefix --no-emit-package ,aiohttp aiohttp-retry aiohappyeyeballs aiosignal attrs frozenlist multidict propcache yarl colorama) \
		--output-file tests/release/requirements.txt pyproject.toml

test-install: $(VENV)/.release ## what is built, installed as its users do: Krew, pip, pipx, uv tool (Go 1.26, network)
	$(BIN)/python -m pytest tests/release $(PYTEST_ARGS)

test-anywhere: ## what needs no lab, on any system; RESOLUTION=lowest-direct takes the oldest of each dependency
	$(PYTHON) -m venv --clear build/anywhere
	build/anywhere/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/anywhere/bin/python -m uv pip install --quiet --python build/anywhere/bin/python --resolution $(RESOLUTION) --editable '.[dev]'
	build/anywhere/bin/python -m pytest -m 'not lab' --ignore-glob='tests/test_lab_*' --ignore=tests/scenarios $(PYTEST_ARGS)

clean: ## remove what these targets have made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
