#include "golden.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void take(const char **at, const char *end, void *to, size_t n) {
    assert_true((size_t)(end - *at) >= n);
    memcpy(to, *at, n);
    *at += n;
}

rt_golden rt_golden_load(const char *path) {
    rt_golden g = {0};
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s (tests run in the project's root)", path);
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    rewind(f);
    g.bytes = malloc(size);
    assert_non_null(g.bytes);
    assert_int_equal(fread(g.bytes, 1, size, f), size);
    fclose(f);
    const char *at = g.bytes, *end = g.bytes + size;
    char magic[8];
    uint32_t n;
    take(&at, end, magic, 8);
    assert_memory_equal(magic, "RTGOLD1", 8);
    take(&at, end, &n, 4);
    g.records = calloc(n, sizeof *g.records);
    assert_non_null(g.records);
    for (; g.n < (int)n; g.n++) {
        rt_golden_record *r = &g.records[g.n];
        uint16_t length;
        uint8_t kind, rank;
        take(&at, end, &length, 2);
        assert_true(length < sizeof r->name);
        take(&at, end, r->name, length);
        take(&at, end, &kind, 1);
        take(&at, end, &rank, 1);
        assert_true(rank <= 4);
        r->is_int = kind;
        r->rank = rank;
        r->count = 1;
        for (int i = 0; i < rank; i++) {
            take(&at, end, &r->dims[i], 8);
            r->count *= r->dims[i];
        }
        void *data = malloc((size_t)r->count * 4 + 1);
        assert_non_null(data);
        take(&at, end, data, (size_t)r->count * 4);
        r->data = data;
    }
    return g;
}

void rt_golden_free(rt_golden *g) {
    for (int i = 0; i < g->n; i++) free((void *)g->records[i].data);
    free(g->records);
    free(g->bytes);
    memset(g, 0, sizeof *g);
}

const rt_golden_record *rt_golden_find(const rt_golden *g, const char *prefix, const char *name) {
    char whole[160];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->records[i].name, whole) == 0) return &g->records[i];
    return NULL;
}

const float *rt_golden_floats(const rt_golden *g, const char *prefix, const char *name, int64_t count) {
    const rt_golden_record *r = rt_golden_find(g, prefix, name);
    if (!r || r->is_int || r->count != count)
        fail_msg("golden file has no %s%s of %lld floats", prefix, name, (long long)count);
    return r->data;
}

const int32_t *rt_golden_ints(const rt_golden *g, const char *name, int64_t count) {
    const rt_golden_record *r = rt_golden_find(g, "", name);
    if (!r || !r->is_int || (count >= 0 && r->count != count))
        fail_msg("golden file has no %s of %lld ints", name, (long long)count);
    return r->data;
}
