# librectrain for other programs, static and shared. Both are made of one object that holds what the public functions
# need of the modules, with every other name made local: nothing of the inside can meet a name of the program it is
# linked into. Included by the Makefile after the modules.
OBJCOPY ?= objcopy
SONAME := librectrain.so.$(shell sed -n 's/^.define RECTRAIN_API_VERSION //p' include/rectrain/rectrain.h 2>/dev/null)
API_OBJECT := $(BUILD)/obj/librectrain.o
API_LIBRARIES := $(if $(OBJ_api),$(BUILD)/librectrain.a $(BUILD)/$(SONAME))

$(API_OBJECT): $(OBJ_api) $(LIBRARY) mk/api.mk
	@$(CC) -r -nostdlib $(OBJ_api) $(LIBRARY) -o $@.$$$$ && \
	    $(OBJCOPY) --wildcard --keep-global-symbol='rectrain_*' $@.$$$$ && mv -f $@.$$$$ $@

$(BUILD)/librectrain.a: $(API_OBJECT)
	@echo "  AR    $@"
	@$(AR) rcs $@.$$$$ $< && mv -f $@.$$$$ $@

# A sanitizer's names stay open until its runtime is there.
$(BUILD)/$(SONAME): $(API_OBJECT) mk/librectrain.map $(STAMP)
	@echo "  LINK  $@"
	@$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=mk/librectrain.map \
	    $(if $(findstring sanitize,$(EXTRA_LDFLAGS)),,-Wl,-z,defs) $(filter-out -pie,$(LDFLAGS_ALL)) $< $(LIBS_ALL) \
	    -o $@.$$$$ && mv -f $@.$$$$ $@
