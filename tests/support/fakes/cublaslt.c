/* A cuBLASLt that multiplies with plain loops and believes nothing.
 *
 * Checked at the call: handle and descriptors live; attribute sizes; types that go together; layouts against the
 * operation (op(A) [m, k], op(B) [k, n], C and D [m, n], leading dimensions); pointers are device memory of the whole
 * matrix's size, and aligned as the preference said when the algorithm was asked for; the algorithm was made for just
 * this operation and these layouts; the workspace is large enough, aligned to 256 bytes, and lies over no operand; D
 * lies over neither A nor B, and over C exactly or not at all; alpha, beta on the host; split sums only with fp32
 * partials. What breaks a rule goes to fake_report, and the call returns INVALID_VALUE.
 *
 * Done late, when the stream comes to it: operands are read then, sums are fp32 in the order of k, bf16 results are
 * rounded once, TF32 rounds operands to 10 bits of fraction, the whole workspace that the algorithm asked for is
 * overwritten with NaN, and with beta = 0 C is not read. */
#include "cublaslt.h"
#include "fake.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HANDLE = 0x4c744861,
    LAYOUT = 0x4c744c61,
    OPERATION = 0x4c744f70,
    PREFERENCE = 0x4c745072,
    ALGORITHM = 0x4c74416c
};

struct cublasLtContext {
    uint32_t kind;
};
typedef struct {
    uint32_t kind;
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
} layout;
typedef struct {
    uint32_t kind;
    cublasComputeType_t compute;
    cudaDataType scale;
    cublasOperation_t op_a, op_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
} operation;
typedef struct {
    uint32_t kind;
    uint64_t workspace;
    uint32_t schemes, aligned[4];
} preference;
/* What stands in an algorithm's 64 bytes. */
typedef struct {
    uint32_t kind, aligned[5]; /* A, B, C, D, bias */
    uint64_t made_for, workspace, sum;
} algorithm;
_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "fits");

static fake_cublaslt settings;

fake_cublaslt *fake_cublaslt_settings(void) {
    return &settings;
}

static cublasStatus_t failure(void) {
    return settings.failure ? settings.failure : CUBLAS_STATUS_INTERNAL_ERROR;
}

#define CALL(name)                                                                                                     \
    if (fake_call_fails(name)) return failure()
#define RULE(holds, ...)                                                                                               \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fake_report("cuBLASLt: " __VA_ARGS__);                                                                     \
            return CUBLAS_STATUS_INVALID_VALUE;                                                                        \
        }                                                                                                              \
    } while (0)

/* Things keep their kind while they live; what is gone is remembered as long as the allocator keeps the word. */
static void *make(size_t bytes, uint32_t kind, const char *what) {
    uint32_t *thing = calloc(1, bytes);
    if (!thing) abort();
    *thing = kind;
    fake_made(what, thing);
    return thing;
}
static cublasStatus_t destroy(void *thing, uint32_t kind, const char *what) {
    RULE(thing && *(uint32_t *)thing == kind, "destroying a %s that is none", what);
    fake_gone(what, thing);
    *(uint32_t *)thing = 0;
    free(thing);
    return CUBLAS_STATUS_SUCCESS;
}
static bool is(const void *thing, uint32_t kind) {
    return thing && *(const uint32_t *)thing == kind;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    CALL("cublasLtCreate");
    *handle = make(sizeof **handle, HANDLE, "cublasLt handle");
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    return destroy(handle, HANDLE, "cublasLt handle");
}
size_t cublasLtGetVersion(void) {
    return 130100;
}
const char *cublasLtGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS           ? "success"
           : status == CUBLAS_STATUS_NOT_INITIALIZED ? "the library was not initialized"
           : status == CUBLAS_STATUS_ALLOC_FAILED    ? "the resource allocation failed"
           : status == CUBLAS_STATUS_INVALID_VALUE   ? "an invalid value was passed in"
           : status == CUBLAS_STATUS_NOT_SUPPORTED   ? "the requested functionality is not supported"
                                                     : "an internal operation failed";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows, uint64_t cols,
                                          int64_t ld) {
    CALL("cublasLtMatrixLayoutCreate");
    RULE(type == CUDA_R_32F || type == CUDA_R_16BF, "a layout of type %d", (int)type);
    layout *l = make(sizeof *l, LAYOUT, "cublasLt layout");
    l->type = type, l->rows = rows, l->cols = cols, l->ld = ld;
    *out = (cublasLtMatrixLayout_t)l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
    return destroy(l, LAYOUT, "cublasLt layout");
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType scale) {
    CALL("cublasLtMatmulDescCreate");
    operation *o = make(sizeof *o, OPERATION, "cublasLt operation");
    o->compute = compute, o->scale = scale, o->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    *out = (cublasLtMatmulDesc_t)o;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t o) {
    return destroy(o, OPERATION, "cublasLt operation");
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes) {
    CALL("cublasLtMatmulDescSetAttribute");
    operation *o = (operation *)desc;
    RULE(is(o, OPERATION), "an attribute of an operation that is none");
    const size_t size = attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : 4;
    RULE(value && bytes == size, "attribute %d of %zu bytes, %zu expected", (int)attribute, bytes, size);
    int32_t number;
    memcpy(&number, value, 4);
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
        RULE(number == CUBLAS_OP_N || number == CUBLAS_OP_T, "operation %d on a matrix", number);
        *(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &o->op_a : &o->op_b) = (cublasOperation_t)number;
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        RULE(number == CUBLASLT_EPILOGUE_DEFAULT || number == CUBLASLT_EPILOGUE_BIAS, "epilogue %d", number);
        o->epilogue = (cublasLtEpilogue_t)number;
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        memcpy(&o->bias, value, sizeof o->bias);
        return CUBLAS_STATUS_SUCCESS;
    }
    RULE(false, "an operation's attribute %d", (int)attribute);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    CALL("cublasLtMatmulPreferenceCreate");
    preference *p = make(sizeof *p, PREFERENCE, "cublasLt preference");
    p->schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
    for (int i = 0; i < 4; i++) p->aligned[i] = 256;
    *out = (cublasLtMatmulPreference_t)p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
    return destroy(p, PREFERENCE, "cublasLt preference");
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t out,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t bytes) {
    CALL("cublasLtMatmulPreferenceSetAttribute");
    preference *p = (preference *)out;
    RULE(is(p, PREFERENCE), "an attribute of a preference that is none");
    const size_t size = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4;
    RULE(value && bytes == size, "preference %d of %zu bytes, %zu expected", (int)attribute, bytes, size);
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        memcpy(&p->workspace, value, 8);
        return CUBLAS_STATUS_SUCCESS;
    }
    uint32_t number;
    memcpy(&number, value, 4);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
        p->schemes = number;
        return CUBLAS_STATUS_SUCCESS;
    }
    const int i = (int)attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    RULE(i >= 0 && i < 4, "preference %d", (int)attribute);
    RULE(number && !(number & (number - 1)), "an alignment of %u bytes", number);
    p->aligned[i] = number;
    return CUBLAS_STATUS_SUCCESS;
}

/* --- the heuristic --------------------------------------------------------------------------------------------------
 */

static uint64_t mixed(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}
static uint64_t digest(const operation *o, const layout *const l[4]) {
    uint64_t h = mixed(mixed(mixed(o->compute, o->op_a), o->op_b), o->epilogue);
    for (int i = 0; i < 4; i++)
        h = mixed(mixed(mixed(mixed(h, l[i]->type), l[i]->rows), l[i]->cols), (uint64_t)l[i]->ld);
    return h;
}
static uint64_t sum_of(const algorithm *a) {
    uint64_t h = mixed(a->made_for, a->workspace);
    for (int i = 0; i < 5; i++) h = mixed(h, a->aligned[i]);
    return h;
}
static size_t type_size(cudaDataType type) {
    return type == CUDA_R_16BF ? 2 : 4;
}
static size_t bytes_of(const layout *l) {
    return ((size_t)(l->cols - 1) * (size_t)l->ld + (size_t)l->rows) * type_size(l->type);
}
static uint32_t aligned_to(const void *p) {
    const uintptr_t at = (uintptr_t)p | 256;
    return (uint32_t)(at & -at);
}

/* The rules that both the question and the product obey. */
static cublasStatus_t fits(cublasLtHandle_t handle, const operation *o, const layout *const l[4], const char *where) {
    static const char names[] = "ABCD";
    RULE(is(handle, HANDLE), "%s with a handle that is none", where);
    RULE(is(o, OPERATION), "%s with an operation that is none", where);
    for (int i = 0; i < 4; i++) {
        RULE(is(l[i], LAYOUT), "%s with a layout of %c that is none", where, names[i]);
        RULE(l[i]->rows && l[i]->cols, "%s: %c is empty", where, names[i]);
        RULE(l[i]->ld >= (int64_t)l[i]->rows, "%s: %c has %llu rows and a leading dimension of %lld", where, names[i],
             (unsigned long long)l[i]->rows, (long long)l[i]->ld);
    }
    const bool ta = o->op_a == CUBLAS_OP_T, tb = o->op_b == CUBLAS_OP_T;
    const uint64_t m = ta ? l[0]->cols : l[0]->rows, k = ta ? l[0]->rows : l[0]->cols;
    const uint64_t kb = tb ? l[1]->cols : l[1]->rows, n = tb ? l[1]->rows : l[1]->cols;
    RULE(k == kb, "%s: op(A) is [%llu, %llu] and op(B) is [%llu, %llu]", where, (unsigned long long)m,
         (unsigned long long)k, (unsigned long long)kb, (unsigned long long)n);
    for (int i = 2; i < 4; i++)
        RULE(l[i]->rows == m && l[i]->cols == n, "%s: %c is [%llu, %llu], the product [%llu, %llu]", where, names[i],
             (unsigned long long)l[i]->rows, (unsigned long long)l[i]->cols, (unsigned long long)m,
             (unsigned long long)n);
    RULE(l[0]->type == l[1]->type && l[2]->type == l[3]->type, "%s: types that do not go together", where);
    RULE(l[0]->type == CUDA_R_16BF || l[3]->type == CUDA_R_32F, "%s: an fp32 product with a bf16 result", where);
    RULE(o->scale == CUDA_R_32F && (o->compute == CUBLAS_COMPUTE_32F ||
                                    (o->compute == CUBLAS_COMPUTE_32F_FAST_TF32 && l[0]->type == CUDA_R_32F)),
         "%s: compute type %d, scale type %d", where, (int)o->compute, (int)o->scale);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preferred, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found) {
    CALL("cublasLtMatmulAlgoGetHeuristic");
    const operation *o = (const operation *)desc;
    const layout *const l[4] = {(layout *)a, (layout *)b, (layout *)c, (layout *)d};
    const preference *p = (preference *)preferred;
    settings.asked++;
    const cublasStatus_t status = fits(handle, o, l, "AlgoGetHeuristic");
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    RULE(is(p, PREFERENCE), "a preference that is none");
    RULE(wanted > 0 && results && found, "AlgoGetHeuristic: %d answers wanted", wanted);
    RULE(!(p->schemes & ~(uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE),
         "reduction schemes %u: sums whose order or rounding is not fixed", p->schemes);
    *found = 0;
    memset(results, 0xFF, (size_t)wanted * sizeof *results);
    for (int i = 0; i < 4; i++)
        if (p->aligned[i] < 16 && type_size(l[i]->type) == 2) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (settings.knows_nothing || (settings.needs_split && p->schemes))
        return settings.says_so_by_count ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    algorithm made = {.kind = ALGORITHM, .made_for = digest(o, l)};
    for (int i = 0; i < 4; i++) made.aligned[i] = p->aligned[i];
    made.aligned[4] = o->epilogue == CUBLASLT_EPILOGUE_BIAS ? aligned_to(o->bias) : 1;
    made.workspace = settings.workspace_wanted < p->workspace ? settings.workspace_wanted : p->workspace;
    made.sum = sum_of(&made);
    memset(&results[0], 0, sizeof results[0]);
    memcpy(&results[0].algo, &made, sizeof made);
    results[0].workspaceSize = made.workspace;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* --- products -------------------------------------------------------------------------------------------------------
 */

typedef struct {
    layout a, b, c;
    operation op;
    const void *from_a, *from_b, *from_c;
    void *to, *workspace;
    size_t workspace_bytes;
    float alpha, beta;
} product;

static float get(const void *p, cudaDataType type, size_t i) {
    if (type == CUDA_R_32F) return ((const float *)p)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static void put(void *p, cudaDataType type, size_t i, float x) {
    if (type == CUDA_R_32F) {
        ((float *)p)[i] = x;
        return;
    }
    uint32_t u;
    memcpy(&u, &x, 4);
    ((uint16_t *)p)[i] = (uint16_t)(isnan(x) ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
/* To nearest even with 10 bits of fraction. */
static float tf32(float x) {
    uint32_t u;
    if (!isfinite(x)) return x;
    memcpy(&u, &x, 4);
    u = (u + 0xfffu + (u >> 13 & 1u)) & ~0x1fffu;
    memcpy(&x, &u, 4);
    return x;
}

/* op(m) as fp32 [inner, outer] or, for B, [outer, inner]: the loops run along what is contiguous. */
static float *gathered(const void *from, const layout *l, bool across, bool rounded) {
    float *to = malloc((size_t)l->rows * l->cols * sizeof *to);
    if (!to) abort();
    for (size_t c = 0; c < l->cols; c++)
        for (size_t r = 0; r < l->rows; r++) {
            const float x = get(from, l->type, c * (size_t)l->ld + r);
            to[across ? r * l->cols + c : c * l->rows + r] = rounded ? tf32(x) : x;
        }
    return to;
}

static void multiply(void *context) {
    const product *p = context;
    const bool ta = p->op.op_a == CUBLAS_OP_T, tb = p->op.op_b == CUBLAS_OP_T;
    const bool rounded = p->op.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const size_t m = p->c.rows, n = p->c.cols, k = ta ? p->a.rows : p->a.cols;
    /* a: [k][m], b: [n][k] */
    float *a = gathered(p->from_a, &p->a, ta, rounded), *b = gathered(p->from_b, &p->b, tb, rounded);
    float *sums = malloc(m * sizeof *sums);
    if (!sums) abort();
    memset(p->workspace, 0xFF, p->workspace_bytes);
    for (size_t j = 0; j < n; j++) {
        memset(sums, 0, m * sizeof *sums);
        for (size_t i = 0; i < k; i++) {
            const float x = b[j * k + i], *row = a + i * m;
#pragma omp simd
            for (size_t r = 0; r < m; r++) sums[r] += row[r] * x;
        }
        for (size_t r = 0; r < m; r++) {
            const size_t at = j * (size_t)p->c.ld + r;
            float x = p->alpha * sums[r];
            if (p->beta != 0) x += p->beta * get(p->from_c, p->c.type, at);
            if (p->op.epilogue == CUBLASLT_EPILOGUE_BIAS) x += get(p->op.bias, p->c.type, r); /* D's type, as there */
            put(p->to, p->c.type, at, x);
        }
    }
    free(sums), free(a), free(b);
}

static bool apart(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    return (uintptr_t)a + a_bytes <= (uintptr_t)b || (uintptr_t)b + b_bytes <= (uintptr_t)a;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    CALL("cublasLtMatmul");
    static const char names[] = "ABCD";
    const operation *o = (const operation *)desc;
    const layout *const l[4] = {(layout *)a_layout, (layout *)b_layout, (layout *)c_layout, (layout *)d_layout};
    const void *const p[4] = {a, b, c, d};
    const cublasStatus_t status = fits(handle, o, l, "Matmul");
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    RULE(algo, "Matmul without an algorithm: the library would choose one behind our back");
    algorithm chosen;
    memcpy(&chosen, algo, sizeof chosen);
    RULE(chosen.kind == ALGORITHM && chosen.sum == sum_of(&chosen), "Matmul with an algorithm that nobody made");
    RULE(chosen.made_for == digest(o, l), "Matmul with the algorithm of another shape");
    RULE(alpha && beta && !fake_is_device(alpha, 4) && !fake_is_device(beta, 4), "alpha and beta belong on the host");
    float scale[2];
    memcpy(&scale[0], alpha, 4), memcpy(&scale[1], beta, 4);
    for (int i = 0; i < 4; i++) {
        if (i == 2 && scale[1] == 0 && !p[i]) continue;
        RULE(p[i] && (uintptr_t)p[i] % chosen.aligned[i] == 0, "%c at %p is not aligned to %u bytes, as was said",
             names[i], p[i], chosen.aligned[i]);
        RULE(fake_is_device(p[i], bytes_of(l[i])), "%c: %zu bytes at %p are not the device's", names[i], bytes_of(l[i]),
             p[i]);
    }
    if (o->epilogue == CUBLASLT_EPILOGUE_BIAS) {
        RULE(o->bias && (uintptr_t)o->bias % chosen.aligned[4] == 0, "the bias at %p is not aligned to %u bytes",
             o->bias, chosen.aligned[4]);
        RULE(fake_is_device(o->bias, l[3]->rows * type_size(l[3]->type)), "the bias at %p is not the device's",
             o->bias);
        RULE(apart(o->bias, l[3]->rows * type_size(l[3]->type), d, bytes_of(l[3])), "D lies over the bias");
    }
    RULE(workspace_bytes >= chosen.workspace, "a workspace of %zu bytes, %llu needed", workspace_bytes,
         (unsigned long long)chosen.workspace);
    if (workspace_bytes) {
        RULE((uintptr_t)workspace % 256 == 0, "the workspace at %p is not aligned to 256 bytes", workspace);
        RULE(fake_is_device(workspace, workspace_bytes), "the workspace at %p is not the device's", workspace);
        for (int i = 0; i < 4; i++)
            RULE(!p[i] || apart(workspace, workspace_bytes, p[i], bytes_of(l[i])), "the workspace lies over %c",
                 names[i]);
    }
    for (int i = 0; i < 2; i++) RULE(apart(d, bytes_of(l[3]), p[i], bytes_of(l[i])), "D lies over %c", names[i]);
    RULE(!c || (c == d && l[2]->ld == l[3]->ld) || apart(c, bytes_of(l[2]), d, bytes_of(l[3])), "C and D overlap");
    settings.multiplied++;
    product *work = malloc(sizeof *work);
    if (!work) abort();
    *work = (product){.a = *l[0],
                      .b = *l[1],
                      .c = *l[3],
                      .op = *o,
                      .from_a = a,
                      .from_b = b,
                      .from_c = c,
                      .to = d,
                      .workspace = workspace,
                      .workspace_bytes = chosen.workspace,
                      .alpha = scale[0],
                      .beta = scale[1]};
    fake_enqueue(stream, "cublasLtMatmul", multiply, work);
    return CUBLAS_STATUS_SUCCESS;
}
