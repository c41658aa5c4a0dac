# MPI: the plugin rectrain-mpi.so, which adds the gradients of CPU ranks. Included by the Makefile. Without MPI's
# headers everything else builds.
# Variables: MPI = auto | 0 | 1, MPI_PC (pkg-config's name of the MPI to build against).
MPI ?= auto
MPI_PC ?= ompi-c
ifneq ($(BUILDING),)
ifeq ($(filter auto 0 1,$(MPI)),)
$(error MPI=$(MPI): auto, 0 (leave the MPI plugin out) or 1 (fail where it cannot be built))
endif
ifneq ($(MPI),0)
MPI_FOUND := $(shell $(or $(PKG_CONFIG),pkg-config) --exists $(MPI_PC) 2>/dev/null && echo yes)
ifeq ($(MPI_FOUND)$(MPI),1)
$(error MPI=1, but pkg-config finds no $(MPI_PC). Install it with tools/install_deps.sh)
endif
endif
endif
MPI_PLUGIN := $(if $(and $(MPI_FOUND),$(if $(findstring sanitize,$(EXTRA_LDFLAGS)),,x)),$(BUILD)/rectrain-mpi.so)
MPI_CFLAGS := $(if $(MPI_PLUGIN),$(patsubst -I%,-isystem %,$(shell $(or $(PKG_CONFIG),pkg-config) --cflags $(MPI_PC))))
MPI_LIBS := $(if $(MPI_PLUGIN),$(shell $(or $(PKG_CONFIG),pkg-config) --libs $(MPI_PC)))
# -O3: its loops over gradients.
$(call objects,src/comm/mpi.c): MODULE_FLAGS = $(MPI_CFLAGS) $(if $(filter -O2,$(OPT)),-O3)

# rt_fail and its like stay open and come from the program that loads this: the error record is one.
$(BUILD)/rectrain-mpi.so: $(call objects,src/comm/mpi.c) mk/mpi.map
	@echo "  LINK  $@"
	@$(CC) -shared -Wl,--version-script=mk/mpi.map -Wl,-z,relro,-z,now $(EXTRA_LDFLAGS) $< $(MPI_LIBS) -o $@.$$$$ && mv -f $@.$$$$ $@

# The plugin's code without the plugin, for the suite that all data planes pass: tests/cli/ranks.bats runs it.
MPI_TESTS := $(if $(MPI_PLUGIN),$(BUILD)/test/comm/mpi_planes $(BUILD)/test/slow_link.so)
$(BUILD)/test/comm/mpi_planes: $(call objects,tests/comm/mpi_planes.c src/comm/mpi.c) $(call archive,comm base)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) $^ $(MPI_LIBS) $(LIBS_ALL) -o $@.$$$$ && mv -f $@.$$$$ $@

# A network for ranks of one machine, to be preloaded: tests/cli/ranks.bats and tools/bench_ranks.sh.
$(BUILD)/test/slow_link.so: tests/support/link/slow_link.c $(STAMP)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS_ALL) $(MPI_CFLAGS) -shared $< $(MPI_LIBS) -o $@.$$$$ && mv -f $@.$$$$ $@

.PHONY: bench-ranks-run
bench-ranks-run: $(PROGRAM) $(MPI_PLUGIN) $(MPI_TESTS)
	@BUILD=$(BUILD) tools/bench_ranks.sh $(SIZE)

-include $(patsubst %.o,%.d,$(call objects,src/comm/mpi.c tests/comm/mpi_planes.c))
