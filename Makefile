# pg_haul: every target delegates to the tool or script that does the work. `make help` lists them.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

BUILD := $(CURDIR)/build
JOBS ?= $(shell nproc)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# PG_MAJOR=17 chooses one of several installed versions of PostgreSQL; PG_CONFIG names its pg_config directly.
PG_CONFIG ?= $(if $(PG_MAJOR),/usr/lib/postgresql/$(PG_MAJOR)/bin/)pg_config
export PG_MAJOR PG_CONFIG

# Groups of packages, see scripts/deps; empty means what building and testing need.
DEPS ?=

.DEFAULT_GOAL := all
.PHONY: all extension cpp install install-extension deps demo check check-cassert check-headers bench bench-adapter bench-smoke format format-check clean help

all: extension cpp ## build the extension and the C++ programs; the worker is build/haul

extension: deps
	@$(MAKE) -s -j$(JOBS) -C extension

cpp: deps
	@test -e $(BUILD)/cmake/build.ninja || \
		cmake -S . -B $(BUILD)/cmake -G Ninja -DHAUL_PROGRAM_DIR=$(BUILD) $(CMAKE_OPTIONS)
	@cmake --build $(BUILD)/cmake --parallel $(JOBS)

# The tests and the demo run what is installed in the server's directories: that is where PostgreSQL looks.
install-extension: extension
	@$(SUDO) $(MAKE) -s -C extension install PG_CONFIG=$(PG_CONFIG)

install: all install-extension ## install the extension into PostgreSQL, the worker and the libraries under /usr/local
	@$(SUDO) env DESTDIR=$(DESTDIR) cmake --install $(BUILD)/cmake

deps: ## install the Debian packages that are missing
	@scripts/deps $(DEPS)

demo: all install-extension ## run thousands of real jobs, kill a worker, compare the sums with wc (KEEP=1 leaves the server up)
	@scripts/demo

check: all install-extension ## build, then run all tests: models, pgTAP, C++, isolation, a tiny benchmark
	@test/run

check-cassert: cpp ## run all tests on a PostgreSQL with assertions, built from Debian's source package
	@scripts/deps cassert
	@JOBS=$(JOBS) test/run-cassert

check-headers: deps ## compile the extension against the headers of PostgreSQL 15, 17 and 18
	@scripts/check-headers

bench: DEPS = build test bench
bench: all install-extension ## measure the queue beside others on a throw-away cluster; takes 15 minutes
	@test/bench/run

bench-smoke: all install-extension ## run the benchmark at a tiny size: are its results right?
	@test/bench/run --smoke

bench-adapter: all install-extension ## run the adapter for the public benchmark harness through phases that disturb it
	@test/bench/adapter/run

format: ## format the C and C++ sources in place
	@scripts/format

format-check: ## fail if a source is not formatted
	@scripts/format --check

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
