# Everything starts here. `make help` lists the targets; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help run demo install test lint format load load-ui fuzz balance bench fleet-bench feed-bench ledger-bench downloads-bench upload-bench soak reload-test prove-residency prove-budget prove-jobs chaos engine-test engine-test-llamacpp limit-model policy-model affinity mixed helm-test client-test audit sbom compose-secrets image-test docs lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# One stamp per lock file: a changed lock re-installs, an unchanged one costs nothing.
$(VENV)/.%: requirements/%.txt pyproject.toml
	@test -x $(BIN)/python || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 2; }; $(PYTHON) -m venv $(VENV); }
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(PIP) -r requirements/$*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(VENV)/.run ## the demo: simulated fleet and API, store, gateway on http://127.0.0.1:8080
	@exec $(BIN)/python -m loadtests.demo

demo: $(VENV)/.run ## `make run` with traffic past the fleet's capacity, in waves: watch it spill at /dashboard
	@exec $(BIN)/python -m loadtests.demo --traffic

install: $(VENV)/.run ## make .venv/bin/gateway

test: $(VENV)/.test ## the whole suite
	@$(BIN)/python -m tests.suite

lint: $(VENV)/.dev ## format and rules (ruff), types (mypy), who may import whom (import-linter)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## let ruff format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Command line only: some shells export HOST. Keys go by the environment, out of the process list.
GIVEN_HOST := $(if $(filter command,$(firstword $(origin HOST))),$(HOST))
load-ui load: export GATEWAY_KEY := $(or $(KEY),$(GATEWAY_KEY),demo)
load: export AGAINST_KEY := $(AGAINST_KEY)

load: $(VENV)/.load ## SCENARIO (ramp) on a demo or on HOST with KEY: picture, report, verdict; TRACE, AGAINST, SECONDS, SEED
	@exec $(BIN)/python -m loadtests.load $(or $(SCENARIO),ramp) $(if $(GIVEN_HOST),--url $(GIVEN_HOST)) $(if $(AGAINST),--against $(AGAINST)) $(if $(TRACE),--trace $(TRACE)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

load-ui: $(VENV)/.load ## Locust's web page on http://127.0.0.1:8089, before a demo or HOST with KEY
	@exec $(BIN)/python -m loadtests.load.ui $(if $(GIVEN_HOST),--url $(GIVEN_HOST))

fuzz: $(VENV)/.test ## hunt for hostile HTTP that breaks either side, for SECONDS (60)
	@exec $(BIN)/python -m tests.fuzz.explore --seconds $(or $(SECONDS),60)

bench: $(VENV)/.dev ## what a request costs, beside nginx as plain reverse proxy (needs nginx)
	@exec $(BIN)/python -m loadtests.bench

fleet-bench: $(VENV)/.run ## what watching 1,000 workers costs: scraping, store and snapshots in CPU time; WORKERS (1000)
	@exec $(BIN)/python -m loadtests.fleetbench --workers $(or $(WORKERS),1000)

feed-bench: $(VENV)/.run ## what the live feed of 1,000 workers costs, for each viewer and each request; WORKERS (1000)
	@exec $(BIN)/python -m loadtests.feedbench --workers $(or $(WORKERS),1000)

downloads-bench: $(VENV)/.run ## 500 downloads of one film at once: memory and fairness; CLIENTS (500) MB (8)
	@exec $(BIN)/python -m loadtests.downloads --clients $(or $(CLIENTS),500) --mb $(or $(MB),8)

ledger-bench: $(VENV)/.test ## 2,000 ledger rows a second into SQLite and PostgreSQL beside a serving gateway (needs PostgreSQL)
	@exec $(BIN)/python -m loadtests.ledgerbench

upload-bench: $(VENV)/.run ## uploads of MIB (2048) of sound made on the fly: the gateway's memory must not grow by 8 MB
	@exec $(BIN)/python -m loadtests.uploads --mib $(or $(MIB),2048)

balance: $(VENV)/.run ## bursts of 64 at once on four equal workers, two replicas, beside a router that scrapes
	@exec $(BIN)/python -m loadtests.balance

mixed: $(VENV)/.load ## thumbnails beside 2K pictures on four diffusion workers: by leased work, and by request counts (4 minutes)
	@exec $(BIN)/python -m loadtests.mixed --picture loadtests/out/mixed.png

soak: $(VENV)/.run ## load whose clients leave and workers fail, SECONDS (600), WORKERS (1)
	@exec $(BIN)/python -m loadtests.soak --seconds $(or $(SECONDS),600) --workers $(or $(WORKERS),1)

prove-residency: $(VENV)/.run ## COUNT (1000000) requests in memory, HTTP (10000) over sockets: none may go where it must not; OUT=page.md
	@exec $(BIN)/python -m loadtests.residency --count $(or $(COUNT),1000000) --http $(or $(HTTP),10000) $(if $(OUT),--out $(OUT))

prove-budget: $(VENV)/.run ## COUNT (200000) requests of CLIENTS (64) against a budget, replicas killed: never overspent, all books agree; OUT=page.md
	@exec $(BIN)/python -m loadtests.spendproof --count $(or $(COUNT),200000) --clients $(or $(CLIENTS),64) $(if $(OUT),--out $(OUT))

prove-jobs: $(VENV)/.run ## COUNT (10000) films through 3 gateways, one killed every 2 s, the store once: each ends once, nothing is bought twice or lost; SEED, OUT=page.md
	@exec $(BIN)/python -m loadtests.jobsproof --count $(or $(COUNT),10000) --seed $(or $(SEED),1) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(OUT),--out $(OUT))

reload-test: $(VENV)/.run ## rewrite the policy folder under 500 requests/s: none fails, none is decided by a mixture
	@exec $(BIN)/python -m loadtests.reload --workers $(or $(WORKERS),1)

chaos: $(VENV)/.run ## everything that can fail does, with a promise each; ONLY="worker-kill store-kill", OUT=page.md
	@exec $(BIN)/python -m loadtests.chaos $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT))

engine-test: $(VENV)/.test ## the gateway before a real engine; without ENGINE_CMD it says how; OUT=page.md
	@exec $(BIN)/python -m loadtests.engine $(if $(OUT),--out $(OUT))

engine-test-llamacpp: $(VENV)/.test ## the same before a real llama.cpp server; LLAMA_PYTHON=an interpreter that has it
	@ENGINE_CMD='exec $(or $(LLAMA_PYTHON),$(BIN)/python) -m loadtests.engine.llamacpp --port {port} --seqs {seqs}' $(BIN)/python -m loadtests.engine $(if $(OUT),--out $(OUT))

# The Helm engine's wheels need Python 3.12 or newer; the rest of the project goes on with 3.11.
HELM_VENV := .venv-helm
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 12))'
HELM_PYTHON ?= $(shell for name in python3.12 python3.13 python3.14 python3; do $$name $(NEW_ENOUGH) 2>/dev/null && echo $$name && break; done)

$(HELM_VENV)/.helm: requirements/helm.txt pyproject.toml
	@"$(HELM_PYTHON)" $(NEW_ENOUGH) 2>/dev/null || { echo "make helm-test needs Python 3.12 or newer, for the Helm engine; set HELM_PYTHON=/path/to/python3.12" >&2; exit 2; }
	@"$(HELM_PYTHON)" -m venv $(HELM_VENV)
	@echo "installing requirements/helm.txt into $(HELM_VENV)"
	@$(HELM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/helm.txt
	@$(HELM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

helm-test: $(HELM_VENV)/.helm ## the chart through the real Helm engine, against Kubernetes' schemas (needs Python 3.12; HELM_PYTHON)
	@$(HELM_VENV)/bin/python -m pytest -c tests/helm/engine.ini --rootdir . --confcutdir tests/helm tests/helm

compose-secrets: ## what docker-compose.yml reads as files: fresh secrets in ops/compose/secrets, once
	@$(PYTHON) ops/compose/prepare.py

OPS_VENV := .venv-ops

$(OPS_VENV)/.ops: requirements/ops.txt
	@$(PYTHON) -m venv $(OPS_VENV)
	@echo "installing requirements/ops.txt into $(OPS_VENV)"
	@$(OPS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/ops.txt
	@touch $@

image-test: $(OPS_VENV)/.ops ## the Dockerfile's install lines and commands without Docker, compose by its schema, alerts by PromQL's grammar
	@$(OPS_VENV)/bin/python -m pytest -c tests/deploy/whole.ini --rootdir . --confcutdir tests/deploy tests/deploy/whole

# Clients of others ask for releases that the suite does not have, so each set of them has an environment of its own.
CLIENTS_NODE := tests/clients/node
.venv-%/.installed: requirements/%.txt
	@$(PYTHON) -m venv .venv-$*
	@echo "installing requirements/$*.txt into .venv-$*"
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/$*.txt
	@touch $@

$(CLIENTS_NODE)/node_modules/.package-lock.json: $(CLIENTS_NODE)/package-lock.json
	@command -v npm >/dev/null || { echo "make client-test needs Node.js 20 or newer, with npm" >&2; exit 2; }
	@cd $(CLIENTS_NODE) && npm ci --silent && touch node_modules/.package-lock.json

client-test: $(VENV)/.test .venv-clients/.installed .venv-aiperf/.installed $(CLIENTS_NODE)/node_modules/.package-lock.json ## real clients and load tools against one gateway; ONLY="litellm curl", GUIDELLM_PYTHON=an interpreter that has it
	@$(BIN)/python -m tests.clients --sdks .venv-clients/bin/python --aiperf .venv-aiperf/bin/python $(if $(GUIDELLM_PYTHON),--guidellm $(GUIDELLM_PYTHON)) $(if $(ONLY),--only $(ONLY))

# Of its own: the site's tools are no part of the gateway.
docs: .venv-docs/.installed ## README and docs as a site in dist/site, for any static server, or a browser alone (without its search)
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "dist/site/index.html"

limit-model: $(VENV)/.run ## judge the learned limit in simulated time (20 minutes); TRACES=folder of Azure CSVs
	@exec $(BIN)/python -m loadtests.model --out docs/limit.md $(if $(TRACES),--traces $(TRACES))

policy-model: $(VENV)/.run ## figures of the ready-made policy folders, in simulated time (2 minutes); TRACES=folder of Azure CSVs
	@exec $(BIN)/python -m loadtests.model.policies --write $(if $(TRACES),--traces $(TRACES))

affinity: $(VENV)/.run ## prefix-cache hits and balance beside one endless worker, in simulated time; TRACE=file in the Mooncake format
	@exec $(BIN)/python -m loadtests.affinity $(if $(TRACE),--trace $(TRACE))

AUDIT := .venv-audit
# Not beside the gateway: who looks for holes in our packages must not add to them.
$(AUDIT)/.ready: requirements/audit.txt
	@$(PYTHON) -m venv $(AUDIT)
	@echo "installing requirements/audit.txt into $(AUDIT)"
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@

audit: $(AUDIT)/.ready ## known holes in any locked package (needs the network): 0 none, 1 some, 2 nobody could be asked; dist/audit.json
	@mkdir -p dist && rm -f dist/audit.json
	@$(AUDIT)/bin/pip-audit --progress-spinner off --disable-pip --require-hashes -r requirements/dev.txt -f json -o dist/audit.json 2>dist/audit.log; \
	status=$$?; tail -n 1 dist/audit.log >&2; test -s dist/audit.json && exit $$status; \
	echo "make audit: no advisory service could be reached, so nothing is known; run it where a network is" >&2; exit 2

sbom: $(AUDIT)/.ready ## what the gateway is made of, as CycloneDX with versions and hashes: dist/sbom.json
	@mkdir -p dist
	@$(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.json requirements/image.txt
	@echo dist/sbom.json

lock: ## write requirements/*.txt anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --all-extras pyproject.toml requirements/build.in -o requirements/dev.txt
	for set in run:demo test:test load:load; do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra $${set#*:} -c requirements/dev.txt pyproject.toml requirements/build.in -o requirements/$${set%:*}.txt; done
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt $(foreach extra,agent kubernetes otlp postgres s3,--extra $(extra)) pyproject.toml -o requirements/image.txt
	for set in build ops; do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt requirements/$$set.in -o requirements/$$set.txt; done
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/audit.in -o requirements/audit.txt
	uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-header -c requirements/dev.txt pyproject.toml requirements/helm.in requirements/build.in -o requirements/helm.txt
	for set in clients aiperf docs; do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/$$set.in -o requirements/$$set.txt; done

clean: ## remove what the targets made
	rm -rf $(VENV) $(HELM_VENV) $(AUDIT) $(OPS_VENV) .venv-clients .venv-aiperf .venv-docs $(CLIENTS_NODE)/node_modules dist .gateway loadtests/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
