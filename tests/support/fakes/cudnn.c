/* A cuDNN that knows one node: SDPA forward over packed sequences.
 *
 * Checked: descriptors live, are finished before they are used and not changed afterwards; every attribute has the type
 * and count that its name wants, and what a descriptor needs is there when it is finished; tensors of the node go
 * together (bf16 [b, h, s, d] with a last stride of 1, offsets [b + 1] int64 on all four, lengths [b] int32, a scale by
 * value); a pack has just the plan's tensors, aligned as was said, on the device (the scale on the host), and a
 * workspace that is large enough. When the work is done: lengths at most s, offsets and rows inside allocations. What
 * breaks a rule goes to fake_report, and the call returns BAD_PARAM. As the real one, probabilities are rounded to bf16
 * before they meet V. */
#include "cudnn_knobs.h"
#include "fake.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HANDLE = 0x446e4861, THING = 0x446e5468, ATTRIBUTES = 12, TENSORS = 11 };

struct cudnnContext {
    uint32_t kind;
    cudaStream_t stream;
};

typedef struct {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *elements;
} attribute;

typedef struct {
    int64_t id, dims[4], strides[4], alignment, offsets; /* offsets: id of the tensor that has them; 0: none */
    cudnnDataType_t type;
    bool by_value;
} tensor;

/* Q, K, V, O, scale, lengths of q and kv, then the four's offsets. */
typedef struct {
    tensor t[TENSORS];
} graph;

typedef struct {
    uint32_t kind;
    cudnnBackendDescriptorType_t type;
    bool finished;
    int count;
    attribute list[ATTRIBUTES];
    tensor tensor, offsets; /* of a tensor */
    graph graph;            /* of what is made from a node */
    int engine;
} thing;

static fake_cudnn settings;

fake_cudnn *fake_cudnn_settings(void) {
    return &settings;
}

#define CALL(name)                                                                                                     \
    if (fake_call_fails(name)) return settings.failure ? settings.failure : CUDNN_STATUS_INTERNAL_ERROR
#define RULE(holds, ...)                                                                                               \
    do {                                                                                                               \
        if (!(holds)) {                                                                                                \
            fake_report("cuDNN: " __VA_ARGS__);                                                                        \
            return CUDNN_STATUS_BAD_PARAM;                                                                             \
        }                                                                                                              \
    } while (0)

size_t cudnnGetVersion(void) {
    return settings.version ? settings.version : 91900;
}
const char *cudnnGetErrorString(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS           ? "CUDNN_STATUS_SUCCESS"
           : status == CUDNN_STATUS_NOT_INITIALIZED ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status == CUDNN_STATUS_BAD_PARAM       ? "CUDNN_STATUS_BAD_PARAM"
           : status == CUDNN_STATUS_NOT_SUPPORTED   ? "CUDNN_STATUS_NOT_SUPPORTED"
                                                    : "CUDNN_STATUS_INTERNAL_ERROR";
}
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    CALL("cudnnCreate");
    *handle = calloc(1, sizeof **handle);
    if (!*handle) abort();
    (*handle)->kind = HANDLE;
    fake_made("cudnn handle", *handle);
    return CUDNN_STATUS_SUCCESS;
}
static bool is_handle(cudnnHandle_t handle) {
    return handle && handle->kind == HANDLE;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    RULE(is_handle(handle), "destroying a handle that is none");
    fake_gone("cudnn handle", handle);
    handle->kind = 0;
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    CALL("cudnnSetStream");
    RULE(is_handle(handle), "SetStream with a handle that is none");
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

/* --- descriptors ----------------------------------------------------------------------------------------------------
 */

static bool is_thing(const void *d) {
    return d && ((const thing *)d)->kind == THING;
}
static bool is_finished(const void *d, cudnnBackendDescriptorType_t type) {
    return is_thing(d) && ((const thing *)d)->finished && ((const thing *)d)->type == type;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    CALL("cudnnBackendCreateDescriptor");
    thing *t = calloc(1, sizeof *t);
    if (!t) abort();
    t->kind = THING, t->type = type;
    fake_made("cudnn descriptor", t);
    *out = t;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    thing *t = descriptor;
    RULE(is_thing(t), "destroying a descriptor that is none");
    for (int i = 0; i < t->count; i++) free(t->list[i].elements);
    fake_gone("cudnn descriptor", t);
    t->kind = 0;
    free(t);
    return CUDNN_STATUS_SUCCESS;
}

static size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_NUMERICAL_NOTE:
        return 4;
    }
    return 0;
}

/* What may be set: whose, type, count (0: any), whether it must be there. */
static const struct {
    cudnnBackendAttributeName_t name;
    cudnnBackendDescriptorType_t of;
    cudnnBackendAttributeType_t type;
    int64_t count;
    bool needed;
} known[] = {
    {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_DATA_TYPE, 1, true},
    {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_INT64, 4, true},
    {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_INT64, 4, true},
    {CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_INT64, 1, true},
    {CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_BOOLEAN, 1, false},
    {CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
#define NODE(name)                                                                                                     \
    {                                                                                                                  \
        CUDNN_ATTR_OPERATION_SDPA_FWD_##name, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,                             \
            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true                                                                     \
    }
    NODE(QDESC),
    NODE(KDESC),
    NODE(VDESC),
    NODE(ODESC),
    NODE(SCALEDESC),
    NODE(SEQ_LEN_QDESC),
    NODE(SEQ_LEN_KVDESC),
    {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
    {CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     true},
    {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_TYPE_HEUR_MODE, 1, true},
    {CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
    {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     true},
    {CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     true},
    {CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_TYPE_INT64, 0, true},
    {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_TYPE_VOID_PTR, 0, true},
    {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_TYPE_VOID_PTR, 1, true},
    {CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, CUDNN_TYPE_HANDLE, 1, true},
};
enum { KNOWN = sizeof known / sizeof *known };

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *elements) {
    CALL("cudnnBackendSetAttribute");
    thing *t = descriptor;
    int k = 0;
    RULE(is_thing(t), "an attribute of a descriptor that is none");
    RULE(!t->finished, "attribute %d is set after the descriptor was finished", (int)name);
    while (k < KNOWN && (known[k].name != name || known[k].of != t->type)) k++;
    RULE(k < KNOWN, "attribute %d of a descriptor of type %d", (int)name, (int)t->type);
    RULE(known[k].type == type && count > 0 && (!known[k].count || known[k].count == count) && elements,
         "attribute %d: type %d, %lld elements", (int)name, (int)type, (long long)count);
    RULE(t->count < ATTRIBUTES, "attribute %d: too many", (int)name);
    for (int i = 0; i < t->count; i++) RULE(t->list[i].name != name, "attribute %d is set twice", (int)name);
    const size_t bytes = (size_t)count * size_of(type);
    attribute *a = &t->list[t->count++];
    *a = (attribute){name, type, count, malloc(bytes)};
    if (!a->elements) abort();
    memcpy(a->elements, elements, bytes);
    return CUDNN_STATUS_SUCCESS;
}

static const attribute *find(const thing *t, cudnnBackendAttributeName_t name) {
    for (int i = 0; i < t->count; i++)
        if (t->list[i].name == name) return &t->list[i];
    return NULL;
}
static void *pointer(const thing *t, cudnnBackendAttributeName_t name) {
    const attribute *a = find(t, name);
    return a ? *(void **)a->elements : NULL;
}

static cudnnStatus_t finish_tensor(thing *t) {
    tensor *x = &t->tensor;
    memcpy(&x->id, find(t, CUDNN_ATTR_TENSOR_UNIQUE_ID)->elements, 8);
    memcpy(&x->alignment, find(t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)->elements, 8);
    memcpy(x->dims, find(t, CUDNN_ATTR_TENSOR_DIMENSIONS)->elements, sizeof x->dims);
    memcpy(x->strides, find(t, CUDNN_ATTR_TENSOR_STRIDES)->elements, sizeof x->strides);
    memcpy(&x->type, find(t, CUDNN_ATTR_TENSOR_DATA_TYPE)->elements, 4);
    const attribute *by_value = find(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    x->by_value = by_value && *(bool *)by_value->elements;
    for (int i = 0; i < 4; i++)
        RULE(x->dims[i] > 0 && x->strides[i] > 0, "tensor %lld: dimension %d is %lld, stride %lld", (long long)x->id, i,
             (long long)x->dims[i], (long long)x->strides[i]);
    RULE(x->id > 0 && x->alignment > 0 && !(x->alignment & (x->alignment - 1)), "tensor %lld: alignment %lld",
         (long long)x->id, (long long)x->alignment);
    if (!find(t, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC)) return CUDNN_STATUS_SUCCESS;
    const thing *o = pointer(t, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    RULE(is_finished(o, CUDNN_BACKEND_TENSOR_DESCRIPTOR), "tensor %lld: offsets that are no finished tensor",
         (long long)x->id);
    RULE(o->tensor.dims[0] == x->dims[0] + 1 && o->tensor.dims[1] * o->tensor.dims[2] * o->tensor.dims[3] == 1 &&
             o->tensor.type == CUDNN_DATA_INT64 && o->tensor.strides[0] == 1,
         "tensor %lld: offsets of %lld elements for %lld sequences", (long long)x->id, (long long)o->tensor.dims[0],
         (long long)x->dims[0]);
    t->offsets = o->tensor, x->offsets = o->tensor.id;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_node(thing *t) {
    static const cudnnBackendAttributeName_t order[] = {
        CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,         CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,         CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,     CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC};
    tensor *x = t->graph.t;
    for (int i = 0; i < 7; i++) {
        const thing *d = pointer(t, order[i]);
        RULE(is_finished(d, CUDNN_BACKEND_TENSOR_DESCRIPTOR), "SDPA: attribute %d is no finished tensor",
             (int)order[i]);
        x[i] = d->tensor;
        if (i < 4) x[7 + i] = d->offsets;
    }
    for (int i = 0; i < 4; i++) {
        RULE(x[i].type == CUDNN_DATA_BFLOAT16 && !x[i].by_value && x[i].strides[3] == 1 &&
                 !memcmp(x[i].dims, x[0].dims, 32),
             "SDPA: tensor %lld does not go with the others", (long long)x[i].id);
        RULE(x[i].offsets, "SDPA: tensor %lld has no offsets", (long long)x[i].id);
        RULE(x[i].strides[1] >= x[i].dims[3] && x[i].strides[2] >= x[i].dims[1] * x[i].dims[3],
             "SDPA: tensor %lld: strides that overlap", (long long)x[i].id);
    }
    RULE(x[4].by_value && x[4].type == CUDNN_DATA_FLOAT, "SDPA: the scale is no fp32 value");
    for (int i = 5; i < 7; i++)
        RULE(x[i].type == CUDNN_DATA_INT32 && x[i].dims[0] == x[0].dims[0] && !x[i].by_value,
             "SDPA: lengths of %lld sequences for %lld", (long long)x[i].dims[0], (long long)x[0].dims[0]);
    for (int i = 0; i < TENSORS; i++)
        for (int j = 0; j < i; j++) RULE(x[i].id != x[j].id, "SDPA: two tensors have id %lld", (long long)x[i].id);
    return x[0].dims[3] % 8 || x[0].dims[3] > 256 ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
}

/* Takes what is known of the graph from a descriptor that must be finished. */
static cudnnStatus_t inherit(thing *t, cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) {
    const thing *from = pointer(t, name);
    RULE(is_finished(from, type), "attribute %d is no finished descriptor of type %d", (int)name, (int)type);
    t->graph = from->graph, t->engine = from->engine;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    CALL("cudnnBackendFinalize");
    thing *t = descriptor;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    RULE(is_thing(t), "finishing a descriptor that is none");
    RULE(!t->finished, "a descriptor is finished twice");
    for (int k = 0; k < KNOWN; k++)
        RULE(known[k].of != t->type || !known[k].needed || find(t, known[k].name),
             "a descriptor of type %d without attribute %d", (int)t->type, (int)known[k].name);
    switch (t->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        status = finish_tensor(t);
        break;
    case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
        status = finish_node(t);
        break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        status = inherit(t, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
        break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        RULE(is_finished(pointer(t, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP), CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR),
             "a heuristic without a device");
        status = inherit(t, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        RULE(is_finished(pointer(t, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP), CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR),
             "a plan without a device");
        status = inherit(t, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        if (status == CUDNN_STATUS_SUCCESS && t->engine == 0 && settings.first_has_no_plan)
            return CUDNN_STATUS_NOT_SUPPORTED;
        settings.plans++;
        break;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        RULE(find(t, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)->count ==
                 find(t, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->count,
             "a pack with other numbers of ids and pointers");
        break;
    case CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR:
        RULE(is_handle(pointer(t, CUDNN_ATTR_DEVICEPROP_HANDLE)), "a device of a handle that is none");
        break;
    default:
        RULE(false, "finishing a descriptor of type %d", (int)t->type);
    }
    t->finished = status == CUDNN_STATUS_SUCCESS;
    return status;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t *count,
                                       void *elements) {
    CALL("cudnnBackendGetAttribute");
    const thing *t = descriptor;
    RULE(is_thing(t) && t->finished, "attribute %d is asked of a descriptor that is not finished", (int)name);
    RULE(wanted >= 1 && count && elements, "attribute %d: %lld elements wanted", (int)name, (long long)wanted);
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && t->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        RULE(type == CUDNN_TYPE_BACKEND_DESCRIPTOR, "results of type %d", (int)type);
        *count = settings.knows_nothing ? 0 : wanted < 2 ? wanted : 2;
        for (int64_t i = 0; i < *count; i++) {
            thing *c = ((thing **)elements)[i];
            RULE(is_thing(c) && c->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "a result that is no ENGINECFG");
            c->graph = t->graph, c->engine = (int)i, c->finished = true;
        }
    } else if (name == CUDNN_ATTR_ENGINECFG_ENGINE && t->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        thing *e = *(thing **)elements;
        RULE(type == CUDNN_TYPE_BACKEND_DESCRIPTOR && is_thing(e) && e->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR,
             "an engine that is none");
        e->engine = t->engine, e->finished = true, *count = 1;
    } else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE && t->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        cudnnBackendNumericalNote_t *notes = elements;
        RULE(type == CUDNN_TYPE_NUMERICAL_NOTE && wanted >= 2, "numerical notes of type %d", (int)type);
        notes[0] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE, notes[1] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        *count = t->engine == 0 && settings.first_is_random ? 2 : 1;
    } else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE && t->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        RULE(type == CUDNN_TYPE_INT64, "a size of type %d", (int)type);
        memcpy(elements, &settings.workspace, 8);
        *count = 1;
    } else
        RULE(false, "attribute %d is asked of a descriptor of type %d", (int)name, (int)t->type);
    return CUDNN_STATUS_SUCCESS;
}

/* --- the node -------------------------------------------------------------------------------------------------------
 */

typedef struct {
    graph graph;
    void *at[TENSORS];
    float scale;
    void *workspace;
    size_t workspace_bytes;
} call;

static float get(const uint16_t *p) {
    const uint32_t bits = (uint32_t)*p << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static uint16_t rounded(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return (uint16_t)(isnan(x) ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static void one_row(const call *c, const uint16_t *q, const uint16_t *k, const uint16_t *v, uint16_t *out, int length,
                    float *scores) {
    const tensor *t = c->graph.t;
    const int64_t width = t[0].dims[3];
    float most = -INFINITY, sum = 0;
    for (int j = 0; j < length; j++) {
        float s = 0;
        for (int64_t e = 0; e < width; e++) s += get(q + e) * get(k + j * t[1].strides[2] + e);
        scores[j] = s * c->scale;
        if (!(scores[j] <= most)) most = scores[j];
    }
    for (int j = 0; j < length; j++) {
        const float p = expf(scores[j] - most);
        const uint16_t narrow = rounded(p);
        sum += p;
        scores[j] = get(&narrow);
    }
    for (int64_t e = 0; e < width; e++) {
        float x = 0;
        for (int j = 0; j < length; j++) x += scores[j] * get(v + j * t[2].strides[2] + e);
        out[e] = rounded(x / sum);
    }
}

static void attend(void *context) {
    const call *c = context;
    const tensor *t = c->graph.t;
    const int64_t places = t[0].dims[0], heads = t[0].dims[1], most = t[0].dims[2], width = t[0].dims[3];
    const int32_t *lengths[2] = {c->at[5], c->at[6]};
    float *scores = malloc((size_t)most * sizeof *scores);
    if (!scores) abort();
    memset(c->workspace, 0xFF, c->workspace_bytes);
    for (int64_t b = 0; b < places; b++) {
        const int32_t length = lengths[0][b];
        const uint16_t *base[4];
        bool good = length == lengths[1][b] && length >= 0 && length <= most;
        for (int i = 0; i < 4; i++) {
            const int64_t offset = ((int64_t *)c->at[7 + i])[b];
            base[i] = (uint16_t *)c->at[i] + offset;
            good = good && offset >= 0 && ((int64_t *)c->at[7 + i])[b + 1] - offset >= length * width;
            good = good && (!length || fake_is_device(base[i], 2 * (size_t)((length - 1) * t[i].strides[2] +
                                                                            (heads - 1) * t[i].strides[1] + width)));
        }
        if (!good) {
            fake_report("cuDNN: sequence %lld of length %d: offsets or lengths are wrong", (long long)b, (int)length);
            break;
        }
        for (int64_t h = 0; h < heads; h++)
            for (int32_t i = 0; i < length; i++)
                one_row(c, base[0] + i * t[0].strides[2] + h * t[0].strides[1], base[1] + h * t[1].strides[1],
                        base[2] + h * t[2].strides[1],
                        (uint16_t *)(uintptr_t)base[3] + i * t[3].strides[2] + h * t[3].strides[1], length, scores);
    }
    free(scores);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    CALL("cudnnBackendExecute");
    RULE(is_handle(handle), "Execute with a handle that is none");
    RULE(is_finished(plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR), "Execute without a finished plan");
    RULE(is_finished(pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR), "Execute without a finished pack");
    const thing *p = plan;
    const attribute *ids = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void *const *pointers = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)->elements;
    call *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->graph = p->graph, c->workspace = pointer(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    c->workspace_bytes = (size_t)settings.workspace;
    const char *wrong = ids->count == TENSORS ? NULL : "a pack with other tensors than the plan's";
    for (int i = 0; i < TENSORS && !wrong; i++) {
        const tensor *t = &c->graph.t[i];
        for (int64_t j = 0; j < ids->count; j++)
            if (((int64_t *)ids->elements)[j] == t->id) c->at[i] = pointers[j];
        const size_t elements = i < 4 ? 1 : (size_t)t->dims[0];
        const size_t bytes = elements * (t->type == CUDNN_DATA_INT64 ? 8 : t->type == CUDNN_DATA_BFLOAT16 ? 2 : 4);
        if (!c->at[i])
            wrong = "a pack without one of the plan's tensors";
        else if ((uintptr_t)c->at[i] % (uintptr_t)t->alignment)
            wrong = "a tensor that is not aligned as was said";
        else if (fake_is_device(c->at[i], bytes) == t->by_value)
            wrong = "a tensor on the wrong side";
    }
    if (!wrong && c->workspace_bytes && !fake_is_device(c->workspace, c->workspace_bytes)) wrong = "a small workspace";
    if (wrong) free(c);
    RULE(!wrong, "Execute: %s", wrong ? wrong : "");
    memcpy(&c->scale, c->at[4], 4);
    settings.executed++, settings.engine = p->engine;
    fake_enqueue(handle->stream, "cudnnBackendExecute", attend, c);
    return CUDNN_STATUS_SUCCESS;
}
