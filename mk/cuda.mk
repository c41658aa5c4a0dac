# The CUDA kernels: built for the emulator with g++ under the sanitizers, with their tests. Included by the Makefile
# before it lists the tests.
# Variables: CUEMU_CXX, CUEMU_SAN (empty: no sanitizers, five times faster, finds less).
CUEMU_CXX ?= g++
# Of the undefined-behaviour sanitizer what index arithmetic can meet: the rest doubles the time to compile.
CUEMU_SAN ?= -fsanitize=address,alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero,float-cast-overflow \
    -fno-sanitize-recover=all
CUEMU_FLAGS := -std=gnu++17 -O1 -g -Wall -Wextra -Werror -Wno-unknown-pragmas -fPIC -fno-omit-frame-pointer \
    $(CUEMU_SAN) \
    -Itests/support/cuemu -Iinclude -Isrc -Ikernels/cuda -I. $(EXTRA_CFLAGS)
$(if $(BUILDING),$(eval $(call note,$(BUILD)/cuemu/settings,$(CUEMU_CXX)|$(CUEMU_FLAGS))))

CUDA_SOURCES := $(sort $(wildcard kernels/cuda/*.cu))
OBJ_cuemu := $(patsubst kernels/cuda/%.cu,$(BUILD)/cuemu/%.o,$(CUDA_SOURCES)) $(BUILD)/cuemu/core.o
OBJ_cuda_support := $(call objects,$(filter-out tests/cuda/test_%.c,$(sort $(wildcard tests/cuda/*.c))))
TESTS_cuda_c := $(patsubst tests/%.c,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.c)))
TESTS_cuda_cu := $(patsubst tests/%.cu,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.cu)))
TESTS_cuda_sh := $(patsubst tests/%.sh,$(BUILD)/test/%,$(sort $(wildcard tests/cuda/test_*.sh)))
TESTS_cuda := $(TESTS_cuda_c) $(TESTS_cuda_cu) $(TESTS_cuda_sh)
TESTS += $(TESTS_cuda)

define cuemu_compile
	@mkdir -p $(@D)
	@echo "  CUEMU $<"
	@$(CUEMU_CXX) -x c++ $(CUEMU_FLAGS) $(DEPS) -c $< -o $@.$$$$ && mv -f $@.$$$$ $@
endef
$(BUILD)/cuemu/%.o: kernels/cuda/%.cu $(BUILD)/cuemu/settings
	$(cuemu_compile)
$(BUILD)/cuemu/tests/%.o: tests/cuda/%.cu $(BUILD)/cuemu/settings
	$(cuemu_compile)
$(BUILD)/cuemu/core.o: tests/support/cuemu/core.cpp $(BUILD)/cuemu/settings
	$(cuemu_compile)
$(call objects,$(wildcard tests/cuda/*.c)): MODULE_FLAGS = -Isrc -I. -Ikernels/cuda

# Linked by g++, with the CPU backend to compare with; where clang compiled that, with clang's OpenMP.
CUDA_OPENMP := $(if $(findstring clang,$(notdir $(CC))),-L$(shell $(CC) -print-resource-dir)/../.. -lomp)
define cuda_link
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CUEMU_CXX) $(LDFLAGS_ALL) $(CUEMU_SAN) $(filter %.o,$^) $(filter %.a,$^) -lboost_context $(RT_CMOCKA) $(CUDA_OPENMP) \
	    $(LIBS_ALL) -o $@
endef
CUDA_ARCHIVES := $(BUILD)/test/support.a $(call archive,kernels base)
$(TESTS_cuda_c): $(BUILD)/test/%: $(BUILD)/obj/tests/%.o $(OBJ_cuda_support) $(OBJ_cuemu) $(CUDA_ARCHIVES)
	$(cuda_link)
$(TESTS_cuda_cu): $(BUILD)/test/cuda/%: $(BUILD)/cuemu/tests/%.o $(OBJ_cuemu) $(CUDA_ARCHIVES)
	$(cuda_link)

$(TESTS_cuda_sh): $(BUILD)/test/%: tests/%.sh
	@mkdir -p $(@D)
	@install -m 755 $< $@

.PHONY: test-cuda
test-cuda: $(TESTS_cuda)
	@BUILD=$(BUILD) tests/support/run.sh $(TESTS_cuda)

-include $(OBJ_cuemu:.o=.d) $(OBJ_cuda_support:.o=.d) \
    $(patsubst $(BUILD)/test/cuda/%,$(BUILD)/cuemu/tests/%.d,$(TESTS_cuda_cu))
