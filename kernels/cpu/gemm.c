/* Matrix products by oneDNN's matmul, C API 2.x and 3.x. The two differ in how a memory descriptor is held and how a
 * primitive descriptor is made; the functions before `struct rt_gemm` hide that. */
#include "gemm.h"
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t layout;

static dnnl_status_t layout_make(layout *to, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(to, 2, dims, type, strides);
}

static void layout_free(layout *l) {
    dnnl_memory_desc_destroy(*l);
}

static dnnl_status_t memory_make(dnnl_memory_t *to, const layout *l, dnnl_engine_t engine) {
    return dnnl_memory_create(to, *l, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *to, const layout *a, const layout *b, const layout *bias,
                                 const layout *c, const_dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    return dnnl_matmul_primitive_desc_create(to, engine, *a, *b, bias ? *bias : NULL, *c, attr);
}

static dnnl_status_t post_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

#else

typedef dnnl_memory_desc_t layout;

static dnnl_status_t layout_make(layout *to, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(to, 2, dims, type, strides);
}

static void layout_free(layout *l) {
    (void)l;
}

static dnnl_status_t memory_make(dnnl_memory_t *to, const layout *l, dnnl_engine_t engine) {
    return dnnl_memory_create(to, l, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *to, const layout *a, const layout *b, const layout *bias,
                                 const layout *c, const_dnnl_primitive_attr_t attr, dnnl_engine_t engine) {
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    return status == dnnl_success ? dnnl_primitive_desc_create(to, &desc, attr, engine, NULL) : status;
}

static dnnl_status_t post_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

#endif

enum { A, B, C, BIAS, PARTS };

static const int part_argument[PARTS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};

typedef struct {
    int64_t m, n, k;
    uint64_t flags;
} shape_key;

typedef struct {
    shape_key key;
    uint64_t used; /* the run that used it last; 0: empty */
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[PARTS];
} cached;

/* Primitives by shape: a set for each hash value, the least recently used of a set makes room. */
enum { SETS = 256, WAYS = 4 };

struct rt_gemm {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int threads;
    uint64_t runs;
    cached cache[SETS][WAYS];
};

static const char *status_text(dnnl_status_t status) {
    switch (status) {
    case dnnl_out_of_memory:
        return "out of memory";
    case dnnl_invalid_arguments:
        return "invalid arguments";
    case dnnl_unimplemented:
        return "not implemented for this processor";
    default:
        return "failed";
    }
}

static rt_status library_failure(dnnl_status_t status, const char *step, const rt_gemm_args *a) {
    return rt_fail(status == dnnl_out_of_memory ? RT_ENOMEM : RT_EUNAVAILABLE,
                   "oneDNN %d.%d: %s of a matrix product [%lld, %lld] x [%lld, %lld], %s to %s: %s (status %d)",
                   dnnl_version()->major, dnnl_version()->minor, step, (long long)a->m, (long long)a->k,
                   (long long)a->k, (long long)a->n, a->in == RT_BF16 ? "bf16" : "fp32",
                   a->out == RT_BF16 ? "bf16" : "fp32", status_text(status), (int)status);
}

/* v4 is never capped. oneDNN knows no "v2" or "generic": SSE4.1 is the lowest that it can be held to. */
static dnnl_cpu_isa_t cap_of(rt_isa isa) {
    return isa >= RT_ISA_V3 ? dnnl_cpu_isa_avx2 : dnnl_cpu_isa_sse41;
}

rt_status rt_gemm_open(rt_isa isa, bool cap, int threads, rt_gemm **out) {
    *out = NULL;
    if (cap && dnnl_set_max_cpu_isa(cap_of(isa)) != dnnl_success && dnnl_get_effective_cpu_isa() > cap_of(isa))
        return rt_fail(RT_EUNAVAILABLE,
                       "RECTRAIN_ISA = %s: oneDNN is already in use in this process at a higher level, and takes its "
                       "level only once. Set RECTRAIN_ISA before the program starts",
                       rt_isa_name(isa));
    rt_gemm *gemm = calloc(1, sizeof *gemm);
    if (!gemm) return rt_fail(RT_ENOMEM, "no memory for the cache of matrix products (%zu bytes)", sizeof *gemm);
    gemm->threads = threads;
    omp_set_num_threads(threads);
    dnnl_status_t status = dnnl_engine_create(&gemm->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = dnnl_stream_create(&gemm->stream, gemm->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        rt_gemm_close(gemm);
        return rt_fail(status == dnnl_out_of_memory ? RT_ENOMEM : RT_EUNAVAILABLE,
                       "oneDNN did not start: %s (status %d)", status_text(status), (int)status);
    }
    *out = gemm;
    return RT_OK;
}

static void entry_clear(cached *entry) {
    for (int i = 0; i < PARTS; i++)
        if (entry->memory[i]) dnnl_memory_destroy(entry->memory[i]);
    if (entry->primitive) dnnl_primitive_destroy(entry->primitive);
    memset(entry, 0, sizeof *entry);
}

void rt_gemm_close(rt_gemm *gemm) {
    if (!gemm) return;
    for (int set = 0; set < SETS; set++)
        for (int way = 0; way < WAYS; way++) entry_clear(&gemm->cache[set][way]);
    if (gemm->stream) dnnl_stream_destroy(gemm->stream);
    if (gemm->engine) dnnl_engine_destroy(gemm->engine);
    free(gemm);
}

void rt_gemm_describe(const rt_gemm *gemm, char *to, size_t size) {
    (void)gemm;
    const dnnl_version_t *v = dnnl_version();
    snprintf(to, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

static shape_key key_of(const rt_gemm_args *a) {
    uint64_t flags = (uint64_t)a->a_transposed | (uint64_t)a->b_transposed << 1 | (uint64_t)(a->in == RT_BF16) << 2 |
                     (uint64_t)(a->out == RT_BF16) << 3 | (uint64_t)(a->bias != NULL) << 4 |
                     (uint64_t)a->accumulate << 5;
    return (shape_key){a->m, a->n, a->k, flags};
}

static size_t set_of(const shape_key *key) {
    uint64_t h = (uint64_t)key->m * 0x9E3779B97F4A7C15u;
    h = (h ^ (uint64_t)key->n) * 0xC2B2AE3D27D4EB4Fu;
    h = (h ^ (uint64_t)key->k) * 0x165667B19E3779F9u;
    h = (h ^ key->flags) * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> 56) % SETS;
}

static dnnl_data_type_t type_of(rt_dtype dtype) {
    return dtype == RT_BF16 ? dnnl_bf16 : dnnl_f32;
}

static rt_status entry_make(rt_gemm *gemm, const rt_gemm_args *a, cached *entry) {
    layout part[PARTS];
    int made = 0;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t desc = NULL;
    const int parts = a->bias ? PARTS : BIAS;
    const dnnl_dims_t dims[PARTS] = {{a->m, a->k}, {a->k, a->n}, {a->m, a->n}, {1, a->n}};
    const dnnl_dims_t strides[PARTS] = {{a->a_transposed ? 1 : a->k, a->a_transposed ? a->m : 1},
                                        {a->b_transposed ? 1 : a->n, a->b_transposed ? a->k : 1},
                                        {a->n, 1},
                                        {a->n, 1}};
    const dnnl_data_type_t types[PARTS] = {type_of(a->in), type_of(a->in), type_of(a->out), dnnl_f32};
    dnnl_status_t status = dnnl_success;
    for (; made < parts && status == dnnl_success; made += status == dnnl_success)
        status = layout_make(&part[made], dims[made], types[made], strides[made]);
    if (status == dnnl_success) status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success && a->accumulate) {
        status = dnnl_post_ops_create(&ops);
        if (status == dnnl_success) status = post_sum(ops);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, ops);
    }
    if (status == dnnl_success)
        status = matmul_make(&desc, &part[A], &part[B], a->bias ? &part[BIAS] : NULL, &part[C], attr, gemm->engine);
    if (status == dnnl_success) status = dnnl_primitive_create(&entry->primitive, desc);
    for (int i = 0; i < parts && status == dnnl_success; i++)
        status = memory_make(&entry->memory[i], &part[i], gemm->engine);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    for (int i = 0; i < made; i++) layout_free(&part[i]);
    if (status == dnnl_success) {
        entry->key = key_of(a);
        return RT_OK;
    }
    entry_clear(entry);
    return library_failure(status, "preparation", a);
}

static rt_status entry_find(rt_gemm *gemm, const rt_gemm_args *a, cached **out) {
    shape_key key = key_of(a);
    cached *set = gemm->cache[set_of(&key)], *oldest = set;
    for (int way = 0; way < WAYS; way++) {
        if (set[way].used && memcmp(&set[way].key, &key, sizeof key) == 0) {
            *out = &set[way];
            return RT_OK;
        }
        if (set[way].used < oldest->used) oldest = &set[way];
    }
    entry_clear(oldest);
    *out = oldest;
    return entry_make(gemm, a, oldest);
}

rt_status rt_gemm_run(rt_gemm *gemm, const rt_gemm_args *a) {
    omp_set_num_threads(gemm->threads);
    cached *entry;
    RT_TRY(entry_find(gemm, a, &entry));
    entry->used = ++gemm->runs;
    /* oneDNN takes plain pointers to what it only reads. */
    void *const data[PARTS] = {(void *)(uintptr_t)a->a, (void *)(uintptr_t)a->b, a->c, (void *)(uintptr_t)a->bias};
    dnnl_exec_arg_t arguments[PARTS];
    const int parts = a->bias ? PARTS : BIAS;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < parts && status == dnnl_success; i++) {
        status = dnnl_memory_set_data_handle(entry->memory[i], data[i]);
        arguments[i] = (dnnl_exec_arg_t){part_argument[i], entry->memory[i]};
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(entry->primitive, gemm->stream, parts, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(gemm->stream);
    return status == dnnl_success ? RT_OK : library_failure(status, "execution", a);
}
