/* Plugins: shared objects of this very build that are loaded only where they are wanted, because they need libraries
 * that most machines lack (rectrain-cuda.so, rectrain-mpi.so).
 *
 * A plugin is looked for beside the program and in ../lib/rectrain from there, the install's place; no variable and no
 * current folder leads elsewhere. What runs is code, so a file or folder that others could write than the program's own
 * owner, root, or whoever may write the program too, is refused. A plugin stays loaded until the process ends. */
#ifndef RT_BASE_PLUGIN_H
#define RT_BASE_PLUGIN_H
#include "status.h"
#include <stdint.h>

typedef struct {
    const char *file;       /* "rectrain-cuda.so" */
    const char *abi_symbol; /* of a uint32_t in it, */
    uint32_t abi;           /* which must hold this */
    const char *entry;      /* the function that is wanted */
} rt_plugin_spec;

typedef void (*rt_plugin_entry)(void); /* to be cast to its own type */

/* RT_EUNAVAILABLE with a sentence: not there, refused, not loadable (in the loader's own words, "libx.so.1: cannot open
 * shared object file"), of another build. *path (may be NULL) is where it was found, or NULL; the caller frees it. */
rt_status rt_plugin_open(const rt_plugin_spec *spec, rt_plugin_entry *entry, char **path);
/* The same for a program at this path: what rt_plugin_open finds out by itself. */
rt_status rt_plugin_open_beside(const char *program, const rt_plugin_spec *spec, rt_plugin_entry *entry, char **path);

#endif
