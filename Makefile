# rectrain: builds the program, its library and its tests. Sources are found by wildcard; nothing is listed twice.
# Variables: CC, BUILD (folder of everything made), PREFIX, DESTDIR, EXTRA_CFLAGS, EXTRA_LDFLAGS, JOBS; CUDA and more in
# mk/cuda.mk.

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
# All processors, unless -j says otherwise; a make inside a make takes its jobs from the outer one.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

MODULES := base config text data model objective retrieve recommend train eval checkpoint comm track api
LONELY := help clean uninstall quickstart test test-long deps asan tsan fuzz format lint
BUILDING := $(filter-out $(LONELY),$(or $(MAKECMDGOALS),all))

# --- what there is to build with: probed once, and again when the key changes --------------------------------------
ifneq ($(BUILDING),)
CUDA ?= auto
# A toolkit that was not there is looked for again once its files are.
TOOLKIT := $(wildcard $(addprefix $(or $(CUDA_HOME),/usr/local/cuda)/,bin/nvcc include/cuda_runtime_api.h include/cublasLt.h))
PROBE_KEY := $(CC)|$(EXTRA_CFLAGS)|$(EXTRA_LDFLAGS)|$(PKG_CONFIG_PATH)|$(CUDA)|$(CUDA_HOME)|$(TOOLKIT)|$(shell cksum < mk/probe.sh)
ifeq ($(filter auto 0 1,$(CUDA)),)
$(error CUDA=$(CUDA): auto, 0 (leave the CUDA plugin out) or 1 (fail where it cannot be built))
endif
$(shell PKG_CONFIG='$(PKG_CONFIG)' CUDA='$(CUDA)' CUDA_HOME='$(CUDA_HOME)' sh mk/probe.sh $(BUILD)/found.mk '$(PROBE_KEY)' $(CC) $(EXTRA_CFLAGS) $(EXTRA_LDFLAGS))
include $(BUILD)/found.mk
ifneq ($(filter CUDA,$(RT_MISSING)),)
$(error CUDA=1, but the CUDA toolkit cannot be used: see the line CUDA above; CUDA_HOME names its folder)
endif
ifneq ($(strip $(RT_MISSING)),)
$(error missing: $(strip $(RT_MISSING)). Install what is missing with tools/install_deps.sh)
endif
endif

# --- flags ---------------------------------------------------------------------------------------------------------
OPT ?= -O2
HARDEN ?= -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(RT_FORTIFY)
WARN := -Wall -Wextra -Werror
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE $(OPT) -g $(WARN) -fPIC -fno-semantic-interposition $(HARDEN) -fopenmp \
    -Iinclude $(RT_CFLAGS) $(EXTRA_CFLAGS)
# Never -Ofast or -ffast-math: they make comparisons with NaN lie. These three flags keep NaN and infinity as they are.
KERNEL_FLAGS := $(if $(filter -O2,$(OPT)),-O3) -fno-math-errno -fno-trapping-math -ffp-contract=fast $(RT_KERNEL_WARNINGS) -Isrc
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now -Wl,--as-needed -fopenmp $(EXTRA_LDFLAGS)
LIBS_ALL = $(RT_LIBS) -ldl -lm -lpthread
MARCH_generic := $(if $(filter v2,$(RT_ISAS)),-march=x86-64)
MARCH_v2 := -march=x86-64-v2
MARCH_v3 := -march=x86-64-v3
MARCH_v4 := -march=x86-64-v4

# A changed flag rebuilds everything: each object depends on this stamp, which is rewritten only when its text differs.
# note: writes TEXT to a file when it holds another one.
define note
ifneq ($$(file <$(1)),$(2))
$$(shell mkdir -p $(dir $(1)))
$$(file >$(1),$(2))
endif
endef
STAMP := $(BUILD)/settings
ifneq ($(BUILDING),)
$(eval $(call note,$(STAMP),$(CC)|$(AR)|$(CFLAGS_ALL)|$(KERNEL_FLAGS)|$(RT_ISAS)|$(LDFLAGS_ALL)|$(LIBS_ALL)))
endif
# Made under another name and moved into place: two makes in one folder never see half a file.
DEPS = -MMD -MP -MF $(@:.o=.d) -MT $@

# --- the modules and the kernels -----------------------------------------------------------------------------------
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
archive = $(patsubst %,$(BUILD)/mod/%.a,$(1))

# Sources of plugins, beside the modules whose headers they fill.
PLUGIN_SOURCES := src/comm/mpi.c src/comm/nccl.c

define module_rules
OBJ_$(1) := $(call objects,$(filter-out $(PLUGIN_SOURCES),$(sort $(wildcard src/$(1)/*.c))))
$(call archive,$(1)): $$(OBJ_$(1)) $(call archive,$(1)).list
.PHONY: mod-$(1)
mod-$(1): $(call archive,$(1))
endef
$(foreach m,$(MODULES) cli,$(eval $(call module_rules,$(m))))

KERNEL_SOURCES := $(sort $(wildcard kernels/cpu/*.c))
OP_SOURCES := $(sort $(wildcard kernels/cpu/ops/*.c))
OBJ_kernels := $(call objects,$(KERNEL_SOURCES))
$(OBJ_kernels): MODULE_FLAGS = $(KERNEL_FLAGS)
$(OBJ_retrieve): MODULE_FLAGS = $(RT_KERNEL_WARNINGS)

define op_rules
OBJ_kernels += $(patsubst kernels/cpu/ops/%.c,$(BUILD)/obj/ops/%.$(1).$(2).o,$(OP_SOURCES))
$(BUILD)/obj/ops/%.$(1).$(2).o: kernels/cpu/ops/%.c $(STAMP)
	@mkdir -p $$(@D)
	@echo "  CC    $$< ($(1), $(2))"
	@$$(CC) $$(CFLAGS_ALL) $$(KERNEL_FLAGS) $$(MARCH_$(1)) -DRT_ISA_NAME=$(1) -DRT_BF16=$(if $(filter bf16,$(2)),1,0) \
	    $$(DEPS) -c $$< -o $$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@
endef
$(foreach i,$(RT_ISAS),$(foreach d,f32 bf16,$(eval $(call op_rules,$(i),$(d)))))
$(call archive,kernels): $(OBJ_kernels) $(call archive,kernels).list
.PHONY: mod-kernels
mod-kernels: $(call archive,kernels)

$(BUILD)/obj/%.o: %.c $(STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) $(MODULE_FLAGS) $(DEPS) -c $< -o $@.$$$$ && mv -f $@.$$$$ $@

$(BUILD)/mod/%.a:
	@mkdir -p $(@D)
	@$(AR) rcs $@.$$$$ $(filter %.o,$^) && mv -f $@.$$$$ $@

# All modules with all their names: what the program and whole-model tests link.
LIBRARY := $(BUILD)/mod/all.a
OBJ_library := $(foreach m,$(MODULES) kernels,$(OBJ_$(m)))
$(LIBRARY): $(OBJ_library) $(LIBRARY).list
	@echo "  AR    $@"
	@$(AR) rcs $@.$$$$ $(filter %.o,$^) && mv -f $@.$$$$ $@

PROGRAM := $(if $(wildcard src/cli/main.c),$(BUILD)/rectrain)
$(BUILD)/rectrain: $(OBJ_cli) $(LIBRARY) $(STAMP)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -rdynamic $(OBJ_cli) $(LIBRARY) $(LIBS_ALL) -o $@

include mk/api.mk

# A source that was removed changes no object's time, so each archive depends on the list of its members too.
ifneq ($(BUILDING),)
$(foreach m,$(MODULES) cli kernels,$(eval $(call note,$(call archive,$(m)).list,$(OBJ_$(m)))))
$(eval $(call note,$(LIBRARY).list,$(OBJ_library)))
endif

# --- tests: one program a file, linked with its module and the modules that this may depend on --------------------
LINK_base := base
LINK_config := config base
LINK_comm := comm base
LINK_track := track base
LINK_text := text base
LINK_data := data text base
LINK_kernels := kernels base
LINK_model := model kernels base
LINK_objective := objective model kernels base
LINK_checkpoint := checkpoint model text kernels base
LINK_retrieve := retrieve checkpoint model data text kernels base
LINK_recommend := recommend retrieve checkpoint model data text kernels base
LINK_eval := eval retrieve checkpoint objective model data comm text kernels base
LINK_train := train eval retrieve checkpoint objective model data comm text kernels base
LINK_api := api eval retrieve checkpoint config objective model data comm text kernels base

TEST_MODULES := $(MODULES) kernels integration
OBJ_support := $(call objects,$(sort $(wildcard tests/support/*.c)))
$(BUILD)/test/support.a: $(OBJ_support) $(STAMP)
	@mkdir -p $(@D)
	@$(AR) rcs $@.$$$$ $(filter %.o,$^) && mv -f $@.$$$$ $@

define test_rules
TESTS_$(1) := $(patsubst tests/%.c,$(BUILD)/test/%,$(sort $(wildcard tests/$(1)/test_*.c)))
TESTS += $$(TESTS_$(1))
ARCHIVES_$(1) := $(if $(filter integration,$(1)),$(LIBRARY),$(call archive,$(LINK_$(1))))
$$(TESTS_$(1)): $(BUILD)/test/%: $(BUILD)/obj/tests/%.o $(BUILD)/test/support.a $$(ARCHIVES_$(1)) $(STAMP)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(LDFLAGS_ALL) $$< $(BUILD)/test/support.a $$(ARCHIVES_$(1)) $$(RT_CMOCKA) $$(LIBS_ALL) -o $$@
.PHONY: test-$(1)
test-$(1): $$(TESTS_$(1)) $(if $(filter integration,$(1)),$(PROGRAM))
	@BUILD=$(BUILD) tests/support/run.sh $$(TESTS_$(1))
endef
TESTS :=
$(foreach m,$(TEST_MODULES),$(eval $(call test_rules,$(m))))
$(BUILD)/obj/tests/%.o: MODULE_FLAGS = -Isrc -I.

-include mk/cuda.mk
-include mk/faults.mk
include mk/mpi.mk

TREE_TESTS := $(sort $(wildcard tests/tree/test_*.sh))
CLI_TESTS := $(sort $(wildcard tests/cli/*.bats))

.PHONY: all help deps quickstart test test-run test-programs test-cli test-tree test-long asan tsan fuzz bench bench-ranks bundle lint format \
    mutate install uninstall clean FORCE

all: $(PROGRAM) $(API_LIBRARIES) $(PLUGIN) $(MPI_PLUGIN) ## build everything: build/rectrain, its libraries, its CUDA and MPI plugins (the default)

help: ## this list
	@sed -n 's/^\([a-z][a-z<>-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 20

deps: ## install the packages that are missing (apt; asks for sudo only when not root)
	@tools/install_deps.sh test

quickstart: ## from nothing to a trained model: install, build, example shop, real checkpoint, training, reports
	@MAKE='$(MAKE)' BUILD=$(BUILD) tools/quickstart.sh

test: ## install what is missing, build, run every test; the last line counts them
	@tools/install_deps.sh test
	@$(MAKE) --no-print-directory test-run

test-<module>: ## the tests of one module: test-base, test-text, ..., test-integration, test-cli, test-tree
mod-<module>: ## build one module's archive: mod-base, mod-text, ...

# What the command-line tests call: programs of tests/support/pty.
HELPERS := $(patsubst tests/support/pty/%.c,$(BUILD)/test/%,$(wildcard tests/support/pty/*.c))
$(HELPERS): $(BUILD)/test/%: tests/support/pty/%.c $(STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $< -lutil -o $@.$$$$ && mv -f $@.$$$$ $@

# What tests/base/test_plugin.c loads.
PLUGIN_FIXTURE := $(BUILD)/test/plugin_fixture.so
$(PLUGIN_FIXTURE): tests/support/plugin/fixture.c $(STAMP)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(EXTRA_LDFLAGS) -shared $< -o $@.$$$$ && mv -f $@.$$$$ $@
$(BUILD)/test/base/test_plugin: | $(PLUGIN_FIXTURE)

test-programs: $(TESTS) $(HELPERS) $(FAKE_PLUGIN) $(MPI_TESTS)

test-run: all test-programs
	@BUILD=$(BUILD) tests/support/run.sh $(TREE_TESTS) $(TESTS) $(CLI_TESTS)

test-cli: all $(HELPERS) $(FAKE_PLUGIN) $(MPI_TESTS)
	@BUILD=$(BUILD) tests/support/run.sh $(CLI_TESTS)

test-tree: $(BUILD)/found.mk
	@BUILD=$(BUILD) tests/support/run.sh $(TREE_TESTS)

test-long: ## make test in its longer forms (RECTRAIN_LONG_TESTS=1)
	@tools/install_deps.sh test
	@RECTRAIN_LONG_TESTS=1 $(MAKE) --no-print-directory test-run

asan: ## every test under the address, leak and undefined-behaviour sanitizers, in build/asan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan OPT=-O1 HARDEN= \
	    EXTRA_CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' \
	    EXTRA_LDFLAGS='-fsanitize=address,undefined' asan-run
tsan: ## every unit test but the CUDA emulator's under clang's thread sanitizer, in build/tsan
	@tests/support/fuzz.sh possible
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan CC=clang OPT=-O1 HARDEN= \
	    EXTRA_CFLAGS='-fsanitize=thread -fno-omit-frame-pointer' EXTRA_LDFLAGS='-fsanitize=thread' tsan-run
.PHONY: asan-run tsan-run
asan-run: all test-programs
	@BUILD=$(BUILD) OMP_NUM_THREADS=2 tests/support/sanitized.sh asan $(TESTS) $(CLI_TESTS)
tsan-run: all $(filter-out $(TESTS_cuda),$(TESTS))
	@BUILD=$(BUILD) OMP_NUM_THREADS=2 OMP_TOOL_LIBRARIES=$$($(CC) -print-resource-dir)/../../libarcher.so \
	    tests/support/sanitized.sh tsan $(filter-out $(TESTS_cuda),$(TESTS))
fuzz: ## every fuzzer of tests/fuzz under clang's sanitizers for SECONDS=30 each, or RUNS=n executions, in build/fuzz
	@tests/support/fuzz.sh possible
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang OPT=-O1 HARDEN= \
	    EXTRA_CFLAGS='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer' \
	    EXTRA_LDFLAGS='-fsanitize=address,undefined' -k fuzz-run
SECONDS ?= 30
FUZZERS := $(patsubst tests/%.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
# Readers of files and what they need: no kernels, which take longer to compile than all of these.
FUZZED := $(call archive,config recommend retrieve checkpoint model data text base)
$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZED) $(STAMP)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $< $(FUZZED) $(LIBS_ALL) -o $@
FUZZ_RUNS := $(FUZZERS:%=%.run)
.PHONY: fuzz-run $(FUZZ_RUNS)
fuzz-run: $(FUZZ_RUNS)
$(FUZZ_RUNS): %.run: %
	@tests/support/fuzz.sh run $< $(if $(RUNS),runs $(RUNS),seconds $(SECONDS)) $(BUILD)

BENCHES := $(patsubst tools/%.c,$(BUILD)/bench/%,$(sort $(wildcard tools/bench_*.c)))
$(BUILD)/obj/tools/%.o: MODULE_FLAGS = -Isrc
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/tools/%.o $(LIBRARY) $(STAMP)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) $< $(LIBRARY) $(LIBS_ALL) -o $@

bench: all $(BENCHES) ## time ops, attention, tokenizer and training here; prints rows for PERFORMANCE.md (BENCH=quick: 30 s)
	@BUILD=$(BUILD) tools/bench.sh $(BENCH)

bench-ranks: bench-ranks-run ## what of adding up gradients over a simulated network a step waits for, two MPI ranks (SIZE=base: minutes)

mutate: $(FAULT_ENVS) ## plant at most 150 faults in the CUDA kernels and their host code: which do the tests find? (an hour)
	@BUILD=$(BUILD) tools/mutate.sh $(FILES)

bundle: bundle-files ## pack program, GPU tests and tools/gpu_check.sh for a machine with a GPU: build/bundle, at most 48 MiB

lint: ## cppcheck, clang with -Werror, clang-format --dry-run
	@tools/lint.sh

format: ## clang-format every C and CUDA file in place
	@find src include kernels tests tools examples \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print0 | \
	    xargs -0 clang-format -i

install: all ## copy program, libraries, headers, configs, man pages and completions to $(DESTDIR)$(PREFIX)
	@BUILD=$(BUILD) PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh mk/install.sh

uninstall: ## remove what make install put there
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh mk/install.sh uninstall

clean: ## remove everything that was made
	rm -rf $(BUILD)

-include $(foreach o,$(OBJ_library) $(OBJ_cli) $(OBJ_support) \
    $(patsubst $(BUILD)/test/%,$(BUILD)/obj/tests/%.o,$(TESTS)) $(patsubst $(BUILD)/bench/%,$(BUILD)/obj/tools/%.o,$(BENCHES)),$(o:.o=.d))
