/* Products by cuBLASLt, and what it answered for each shape.
 *
 * The library thinks in columns. A row-major c [m, n] is a column-major [n, m], and c = op(a) op(b) turned round is
 * c^T = op(b)^T op(a)^T; so the library's A is our b and its B our a, both as they stand, without a copy:
 *
 *   product (ours)        library's A, op, ld    B, op, ld    m, n, k
 *   y = x W^T             W, T, k                x, N, k      N, T, K
 *   dx = dy W             W, N, k                dy, N, n     K, T, N
 *   dW (+)= dy^T x        x, N, k                dy, T, n     K, N, T
 *
 * Bits. Which kernel runs decides the order of the sums. It is the first answer of the library's heuristic, which looks
 * at the device, the shape, the layouts and the alignment alone: never a choice by time. Split sums may only be
 * reduced by a second pass over fp32 partials (COMPUTE_TYPE); where the library has no algorithm so, not at all.
 *
 * The table. Descriptors and algorithm of a shape are made once and kept in sets of WAYS places, the least recently
 * used one giving way; what was dropped is asked for again and gets the same answer. */
#include "gemm.h"
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1024, WAYS = 4, ALIGNED_LEAST = 16, ALIGNED_MOST = 256 };

/* Compared as bytes: no padding. */
typedef struct {
    int64_t m, n, k;
    uint32_t a_aligned, b_aligned, c_aligned, d_aligned, bias_aligned; /* bytes; 0: no bias */
    uint8_t a_transposed, b_transposed, in, out;
} shape;
/* The library fills these: they have one size in its header and in the one that tests are built with. */
_Static_assert(sizeof(cublasLtMatmulAlgo_t) == 64 && sizeof(cublasLtMatmulHeuristicResult_t) == 96, "as in CUDA 13");
_Static_assert(sizeof(shape) == 3 * 8 + 5 * 4 + 4, "a shape has no padding");

typedef struct {
    shape key;
    uint64_t used; /* the table's clock at its last use; 0: an empty place */
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
} answer;

struct rt_cuda_gemm {
    cublasLtHandle_t handle;
    cublasComputeType_t f32_compute;
    uint64_t clock, kept, asked;
    answer table[SETS][WAYS];
};

size_t rt_cuda_gemm_workspace(int architecture) {
    return (size_t)(architecture >= 90 ? 32 : 4) << 20;
}

static rt_status status_of(cublasStatus_t status) {
    return status == CUBLAS_STATUS_ALLOC_FAILED ? RT_ENOMEM
           : status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH ||
                   status == CUBLAS_STATUS_NOT_INITIALIZED
               ? RT_EUNAVAILABLE
               : RT_EINTERNAL;
}

static const char *type_name(uint8_t dtype) {
    return dtype == RT_BF16 ? "bf16" : "fp32";
}

/* A sentence with the product, what was tried, and the library's words. */
static rt_status complain(cublasStatus_t status, const shape *s, const char *what) {
    return rt_fail(status_of(status), "product [%lld, %lld%s] x [%lld, %lld%s], %s to %s%s: %s: cuBLASLt says %s (%d)",
                   (long long)s->m, (long long)s->k, s->a_transposed ? ", transposed" : "", (long long)s->k,
                   (long long)s->n, s->b_transposed ? ", transposed" : "", type_name(s->in), type_name(s->out),
                   s->bias_aligned ? " with bias" : "", what, cublasLtGetStatusString(status), (int)status);
}

#define LT(call, what)                                                                                                 \
    do {                                                                                                               \
        const cublasStatus_t lt_ = (call);                                                                             \
        if (lt_ != CUBLAS_STATUS_SUCCESS) {                                                                            \
            rc = complain(lt_, key, (what));                                                                           \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

rt_status rt_cuda_gemm_open(const rt_cuda_context *cuda, rt_cuda_gemm **out) {
    rt_cuda_gemm *gemm = calloc(1, sizeof *gemm);
    if (!gemm) return rt_fail(RT_ENOMEM, "no memory for the table of products, %zu bytes", sizeof *gemm);
    gemm->f32_compute = cuda->api.precision == RT_PRECISION_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasStatus_t status = cublasLtCreate(&gemm->handle);
    if (status != CUBLAS_STATUS_SUCCESS) {
        free(gemm);
        return rt_fail(status_of(status), "cuBLASLt cannot be opened on device %d: it says %s (%d)", cuda->device,
                       cublasLtGetStatusString(status), (int)status);
    }
    *out = gemm;
    return RT_OK;
}

static void forget(rt_cuda_gemm *gemm, answer *e) {
    if (e->used) gemm->kept--;
    if (e->op) cublasLtMatmulDescDestroy(e->op);
    if (e->a) cublasLtMatrixLayoutDestroy(e->a);
    if (e->b) cublasLtMatrixLayoutDestroy(e->b);
    if (e->c) cublasLtMatrixLayoutDestroy(e->c);
    *e = (answer){0};
}

void rt_cuda_gemm_close(rt_cuda_gemm *gemm) {
    if (!gemm) return;
    for (int s = 0; s < SETS; s++)
        for (int w = 0; w < WAYS; w++) forget(gemm, &gemm->table[s][w]);
    cublasLtDestroy(gemm->handle);
    free(gemm);
}

void rt_cuda_gemm_describe(const rt_cuda_gemm *gemm, char *to, size_t size) {
    const size_t version = cublasLtGetVersion();
    snprintf(to, size, "cuBLASLt %zu.%zu.%zu: %llu shapes kept, %llu asked for", version / 10000, version / 100 % 100,
             version % 100, (unsigned long long)gemm->kept, (unsigned long long)gemm->asked);
}

/* --- asking ---------------------------------------------------------------------------------------------------------
 */

static cudaDataType type_of(uint8_t dtype) {
    return dtype == RT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasStatus_t prefer(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t attribute,
                             uint32_t value) {
    return cublasLtMatmulPreferenceSetAttribute(p, attribute, &value, sizeof value);
}

/* The first answer with these ways of reducing split sums; *found 0 where there is none. */
static rt_status ask(rt_cuda_gemm *gemm, answer *e, uint64_t workspace, uint32_t schemes, int *found) {
    const shape *key = &e->key;
    cublasLtMatmulPreference_t p = NULL;
    cublasLtMatmulHeuristicResult_t first;
    rt_status rc = RT_OK;
    memset(&first, 0, sizeof first);
    *found = 0;
    LT(cublasLtMatmulPreferenceCreate(&p), "making a preference");
    LT(cublasLtMatmulPreferenceSetAttribute(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
       "setting the workspace");
    LT(prefer(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes), "setting the reduction schemes");
    LT(prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->b_aligned), "setting an alignment");
    LT(prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->a_aligned), "setting an alignment");
    LT(prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->c_aligned), "setting an alignment");
    LT(prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->d_aligned), "setting an alignment");
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(gemm->handle, e->op, e->a, e->b, e->c, e->c, p, 1, &first, found);
    gemm->asked++;
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
        *found = 0;
        goto done;
    }
    LT(status, "asking for an algorithm");
    if (*found && (first.state != CUBLAS_STATUS_SUCCESS || first.workspaceSize > workspace)) *found = 0;
    e->algo = first.algo;
done:
    if (p) cublasLtMatmulPreferenceDestroy(p);
    return rc;
}

/* Layouts: rows and columns as they stand in memory, seen column by column. */
static rt_status make(rt_cuda_gemm *gemm, answer *e, const rt_cuda_gemm_args *args, uint64_t workspace) {
    const shape *key = &e->key;
    const uint64_t m = (uint64_t)key->m, n = (uint64_t)key->n, k = (uint64_t)key->k;
    const cublasOperation_t a = key->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                            b = key->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasComputeType_t compute = key->in == RT_F32 ? gemm->f32_compute : CUBLAS_COMPUTE_32F;
    rt_status rc = RT_OK;
    int found = 0;
    LT(cublasLtMatmulDescCreate(&e->op, compute, CUDA_R_32F), "describing it");
    LT(cublasLtMatmulDescSetAttribute(e->op, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a), "transposing A");
    LT(cublasLtMatmulDescSetAttribute(e->op, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b), "transposing B");
    if (args->bias) {
        const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        LT(cublasLtMatmulDescSetAttribute(e->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue),
           "asking for the bias");
        LT(cublasLtMatmulDescSetAttribute(e->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &args->bias, sizeof args->bias),
           "setting the bias");
    }
    LT(cublasLtMatrixLayoutCreate(&e->a, type_of(key->in), key->b_transposed ? k : n, key->b_transposed ? n : k,
                                  key->b_transposed ? key->k : key->n),
       "describing A");
    LT(cublasLtMatrixLayoutCreate(&e->b, type_of(key->in), key->a_transposed ? m : k, key->a_transposed ? k : m,
                                  key->a_transposed ? key->m : key->k),
       "describing B");
    LT(cublasLtMatrixLayoutCreate(&e->c, type_of(key->out), n, m, key->n), "describing C");
    RT_GO(ask(gemm, e, workspace, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, &found));
    if (!found) RT_GO(ask(gemm, e, workspace, CUBLASLT_REDUCTION_SCHEME_NONE, &found));
    if (!found)
        rc = complain(CUBLAS_STATUS_NOT_SUPPORTED, key,
                      "no algorithm is known (widths that are multiples of 8 have the most)");
done:
    return rc;
}

/* --- the table ------------------------------------------------------------------------------------------------------
 */

static uint32_t aligned_to(const void *p) {
    const uintptr_t at = (uintptr_t)p | ALIGNED_MOST;
    return (uint32_t)(at & -at);
}

static uint64_t digest(const shape *s) {
    uint64_t words[sizeof *s / 8], h = 0x9e3779b97f4a7c15u;
    memcpy(words, s, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        h = (h ^ words[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static rt_status find(rt_cuda_context *cuda, const shape *key, const rt_cuda_gemm_args *args, answer **out) {
    rt_cuda_gemm *gemm = cuda->gemm;
    answer *set = gemm->table[digest(key) % SETS], *oldest = set;
    for (int w = 0; w < WAYS; w++) {
        if (set[w].used && !memcmp(&set[w].key, key, sizeof *key)) {
            *out = &set[w];
            return RT_OK;
        }
        if (set[w].used < oldest->used) oldest = &set[w];
    }
    forget(gemm, oldest);
    oldest->key = *key;
    const rt_status rc = make(gemm, oldest, args, cuda->gemm_bytes);
    if (rc != RT_OK) {
        forget(gemm, oldest);
        return rc;
    }
    oldest->used = ++gemm->clock;
    gemm->kept++;
    *out = oldest;
    return RT_OK;
}

/* --- running --------------------------------------------------------------------------------------------------------
 */

static rt_status check(const rt_cuda_context *cuda, const rt_cuda_gemm_args *g) {
    const bool types =
        (g->in == RT_F32 && g->out == RT_F32) || (g->in == RT_BF16 && (g->out == RT_F32 || g->out == RT_BF16));
    if (g->m < 0 || g->n < 0 || g->k < 0 || g->m > INT32_MAX || g->n > INT32_MAX || g->k > INT32_MAX || !types)
        return rt_fail(RT_ESHAPE,
                       "product [%lld, %lld] x [%lld, %lld] of dtype %d to %d; expected sizes below 2^31, fp32 "
                       "to fp32, or bf16 to either",
                       (long long)g->m, (long long)g->k, (long long)g->k, (long long)g->n, (int)g->in, (int)g->out);
    if (g->bias && (g->accumulate || g->out != RT_F32))
        return rt_fail(RT_ESHAPE, "a product with a bias %s; only a stored fp32 result takes one",
                       g->accumulate ? "that is added" : "and a bf16 result");
    if (g->addend && !g->accumulate) return rt_fail(RT_ESHAPE, "a product with an addend that is not added");
    if (cuda->gemm_bytes && (!cuda->workspace || (uintptr_t)cuda->workspace % ALIGNED_MOST))
        return rt_fail(RT_ESHAPE, "product: the workspace at %p is not aligned to %d bytes; set_workspace comes first",
                       (void *)cuda->workspace, (int)ALIGNED_MOST);
    return RT_OK;
}

/* 16 bytes are what every allocation and row of a legal width has; less would be an argument gone wrong. */
static rt_status check_aligned(const shape *s, const rt_cuda_gemm_args *g) {
    const struct {
        const char *name;
        const void *p;
        uint32_t aligned;
    } all[] = {{"a", g->a, s->a_aligned},
               {"b", g->b, s->b_aligned},
               {"c", g->c, s->d_aligned},
               {"the addend", g->addend, s->c_aligned},
               {"bias", g->bias, g->bias ? s->bias_aligned : ALIGNED_MOST}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (i < 3 && !all[i].p)
            return rt_fail(RT_ESHAPE, "product [%lld, %lld] x [%lld, %lld]: %s is NULL", (long long)s->m,
                           (long long)s->k, (long long)s->k, (long long)s->n, all[i].name);
        if (all[i].aligned < ALIGNED_LEAST)
            return rt_fail(RT_ESHAPE, "product [%lld, %lld] x [%lld, %lld]: %s at %p is not aligned to %d bytes",
                           (long long)s->m, (long long)s->k, (long long)s->k, (long long)s->n, all[i].name, all[i].p,
                           (int)ALIGNED_LEAST);
    }
    return RT_OK;
}

/* k = 0: the library refuses empty operands, and the sum over nothing is 0 (or the bias, for which nobody asks). */
static rt_status empty_sum(rt_cuda_context *cuda, const rt_cuda_gemm_args *g) {
    const size_t n = (size_t)g->m * (size_t)g->n, bytes = n * rt_dtype_size(g->out);
    if (g->bias) return rt_fail(RT_ESHAPE, "a product over k = 0 with a bias");
    if (!g->accumulate) RT_CUDA(cudaMemsetAsync(g->c, 0, bytes, cuda->launch.stream));
    if (g->addend && g->addend != g->c)
        return rt_cuda_convert_launch(&cuda->launch, g->c, g->out, g->addend, g->out, n);
    return RT_OK;
}

rt_status rt_cuda_gemm_run(rt_cuda_context *cuda, const rt_cuda_gemm_args *g) {
    static const float one = 1, zero = 0;
    RT_TRY(check(cuda, g));
    if (g->m == 0 || g->n == 0) return RT_OK;
    if (g->k == 0) return empty_sum(cuda, g);
    const void *addend = g->addend ? g->addend : g->c;
    const shape s = {.m = g->m,
                     .n = g->n,
                     .k = g->k,
                     .a_aligned = aligned_to(g->a),
                     .b_aligned = aligned_to(g->b),
                     .c_aligned = aligned_to(addend),
                     .d_aligned = aligned_to(g->c),
                     .bias_aligned = g->bias ? aligned_to(g->bias) : 0,
                     .a_transposed = g->a_transposed,
                     .b_transposed = g->b_transposed,
                     .in = (uint8_t)g->in,
                     .out = (uint8_t)g->out};
    const shape *key = &s;
    answer *e = NULL;
    rt_status rc = RT_OK;
    RT_TRY(check_aligned(&s, g));
    RT_TRY(find(cuda, &s, g, &e));
    e->used = ++cuda->gemm->clock;
    if (g->bias)
        LT(cublasLtMatmulDescSetAttribute(e->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &g->bias, sizeof g->bias),
           "setting the bias");
    LT(cublasLtMatmul(cuda->gemm->handle, e->op, &one, g->b, e->a, g->a, e->b, g->accumulate ? &one : &zero, addend,
                      e->c, g->c, e->c, &e->algo, cuda->workspace, cuda->gemm_bytes, cuda->launch.stream),
       "running it");
done:
    return rc;
}
