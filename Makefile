# Everything runs from .venv, which every target makes first. `make demo` and `make test` need Python ≥ 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# benchmarks that run peers beside us need those peers: about 300 MB
PEERS := $(VENV)/.peers-installed
HOME_DIR ?= .factrfm
PORT ?= 8000

.PHONY: demo serve test properties arithmetic lint client docs pictures bench faults fuzz screenshots

demo: $(STAMP)
	$(BIN)/factrfm demo

serve: $(STAMP)
	$(BIN)/factrfm up --port $(PORT) --home $(HOME_DIR)

# tests that start whole services have the machine for themselves; the others run side by side
WHOLE := tests/system tests/faults tests/service/local/test_embedded.py
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(addprefix --ignore=,$(WHOLE))
	$(BIN)/python -m pytest $(WHOLE)

# tests that draw their inputs, with other draws each time
properties: $(STAMP)
	$(BIN)/python -m pytest --hypothesis-profile other -m hypothesis tests/worker tests/service

# make arithmetic [TESTS=tests/system]: tests with the arithmetic of other processors, 18 times or more; needs cc
TESTS ?= tests/worker/engine tests/worker/runs tests/worker/training tests/worker/serving $(wildcard tests/worker/test_*.py)
arithmetic: $(STAMP)
	$(BIN)/python tests/support/arithmetic.py $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m pytest -q tests/test_containers.py tests/test_dependencies.py tests/test_dangerous_calls.py
	FACTRFM_API_KEYS=check POSTGRES_PASSWORD=check $(BIN)/docker-compose config --quiet

# writes the client that blocks, service/client/sync*.py, out of the one that awaits
client: $(STAMP)
	$(BIN)/python -m docs.tools.blocking_client

# the pages under build/docs/; a dead link ends it
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --config-file docs/tools/mkdocs.yml

# runs every page again and keeps the pictures that its commands draw
pictures: $(STAMP)
	$(BIN)/python -m docs.tools.replay --pictures docs/pictures

# make faults [SEED=3] [FAULTS=300]: hurts the whole service for ten minutes and proves what is left
SEED ?= 1
FAULTS ?= 300
faults: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks faults --threads 1 --seeds $(SEED) --faults $(FAULTS) --out build/faults

# make fuzz [SEED=3] [MINUTES=10]: requests and files that mean no good, against the whole service
MINUTES ?= 10
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks fuzz --threads 1 --seed $(SEED) --minutes $(MINUTES) --out build/fuzz

# pictures of the dashboard in docs/pictures; needs chromium
screenshots: $(STAMP)
	$(BIN)/python -m docs.tools.screenshots

# make bench NAME=parity [ARGS="--quick"]; without a name it lists them
bench: $(STAMP) $(if $(filter scale tables speed,$(NAME)),$(PEERS))
	$(BIN)/python -m benchmarks $(NAME) $(ARGS)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "factrfm needs Python 3.11 or newer; name one by: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(PEERS): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@
