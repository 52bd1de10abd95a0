# make help lists the targets. Everything is built below build/PRESET.
.DEFAULT_GOAL := help
PRESET ?= release
JOBS ?= $(shell nproc)
# Most tests wait for most of their time.
TESTS ?= $(shell expr 3 \* $(JOBS))
BUILD := build/$(PRESET)

.PHONY: help setup packages configure build cluster docs demo test mixed bench format lint valgrind coverage deb

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "PRESET=release|debug|asan|tsan chooses the build (release); JOBS=$(JOBS) how many compilers run at once, TESTS=$(TESTS) how many tests."

setup:  ## Install the Debian packages that building and testing need
	@tools/setup

packages:
	@tools/setup --quiet

configure: packages
	@cmake --preset $(PRESET) --log-level=WARNING >/dev/null

build: configure  ## Compile everything
	@cmake --build $(BUILD) -j $(JOBS)

cluster: configure  ## Run three nodes on this machine and show them in a browser, until Ctrl-C
	@cmake --build $(BUILD) -j $(JOBS) --target barrel_p2p_command
	@tools/cluster $(BUILD)

docs:  ## Build the documents as a site with search, in build/site
	@tools/setup docs
	@tools/site

demo: build  ## Show what it does, as a story; ends by itself
	@tools/demo $(BUILD)

test: build  ## Run all tests
	@ctest --preset $(PRESET) -j $(TESTS)

mixed: configure  ## Play scenarios on C++, Erlang and mixed clusters, and print a table (BARREL_P2P_UPSTREAM)
	@cmake --build $(BUILD) -j $(JOBS) --target test_upstream
	@tools/mixed $(BUILD)

bench: build  ## Run the benchmarks
	@tools/bench $(BUILD)

format: packages  ## Format all C++ files in place
	@tools/format

lint: packages  ## Check the format and run clang-tidy
	@tools/format --check
	@tools/lint

valgrind: build  ## Run unit tests under Valgrind, some ten minutes
	@tools/valgrind $(BUILD)

coverage: packages  ## What fuzzing and unit tests reach of what reads bytes of peers and files, half an hour
	@tools/coverage --jobs $(JOBS)

deb: packages  ## Make the Debian packages: build/packages
	@cmake --preset deb --log-level=WARNING >/dev/null
	@cmake --build build/deb -j $(JOBS)
	@packaging/make_deb build/deb build/packages
