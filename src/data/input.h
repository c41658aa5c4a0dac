/* Bytes of a file, or of stdin, as a stream: plain, gzip or zstd, told apart by their first bytes. */
#ifndef RT_DATA_INPUT_H
#define RT_DATA_INPUT_H
#include "../base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rt_input rt_input;

/* `path` "-" is stdin. Regular files, and pipes that are open already (/dev/stdin, /dev/fd/N); a named pipe or a device
 * could block for ever and is refused. RT_ENOINPUT, RT_EDATA, RT_EIO, RT_ENOMEM. */
rt_status rt_input_open(const char *path, rt_input **out);
void rt_input_close(rt_input *input);
/* Up to `room` unpacked bytes; *n = 0 at the end alone. RT_EIO for a failed read and for a damaged or cut gzip or zstd
 * stream: nothing can be read after it. */
rt_status rt_input_read(rt_input *input, void *bytes, size_t room, size_t *n);
const char *rt_input_name(const rt_input *input);  /* the path, or "stdin" */
uint64_t rt_input_consumed(const rt_input *input); /* bytes of the file read so far, still packed */
uint64_t rt_input_size(const rt_input *input);     /* of the file; 0 for a pipe */
bool rt_input_is_regular(const rt_input *input);
const char *rt_input_packing(const rt_input *input); /* "gzip", "zstd" or NULL */

#endif
