/* The linear layer: which products, in which order, with what around them.
 *
 * Rows are walked in chunks: the pass after (or before) a product then finds its rows still in cache. In bf16 a chunk's
 * product stands in fp32 scratch, so that bias and activation see it unrounded. Where the processor cannot multiply
 * bf16, operands are widened to fp32 a chunk at a time; everything else is the same code.
 */
#include "gemm.h"
#include <string.h>

/* In fp32, chunks of like size have more than half of this many rows: below about 300 oneDNN's AVX2 product no longer
 * packs its operands and loses 10 to 50 %. In bf16 scratch is dearer and the products do not mind. */
static int64_t chunk_rows(const rt_cpu_context *cpu) {
    const int64_t least = cpu->api.act == RT_F32 ? 1024 : 512, rows = 64 * (int64_t)cpu->threads;
    return rows > least ? (rows < 4096 ? rows : 4096) : least;
}

/* Scratch, in this order; the same function measures (base NULL) and binds. */
typedef struct {
    float *partials;  /* column sums: blocks x n */
    float *product;   /* bf16: chunk x n, before the activation; or a chunk of dz in bf16 */
    float *a, *b, *c; /* bf16 without hardware: operands and result in fp32 */
    size_t bytes;
} scratch;

static void *take(unsigned char *base, size_t *used, int64_t floats) {
    void *block = base ? base + *used : NULL;
    *used += ((size_t)floats * sizeof(float) + 255) / 256 * 256;
    return block;
}

/* n, k: the layer's; weights: the most elements of any operand b. */
static scratch cut(const rt_cpu_context *cpu, unsigned char *base, int64_t rows, int64_t n, int64_t k,
                   int64_t weights) {
    scratch s = {0};
    const int64_t chunk = rows < chunk_rows(cpu) ? rows : chunk_rows(cpu), wide = n > k ? n : k;
    s.partials = take(base, &s.bytes, rt_row_blocks(chunk) * n);
    if (cpu->api.act == RT_F32) return s;
    s.product = take(base, &s.bytes, chunk * n);
    if (cpu->native_bf16) return s;
    s.a = take(base, &s.bytes, chunk * wide);
    s.b = take(base, &s.bytes, weights > chunk * k ? weights : chunk * k);
    s.c = take(base, &s.bytes, chunk * wide);
    return s;
}

size_t rt_cpu_need_linear(const rt_cpu_context *cpu, const rt_dims *d) {
    int64_t wide = 3 * (int64_t)d->hidden, weights;
    if (d->ffn > wide) wide = d->ffn;
    if (d->labels > wide) wide = d->labels;
    weights = wide * d->hidden;
    return cut(cpu, NULL, d->max_tokens > d->max_seqs ? d->max_tokens : d->max_seqs, wide, wide, weights).bytes;
}

static rt_status bind(rt_cpu_context *cpu, int64_t rows, const rt_weight *w, scratch *s) {
    void *base;
    const int64_t weights = w->n * w->k;
    RT_TRY(rt_cpu_scratch(&cpu->api, cut(cpu, NULL, rows, w->n, w->k, weights).bytes, "linear", &base));
    *s = cut(cpu, base, rows, w->n, w->k, weights);
    return RT_OK;
}

/* One product, widened by hand where the processor has no bf16. */
static rt_status product(rt_cpu_context *cpu, const scratch *s, const rt_gemm_args *wanted) {
    if (wanted->in == RT_F32 || cpu->native_bf16) return rt_gemm_run(cpu->gemm, wanted);
    rt_gemm_args g = *wanted;
    cpu->ops.convert(cpu, s->a, RT_F32, g.a, RT_BF16, g.m * g.k);
    cpu->ops.convert(cpu, s->b, RT_F32, g.b, RT_BF16, g.k * g.n);
    g.a = s->a, g.b = s->b, g.in = RT_F32;
    if (g.out == RT_BF16) {
        g.c = s->c, g.out = RT_F32;
        if (g.accumulate) cpu->ops.convert(cpu, s->c, RT_F32, wanted->c, RT_BF16, g.m * g.n);
    }
    RT_TRY(rt_gemm_run(cpu->gemm, &g));
    if (wanted->out == RT_BF16) cpu->ops.convert(cpu, wanted->c, RT_BF16, s->c, RT_F32, g.m * g.n);
    return RT_OK;
}

static rt_status check(const rt_cpu_context *cpu, const char *op, const rt_weight *w, int64_t rows, rt_activation act,
                       rt_dtype y_dtype) {
    if (rows < 0 || w->n < 1 || w->k < 1 || w->n > INT32_MAX || w->k > INT32_MAX)
        return rt_fail(RT_ESHAPE, "%s: %lld rows, weight [%lld, %lld]", op, (long long)rows, (long long)w->n,
                       (long long)w->k);
    if (w->k % 8 || (y_dtype != RT_F32 && w->n % 8))
        return rt_fail(RT_ESHAPE,
                       "%s: weight [%lld, %lld]: n and k must be multiples of 8 (n of an fp32 result need not)", op,
                       (long long)w->n, (long long)w->k);
    if (y_dtype != RT_F32 && y_dtype != cpu->api.act)
        return rt_fail(RT_ESHAPE, "%s: a bf16 result on an fp32 backend", op);
    if (act != RT_ACT_NONE && act != RT_ACT_GELU && act != RT_ACT_TANH)
        return rt_fail(RT_ESHAPE, "%s: unknown activation %d", op, (int)act);
    if (!w->master || (cpu->api.act == RT_BF16 && !w->packed))
        return rt_fail(RT_ESHAPE, "%s: the weight [%lld, %lld] has no %s", op, (long long)w->n, (long long)w->k,
                       w->master ? "packed form" : "master");
    return RT_OK;
}

static const void *weight_of(const rt_cpu_context *cpu, const rt_weight *w) {
    return cpu->api.act == RT_BF16 ? w->packed : w->master;
}

static const void *at(const void *p, rt_dtype dtype, int64_t element) {
    return p ? (const char *)p + (size_t)element * rt_dtype_size(dtype) : NULL;
}

static void *out_at(void *p, rt_dtype dtype, int64_t element) {
    return p ? (char *)p + (size_t)element * rt_dtype_size(dtype) : NULL;
}

/* Chunks of like size rather than full ones and a small rest. */
static int64_t chunk_size(int64_t rows, int64_t limit) {
    const int64_t chunks = (rows + limit - 1) / limit, size = (rows + chunks - 1) / chunks;
    return (size + 7) / 8 * 8;
}

rt_status rt_cpu_linear_forward(rt_backend *backend, const rt_linear_forward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    const int64_t n = a->w.n, k = a->w.k;
    const rt_dtype act = backend->act;
    RT_TRY(check(cpu, "linear_forward", &a->w, a->rows, a->act, a->y_dtype));
    if (a->rows == 0) return RT_OK;
    if (!a->x || !a->y) return rt_fail(RT_ESHAPE, "linear_forward: x or y is NULL");
    if (a->y_dtype == RT_F32 && n <= RT_NARROW_MAX) {
        cpu->ops.narrow_forward(cpu, a);
        return RT_OK;
    }
    rt_gemm_args g = {.n = n, .k = k, .b = weight_of(cpu, &a->w), .b_transposed = true, .in = act};
    scratch s = {0};
    const bool f32 = a->y_dtype == RT_F32;
    const bool plain = a->act == RT_ACT_NONE && !a->pre && (!a->bias || (act == RT_BF16 && cpu->native_bf16));
    const bool direct = plain && (act == RT_F32 || cpu->native_bf16);
    const int64_t step = direct ? a->rows : chunk_size(a->rows, chunk_rows(cpu));
    /* The bare product needs no scratch, so it may be larger than any that the workspace was made for. */
    if (!direct || a->bias) RT_TRY(bind(cpu, a->rows, &a->w, &s));
    for (int64_t r = 0; r < a->rows; r += step) {
        const int64_t rows = a->rows - r < step ? a->rows - r : step;
        void *y = out_at(a->y, a->y_dtype, r * n), *pre = out_at(a->pre, a->y_dtype, r * n);
        g.m = rows;
        g.a = at(a->x, act, r * k);
        g.out = plain ? a->y_dtype : RT_F32;
        g.bias = plain ? a->bias : NULL;
        g.c = plain ? y : !f32 ? s.product : pre ? pre : y;
        RT_TRY(product(cpu, &s, &g));
        if (plain) continue;
        cpu->ops.epilogue_forward(
            cpu, &(rt_cpu_epilogue_args){
                     .z = g.c, .bias = a->bias, .act = a->act, .y = y, .pre = pre, .f32 = f32, .rows = rows, .n = n});
    }
    return RT_OK;
}

static void zero(float *p, int64_t n) {
    if (p) memset(p, 0, (size_t)n * sizeof *p);
}

/* dx of some rows. dz has the backend's dtype. */
static rt_status input_gradient(rt_cpu_context *cpu, const scratch *s, const rt_linear_backward_args *a, const void *dz,
                                int64_t first, int64_t rows) {
    const rt_dtype act = cpu->api.act;
    const int64_t k = a->w.k;
    void *dx = out_at(a->dx, act, first * k);
    if (a->dx_add && a->dx_add != a->dx) cpu->ops.convert(cpu, dx, act, at(a->dx_add, act, first * k), act, rows * k);
    return product(cpu, s,
                   &(rt_gemm_args){.m = rows,
                                   .n = k,
                                   .k = a->w.n,
                                   .a = dz,
                                   .b = weight_of(cpu, &a->w),
                                   .in = act,
                                   .out = act,
                                   .c = dx,
                                   .accumulate = a->dx_add != NULL});
}

static rt_status weight_gradient(rt_cpu_context *cpu, const scratch *s, const rt_linear_backward_args *a,
                                 const void *dz, int64_t first, int64_t rows, bool accumulate) {
    const rt_dtype act = cpu->api.act;
    return product(cpu, s,
                   &(rt_gemm_args){.m = a->w.n,
                                   .n = a->w.k,
                                   .k = rows,
                                   .a = dz,
                                   .a_transposed = true,
                                   .b = at(a->x, act, first * a->w.k),
                                   .in = act,
                                   .out = RT_F32,
                                   .c = a->dw,
                                   .accumulate = accumulate});
}

rt_status rt_cpu_linear_backward(rt_backend *backend, const rt_linear_backward_args *a) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    const int64_t n = a->w.n, k = a->w.k;
    const rt_dtype act = backend->act;
    RT_TRY(check(cpu, "linear_backward", &a->w, a->rows, a->act, a->dy_dtype));
    if (a->rows == 0) {
        if (!a->accumulate) zero(a->dw, n * k), zero(a->db, n);
        return RT_OK;
    }
    if (!a->dy || (a->dw && !a->x) || (a->act != RT_ACT_NONE && !a->saved))
        return rt_fail(RT_ESHAPE, "linear_backward: %s is NULL", !a->dy ? "dy" : a->dw && !a->x ? "x" : "saved");
    scratch s;
    RT_TRY(bind(cpu, a->rows, &a->w, &s));
    if (a->dy_dtype == RT_F32 && n <= RT_NARROW_MAX) {
        cpu->ops.narrow_backward(cpu, a, s.partials);
        return RT_OK;
    }
    const bool f32 = a->dy_dtype == RT_F32, rounded = a->dy_dtype != act, native = act == RT_F32 || cpu->native_bf16;
    /* The weight gradient takes all rows at once where nothing has to be widened or rounded first. */
    const bool whole = native && !rounded;
    const int64_t step = chunk_size(a->rows, chunk_rows(cpu));
    for (int64_t r = 0; r < a->rows; r += step) {
        const int64_t rows = a->rows - r < step ? a->rows - r : step;
        void *dy = out_at(a->dy, a->dy_dtype, r * n);
        cpu->ops.epilogue_backward(cpu, &(rt_cpu_epilogue_backward_args){.act = a->act,
                                                                         .saved = at(a->saved, a->dy_dtype, r * n),
                                                                         .dy = dy,
                                                                         .db = a->db,
                                                                         .accumulate = a->accumulate || r > 0,
                                                                         .f32 = f32,
                                                                         .rows = rows,
                                                                         .n = n,
                                                                         .partials = s.partials});
        const void *dz = dy;
        if (rounded) {
            cpu->ops.convert(cpu, s.product, act, dy, a->dy_dtype, rows * n);
            dz = s.product;
        }
        if (a->dx) RT_TRY(input_gradient(cpu, &s, a, dz, r, rows));
        if (a->dw && !whole) RT_TRY(weight_gradient(cpu, &s, a, dz, r, rows, a->accumulate || r > 0));
    }
    return a->dw && whole ? weight_gradient(cpu, &s, a, a->dy, 0, a->rows, a->accumulate) : RT_OK;
}

/* bf16 keeps its weights as plain bf16, which both directions read; fp32 reads the master as it is. */
size_t rt_cpu_packed_bytes(rt_backend *backend, int64_t n, int64_t k) {
    return backend->act == RT_BF16 ? (size_t)n * (size_t)k * sizeof(rt_bf16) : 0;
}

rt_status rt_cpu_pack(rt_backend *backend, const float *master, int64_t n, int64_t k, void *packed) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    if (n < 0 || k < 0) return rt_fail(RT_ESHAPE, "pack: weight [%lld, %lld]", (long long)n, (long long)k);
    if (backend->act == RT_BF16) cpu->ops.convert(cpu, packed, RT_BF16, master, RT_F32, n * k);
    return RT_OK;
}
