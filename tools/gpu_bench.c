/* Times every op of the CUDA backend at BERT-base's sizes on this machine's GPU, beside what the card itself does in
 * the same run: a copy of its memory, and large matrix products. Nothing is judged. Usage: gpu_bench
 * [fp32|tf32|bf16]... (none: bf16, tf32, fp32). Prints rows of a markdown table.
 *
 * Each call takes its tensors from the next place of a ring that is far larger than any second-level cache, so that
 * bytes come from memory as they do in a step of a large model. Bytes and FLOPs are what an op cannot do without, by
 * the blocks that begin kernels/cuda's files; masks and exponentials are not counted. Times are by events around many
 * calls, best of five rounds. */
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/plugin.h>
#include <rectrain/kernels.h>

enum { HIDDEN = 768, HEADS = 12, FFN = 3072, VOCAB = 30522, POSITIONS = 512, LARGE = 8192, ROUNDS = 5, LABELS = 2 };
static const size_t RING = (size_t)1 << 30;
static const int64_t PARAMETERS = 109483778; /* BERT-base with two labels */

typedef struct {
    char *at;
    size_t next;
} ring;

typedef struct {
    rt_backend *be;
    const char *precision;
    ring act, numbers; /* of the backend's dtype, of fp32 */
    rt_batch batch;
    rt_step_state *state;
    int sequences, length;
    int64_t tokens;
    size_t size; /* of an activation */
    void *packed;
    float *table, *weight, *grads;
    double copy, product; /* bytes/s, FLOP/s of the card */
} bench;

static void must(rt_status status) {
    if (status == RT_OK) return;
    fprintf(stderr, "gpu_bench: %s\n", rt_error_get()->text);
    exit(rt_exit_code(status));
}

static void cuda(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    fprintf(stderr, "gpu_bench: %s: %s\n", what, cudaGetErrorString(error));
    exit(69);
}

static void *block(rt_backend *be, size_t bytes) {
    void *to = NULL;
    must(be->alloc(be, bytes, "the benchmark", &to));
    return to;
}

static void *filled(rt_backend *be, const void *from, size_t bytes) {
    void *to = block(be, bytes);
    must(be->upload(be, to, from, bytes));
    return to;
}

/* Values around 0, of deviation about `scale`. */
static void *noise(rt_backend *be, rt_dtype dtype, size_t n, float scale) {
    enum { PIECE = 1 << 20 };
    float *piece = malloc(PIECE * sizeof *piece);
    if (!piece) exit(71);
    uint32_t word = 12345;
    for (int i = 0; i < PIECE; i++) {
        word = word * 1664525u + 1013904223u;
        piece[i] = 1.7f * scale * ((float)(word >> 8) * 0x1p-23f - 1);
    }
    float *from = filled(be, piece, PIECE * sizeof *piece);
    char *to = block(be, n * rt_dtype_size(dtype));
    for (size_t i = 0; i < n; i += PIECE)
        must(be->convert(be, to + i * rt_dtype_size(dtype), dtype, from, RT_F32, n - i < PIECE ? n - i : PIECE));
    must(be->synchronize(be));
    be->release(be, from, PIECE * sizeof *piece);
    free(piece);
    return to;
}

static void *take(ring *r, size_t bytes) {
    bytes = (bytes + 255) / 256 * 256;
    if (r->next + bytes > RING) r->next = 0;
    void *at = r->at + r->next;
    r->next += bytes;
    return at;
}
static void *rows(bench *b, int64_t n) { /* [tokens, n] of activations */
    return take(&b->act, (size_t)(b->tokens * n) * b->size);
}
static float *numbers(bench *b, int64_t n) {
    return take(&b->numbers, (size_t)n * 4);
}
static rt_dropout dropout(const bench *b, int site) {
    return (rt_dropout){.p = 0.1f, .site = (uint16_t)site, .seed = 7, .state = b->state};
}

/* --- the ops ---------------------------------------------------------------------------------------------------------
 */

static rt_status embed_forward(bench *b) {
    return b->be->embed_forward(b->be, &(rt_embed_forward_args){.batch = &b->batch,
                                                                .word = b->table,
                                                                .position = b->table,
                                                                .type = b->table,
                                                                .gamma = b->weight,
                                                                .beta = b->weight,
                                                                .eps = 1e-12f,
                                                                .dropout = dropout(b, RT_SITE_EMBEDDINGS),
                                                                .y = rows(b, HIDDEN),
                                                                .mean = numbers(b, b->tokens),
                                                                .rstd = numbers(b, b->tokens),
                                                                .hidden = HIDDEN});
}
static rt_status embed_backward(bench *b) {
    return b->be->embed_backward(b->be, &(rt_embed_backward_args){.batch = &b->batch,
                                                                  .word = b->table,
                                                                  .position = b->table,
                                                                  .type = b->table,
                                                                  .gamma = b->weight,
                                                                  .mean = numbers(b, b->tokens),
                                                                  .rstd = numbers(b, b->tokens),
                                                                  .dropout = dropout(b, RT_SITE_EMBEDDINGS),
                                                                  .dy = rows(b, HIDDEN),
                                                                  .dword = b->grads,
                                                                  .dposition = b->grads + VOCAB * HIDDEN,
                                                                  .dtype = b->grads + (VOCAB + POSITIONS) * HIDDEN,
                                                                  .dgamma = b->grads + (VOCAB + 600) * HIDDEN,
                                                                  .dbeta = b->grads + (VOCAB + 601) * HIDDEN,
                                                                  .vocab = VOCAB,
                                                                  .max_positions = POSITIONS,
                                                                  .type_vocab = 2,
                                                                  .hidden = HIDDEN});
}
static rt_status norm_forward(bench *b) {
    return b->be->residual_norm_forward(
        b->be, &(rt_residual_norm_forward_args){.batch = &b->batch,
                                                .x = rows(b, HIDDEN),
                                                .bias = b->weight,
                                                .residual = rows(b, HIDDEN),
                                                .gamma = b->weight,
                                                .beta = b->weight,
                                                .eps = 1e-12f,
                                                .dropout = dropout(b, RT_SITE_ATTENTION_OUTPUT),
                                                .y = rows(b, HIDDEN),
                                                .mean = numbers(b, b->tokens),
                                                .rstd = numbers(b, b->tokens),
                                                .hidden = HIDDEN});
}
static rt_status norm_backward(bench *b) {
    return b->be->residual_norm_backward(
        b->be, &(rt_residual_norm_backward_args){.batch = &b->batch,
                                                 .z = rows(b, HIDDEN),
                                                 .mean = numbers(b, b->tokens),
                                                 .rstd = numbers(b, b->tokens),
                                                 .gamma = b->weight,
                                                 .dropout = dropout(b, RT_SITE_ATTENTION_OUTPUT),
                                                 .dy = rows(b, HIDDEN),
                                                 .dresidual = rows(b, HIDDEN),
                                                 .dx = rows(b, HIDDEN),
                                                 .dbias = b->grads,
                                                 .dgamma = b->grads + HIDDEN,
                                                 .dbeta = b->grads + 2 * HIDDEN,
                                                 .hidden = HIDDEN});
}
static rt_attention_forward_args attention(bench *b) {
    char *qkv = rows(b, 3 * HIDDEN);
    return (rt_attention_forward_args){.batch = &b->batch,
                                       .q = qkv,
                                       .k = qkv + HIDDEN * b->size,
                                       .v = qkv + 2 * HIDDEN * b->size,
                                       .q_stride = 3 * HIDDEN,
                                       .k_stride = 3 * HIDDEN,
                                       .v_stride = 3 * HIDDEN,
                                       .out = rows(b, HIDDEN),
                                       .out_stride = HIDDEN,
                                       .lse = numbers(b, HEADS * b->tokens),
                                       .heads = HEADS,
                                       .head_dim = HIDDEN / HEADS,
                                       .scale = 0.125f,
                                       .dropout = dropout(b, RT_SITE_ATTENTION_PROBS)};
}
static rt_status attention_forward(bench *b) {
    const rt_attention_forward_args f = attention(b);
    return b->be->attention_forward(b->be, &f);
}
static rt_status attention_backward(bench *b) {
    rt_attention_backward_args a = {.f = attention(b), .dout = rows(b, HIDDEN)};
    char *gradient = rows(b, 3 * HIDDEN);
    a.dq = gradient, a.dk = gradient + HIDDEN * b->size, a.dv = gradient + 2 * HIDDEN * b->size;
    a.dq_stride = a.dk_stride = a.dv_stride = 3 * HIDDEN;
    return b->be->attention_backward(b->be, &a);
}

static rt_status linear(bench *b, int64_t n, int64_t k, bool gelu) {
    return b->be->linear_forward(b->be, &(rt_linear_forward_args){.w = {b->weight, b->packed, n, k},
                                                                  .bias = gelu || n == 3 * HIDDEN ? b->weight : NULL,
                                                                  .act = gelu ? RT_ACT_GELU : RT_ACT_NONE,
                                                                  .x = rows(b, k),
                                                                  .y = rows(b, n),
                                                                  .y_dtype = b->be->act,
                                                                  .pre = gelu ? rows(b, n) : NULL,
                                                                  .rows = b->tokens});
}
static rt_status gradient(bench *b, int64_t n, int64_t k, bool gelu) {
    return b->be->linear_backward(b->be, &(rt_linear_backward_args){.w = {b->weight, b->packed, n, k},
                                                                    .act = gelu ? RT_ACT_GELU : RT_ACT_NONE,
                                                                    .x = rows(b, k),
                                                                    .saved = gelu ? rows(b, n) : NULL,
                                                                    .dy = rows(b, n),
                                                                    .dy_dtype = b->be->act,
                                                                    .dx = rows(b, k),
                                                                    .dw = b->grads,
                                                                    .db = gelu || n == 3 * HIDDEN ? b->grads : NULL,
                                                                    .rows = b->tokens});
}
static rt_status qkv_forward(bench *b) {
    return linear(b, 3 * HIDDEN, HIDDEN, false);
}
static rt_status out_forward(bench *b) {
    return linear(b, HIDDEN, HIDDEN, false);
}
static rt_status up_forward(bench *b) {
    return linear(b, FFN, HIDDEN, true);
}
static rt_status down_forward(bench *b) {
    return linear(b, HIDDEN, FFN, false);
}
static rt_status qkv_backward(bench *b) {
    return gradient(b, 3 * HIDDEN, HIDDEN, false);
}
static rt_status out_backward(bench *b) {
    return gradient(b, HIDDEN, HIDDEN, false);
}
static rt_status up_backward(bench *b) {
    return gradient(b, FFN, HIDDEN, true);
}
static rt_status down_backward(bench *b) {
    return gradient(b, HIDDEN, FFN, false);
}

static rt_status pool(bench *b, bool mean, bool back) {
    rt_backend *be = b->be;
    void *few = take(&b->act, (size_t)b->sequences * HIDDEN * b->size), *all = rows(b, HIDDEN);
    const rt_rows_forward_args f = {.batch = &b->batch, .x = all, .y = few, .hidden = HIDDEN};
    const rt_rows_backward_args g = {.batch = &b->batch, .dy = few, .dx = all, .hidden = HIDDEN};
    if (back) return mean ? be->mean_rows_backward(be, &g) : be->select_rows_backward(be, &g);
    return mean ? be->mean_rows_forward(be, &f) : be->select_rows_forward(be, &f);
}
static rt_status mean_forward(bench *b) {
    return pool(b, true, false);
}
static rt_status mean_backward(bench *b) {
    return pool(b, true, true);
}
static rt_status select_backward(bench *b) {
    return pool(b, false, true);
}
static rt_status classify(bench *b) {
    return b->be->classify(b->be, &(rt_classify_args){.batch = &b->batch,
                                                      .logits = numbers(b, b->sequences * LABELS),
                                                      .loss = take(&b->numbers, 8),
                                                      .dlogits = numbers(b, b->sequences * LABELS),
                                                      .labels = LABELS,
                                                      .with_labels = true});
}

/* --- ops over all parameters -----------------------------------------------------------------------------------------
 */

typedef struct {
    float *p, *g, *m, *v;
    rt_adam_range *range;
    double *partials;
    void *narrow;
} all_parameters;
static all_parameters all;

static rt_status norm_of_all(bench *b) {
    return b->be->sum_squares(
        b->be,
        &(rt_sum_squares_args){.x = all.g, .n = PARAMETERS, .partials = all.partials, .total = &b->state->grad_sq});
}
static rt_status adam(bench *b) {
    return b->be->adamw(b->be, &(rt_adamw_args){.params = all.p,
                                                .grads = all.g,
                                                .m = all.m,
                                                .v = all.v,
                                                .ranges = all.range,
                                                .n_ranges = 1,
                                                .beta1 = 0.9,
                                                .beta2 = 0.999,
                                                .epsilon = 1e-8f,
                                                .state = b->state});
}
static rt_status narrow(bench *b) {
    return b->be->convert(b->be, all.narrow, RT_BF16, all.p, RT_F32, (size_t)PARAMETERS);
}

/* --- timing ----------------------------------------------------------------------------------------------------------
 */

static cudaEvent_t begin, end;

/* Seconds of one call: the best of ROUNDS rounds of as many calls as take some 20 ms, at least 5. */
static double time_of(bench *b, rt_status (*op)(bench *)) {
    cudaStream_t stream = b->be->stream;
    double best = 1e9;
    for (int i = 0; i < 3; i++) must(op(b)); /* kernels are loaded, the library's answers asked for */
    must(b->be->synchronize(b->be));
    int calls = 5;
    for (int round = 0; round < ROUNDS; round++) {
        float ms = 0;
        cuda(cudaEventRecord(begin, stream), "an event");
        for (int i = 0; i < calls; i++) must(op(b));
        cuda(cudaEventRecord(end, stream), "an event");
        must(b->be->synchronize(b->be));
        cuda(cudaEventElapsedTime(&ms, begin, end), "an event");
        const double one = 1e-3 * (double)ms / calls;
        if (one < best) best = one;
        if (!round) calls = one > 0.004 ? 5 : one > 1e-6 ? (int)(0.02 / one) : 2000;
    }
    return best;
}

static void row(bench *b, const char *what, rt_status (*op)(bench *), double bytes, double flops) {
    const double t = time_of(b, op), gbs = bytes / t, rate = flops / t;
    printf("| %s | %d x %d | %s | %.1f | %.0f | %.0f %% | ", what, b->sequences, b->length, b->precision, 1e6 * t,
           1e-9 * gbs, 100 * gbs / b->copy);
    if (flops > 0)
        printf("%.1f | %.0f %% |\n", 1e-12 * rate, 100 * rate / b->product);
    else
        printf("| |\n");
    fflush(stdout);
}

static rt_status large_product(bench *b) {
    return b->be->linear_forward(b->be, &(rt_linear_forward_args){.w = {b->weight, b->packed, LARGE, LARGE},
                                                                  .x = take(&b->act, LARGE * LARGE * b->size),
                                                                  .y = take(&b->act, LARGE * LARGE * b->size),
                                                                  .y_dtype = b->be->act,
                                                                  .rows = LARGE});
}
static rt_status large_copy(bench *b) {
    cuda(cudaMemcpyAsync(b->numbers.at, b->numbers.at + RING / 2, RING / 2, cudaMemcpyDeviceToDevice, b->be->stream),
         "a copy");
    return RT_OK;
}

/* --- one precision ---------------------------------------------------------------------------------------------------
 */

static int32_t *sort_ids;
static int by_id(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_ids[x] != sort_ids[y]) return sort_ids[x] < sort_ids[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void make_batch(bench *b, int sequences, int length) {
    const int tokens = sequences * length, bucket = (tokens + 63) / 64 * 64;
    int32_t *w = calloc((size_t)bucket * 4 + 4 * (size_t)sequences + 1, sizeof *w);
    if (!w) exit(71);
    int32_t *ids = w, *positions = ids + bucket, *sorted = positions + bucket, *types = sorted + bucket;
    int32_t *cu = types + bucket, *examples = cu + sequences + 1, *labels = examples + sequences;
    float *scale = (float *)(labels + sequences);
    uint32_t word = 99;
    for (int t = 0; t < tokens; t++) {
        word = word * 1664525u + 1013904223u;
        const double u = (word >> 8) * 0x1p-24;
        ids[t] = t % length == 0 ? 101 : (int32_t)(1000 + 29000 * u * u * u); /* few words are most of a text */
        positions[t] = t % length, types[t] = t % length > length / 2, sorted[t] = t;
    }
    sort_ids = ids;
    qsort(sorted, (size_t)tokens, sizeof *sorted, by_id);
    for (int s = 0; s <= sequences; s++) cu[s] = s * length;
    for (int s = 0; s < sequences; s++) examples[s] = s, labels[s] = s % LABELS, scale[s] = 1.0f / (float)sequences;
    rt_backend *be = b->be;
    const size_t room = (size_t)bucket * 4, few = (size_t)sequences * 4;
    b->batch = (rt_batch){.input_ids = filled(be, ids, room),
                          .positions = filled(be, positions, room),
                          .types = filled(be, types, room),
                          .cu_seqlens = filled(be, cu, few + 4),
                          .row_scale = filled(be, scale, few),
                          .labels = filled(be, labels, few),
                          .example_id = filled(be, examples, few),
                          .sorted_tokens = filled(be, sorted, room),
                          .n_tokens = tokens,
                          .bucket = bucket,
                          .n_seqs = sequences,
                          .capacity = sequences,
                          .max_len = length};
    b->tokens = bucket; /* what the kernels touch */
    b->sequences = sequences, b->length = length;
    free(w);
}

static void ops(bench *b) {
    const double t = (double)b->tokens, h = HIDDEN, a = (double)b->size, s = (double)b->length;
    const double square = 2 * t * h * h, cells = t * h * a;
    row(b, "embeddings, forward", embed_forward, t * (4 * h + 8) + cells, 0);
    row(b, "embeddings, backward", embed_backward, 4.0 * VOCAB * HIDDEN + t * 4 * h + 4 * cells, 0);
    row(b, "query, key, value: product + bias", qkv_forward, 4 * cells + 12 * h * h, 3 * square);
    row(b, "query, key, value: gradients", qkv_backward, 8 * cells + 24 * h * h, 6 * square);
    row(b, "attention, forward", attention_forward, 4 * cells + 4 * t * HEADS, 4 * t * s * h);
    row(b, "attention, backward", attention_backward, 7 * cells + 4 * t * HEADS, 10 * t * s * h);
    row(b, "attention's output: product", out_forward, 2 * cells + 4 * h * h, square);
    row(b, "attention's output: gradients", out_backward, 4 * cells + 8 * h * h, 2 * square);
    row(b, "bias + dropout + residual + norm, forward", norm_forward, 4 * cells + 8 * t, 0);
    row(b, "bias + dropout + residual + norm, backward", norm_backward, 4 * cells + 8 * t, 0);
    row(b, "feed-forward up: product + bias + GELU", up_forward, 9 * cells + 16 * h * h, 4 * square);
    row(b, "feed-forward up: GELU and gradients", up_backward, 18 * cells + 32 * h * h, 8 * square);
    row(b, "feed-forward down: product", down_forward, 5 * cells + 16 * h * h, 4 * square);
    row(b, "feed-forward down: gradients", down_backward, 10 * cells + 32 * h * h, 8 * square);
    row(b, "mean of a sequence's rows, forward", mean_forward, cells, 0);
    row(b, "mean of a sequence's rows, backward", mean_backward, cells, 0);
    row(b, "first row, backward", select_backward, cells, 0);
    row(b, "loss and its gradient", classify, (double)b->sequences * (8 * LABELS + 12), 0);
}

static void parameters(bench *b) {
    const double n = (double)PARAMETERS;
    const rt_adam_range range = {.count = PARAMETERS, .lr_scale = 1, .weight_decay = 0.01f};
    const size_t bytes = (size_t)PARAMETERS * 4;
    rt_backend *be = b->be;
    all = (all_parameters){.p = noise(be, RT_F32, (size_t)PARAMETERS, 0.02f),
                           .g = noise(be, RT_F32, (size_t)PARAMETERS, 1e-3f),
                           .m = block(be, bytes),
                           .v = block(be, bytes),
                           .range = filled(be, &range, sizeof range),
                           .partials = block(be, 8 * (size_t)(PARAMETERS / 65536 + 1)),
                           .narrow = block(be, bytes / 2)};
    b->sequences = 1, b->length = (int)PARAMETERS;
    row(b, "norm of all gradients", norm_of_all, 4 * n, 0);
    row(b, "Adam over all parameters", adam, 28 * n, 0);
    row(b, "all weights to bf16", narrow, 6 * n, 0);
    void *const used[] = {all.p, all.g, all.m, all.v};
    for (int i = 0; i < 4; i++) be->release(be, used[i], bytes);
    be->release(be, all.narrow, bytes / 2);
}

static void one_precision(rt_backend *be, const char *name) {
    bench b = {.be = be, .precision = name, .size = rt_dtype_size(be->act)};
    const rt_dims dims = {.max_tokens = LARGE,
                          .max_seqs = 256,
                          .max_len = 512,
                          .hidden = LARGE,
                          .heads = LARGE / 128,
                          .ffn = LARGE,
                          .vocab = VOCAB,
                          .max_positions = POSITIONS,
                          .type_vocab = 2,
                          .labels = LABELS,
                          .training = true};
    const size_t space = be->workspace_bytes(be, &dims);
    must(be->set_workspace(be, &dims, block(be, space), space));
    b.act.at = noise(be, be->act, RING / b.size, 1), b.numbers.at = noise(be, RT_F32, RING / 4, 1);
    b.weight = noise(be, RT_F32, (size_t)LARGE * LARGE, 0.02f);
    b.table = noise(be, RT_F32, (size_t)VOCAB * HIDDEN, 0.02f);
    b.grads = block(be, (size_t)(VOCAB + 1024) * HIDDEN * 4);
    const rt_step_state state = {.step = 1, .lr = 1e-5f, .bias1 = 0.1f, .bias2 = 0.001f};
    b.state = filled(be, &state, sizeof state);
    const size_t packed = be->packed_bytes(be, LARGE, LARGE);
    if (packed) {
        b.packed = block(be, packed);
        must(be->pack(be, b.weight, LARGE, LARGE, b.packed));
    }
    b.copy = (double)RING / time_of(&b, large_copy);
    b.product = 2.0 * LARGE * LARGE * LARGE / time_of(&b, large_product);
    printf("| the card: a copy of %zu MiB | | | | %.0f | 100 %% | | |\n", (RING / 2) >> 20, 1e-9 * b.copy);
    printf("| the card: a product of %d cubed, cuBLASLt's first answer | | %s | | | | %.1f | 100 %% |\n", LARGE, name,
           1e-12 * b.product);
    static const int shapes[][2] = {{256, 28}, {32, 128}};
    for (int i = 0; i < 2; i++) {
        make_batch(&b, shapes[i][0], shapes[i][1]);
        ops(&b);
    }
    parameters(&b);
}

int main(int argc, char **argv) {
    typedef rt_status (*opener)(const rt_backend_options *, rt_backend **);
    static const rt_plugin_spec spec = {"rectrain-cuda.so", "rt_cuda_abi", RT_KERNELS_ABI, "rt_cuda_backend_open"};
    static const char *const usual[] = {"bf16", "tf32", "fp32"};
    rt_plugin_entry entry;
    const bool only_open = argc > 1 && strcmp(argv[argc - 1], "--only-open") == 0;
    argc -= only_open;
    must(rt_plugin_open(&spec, &entry, NULL));
    for (int i = 0; i < (argc > 1 ? argc - 1 : 3); i++) {
        const char *name = argc > 1 ? argv[i + 1] : usual[i];
        rt_backend_options options = {.device = -1};
        if (strcmp(name, "fp32") == 0)
            options.precision = RT_PRECISION_FP32;
        else if (strcmp(name, "tf32") == 0)
            options.precision = RT_PRECISION_TF32;
        else if (strcmp(name, "bf16") == 0)
            options.precision = RT_PRECISION_BF16;
        else {
            fprintf(stderr, "gpu_bench: %s: accepted are fp32, tf32, bf16\n", name);
            return 64;
        }
        rt_backend *be;
        must(((opener)entry)(&options, &be));
        if (only_open) {
            printf("%s\n", be->description);
            be->close(be);
            return 0;
        }
        cuda(cudaSetDevice(be->device), "choosing the GPU");
        cuda(cudaEventCreate(&begin), "an event");
        cuda(cudaEventCreate(&end), "an event");
        if (!i)
            printf(
                "%s\n\n| op | sequences x tokens | precision | microseconds | GB/s | of the card's copy | TFLOP/s | of "
                "its product |\n|---|---|---|---|---|---|---|---|\n",
                be->description);
        one_precision(be, name);
        cudaEventDestroy(begin), cudaEventDestroy(end);
        be->close(be);
    }
    return 0;
}
