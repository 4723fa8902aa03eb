# `make help` lists what there is. Everything builds into bin/; nothing needs more than Go, git, make and a C compiler.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# One build configuration for everything but tests with the race detector, so that no dependency is compiled twice. It
# leaves out what only a debugger would read, which saves a tenth of the compilers' time and more of the linker's.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(shell go env GOFLAGS) -trimpath -gcflags=all=-dwarf=false -ldflags=-w)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)

# The modules of this repository; the first is the product.
MODULES := . $(patsubst %/go.mod,%,$(wildcard tools/go.mod hack/image/go.mod e2e/controlplane/go.mod e2e/driver/go.mod e2e/bench/peer/go.mod e2e/chart/go.mod e2e/node/runtime/go.mod))

# module-files lists what a module's binary is built from. The big ones are made only when one of these is newer than
# the binary: the go command would find nothing to compile either, but it takes its time to say so.
module-files = $(shell find $(1) -type f \( -name '*.go' -o -name go.mod -o -name go.sum -o -name '*.yaml' \) -not -name '*_test.go')

##@ Build

.PHONY: build
build: ## build bin/berth, the program that ships
	@hack/go-build berth -ldflags="-s -w -X main.version=$(VERSION)" -o=bin/berth ./cmd/berth

# The name goes no further than this machine: who puts the image into a registry names it for that. What is built for the image knows neither the
# directory nor the checkout that it was built in, and `make verify-image` sees to that.
IMAGE ?= localhost/berth-csi/berth:$(VERSION)
IMAGE_PLATFORMS ?= linux/amd64 linux/arm64
IMAGE_DIR ?= bin
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: image
image: bin/image ## build bin/berth-image.tar, an OCI archive for IMAGE_PLATFORMS, and bin/berth.spdx.json, what is in it
	@for platform in $(IMAGE_PLATFORMS); do \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} hack/go-build "berth ($$platform)" -buildvcs=false \
			-ldflags="-s -w -buildid= -X main.version=$(VERSION)" -o='$(IMAGE_DIR)'/$${platform/\//-}/berth ./cmd/berth; \
	done
	@bin/image --name='$(IMAGE)' --output='$(IMAGE_DIR)/berth-image.tar' --sbom='$(IMAGE_DIR)/berth.spdx.json' \
		--created='$(SOURCE_DATE_EPOCH)' --version='$(VERSION)' --revision='$(REVISION)' --title=berth --licenses=Apache-2.0 \
		--source=https://github.com/berth-csi/berth \
		--description='Admits claims of one CSI driver, makes their volumes, and publishes storage capacity' \
		$(foreach platform,$(IMAGE_PLATFORMS),--binary='$(IMAGE_DIR)/$(subst /,-,$(platform))/berth')

bin/image: $(call module-files,hack/image)
	@hack/go-build 'image tool' -C=hack/image -ldflags="-s -w" -o=../../bin/image .
	@touch $@

.PHONY: e2e-bins
e2e-bins: bin/controlplane bin/kubectl bin/poold ## build what the whole-system tests run against (minutes, the first time)

.PHONY: node-bins
node-bins: bin/node/containerd ## build what a node of the tests runs beside the kubelet: containerd and a network plugin

.PHONY: peer
peer: bin/csi-provisioner ## build the established csi-provisioner, to compare with (minutes, the first time)

.PHONY: tools
tools: bin/golangci-lint ## build the linter

.PHONY: chart-tools
chart-tools: bin/helm3 bin/helm4 bin/helm-docs ## build what the chart is tested with: Helm 3 and 4, helm-docs

.PHONY: env
env: ## print make's build flags, for a shell: eval "$(make -s env)"
	@echo "export CGO_ENABLED=$(CGO_ENABLED) GOFLAGS='$(GOFLAGS)'"

.PHONY: clean
clean: ## remove what was built
	rm -rf bin coverage.*

KUBERNETES := $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2 }' e2e/controlplane/go.mod)
STAMP := k8s.io/component-base/version

STAMPS := -X $(STAMP).gitVersion=$(KUBERNETES) \
	-X $(STAMP).gitMajor=$(word 1,$(subst ., ,$(KUBERNETES:v%=%))) \
	-X $(STAMP).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES))) \
	-X $(STAMP).gitTreeState=clean

bin/controlplane: $(call module-files,e2e/controlplane)
	@hack/go-build 'control plane ($(KUBERNETES))' -C=e2e/controlplane -ldflags="-s -w $(STAMPS)" -o=../../bin/controlplane .
	@touch $@

bin/kubectl: e2e/controlplane/go.mod e2e/controlplane/go.sum
	@hack/go-build 'kubectl' -C=e2e/controlplane -ldflags="-s -w $(STAMPS)" -o=../../bin/kubectl k8s.io/kubernetes/cmd/kubectl
	@touch $@

bin/poold: $(call module-files,e2e/driver)
	@hack/go-build 'CSI driver' -C=e2e/driver -ldflags="-s -w" -o=../../bin/poold .
	@touch $@

# Without the file systems that need C, or more than a kernel.
bin/node/containerd: $(call module-files,e2e/node/runtime)
	@mkdir -p bin/node
	@hack/go-build 'containerd' -C=e2e/node/runtime -tags=no_btrfs,no_devmapper,no_zfs -ldflags="-s -w" -o=../../../bin/node/ \
		$(foreach command,containerd containerd-shim-runc-v2 ctr,github.com/containerd/containerd/v2/cmd/$(command)) \
		$(foreach plugin,main/ptp ipam/host-local,github.com/containernetworking/plugins/plugins/$(plugin))
	@touch $@

# What a node of the tests runs, named as its Pods name it.
.PHONY: e2e-images
e2e-images: build bin/image bin/poold bin/pause bin/scribe ## build images of bin/berth, the CSI driver, and what else a node of the tests runs
	@for program in berth poold pause scribe; do \
		bin/image --name=localhost/$$program:e2e --binary=bin/$$program --output=bin/$$program-e2e.tar --level=1; \
	done

bin/pause bin/scribe: bin/%: e2e/node/%/main.go
	@hack/go-build '$*' -ldflags="-s -w" -o=$@ ./e2e/node/$*

bin/csi-provisioner: $(call module-files,e2e/bench/peer)
	@hack/go-build 'csi-provisioner' -C=e2e/bench/peer -ldflags="-s -w" -o=../../../bin/csi-provisioner \
		github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner
	@touch $@

bin/golangci-lint: $(call module-files,tools)
	@hack/go-build 'linter' -C=tools -ldflags="-s -w" -o=../bin/golangci-lint ./golangci-lint
	@touch $@

# Helm 3 has to be told which Kubernetes it was built for; Helm 4 finds out by itself.
CHART_MODULES := e2e/chart/go.mod e2e/chart/go.sum
HELM3 := $(shell awk '$$1 == "helm.sh/helm/v3" { print $$2 }' e2e/chart/go.mod)
CHART_KUBERNETES_MINOR := $(shell awk '$$1 == "k8s.io/client-go" { split($$2, v, "."); print v[2] }' e2e/chart/go.mod)

bin/helm3: $(CHART_MODULES)
	@hack/go-build 'Helm 3' -C=e2e/chart -ldflags="-s -w -X helm.sh/helm/v3/internal/version.version=$(HELM3) \
		$(foreach package,chartutil lint/rules,-X helm.sh/helm/v3/pkg/$(package).k8sVersionMajor=1 \
			-X helm.sh/helm/v3/pkg/$(package).k8sVersionMinor=$(CHART_KUBERNETES_MINOR))" \
		-o=../../bin/helm3 helm.sh/helm/v3/cmd/helm
	@touch $@

bin/helm4: $(CHART_MODULES)
	@hack/go-build 'Helm 4' -C=e2e/chart -ldflags="-s -w" -o=../../bin/helm4 helm.sh/helm/v4/cmd/helm
	@touch $@

bin/helm-docs: $(CHART_MODULES)
	@hack/go-build helm-docs -C=e2e/chart -ldflags="-s -w" -o=../../bin/helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs
	@touch $@

##@ Test

.PHONY: test
test: ## run every test: packages, then the driver, the image, the chart, and the whole system, as root with a real node
	@MAKE='$(MAKE)' hack/steps build test-unit test-driver test-image verify-image test-chart e2e-bins test-e2e \
		$(if $(filter 0,$(shell id -u)),test-node)

# dependencies compiles what packages and their tests are built on, with progress: go test and the linter would do it too,
# silently. $(1) is its name, $(2) the flags for both go list and go build, $(3) the packages.
dependencies = hack/go-build '$(1)' $(2) \
	$$(go list $(2) -deps -test -f '{{if and .DepOnly (not .ForTest)}}{{.ImportPath}}{{end}}' $(3))

# The packages that ship. -vet=off everywhere: lint vets, once.
PACKAGES = $$(go list ./... | grep -v /e2e)

.PHONY: test-unit
test-unit: export CGO_ENABLED := 1
test-unit: ## test the packages that ship, with the race detector
	@$(call dependencies,dependencies (race detector),-race,$(PACKAGES))
	go test -race -vet=off -timeout=30m $(PACKAGES)

SEEDS ?= 100000
FIRST ?= 1

.PHONY: simulate
simulate: ## tell SEEDS=100000 random histories of provisioners that fail, from seed FIRST=1 on (test-unit tells 2000)
	go test -vet=off -count=1 -timeout=24h -v -run=TestSimulate ./provisioner -seeds=$(SEEDS) -first=$(FIRST)

.PHONY: update-scenarios
update-scenarios: ## write anew what the stories in provisioner/testdata end in
	go test -vet=off -count=1 -run=TestScenarios ./provisioner -update

.PHONY: update-explanations
update-explanations: ## write anew what berth explain prints in internal/explain/testdata
	go test -vet=off -count=1 -run=TestExplanations ./internal/explain -update

.PHONY: update-flags
update-flags: ## write docs/flags.md anew, from the flags that there are
	go test -vet=off -count=1 -run=TestEveryFlagIsDocumented ./cmd/berth/app -update

.PHONY: test-driver
test-driver: export CGO_ENABLED := 1
test-driver: ## test the CSI driver that the whole-system tests use; as root, what it mounts, too
	@$(call dependencies,driver dependencies (race detector),-C=e2e/driver -race,./...)
	go test -C=e2e/driver -race -vet=off ./...

.PHONY: test-image
test-image: ## test the tool that makes images
	@$(call dependencies,image dependencies,-C=hack/image,./...)
	go test -C=hack/image -vet=off ./...

.PHONY: verify-image
verify-image: ## build the image for this machine's platform here and in a copy elsewhere, and compare
	@MAKE='$(MAKE)' hack/verify-image linux/$(shell go env GOARCH)

.PHONY: test-chart
test-chart: build chart-tools ## test the Helm chart: what it renders, accepts, and lets the process do
	@$(call dependencies,chart dependencies,-C=e2e/chart,./...)
	go test -C=e2e/chart -vet=off -count=1 ./...

.PHONY: update-chart
update-chart: build chart-tools ## write anew what the chart renders in e2e/chart/testdata, and its README
	bin/helm-docs --log-level=warning --chart-search-root=charts --template-files=README.md.gotmpl --sort-values-order=file
	go test -C=e2e/chart -vet=off -count=1 -run='^TestRenders$$' ./... -update

.PHONY: test-controlplane
test-controlplane: node-bins ## test the control plane that the whole-system tests use (not part of test)
	@$(call dependencies,control plane dependencies,-C=e2e/controlplane,./...)
	go test -C=e2e/controlplane -vet=off ./...

.PHONY: test-e2e
test-e2e: build e2e-bins chart-tools ## test the whole system against a real control plane (E2E_RUN=REGEXP picks tests)
	@$(call dependencies,test dependencies,-tags=e2e,./e2e/...)
	go test -tags=e2e -vet=off -count=1 -timeout=30m $(if $(E2E_RUN),-v -run='$(E2E_RUN)' ./e2e,./e2e/...)

.PHONY: test-node
test-node: build e2e-bins chart-tools node-bins e2e-images ## test the chart on a real node; needs root and runc, says so without (NODE_RUN=REGEXP picks tests)
	@$(call dependencies,test dependencies,-tags=node,./e2e/node)
	go test -C=e2e/node -tags=node -vet=off -count=1 -timeout=30m $(if $(NODE_RUN),-v -run='$(NODE_RUN)')

.PHONY: cover
cover: ## test the packages that ship and write coverage.html
	go test -vet=off -coverprofile=coverage.out $(PACKAGES)
	go tool cover -html=coverage.out -o coverage.html
	@go tool cover -func=coverage.out | tail -n 1

.PHONY: bench
bench: build e2e-bins peer ## measure (BENCH_ARGS='...' is passed on, BENCH_JSON=FILE keeps the numbers)
	@hack/go-build bench -o=bin/bench ./e2e/bench
	@bin/bench $(if $(BENCH_JSON),--json '$(BENCH_JSON)') $(BENCH_ARGS)

.PHONY: chaos
chaos: build e2e-bins $(if $(findstring peer,$(CHAOS_ARGS)),peer) ## kill everything while claims come and go, count what is left (CHAOS_ARGS='...', CHAOS_JSON=FILE)
	@hack/go-build chaos -o=bin/chaos ./e2e/chaos
	@bin/chaos $(if $(CHAOS_JSON),--json '$(CHAOS_JSON)') $(CHAOS_ARGS)

.PHONY: compare
compare: build e2e-bins peer ## give the same claims to csi-provisioner and compare (COMPARE_ARGS='...' is passed on)
	@hack/go-build compare -o=bin/compare ./e2e/compare
	@bin/compare $(COMPARE_ARGS)

##@ See it work

.PHONY: demo
demo: demo-bins $(if $(filter 0,$(shell id -u)),chart-tools node-bins e2e-images) ## a claim's life, as root on a real node in a minute, else on a control plane in half of one
	@bin/demo

.PHONY: run
run: demo-bins ## the same cluster, kept until Ctrl-C, for kubectl
	@bin/demo --stay

.PHONY: demo-bins
demo-bins: build e2e-bins
	@hack/go-build demo -ldflags="-s -w" -o=bin/demo ./e2e/demo

##@ Check

.PHONY: lint
lint: bin/golangci-lint ## lint all Go code, and check its format
	@$(call dependencies,dependencies,-tags=e2e,./...)
	@$(call dependencies,image dependencies,-C=hack/image,./...)
	@$(call dependencies,driver dependencies,-C=e2e/driver,./...)
	@$(call dependencies,chart dependencies,-C=e2e/chart,./...)
	bin/golangci-lint run ./...
	cd hack/image && ../../bin/golangci-lint run ./...
	cd e2e/driver && ../../bin/golangci-lint run ./...
	cd e2e/chart && ../../bin/golangci-lint run ./...
	bin/golangci-lint fmt --diff

.PHONY: fmt
fmt: bin/golangci-lint ## format all Go code
	bin/golangci-lint fmt

.PHONY: tidy
tidy: ## go mod tidy in every module
	@for module in $(MODULES); do (set -x; go mod tidy -C="$$module"); done

.PHONY: verify-tidy
verify-tidy: ## check that tidy has nothing to do
	@for module in $(MODULES); do (set -x; go mod tidy -C="$$module" -diff); done

.PHONY: ci
ci: ## what CI runs: verify-tidy, lint and test
	@.ci/run

##@ Help

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
