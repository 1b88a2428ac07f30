# Two commands to know: `make` builds bin/gatehouse, `make test` passes the
# whole test suite and installs what it needs from Debian's packages.

GO          ?= go
# How long each fuzz target runs in `make fuzz`, and in the short form that is
# part of `make test`.
FUZZTIME    ?= 10m
SHORTFUZZ   ?= 2s
# How long the soak of `make torture` is; everything else in it takes a quarter of
# an hour.
SOAK        ?= 30m
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

build:
	$(GO) build -o bin/gatehouse ./cmd/gatehouse

test: test-deps docker-deps
	$(GO) test -race -shuffle=on -timeout 20m ./...
	@FUZZTIME=$(SHORTFUZZ) scripts/fuzz.sh
	@integration/docker/run.sh

test-deps:
	@scripts/test-deps.sh

docker-deps:
	@scripts/docker-deps.sh

fuzz:
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

# Faults, strangers and the soak that docs/reliability.md has figures of, in their
# long form. Wants a quiet machine, and root for two of the faults.
torture: test-deps
	GATEHOUSE_TORTURE=long GATEHOUSE_SOAK=$(SOAK) \
		$(GO) test ./integration -count=1 -v -timeout 3h -run '^(TestTorture|TestStrangers_)'

# Prints the name of the Debian package that it builds.
deb:
	@packaging/deb/build.sh

# Builds the container image and tries it; needs Docker.
docker:
	@scripts/docker-test.sh

# Tests the relay with Prosody and ejabberd, each in a container, the package with
# systemd, and the image: the part of `make test` that needs Docker, or root to
# install it.
docker-test:
	@integration/docker/run.sh -v

# The manual pages, in bin/.
man: build
	bin/gatehouse man 8 >bin/gatehouse.8
	bin/gatehouse man 5 >bin/gatehouse.cfg.5

# One table of what logins, queries, sessions and tokens cost, beside the
# floor; see docs/benchmarks.md.
bench:
	$(GO) run ./bench

lint:
	@test -z "$$(gofmt -s -l .)" || { gofmt -s -l .; echo 'gofmt -s -w these files'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@scripts/gosec.sh
	$(GO) mod tidy -diff

cover: test-deps
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./... && $(GO) tool cover -func=cover.out | tail -1

check: lint test

.PHONY: build deb docker docker-test docker-deps man test test-deps fuzz torture bench lint cover check
