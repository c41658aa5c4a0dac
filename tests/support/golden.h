/* Reads the golden files of tools/make_golden.py. Any defect of a file fails the running test. */
#ifndef RT_TESTS_GOLDEN_H
#define RT_TESTS_GOLDEN_H
#include <stdint.h>

typedef struct {
    char name[112];
    int is_int, rank;
    int64_t dims[4], count;
    const void *data; /* f32 or i32 */
} rt_golden_record;

typedef struct {
    char *bytes;
    rt_golden_record *records;
    int n;
} rt_golden;

rt_golden rt_golden_load(const char *path);
void rt_golden_free(rt_golden *g);
/* NULL when it is not there. */
const rt_golden_record *rt_golden_find(const rt_golden *g, const char *prefix, const char *name);
const float *rt_golden_floats(const rt_golden *g, const char *prefix, const char *name, int64_t count);
const int32_t *rt_golden_ints(const rt_golden *g, const char *name, int64_t count);

#endif
