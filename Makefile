# pg_haul: every target delegates to the tool or script that does the work. `make help` lists them.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

BUILD := $(CURDIR)/build
JOBS ?= $(shell nproc)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# PG_MAJOR=17 chooses one of several installed versions of PostgreSQL; PG_CONFIG names its pg_config directly.
PG_CONFIG ?= $(if $(PG_MAJOR),/usr/lib/postgresql/$(PG_MAJOR)/bin/)pg_config
export PG_MAJOR PG_CONFIG

.DEFAULT_GOAL := all
.PHONY: all extension programs cpp install install-extension uninstall deps demo check check-quick check-cassert \
	check-headers bench bench-adapter bench-smoke lint reference format format-check clean help

all: extension programs ## build the extension, the worker (build/haul) and the C++ libraries

# Groups of packages, see scripts/deps.
deps-%:
	@scripts/deps $*

extension: deps-build
	@$(MAKE) -s -j$(JOBS) -C extension

# configure ON|OFF: with or without the tests
configure = grep -qs '^BUILD_TESTING:BOOL=$1' $(BUILD)/cmake/CMakeCache.txt || \
	cmake -S . -B $(BUILD)/cmake -G Ninja -DHAUL_PROGRAM_DIR=$(BUILD) -DBUILD_TESTING=$1 $(CMAKE_OPTIONS)

# The tests stay configured where they are.
programs: deps-build
	@test -e $(BUILD)/cmake/build.ninja || { $(call configure,OFF); }
	@cmake --build $(BUILD)/cmake --parallel $(JOBS) --target product

cpp: deps-build deps-test
	@$(call configure,ON)
	@cmake --build $(BUILD)/cmake --parallel $(JOBS)

# The tests and the demo run what is installed in the server's directories: that is where PostgreSQL looks.
install-extension: extension
	@$(SUDO) $(MAKE) -s -C extension install PG_CONFIG=$(PG_CONFIG)

install: all install-extension ## install the extension into PostgreSQL, the worker and the libraries under /usr/local
	@$(SUDO) env DESTDIR=$(DESTDIR) cmake --install $(BUILD)/cmake

uninstall: ## remove what make install has installed
	@$(SUDO) $(MAKE) -s -C extension uninstall PG_CONFIG=$(PG_CONFIG)
	@$(SUDO) scripts/uninstall $(BUILD)/cmake/install_manifest.txt

deps: deps-build deps-test ## install the Debian packages that building and testing need and that are missing

demo: all install-extension ## run thousands of jobs, kill a worker, compare with wc (KEEP=1 leaves the server up)
	@scripts/demo

check: cpp install-extension ## build, then run all tests: models, pgTAP, C++, isolation, a tiny benchmark
	@test/run

check-quick: cpp install-extension ## build, then run what finds most in three minutes
	@test/run --quick

check-cassert: cpp ## run all tests on a PostgreSQL with assertions, built from Debian's source package
	@scripts/deps cassert
	@JOBS=$(JOBS) test/run-cassert

check-headers: deps-build ## compile the extension against the headers of PostgreSQL 15, 17, 18 and 19
	@scripts/check-headers

bench: deps-bench cpp install-extension ## measure the queue beside others on a throw-away cluster; takes 25 minutes
	@test/bench/run

bench-smoke: cpp install-extension ## run the benchmark at a tiny size: are its results right?
	@test/bench/run --smoke

bench-adapter: cpp install-extension ## run the adapter for the public benchmark harness through phases that disturb it
	@test/bench/adapter/run

lint: deps-lint extension ## check formats, scripts, spelling, lengths of lines, imports and exports
	@scripts/lint

reference: all install-extension ## make docs/reference.md anew
	@scripts/reference

format: deps-lint ## format the C and C++ sources in place
	@scripts/format

format-check: deps-lint ## fail if a source is not formatted
	@scripts/format --check

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
