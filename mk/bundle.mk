# Programs for a machine with a GPU, which need none to be linked, and the bundle that carries them there. Included by
# mk/cuda.mk, where its variables are set.
# Variables: BUNDLE (the folder of the parts), COMPUTE_SANITIZER (a folder to pack along).

# --- the ops' tests over the plugin, the goldens -------------------------------------------------------------------
TESTS_gpu := $(patsubst tests/%.c,$(BUILD)/test/%,$(sort $(wildcard tests/gpu/test_*.c)))
TESTS += $(TESTS_gpu)
OBJ_gpu_device := $(call objects,tests/gpu/device.c)
$(call objects,$(wildcard tests/gpu/*.c)): MODULE_FLAGS = -DRT_ON_GPU -Isrc -I.
# The plugin is looked for beside the program and takes its error record and what its NCCL part calls from it: all of
# base and comm is there, called for or not.
GPU_WHOLE := $(call archive,base comm)
GPU_PLUGIN_LINK := $(if $(PLUGIN),$(BUILD)/test/gpu/rectrain-cuda.so)
$(GPU_PLUGIN_LINK): $(PLUGIN)
	@mkdir -p $(@D)
	@ln -sf ../../rectrain-cuda.so $@
GPU_ARCHIVES := $(call archive,train objective model data text kernels)
$(TESTS_gpu): $(BUILD)/test/%: $(BUILD)/obj/tests/%.o $(OBJ_gpu_device) $(BUILD)/test/support.a $(GPU_ARCHIVES) \
    $(GPU_WHOLE) $(STAMP) | $(GPU_PLUGIN_LINK)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -rdynamic $(filter %.o,$^) $(BUILD)/test/support.a $(GPU_ARCHIVES) \
	    -Wl,--whole-archive $(GPU_WHOLE) -Wl,--no-whole-archive $(RT_CMOCKA) $(LIBS_ALL) -o $@
.PHONY: test-gpu
test-gpu: $(TESTS_gpu)
	@BUILD=$(BUILD) tests/support/run.sh $(TESTS_gpu)

# --- the benchmark -------------------------------------------------------------------------------------------------
# cudart is linked in for its events and copies; the driver is found when it runs.
GPU_BENCH := $(if $(PLUGIN),$(BUILD)/gpu_bench)
$(call objects,tools/gpu_bench.c): MODULE_FLAGS = -Isrc -isystem $(RT_CUDA_HOME)/include
$(GPU_BENCH): $(call objects,tools/gpu_bench.c) $(GPU_WHOLE) $(STAMP)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -rdynamic $< -Wl,--whole-archive $(GPU_WHOLE) -Wl,--no-whole-archive \
	    $(filter-out -lcublasLt,$(RT_CUDA_LIBS)) $(LIBS_ALL) -lstdc++ -lrt -o $@

# --- the bundle ----------------------------------------------------------------------------------------------------
BUNDLE ?= $(BUILD)/bundle
.PHONY: bundle-files
bundle-files: all $(TESTS_gpu) $(GPU_BENCH)
	@BUILD=$(BUILD) BUNDLE='$(BUNDLE)' PLUGIN='$(PLUGIN)' CUDA_ARCH='$(CUDA_ARCH)' \
	    COMPUTE_SANITIZER='$(COMPUTE_SANITIZER)' tools/bundle.sh

-include $(patsubst %.o,%.d,$(call objects,$(wildcard tests/gpu/*.c) tools/gpu_bench.c))
