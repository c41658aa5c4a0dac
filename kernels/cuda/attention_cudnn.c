/* Attention by cuDNN's graph API: one SDPA node over packed sequences.
 *
 *   tensors   Q, K, V, O  [places, heads, length, width] bf16, each with element offsets of its sequences
 *             scale by value; lengths of queries and keys, int32 [places]
 *   node      SDPA_FWD -> operation graph -> the heuristic's first engine that is deterministic and can be planned
 *   plan      kept by shape; places and length rounded up to powers of two, as plans take long to make
 *
 * The library is loaded by name and may be missing, of another version, or unable: then nothing happens and our kernels
 * compute. Its descriptors' device is the handle's (DEVICEPROP), which 9.8 and later take. */
#include "sdpa.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<cudnn.h>)
#include <cudnn.h>

enum { PLANS = 16, THINGS = 24, ENGINES = 8, PLACES_LEAST = 32, ALIGNED = 16, PART = 256, VERSION_LEAST = 91500 };
enum { Q = 1, K, V, O, SCALE, LENGTHS_Q, LENGTHS_KV, OFFSETS /* + 0 .. 3 */, IDS = OFFSETS + 3 };

/* The functions that we use, in this order in `names`. */
typedef struct {
    size_t (*version)(void);
    const char *(*error_string)(cudnnStatus_t);
    cudnnStatus_t (*create)(cudnnHandle_t *);
    cudnnStatus_t (*destroy)(cudnnHandle_t);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    cudnnStatus_t (*make)(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t *);
    cudnnStatus_t (*drop)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*finish)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*set)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                         const void *);
    cudnnStatus_t (*get)(cudnnBackendDescriptor_t const, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t,
                         int64_t, int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t);
} functions;
static const char *const names[] = {"cudnnGetVersion",
                                    "cudnnGetErrorString",
                                    "cudnnCreate",
                                    "cudnnDestroy",
                                    "cudnnSetStream",
                                    "cudnnBackendCreateDescriptor",
                                    "cudnnBackendDestroyDescriptor",
                                    "cudnnBackendFinalize",
                                    "cudnnBackendSetAttribute",
                                    "cudnnBackendGetAttribute",
                                    "cudnnBackendExecute"};
_Static_assert(sizeof names / sizeof *names == sizeof(functions) / sizeof(void (*)(void)), "a name for each");

/* Compared as bytes: no padding. */
typedef struct {
    int64_t strides[4]; /* q, k, v, out */
    int32_t places, length, heads, width;
} shape;
_Static_assert(sizeof(shape) == 48, "a shape has no padding");

typedef struct {
    shape key;
    uint64_t used; /* 0: an empty place */
    cudnnBackendDescriptor_t things[THINGS], plan;
    int count;
    size_t workspace;
    bool able;
} plan;

struct rt_cuda_sdpa {
    void *library;
    functions f;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device;
    uint64_t clock;
    int made;
    char why[160]; /* why the library takes nothing; "" where it does */
    plan plans[PLANS];
};

/* --- the library ----------------------------------------------------------------------------------------------------
 */

#ifdef RT_CUDNN_IS_LINKED /* over the fakes */
static void *linked(const char *name) {
    static const struct {
        const char *name;
        void (*function)(void);
    } all[] = {{"cudnnGetVersion", (void (*)(void))cudnnGetVersion},
               {"cudnnGetErrorString", (void (*)(void))cudnnGetErrorString},
               {"cudnnCreate", (void (*)(void))cudnnCreate},
               {"cudnnDestroy", (void (*)(void))cudnnDestroy},
               {"cudnnSetStream", (void (*)(void))cudnnSetStream},
               {"cudnnBackendCreateDescriptor", (void (*)(void))cudnnBackendCreateDescriptor},
               {"cudnnBackendDestroyDescriptor", (void (*)(void))cudnnBackendDestroyDescriptor},
               {"cudnnBackendFinalize", (void (*)(void))cudnnBackendFinalize},
               {"cudnnBackendSetAttribute", (void (*)(void))cudnnBackendSetAttribute},
               {"cudnnBackendGetAttribute", (void (*)(void))cudnnBackendGetAttribute},
               {"cudnnBackendExecute", (void (*)(void))cudnnBackendExecute}};
    void *found = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) memcpy(&found, &all[i].function, sizeof found);
    return found;
}
#endif

static void *symbol(const rt_cuda_sdpa *s, rt_cuda_sdpa_lookup lookup, const char *name) {
    if (lookup) return lookup(name);
#ifdef RT_CUDNN_IS_LINKED
    return linked(name);
#endif
    return s->library ? dlsym(s->library, name) : NULL;
}

static bool load(rt_cuda_sdpa *s, rt_cuda_sdpa_lookup lookup) {
#ifndef RT_CUDNN_IS_LINKED
    /* NODELETE: what it loads and registers by itself outlives the handle. */
    if (!lookup && !(s->library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE))) {
        const char *error = dlerror();
        snprintf(s->why, sizeof s->why, "cuDNN is not used: %s", error ? error : "libcudnn.so.9 is not there");
        return false;
    }
#endif
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *const found = symbol(s, lookup, names[i]);
        if (!found) {
            snprintf(s->why, sizeof s->why, "cuDNN is not used: libcudnn.so.9 has no %s", names[i]);
            return false;
        }
        memcpy((char *)&s->f + i * sizeof found, &found, sizeof found);
    }
    if (s->f.version() < VERSION_LEAST) {
        snprintf(s->why, sizeof s->why, "cuDNN is not used: version %zu is older than %d", s->f.version(),
                 VERSION_LEAST);
        return false;
    }
    return true;
}

static bool fine(rt_cuda_sdpa *s, cudnnStatus_t status, const char *what) {
    if (status == CUDNN_STATUS_SUCCESS) return true;
    snprintf(s->why, sizeof s->why, "cuDNN is not used: %s: %s", what, s->f.error_string(status));
    return false;
}

rt_status rt_cuda_sdpa_open(rt_cuda_context *cuda, rt_cuda_sdpa_lookup lookup) {
    rt_cuda_sdpa *s = calloc(1, sizeof *s);
    if (!s) return rt_fail(RT_ENOMEM, "no memory for cuDNN's plans, %zu bytes", sizeof *s);
    cuda->sdpa = s;
    if (load(s, lookup) && fine(s, s->f.create(&s->handle), "making a handle") &&
        fine(s, s->f.set_stream(s->handle, cuda->launch.stream), "setting the stream") &&
        fine(s, s->f.make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &s->device), "describing the device") &&
        fine(s, s->f.set(s->device, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &s->handle),
             "describing the device"))
        fine(s, s->f.finish(s->device), "describing the device");
    return RT_OK;
}

static void forget(rt_cuda_sdpa *s, plan *p) {
    while (p->count > 0) s->f.drop(p->things[--p->count]);
    *p = (plan){.count = 0};
}

void rt_cuda_sdpa_close(rt_cuda_sdpa *s) {
    if (!s) return;
    for (int i = 0; i < PLANS; i++) forget(s, &s->plans[i]);
    if (s->device) s->f.drop(s->device);
    if (s->handle) s->f.destroy(s->handle);
    if (s->library) dlclose(s->library);
    free(s);
}

void rt_cuda_sdpa_describe(const rt_cuda_sdpa *s, char *to, size_t size) {
    if (!s || s->why[0]) {
        snprintf(to, size, "%s", s ? s->why : "cuDNN was not asked for");
        return;
    }
    const size_t version = s->f.version();
    snprintf(to, size, "cuDNN %zu.%zu.%zu: %d plans", version / 10000, version / 100 % 100, version % 100, s->made);
}

/* --- plans ----------------------------------------------------------------------------------------------------------
 */

/* A new descriptor of the plan's own; NULL where that failed. */
static cudnnBackendDescriptor_t thing(rt_cuda_sdpa *s, plan *p, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = NULL;
    if (p->count == THINGS || s->f.make(type, &made) != CUDNN_STATUS_SUCCESS) return NULL;
    return p->things[p->count++] = made;
}

static bool number(rt_cuda_sdpa *s, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, int64_t value) {
    return s->f.set(d, name, CUDNN_TYPE_INT64, 1, &value) == CUDNN_STATUS_SUCCESS;
}

static bool link_to(rt_cuda_sdpa *s, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                    cudnnBackendDescriptor_t other) {
    return other && s->f.set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other) == CUDNN_STATUS_SUCCESS;
}

typedef struct {
    int64_t id, dims[4], strides[4];
    cudnnDataType_t type;
    bool by_value, ragged;
    cudnnBackendDescriptor_t offsets;
} tensor_of;

static cudnnBackendDescriptor_t tensor(rt_cuda_sdpa *s, plan *p, const tensor_of *t) {
    cudnnBackendDescriptor_t d = thing(s, p, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const bool yes = true;
    if (!d || s->f.set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t->type) != CUDNN_STATUS_SUCCESS ||
        s->f.set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, t->dims) != CUDNN_STATUS_SUCCESS ||
        s->f.set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, t->strides) != CUDNN_STATUS_SUCCESS ||
        !number(s, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, t->id) ||
        !number(s, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, t->by_value ? (int64_t)sizeof(float) : ALIGNED))
        return NULL;
    if (t->by_value && s->f.set(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes) != CUDNN_STATUS_SUCCESS)
        return NULL;
    if (t->ragged && !link_to(s, d, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, t->offsets)) return NULL;
    return s->f.finish(d) == CUDNN_STATUS_SUCCESS ? d : NULL;
}

/* The one node. The stride from sequence to sequence is what offsets replace; it is given as if all were full. */
static cudnnBackendDescriptor_t node(rt_cuda_sdpa *s, plan *p) {
    static const cudnnBackendAttributeName_t places[] = {
        CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC};
    const shape *k = &p->key;
    cudnnBackendDescriptor_t four[4], single[3];
    for (int i = 0; i < 4; i++) {
        const tensor_of offsets = {
            .id = OFFSETS + i, .dims = {k->places + 1, 1, 1, 1}, .strides = {1, 1, 1, 1}, .type = CUDNN_DATA_INT64};
        const tensor_of matrix = {.id = Q + i,
                                  .dims = {k->places, k->heads, k->length, k->width},
                                  .strides = {k->length * k->strides[i], k->width, k->strides[i], 1},
                                  .type = CUDNN_DATA_BFLOAT16,
                                  .ragged = true,
                                  .offsets = tensor(s, p, &offsets)};
        four[i] = tensor(s, p, &matrix);
    }
    for (int i = 0; i < 3; i++) {
        const tensor_of t = {.id = SCALE + i,
                             .dims = {i ? k->places : 1, 1, 1, 1},
                             .strides = {1, 1, 1, 1},
                             .type = i ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT,
                             .by_value = !i};
        single[i] = tensor(s, p, &t);
    }
    cudnnBackendDescriptor_t d = thing(s, p, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    bool good = d != NULL;
    for (int i = 0; i < 4 && good; i++) good = link_to(s, d, places[i], four[i]);
    good = good && link_to(s, d, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, single[0]) &&
           link_to(s, d, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, single[1]) &&
           link_to(s, d, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, single[2]);
    return good && s->f.finish(d) == CUDNN_STATUS_SUCCESS ? d : NULL;
}

static bool deterministic(rt_cuda_sdpa *s, plan *p, cudnnBackendDescriptor_t config) {
    cudnnBackendDescriptor_t engine = thing(s, p, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t notes[16];
    int64_t n = 0;
    if (!engine || s->f.get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) !=
                       CUDNN_STATUS_SUCCESS)
        return false;
    n = 0;
    if (s->f.get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, 16, &n, notes) !=
            CUDNN_STATUS_SUCCESS ||
        n > 16)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) return false;
    return true;
}

/* The first engine of the heuristic's list that is deterministic and gets a plan: never one that was timed. */
static bool choose(rt_cuda_sdpa *s, plan *p, cudnnBackendDescriptor_t graph) {
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t heuristic = thing(s, p, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), configs[ENGINES];
    int64_t n = 0;
    if (!heuristic || !link_to(s, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph) ||
        s->f.set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) != CUDNN_STATUS_SUCCESS ||
        !link_to(s, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, s->device) ||
        s->f.finish(heuristic) != CUDNN_STATUS_SUCCESS)
        return false;
    const int kept = p->count;
    int made = 0;
    while (made < ENGINES && s->f.make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[made]) == CUDNN_STATUS_SUCCESS)
        made++;
    const bool found = made > 0 && s->f.get(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                            made, &n, configs) == CUDNN_STATUS_SUCCESS;
    if (n > made) n = made;
    bool able = false;
    for (int64_t i = 0; found && !able && i < n; i++) {
        int64_t bytes = 0, one = 0;
        while (p->count > kept) s->f.drop(p->things[--p->count]); /* what the last one left */
        if (!deterministic(s, p, configs[i])) continue;
        cudnnBackendDescriptor_t d = thing(s, p, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        if (!d || !link_to(s, d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configs[i]) ||
            !link_to(s, d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, s->device) || s->f.finish(d) != CUDNN_STATUS_SUCCESS ||
            s->f.get(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &one, &bytes) !=
                CUDNN_STATUS_SUCCESS ||
            bytes < 0)
            continue;
        p->plan = d, p->workspace = (size_t)bytes;
        able = true;
    }
    while (made > 0) s->f.drop(configs[--made]);
    return able;
}

static bool make(rt_cuda_sdpa *s, plan *p) {
    cudnnBackendDescriptor_t operation = node(s, p);
    if (!operation) return false;
    cudnnBackendDescriptor_t graph = thing(s, p, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (!graph || !link_to(s, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation) ||
        s->f.finish(graph) != CUDNN_STATUS_SUCCESS)
        return false;
    return choose(s, p, graph);
}

/* The plan of a shape, made at its first call; also that there is none is kept. */
static plan *find(rt_cuda_sdpa *s, const shape *key) {
    plan *oldest = s->plans;
    for (int i = 0; i < PLANS; i++) {
        plan *p = &s->plans[i];
        if (p->used && !memcmp(&p->key, key, sizeof *key)) {
            p->used = ++s->clock;
            return p;
        }
        if (p->used < oldest->used) oldest = p;
    }
    forget(s, oldest);
    oldest->key = *key;
    oldest->used = ++s->clock;
    oldest->able = make(s, oldest);
    s->made += oldest->able;
    return oldest;
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static size_t part(size_t bytes) {
    return (bytes + PART - 1) / PART * PART;
}

static int32_t power_of_two(int32_t n, int32_t least) {
    int32_t p = least;
    while (p < n) p *= 2;
    return p;
}

static rt_status run(rt_cuda_context *cuda, const plan *p, const rt_attention_forward_args *a,
                     const rt_cuda_sdpa_lengths_args *made, void *workspace) {
    const functions *f = &cuda->sdpa->f;
    int64_t ids[IDS];
    void *pointers[IDS] = {(void *)(uintptr_t)a->q,
                           (void *)(uintptr_t)a->k,
                           (void *)(uintptr_t)a->v,
                           a->out,
                           (void *)(uintptr_t)&a->scale,
                           made->lengths,
                           made->lengths};
    cudnnBackendDescriptor_t pack = NULL;
    for (int i = 0; i < IDS; i++) ids[i] = i + 1;
    for (int i = 0; i < 4; i++) pointers[OFFSETS - 1 + i] = made->offsets[i];
    cudnnStatus_t status = f->make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = f->set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, IDS, ids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = f->set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, IDS, pointers);
    if (status == CUDNN_STATUS_SUCCESS)
        status = f->set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (status == CUDNN_STATUS_SUCCESS) status = f->finish(pack);
    if (status == CUDNN_STATUS_SUCCESS) status = f->execute(cuda->sdpa->handle, p->plan, pack);
    if (pack) f->drop(pack);
    if (status == CUDNN_STATUS_SUCCESS) return RT_OK;
    return rt_fail(RT_EINTERNAL, "attention of %d sequences, %d heads of %d: cuDNN says %s (%d)", a->batch->n_seqs,
                   a->heads, a->head_dim, f->error_string(status), (int)status);
}

rt_status rt_cuda_sdpa_forward(rt_cuda_context *cuda, const rt_attention_forward_args *a, bool *done) {
    rt_cuda_sdpa *s = cuda->sdpa;
    const rt_batch *b = a->batch;
    *done = false;
    if (s->why[0]) return RT_OK;
    const shape key = {.strides = {a->q_stride, a->k_stride, a->v_stride, a->out_stride},
                       .places = power_of_two(b->n_seqs, PLACES_LEAST),
                       .length = power_of_two(b->max_len, RT_CUDA_SDPA_LENGTH),
                       .heads = a->heads,
                       .width = a->head_dim};
    const plan *p = find(s, &key);
    const size_t lengths = part((size_t)key.places * sizeof(int32_t)),
                 offsets = part((size_t)(key.places + 1) * sizeof(int64_t)), ours = lengths + 4 * offsets;
    if (!p->able || !cuda->workspace || ours > cuda->workspace_bytes || p->workspace > cuda->workspace_bytes - ours)
        return RT_OK;
    rt_cuda_sdpa_lengths_args made = {.cu_seqlens = b->cu_seqlens,
                                      .n_seqs = b->n_seqs,
                                      .places = key.places,
                                      .bucket = b->bucket,
                                      .strides = {a->q_stride, a->k_stride, a->v_stride, a->out_stride},
                                      .lengths = (int32_t *)cuda->workspace,
                                      .out = a->out,
                                      .width = (int64_t)a->heads * a->head_dim};
    for (int i = 0; i < 4; i++) made.offsets[i] = (int64_t *)(cuda->workspace + lengths + (size_t)i * offsets);
    RT_TRY(rt_cuda_sdpa_lengths_launch(&cuda->launch, &made));
    RT_TRY(run(cuda, p, a, &made, cuda->workspace + ours));
    *done = true;
    return RT_OK;
}

#else /* built without cuDNN's header */

struct rt_cuda_sdpa {
    char why[64];
};

rt_status rt_cuda_sdpa_open(rt_cuda_context *cuda, rt_cuda_sdpa_lookup lookup) {
    (void)lookup;
    cuda->sdpa = calloc(1, sizeof *cuda->sdpa);
    if (!cuda->sdpa) return rt_fail(RT_ENOMEM, "no memory");
    snprintf(cuda->sdpa->why, sizeof cuda->sdpa->why, "cuDNN is not used: its header was not there");
    return RT_OK;
}
void rt_cuda_sdpa_close(rt_cuda_sdpa *s) {
    free(s);
}
void rt_cuda_sdpa_describe(const rt_cuda_sdpa *s, char *to, size_t size) {
    snprintf(to, size, "%s", s ? s->why : "cuDNN was not asked for");
}
rt_status rt_cuda_sdpa_forward(rt_cuda_context *cuda, const rt_attention_forward_args *a, bool *done) {
    (void)cuda, (void)a;
    *done = false;
    return RT_OK;
}
#endif

bool rt_cuda_sdpa_may(const rt_cuda_context *cuda, const rt_attention_forward_args *a) {
    const rt_batch *b = a->batch;
    const uintptr_t pointers = (uintptr_t)a->q | (uintptr_t)a->k | (uintptr_t)a->v | (uintptr_t)a->out;
    const int64_t strides = a->q_stride | a->k_stride | a->v_stride | a->out_stride;
    return cuda->api.act == RT_BF16 && cuda->architecture >= 80 && !(a->dropout.p > 0) &&
           a->queries == RT_ROWS_TOKENS && !a->lse && (a->head_dim == 32 || a->head_dim == 64 || a->head_dim == 128) &&
           a->heads > 0 && b->n_seqs > 0 && b->n_seqs <= 1 << 20 && b->max_len >= RT_CUDA_SDPA_LENGTH &&
           b->max_len <= 4096 && pointers % 16 == 0 && strides % 8 == 0 && strides > 0;
}
