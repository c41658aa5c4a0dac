# CUDA: the plugin rectrain-cuda.so, and the same sources built with g++ for the emulator, with their tests. Included by
# the Makefile before it lists the tests.
# Variables: CUDA = auto | 0 | 1, CUDA_HOME (the toolkit), CUDA_ARCH (compute capabilities, "80 90"), NVCC_FLAGS;
# CUEMU_CXX, CUEMU_SAN (empty: no sanitizers, five times faster, finds less).
CUDA_SOURCES := $(sort $(wildcard kernels/cuda/*.cu))
CUDA_HOST_SOURCES := $(sort $(wildcard kernels/cuda/*.c))
# NCCL's data plane rides along where its header is; the library itself is loaded by name.
NCCL_SOURCE := $(if $(wildcard $(RT_CUDA_HOME)/include/nccl.h /usr/include/nccl.h),$(wildcard src/comm/nccl.c))
NCCL_FAKED := $(if $(wildcard tests/support/fakes/include/nccl.h),$(wildcard src/comm/nccl.c))

# --- the plugin ---------------------------------------------------------------------------------------------------
# Machine code for each of these, which runs on later cards of the same first digit too, and PTX of the oldest that has
# bf16: the driver makes code for any other card of it, once.
CUDA_ARCH ?= 75 80 90 120
CUDA_PTX := $(firstword $(filter-out 7%,$(CUDA_ARCH)) $(CUDA_ARCH))
comma := ,
CUDA_CODES := $(foreach a,$(CUDA_ARCH),-gencode \
    'arch=compute_$(a)$(comma)code=$(if $(filter $(a),$(CUDA_PTX)),[sm_$(a)$(comma)compute_$(a)],sm_$(a))')
CUDA_FLAGS := -std=c++17 -O3 -Ikernels/cuda -Iinclude -Xcompiler -Wall,-fPIC,-fvisibility=hidden -Werror all-warnings \
    $(CUDA_CODES) $(NVCC_FLAGS)
# A sanitizer's build has no use for it: there is no GPU under one.
PLUGIN := $(if $(and $(RT_NVCC),$(if $(findstring sanitize,$(EXTRA_LDFLAGS)),,x)),$(BUILD)/rectrain-cuda.so)
OBJ_nvcc := $(patsubst kernels/cuda/%.cu,$(BUILD)/nvcc/%.o,$(CUDA_SOURCES))
OBJ_cuda := $(call objects,$(CUDA_HOST_SOURCES))
OBJ_nccl := $(call objects,$(NCCL_SOURCE))
ifneq ($(BUILDING),)
$(eval $(call note,$(BUILD)/nvcc/settings,$(RT_NVCC)|$(CUDA_FLAGS)))
endif

# ptxas' report of every kernel stays beside the object: tests/cuda/test_nvcc.sh reads it.
$(BUILD)/nvcc/%.o: kernels/cuda/%.cu $(BUILD)/nvcc/settings
	@mkdir -p $(@D)
	@echo "  NVCC  $< ($(CUDA_ARCH))"
	@$(RT_NVCC) $(CUDA_FLAGS) -Xptxas -v -MD -MF $(@:.o=.d) -MT $@ -c $< -o $@.$$$$.o > $(@:.o=.log) 2>&1 || \
	    { cat $(@:.o=.log); rm -f $@.$$$$.o; false; } && mv -f $@.$$$$.o $@
$(OBJ_nccl): MODULE_FLAGS = -isystem $(RT_CUDA_HOME)/include
$(OBJ_cuda): MODULE_FLAGS = -fvisibility=hidden -Ikernels/cuda -Isrc -isystem $(RT_CUDA_HOME)/include

# cudart is linked in: what it needs is the driver alone, so one library fewer must be found on a GPU's machine, and it
# is the one that the kernels were compiled with. rt_fail and its like stay open and come from the program that loads
# this: the error record is one.
$(BUILD)/rectrain-cuda.so: $(OBJ_nvcc) $(OBJ_cuda) $(OBJ_nccl) mk/cuda.map
	@echo "  LINK  $@"
	@$(CC) -shared -Wl,--version-script=mk/cuda.map -Wl,--exclude-libs,ALL -Wl,-z,relro,-z,now $(EXTRA_LDFLAGS) \
	    $(OBJ_nvcc) $(OBJ_cuda) $(OBJ_nccl) $(RT_CUDA_LIBS) -lstdc++ -lpthread -ldl -lrt -o $@.$$$$ && mv -f $@.$$$$ $@
	@echo "        $$(($$(wc -c < $@) / 1024)) KiB, code for sm_$(subst $() $(),$(comma) sm_,$(strip $(CUDA_ARCH))) and PTX of $(CUDA_PTX)"

# --- the emulator and the fakes of NVIDIA's libraries --------------------------------------------------------------
CUEMU_CXX ?= g++
CUEMU_CC := $(patsubst %g++,%gcc,$(patsubst %clang++,%clang,$(CUEMU_CXX)))
# Of the undefined-behaviour sanitizer what index arithmetic can meet: the rest doubles the time to compile.
CUEMU_SAN ?= -fsanitize=address,alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero,float-cast-overflow \
    -fno-sanitize-recover=all
CUEMU_INCLUDES := -Itests/support/cuemu -Itests/support/fakes/include -Iinclude -Isrc -Ikernels/cuda -I.
CUEMU_COMMON := -Wall -Wextra -Werror -Wno-unknown-pragmas -fPIC $(CUEMU_INCLUDES) $(EXTRA_CFLAGS)
# Twice: slow and watchful for the tests of kernels and host code, fast for a plugin that whole runs load.
CUEMU_MODE_cuemu := -O1 -g -fno-omit-frame-pointer $(CUEMU_SAN)
CUEMU_MODE_cuemu-fast := -O2
EMULATED_SOURCES := $(CUDA_SOURCES) tests/support/cuemu/core.cpp
FAKE_SOURCES := $(sort $(wildcard tests/support/fakes/*.c tests/support/fakes/*.cpp))

# Objects of one mode ($1): kernels and the emulator's core; $1/host.a: the host files; $1/fakes.a.
define cuemu_mode
$(if $(BUILDING),$(eval $(call note,$(BUILD)/$(1)/settings,$(CUEMU_CXX)|$(CUEMU_COMMON) $(CUEMU_MODE_$(1)))))
OBJ_$(1) := $(patsubst %,$(BUILD)/$(1)/%.o,$(notdir $(EMULATED_SOURCES)))
OBJ_$(1)_host := $(patsubst %,$(BUILD)/$(1)/%.o,$(notdir $(CUDA_HOST_SOURCES) $(NCCL_FAKED)))
OBJ_$(1)_fakes := $(patsubst %,$(BUILD)/$(1)/%.o,$(notdir $(FAKE_SOURCES)))
$(if $(BUILDING),$(eval $(call note,$(BUILD)/$(1)/host.list,$(CUDA_HOST_SOURCES) $(NCCL_FAKED))))
$(if $(BUILDING),$(eval $(call note,$(BUILD)/$(1)/fakes.list,$(FAKE_SOURCES))))
$(BUILD)/$(1)/%.cu.o: kernels/cuda/%.cu $(BUILD)/$(1)/settings
	$$(call cuemu_compile,$(1),-x c++)
$(BUILD)/$(1)/tests/%.o: tests/cuda/%.cu $(BUILD)/$(1)/settings
	$$(call cuemu_compile,$(1),-x c++)
$(BUILD)/$(1)/%.cpp.o: tests/support/cuemu/%.cpp $(BUILD)/$(1)/settings
	$$(call cuemu_compile,$(1))
$(BUILD)/$(1)/%.cpp.o: tests/support/fakes/%.cpp $(BUILD)/$(1)/settings
	$$(call cuemu_compile,$(1))
$(BUILD)/$(1)/%.c.o: kernels/cuda/%.c $(BUILD)/$(1)/settings
	$$(call cuemu_compile_c,$(1))
$(BUILD)/$(1)/%.c.o: src/comm/%.c $(BUILD)/$(1)/settings
	$$(call cuemu_compile_c,$(1),-DRT_NCCL_IS_LINKED)
$(BUILD)/$(1)/%.c.o: tests/support/fakes/%.c $(BUILD)/$(1)/settings
	$$(call cuemu_compile_c,$(1))
$(BUILD)/$(1)/host.a: $$(OBJ_$(1)_host) $(BUILD)/$(1)/host.list
	@$$(AR) rcs $$@.$$$$$$$$ $$(filter %.o,$$^) && mv -f $$@.$$$$$$$$ $$@
$(BUILD)/$(1)/fakes.a: $$(OBJ_$(1)_fakes) $(BUILD)/$(1)/fakes.list
	@$$(AR) rcs $$@.$$$$$$$$ $$(filter %.o,$$^) && mv -f $$@.$$$$$$$$ $$@
endef
define cuemu_compile
	@mkdir -p $(@D)
	@echo "  CUEMU $<$(if $(filter cuemu-fast,$(1)), (fast))"
	@$(CUEMU_CXX) $(2) -std=gnu++17 $(CUEMU_COMMON) $(CUEMU_MODE_$(1)) $(DEPS) -c $< -o $@.$$$$ && mv -f $@.$$$$ $@
endef
define cuemu_compile_c
	@mkdir -p $(@D)
	@echo "  CUEMU $<$(if $(filter cuemu-fast,$(1)), (fast))"
	@$(CUEMU_CC) -std=gnu11 -D_GNU_SOURCE $(CUEMU_COMMON) $(CUEMU_MODE_$(1)) $(2) $(DEPS) -c $< -o $@.$$$$ && mv -f $@.$$$$ $@
endef
$(eval $(call cuemu_mode,cuemu))
$(eval $(call cuemu_mode,cuemu-fast))

# The plugin over emulator and fakes, for whole runs: tests/cli/cuda.bats puts it beside a copy of the program.
FAKE_PLUGIN := $(BUILD)/test/fake/rectrain-cuda.so
$(FAKE_PLUGIN): $(OBJ_cuemu-fast) $(OBJ_cuemu-fast_host) $(OBJ_cuemu-fast_fakes) mk/cuda.map
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CUEMU_CXX) -shared -Wl,--version-script=mk/cuda.map $(filter %.o,$^) -lboost_context -lm -o $@.$$$$ && \
	    mv -f $@.$$$$ $@

# --- tests --------------------------------------------------------------------------------------------------------
OBJ_cuda_support := $(call objects,$(filter-out tests/cuda/test_%.c,$(sort $(wildcard tests/cuda/*.c))))
TESTS_cuda_c := $(patsubst tests/%.c,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.c)))
TESTS_cuda_cu := $(patsubst tests/%.cu,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.cu)))
TESTS_cuda_sh := $(patsubst tests/%.sh,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.sh)))
TESTS_cuda := $(TESTS_cuda_c) $(TESTS_cuda_cu) $(TESTS_cuda_sh)
TESTS += $(TESTS_cuda)
$(call objects,$(wildcard tests/cuda/*.c)): MODULE_FLAGS = $(CUEMU_INCLUDES)

# Linked by g++, with the CPU backend to compare with; where clang compiled that, with clang's OpenMP.
CUDA_OPENMP := $(if $(findstring clang,$(notdir $(CC))),-L$(shell $(CC) -print-resource-dir)/../.. -lomp)
define cuda_link
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CUEMU_CXX) $(LDFLAGS_ALL) $(CUEMU_SAN) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    -lboost_context $(RT_CMOCKA) $(CUDA_OPENMP) $(LIBS_ALL) -o $@
endef
CUDA_ARCHIVES := $(BUILD)/test/support.a $(BUILD)/cuemu/host.a $(BUILD)/cuemu/fakes.a \
    $(call archive,kernels base)
# Whole steps of the tiny model, on both backends.
$(BUILD)/test/cuda/test_training: $(call archive,train objective model data comm text)
# Several GPUs train whole models: the fast kernels, one process a GPU.
TESTS_cuda_ranks := $(BUILD)/test/cuda/test_nccl
$(TESTS_cuda_ranks): private CUEMU_SAN :=
$(TESTS_cuda_ranks): $(BUILD)/test/%: $(BUILD)/obj/tests/%.o $(OBJ_cuemu-fast) $(BUILD)/test/support.a \
    $(BUILD)/cuemu-fast/host.a $(BUILD)/cuemu-fast/fakes.a $(call archive,$(LINK_train))
	$(cuda_link)
$(filter-out $(TESTS_cuda_ranks),$(TESTS_cuda_c)): $(BUILD)/test/%: $(BUILD)/obj/tests/%.o $(OBJ_cuda_support) \
    $(OBJ_cuemu) $(CUDA_ARCHIVES)
	$(cuda_link)
$(TESTS_cuda_cu): $(BUILD)/test/cuda/%: $(BUILD)/cuemu/tests/%.o $(OBJ_cuemu) $(CUDA_ARCHIVES)
	$(cuda_link)
# It reads what nvcc said of each kernel.
$(BUILD)/test/cuda/test_nvcc: $(if $(PLUGIN),$(OBJ_nvcc))

$(TESTS_cuda_sh): $(BUILD)/test/%: tests/%.sh
	@mkdir -p $(@D)
	@install -m 755 $< $@

.PHONY: test-cuda plugin
test-cuda: $(TESTS_cuda)
	@BUILD=$(BUILD) CUDA_ARCH='$(CUDA_ARCH)' tests/support/run.sh $(TESTS_cuda)
plugin: $(PLUGIN)

-include $(patsubst %.o,%.d,$(OBJ_cuemu) $(OBJ_cuemu_host) $(OBJ_cuemu_fakes) $(OBJ_cuemu-fast) $(OBJ_cuemu-fast_host) \
    $(OBJ_cuemu-fast_fakes) $(OBJ_cuda_support) $(OBJ_nvcc) $(OBJ_cuda) $(OBJ_nccl)) \
    $(patsubst $(BUILD)/test/cuda/%,$(BUILD)/cuemu/tests/%.d,$(TESTS_cuda_cu))
include mk/bundle.mk
