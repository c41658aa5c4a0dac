# Planted faults: what tests/cuda/test_faults.sh and tools/mutate.sh compile and link with. Included after mk/cuda.mk.
# A copy of one kernel or host file is compiled in one of the emulator's modes and linked with that mode's objects of all
# others, so one fault costs one file.
FAULT_ARCHIVES := $(BUILD)/test/support.a $(call archive,train objective model data comm text kernels base)
define FAULT_ENV
FAULT_CXX '$(CUEMU_CXX)' FAULT_CC '$(CUEMU_CC)' \
    FAULT_FLAGS '$(filter-out -Werror,$(CUEMU_COMMON)) $(CUEMU_MODE_$(1))' \
    FAULT_OBJECTS '$(OBJ_$(1)) $(OBJ_$(1)_host) $(OBJ_$(1)_fakes)' \
    FAULT_SUPPORT '$(OBJ_cuda_support)' FAULT_FIRST '$(BUILD)/$(1)/first.o' \
    FAULT_ARCHIVES '$(FAULT_ARCHIVES)' \
    FAULT_LDFLAGS '$(LDFLAGS_ALL) $(if $(filter cuemu,$(1)),$(CUEMU_SAN))' \
    FAULT_LIBS '-lboost_context $(RT_CMOCKA) $(CUDA_OPENMP) $(LIBS_ALL)'
endef
define fault_mode
$(BUILD)/$(1)/first.o: tests/cuda/faults/first.c $(BUILD)/$(1)/settings
	$$(call cuemu_compile_c,$(1))
$(BUILD)/$(1)/faults.env: mk/faults.mk $(BUILD)/$(1)/settings $(STAMP) $(BUILD)/$(1)/first.o $(OBJ_$(1)) \
    $(OBJ_$(1)_host) $(OBJ_$(1)_fakes) $(OBJ_cuda_support) $(FAULT_ARCHIVES) \
    $(TESTS_cuda_c:$(BUILD)/test/%=$(BUILD)/obj/tests/%.o)
	@printf "%s='%s'\n" $$(call FAULT_ENV,$(1)) > $$@
endef
$(foreach m,cuemu cuemu-fast,$(eval $(call fault_mode,$(m))))

$(BUILD)/test/cuda/test_faults: $(BUILD)/cuemu-fast/faults.env

FAULT_ENVS := $(BUILD)/cuemu-fast/faults.env $(BUILD)/cuemu/faults.env
