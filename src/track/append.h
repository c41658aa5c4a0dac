/* Whole records appended to a file; private to src/track. */
#ifndef RT_TRACK_APPEND_H
#define RT_TRACK_APPEND_H
#include "../base/status.h"
#include <stddef.h>

#define RT_METRICS_LIMIT ((size_t)1 << 30) /* bytes of a metrics.jsonl that is read back: six million lines */

/* Writes all bytes or, on failure, cuts the file back to what it was, so that it always ends with a whole record.
 * RT_EIO names the path. */
rt_status rt_append(int fd, const char *path, const void *bytes, size_t size);

#endif
