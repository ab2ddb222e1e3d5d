# Every target is a verb a developer says. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

# The Go that go.mod names, whatever is installed: Go 1.21 or newer fetches it, also
# where GOTOOLCHAIN=local is set.
export GOTOOLCHAIN := $(shell awk '$$1 == "toolchain" {print $$2}' go.mod)+auto

# The Go modules of this repository that are linted, besides that of the operator.
MODULES := config docs hack

# Tools are built from the Go module proxy, in the versions of their go.mod.
TOOL := go tool -modfile=$(CURDIR)/hack/tools/go.mod
LINT := $(TOOL) golangci-lint-kube-api-linter
HELM := go tool -modfile=hack/helm/go.mod helm
KUBECTL ?= $(or $(shell command -v kubectl),$(wildcard bin/controlplane/kubectl),go tool -modfile=hack/controlplane/go.mod kubectl)

# The Kubernetes to test with: empty is the newest, and the folders of
# hack/controlplane name the others.
KUBERNETES ?=

# Where etcd, kube-apiserver and kubectl are. A value from outside wins.
ASSETS := $(if $(KUBERNETES),$(CURDIR)/bin/controlplane-$(KUBERNETES),$(or $(KUBEBUILDER_ASSETS),$(CURDIR)/bin/controlplane))

# What `make generate` writes.
GENERATED := 'api/**/zz_generated.*' config/crd/wechattoken.io_*.yaml config/rbac/role.yaml docs/metrics.md docs/zh/metrics.md config/chart/files config/chart/README.md docs/api.md docs/zh/api.md 'docs/*.svg'

# Flags of `make chaos`; `make chaos CHAOS=-help` lists them.
CHAOS ?=

# Flags of `make bench`; `make bench BENCH=-help` lists them.
BENCH ?=

# How long `make fuzz` tries each target.
FUZZTIME ?= 20s

##@ Develop

.PHONY: generate
generate: ## Write the code, manifests and reference that come from the API types
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt crd paths=./api/... output:crd:dir=config/crd
	$(TOOL) controller-gen rbac:roleName=wechat-token-operator paths=./controllers/... output:rbac:dir=config/rbac
	@# Helm reads nothing outside of its chart.
	cp config/crd/wechattoken.io_wechattokens.yaml config/chart/files/crd.yaml
	cp config/rbac/role.yaml config/policy/refresher.yaml config/policy/reader.yaml config/chart/files
	cp config/policy/annotations.yaml config/chart/files/annotations-policy.yaml
	cp config/policy/secrets.yaml config/chart/files/secrets-policy.yaml
	cp config/token-server/policy.yaml config/chart/files/token-server-policy.yaml
	cp config/consumers/touch/policy.yaml config/chart/files/touch-policy.yaml
	cp config/consumers/restart/policy.yaml config/chart/files/restart-policy.yaml
	cp config/prometheus/rules.yaml config/prometheus/dashboard.json config/chart/files
	go run -C hack ./metricsdoc
	go run -C hack ./apidocs
	go run -C hack ./flow
	go run -C hack ./chartdoc ../config/chart
	go run -C hack ./pictures
	go run -C hack ./recording

.PHONY: fmt
fmt: ## Format the Go code and sort its imports
	$(LINT) fmt

.PHONY: build
build: ## Build the programs of cmd into bin
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

.PHONY: controlplane
controlplane: ## Get etcd, kube-apiserver and kubectl into bin/controlplane, built in 7 minutes where none are published, once
	@KUBERNETES='$(KUBERNETES)' hack/controlplane/build.sh

##@ Check

# The programs of config/samples, whatever language they are in. PHP needs two packages.
.PHONY: languages
languages:
	@hack/apt.sh node=nodejs python3=python3 curl=curl php=php-cli php=php-curl javac=default-jdk-headless \
	  /usr/share/java/spring3-context.jar=libspring-context-java redis-server=redis-server busybox=busybox

# promtool and a Prometheus, for the tests of the alerts. PROMETHEUS_DIR wins.
.PHONY: prometheus
prometheus:
	@hack/prometheus/get.sh

.PHONY: unit
unit: ## Run the tests that need nothing but Go: a minute, the first time 4
	@hack/test.sh unit

.PHONY: test
test: languages prometheus controlplane ## Run every test, with a real API server and the programs: 18 minutes, the first time 30
	@KUBEBUILDER_ASSETS='$(ASSETS)' hack/test.sh all

.PHONY: pages
pages: controlplane ## Run the commands of the pages as they stand, on a real API server: 7 minutes, the first time 12
	@hack/apt.sh redis-server=redis-server
	KUBEBUILDER_ASSETS='$(ASSETS)' go test -C docs -tags pages -count=1 -timeout 30m -run TestBlocksRunInTheirOrder .

# Slow, for it compiles two more API servers: before a release, and when
# hack/controlplane or what is sent to the API server changes.
.PHONY: test-all-versions
test-all-versions: languages prometheus ## Run the tests that need an API server against each Kubernetes of hack/controlplane, or only KUBERNETES=1.35; about 15 minutes each
	@hack/controlplane/test.sh $(KUBERNETES)

# go test fuzzes one target of one package at a time.
.PHONY: fuzz
fuzz: ## Try every fuzz target with made-up input, for FUZZTIME=20s each
	@dirs=$$(grep -rl --include='*_test.go' --exclude-dir=bin '^func Fuzz' . | xargs -n 1 dirname | sort -u); \
	for dir in $$dirs; do \
	  targets=$$(go test -C $$dir -list '^Fuzz' . | grep '^Fuzz'); \
	  for target in $$targets; do \
	    echo "$$dir $$target"; \
	    go test -C $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) . || { \
	      echo "$$target failed; the reason is above. Where it wrote an input, commit that with what fixes it." >&2; exit 1; }; \
	  done; \
	done

.PHONY: chaos
chaos: controlplane build ## Let the operator live while everything around it breaks: 11 minutes; CHAOS=-seed=7 repeats a run
	KUBEBUILDER_ASSETS='$(ASSETS)' go run -C hack ./chaos $(CHAOS)

.PHONY: attack
attack: controlplane ## Attack it as another tenant, a thief, the network and WeChat would, and print what held: 6 minutes
	@KUBEBUILDER_ASSETS='$(ASSETS)' go test -C hack -tags integration,heavy -v -count=1 -timeout 1h ./attack | grep --line-buffered -Ev '^=== (PAUSE|CONT|NAME|ATTR)'

.PHONY: bench
bench: controlplane build ## Measure it beside what the API server allows: half an hour; BENCH='-n 1000 -only apply' takes a minute
	KUBEBUILDER_ASSETS='$(ASSETS)' go run -C hack ./bench $(BENCH)

.PHONY: e2e
e2e: ## Try it with real pods on a node made of this machine, or on E2E_KUBECONFIG's cluster: as root, 14 minutes, the first time 25
	@hack/e2e/run.sh

# Real time: tokens live 2 hours, and the kubelet looks as often as it does by default.
.PHONY: propagation
propagation: ## Measure the way of a token from the Secret to the file, for docs/propagation.md: as root, 8 minutes
	@hack/e2e/run.sh -run TestTouchBringsTheFileSooner -args -real-time -accounts 20 -rounds 3 -out $(CURDIR)/hack/pictures/propagation.json
	go run -C hack ./pictures

.PHONY: monitoring-picture
monitoring-picture: prometheus controlplane ## Let a real Prometheus watch an outage and a 40164, and draw docs/monitoring.svg and docs/dashboard.svg: 6 minutes
	KUBEBUILDER_ASSETS='$(ASSETS)' go test -C hack -tags integration -count 1 -v ./prometheus -run TestOnCallSeesWhatHappens -args -pictures $(CURDIR)/hack/pictures
	go run -C hack ./pictures

.PHONY: lint
lint: ## Run every linter; the first time, building them takes some minutes
	@for mod in . $(MODULES); do echo "golangci-lint run  # $$mod"; (cd $$mod && $(LINT) run) || exit 1; done

.PHONY: verify
verify: generate ## Fail when something generated is not committed, a go.mod is untidy, or a linter objects
	@for mod in $$(find . -name go.mod -not -path './bin/*' | sort); do \
	  echo "go mod tidy -diff  # $$mod"; \
	  (cd "$${mod%/*}" && go mod tidy -diff) || { echo "$$mod is not tidy: run 'go mod tidy' in its folder and commit what it changes." >&2; exit 1; }; \
	done
	@dirty=$$(git status --porcelain -uall -- $(GENERATED)); if [[ -n $$dirty ]]; then \
	  echo "$$dirty" >&2; git --no-pager diff -- $(GENERATED) >&2; \
	  echo "Generated files differ from the commit: run 'make generate' and commit them together with what they come from." >&2; exit 1; \
	fi
	@$(MAKE) --no-print-directory lint
	@# With shellcheck, what it says would depend on the machine.
	go tool -modfile=hack/actionlint/go.mod actionlint -shellcheck= -pyflakes=

# Not part of verify: the verdict depends on a database on the network
# (vuln.go.dev), which changes by the day and is not reachable everywhere.
.PHONY: vuln
vuln: ## Look for known vulnerabilities that the code reaches
	$(TOOL) govulncheck ./...

##@ Ship

# What `make image` builds: PROGRAM=token-server and PROGRAM=fake-wechat are the others, and
# PROGRAM=all is one image with all of them, for a trial.
PROGRAM ?= manager
IMAGE ?= $(patsubst manager,wechat-token-operator,$(patsubst all,wechat-token-operator-trial,$(PROGRAM:token-server=wechat-token-server))):dev
VERSION ?= dev
REVISION ?= $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null)
# As linux/arm64; empty is that of this machine.
PLATFORM ?=
# The image with Go to build in; empty is the Dockerfile's.
BASE ?=
# docker, podman or buildah, with flags; empty is the first that works.
BUILDER ?=
# Flags for its build.
BUILDFLAGS ?=

.PHONY: image
image: ## Build the container image IMAGE=wechat-token-operator:dev with docker, podman or buildah
	@PROGRAM='$(PROGRAM)' IMAGE='$(IMAGE)' VERSION='$(VERSION)' REVISION='$(REVISION)' PLATFORM='$(PLATFORM)' \
	  BASE='$(BASE)' BUILDER='$(BUILDER)' BUILDFLAGS='$(BUILDFLAGS)' hack/image/build.sh

# Not part of test: it needs root, and compiles everything once more.
.PHONY: image-test
image-test: ## Build the images without a registry, compare them with those of hack/image, and run them: 5 minutes, as root
	@hack/image/test.sh

# Where the image of a release is, without its tag: a registry of yours.
IMAGE_REPOSITORY ?=

# The images of a release, for kustomize. They have commas, which $(if) takes for its own.
RELEASE_IMAGES = images: [{name: wechat-token-operator, newName: "$(IMAGE_REPOSITORY)", newTag: "$(VERSION)"}, {name: wechat-token-server, newName: "$(dir $(IMAGE_REPOSITORY))wechat-token-server", newTag: "$(VERSION)"}]

.PHONY: dist
dist: ## Render config/default and config/token-server into dist; with VERSION=v1.2.3, those of IMAGE_REPOSITORY
	@mkdir -p dist
	@tmp=$$(mktemp -d config/.dist.XXXXXX); trap "rm -r $$tmp" EXIT; \
	for pair in default=install token-server=token-server; do \
	  printf '%s\n' "resources: [../$${pair%=*}]" $(if $(filter-out dev,$(VERSION)),'$(RELEASE_IMAGES)') >$$tmp/kustomization.yaml; \
	  $(TOOL) kustomize build $$tmp -o dist/$${pair#*=}.yaml; \
	done

# Where the files of a release are, for krew: by default on GitHub, if the image is.
RELEASE_URL ?= $(patsubst ghcr.io/%,https://github.com/%,$(IMAGE_REPOSITORY))/releases/download/$(VERSION)
# The SSH key that signs a release.
SIGNING_KEY ?=
# yes makes a release without a key, to try it or to compare it.
UNSIGNED ?=

.PHONY: release
release: ## Make the files of a release in dist, 2 minutes, the first time 25: VERSION=v1.2.3 IMAGE_REPOSITORY=registry.example.com/wechat-token-operator SIGNING_KEY=../release-key
	@VERSION='$(VERSION)' IMAGE_REPOSITORY='$(IMAGE_REPOSITORY)' RELEASE_URL='$(RELEASE_URL)' SIGNING_KEY='$(SIGNING_KEY)' UNSIGNED='$(UNSIGNED)' hack/release/release.sh

.PHONY: release-push
release-push: ## Push the images and the chart of dist to IMAGE_REPOSITORY and sign them: VERSION=v1.2.3 SIGNING_KEY=../release-key
	@VERSION='$(VERSION)' IMAGE_REPOSITORY='$(IMAGE_REPOSITORY)' SIGNING_KEY='$(SIGNING_KEY)' hack/release/push.sh dist

# Not part of test: it compiles for five platforms, twice.
.PHONY: release-test
release-test: controlplane ## Make a release in two folders, compare, and look into all of it: as root, 10 minutes, the first time 35
	@KUBEBUILDER_ASSETS='$(ASSETS)' hack/release/test.sh

# The version of a release, as v1.2.3: the chart's is 1.2.3, its image's tag v1.2.3.
# The time in the archive is that of the commit, so that it is always the same.
.PHONY: chart
chart: ## Pack the Helm chart as dist/wechat-token-operator-1.2.3.tgz: VERSION=v1.2.3
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+ ]] || { echo 'Say which version: make chart VERSION=v1.2.3' >&2; exit 1; }
	@mkdir -p dist
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} \
	  $(HELM) package config/chart --destination dist --version '$(VERSION:v%=%)' --app-version '$(VERSION)'

##@ Use

.PHONY: node
node: ## Make this machine a cluster of one node, with the operator and the samples on it: as root, 2 minutes, the first time 15
	@hack/node/up.sh
	@hack/node/install.sh

.PHONY: node-down
node-down: ## End that node and remove everything it made
	@go run -C hack ./node down

.PHONY: demo
demo: controlplane build ## Watch it work, on a real API server and a fake WeChat
	KUBEBUILDER_ASSETS='$(ASSETS)' go run -C hack ./demo

# The context of the kubeconfig that `make try` uses, whatever cluster it is; empty is the
# current one, if that is on this machine. IMAGE is then one that its nodes can pull.
CONTEXT ?=
TRY = go run -C hack ./try -kubectl '$(KUBECTL)' -context '$(CONTEXT)' $(if $(filter command environment,$(origin IMAGE)),-image '$(IMAGE)')

.PHONY: try
try: ## Try it in the cluster of your kubeconfig, with a fake WeChat in it: a minute, the first time 5
	@$(TRY) up

.PHONY: try-down
try-down: ## Remove what `make try` has made
	@$(TRY) down

.PHONY: recording
recording: controlplane build ## Record the trial in a local cluster without the operator, and draw docs/trial.svg: 5 minutes
	@# This brings the image onto the nodes, and refuses a cluster that is somebody's.
	@$(TRY) up
	@$(TRY) down
	PATH='$(CURDIR)/bin/controlplane:$(CURDIR)/bin':$$PATH go run -C hack ./recording -record

.PHONY: install
install: ## Put the CRD into the cluster of your kubeconfig
	$(KUBECTL) apply -k config/crd

.PHONY: deploy
deploy: ## Put the CRD and the operator into the cluster of your kubeconfig
	$(KUBECTL) apply -k config/default

.PHONY: undeploy
undeploy: ## Remove the operator and the CRD, and with it every WeChatToken and its Secret
	$(KUBECTL) delete --ignore-not-found -k config/default

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin bin-profile dist cover.*

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
