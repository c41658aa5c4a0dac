/* The encoder over packed batches: rows do not see each other, memory is what was measured, gradients come in order. */
#include "model/encoder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { H = 32, VOCAB = 50, MOST_TOKENS = 128, MOST_SEQS = 8 };

typedef struct {
    rt_backend *be;
    rt_bert bert;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
    rt_batch batch;
    int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], types[MOST_TOKENS], cu[MOST_SEQS + 1], labels[MOST_SEQS];
    int32_t sorted[MOST_TOKENS];
    uint32_t examples[MOST_SEQS];
    float scales[MOST_SEQS];
} fixture;

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

static void open_fixture(fixture *f, rt_pooling pooling, float dropout, const rt_freeze *freeze) {
    memset(f, 0, sizeof *f);
    f->bert = rt_bert_default();
    f->bert.hidden = H, f->bert.layers = 3, f->bert.heads = 2, f->bert.ffn = 64, f->bert.vocab = VOCAB;
    f->bert.max_positions = 32, f->bert.pooling = pooling;
    f->bert.dropout = f->bert.attention_dropout = f->bert.head_dropout = dropout;
    ok(rt_cpu_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .threads = 1}, &f->be));
    ok(rt_encoder_add_params(&f->table, &f->bert));
    ok(rt_param_table_finish(&f->table, freeze));
    ok(rt_model_new(f->be, &f->bert, &f->table, true, &f->model));
    rt_encoder_sizes sizes = {.train_tokens = MOST_TOKENS,
                              .train_seqs = MOST_SEQS,
                              .eval_tokens = MOST_TOKENS,
                              .eval_seqs = MOST_SEQS,
                              .max_len = 32};
    size_t activations, workspace;
    ok(rt_encoder_measure(&f->model, &sizes, &activations, &workspace));
    ok(rt_encoder_new(&f->model, &sizes, &f->encoder));
    assert_int_equal(activations, f->encoder.arena_bytes);
    assert_int_equal(workspace, f->encoder.workspace_bytes);
    for (int i = 0; i < f->table.n; i++) {
        ok(rt_model_init_row(&f->model, i, 1));
        float *p = rt_model_direct(&f->model, i, RT_BUFFER_PARAMS);
        for (int64_t k = 0; f->table.rows[i].init == RT_INIT_NORMAL && k < f->table.rows[i].count; k++) p[k] *= 8;
    }
    ok(rt_model_pack(&f->model, false));
}

static void close_fixture(fixture *f) {
    rt_encoder_free(&f->encoder);
    rt_model_free(&f->model);
    rt_param_table_free(&f->table);
    f->be->close(f->be);
}

/* The i-th sequence's token t is a fixed function of both; `pick` names the sequences of the batch. */
static void fill(fixture *f, const int *pick, int n) {
    static const int lengths[] = {3, 17, 1, 9, 32, 5};
    int t = 0;
    for (int b = 0; b < n; b++) {
        int s = pick[b];
        f->cu[b] = t;
        f->examples[b] = (uint32_t)s;
        f->scales[b] = 1.0f / (float)n;
        for (int i = 0; i < lengths[s]; i++, t++) {
            f->ids[t] = (7 * s + 3 * i * i + i) % VOCAB;
            f->positions[t] = i;
            f->types[t] = i > lengths[s] / 2;
        }
    }
    for (int b = n; b <= MOST_SEQS; b++) f->cu[b] = t;
    for (int id = 0, at = 0; id < VOCAB; id++)
        for (int i = 0; i < t; i++)
            if (f->ids[i] == id) f->sorted[at++] = i;
    int bucket = (t + 63) / 64 * 64;
    for (int i = t; i < bucket; i++) f->ids[i] = f->positions[i] = f->types[i] = 0;
    f->batch = (rt_batch){.input_ids = f->ids,
                          .positions = f->positions,
                          .types = f->types,
                          .cu_seqlens = f->cu,
                          .row_scale = f->scales,
                          .labels = f->labels,
                          .example_id = f->examples,
                          .sorted_tokens = f->sorted,
                          .n_tokens = t,
                          .bucket = bucket,
                          .n_seqs = n,
                          .capacity = MOST_SEQS,
                          .max_len = 32};
}

static const int everything[] = {0, 1, 2, 3, 4, 5};

static void forward(fixture *f, const int *pick, int n, const rt_pass *pass, float *pooled) {
    fill(f, pick, n);
    ok(rt_encoder_forward(&f->encoder, &f->batch, pass));
    memcpy(pooled, f->encoder.last->pooled, (size_t)n * H * sizeof *pooled);
}

static double distance(const float *a, const float *b) {
    double d = 0, s = 0;
    for (int i = 0; i < H; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), s += (double)b[i] * b[i];
    double r = sqrt(d / s);
    return isfinite(r) ? r : INFINITY;
}

/* A row alone, or in company, or in another order: the same vector, up to how a product of other height is summed
 * (contract 5's 1e-5); with dropout on too, whose masks follow the example. */
static void rows_alone(void **state) {
    (void)state;
    static const int turned[] = {5, 4, 3, 2, 1, 0};
    for (int k = 0; k < 4; k++) {
        fixture f;
        float all[6 * H], other[6 * H], one[H];
        rt_pass pass = {.training = k & 1, .seed = 9};
        open_fixture(&f, k & 2 ? RT_POOL_MEAN : RT_POOL_CLS, 0.1f, NULL);
        forward(&f, everything, 6, &pass, all);
        forward(&f, turned, 6, &pass, other);
        for (int s = 0; s < 6; s++) {
            assert_true(distance(other + (5 - s) * H, all + s * H) < 1e-5);
            forward(&f, &s, 1, &pass, one);
            assert_true(distance(one, all + s * H) < 1e-5);
            if (s) assert_true(distance(one, all) > 1e-2); /* rows do differ */
        }
        close_fixture(&f);
    }
}

static void dropout_moves(void **state) {
    (void)state;
    fixture f;
    float base[6 * H], again[6 * H];
    rt_pass pass = {.training = true, .seed = 9}, view = {.training = true, .seed = 9, .view = 1}, seed = pass;
    seed.seed = 10;
    open_fixture(&f, RT_POOL_MEAN, 0.1f, NULL);
    forward(&f, everything, 6, &pass, base);
    forward(&f, everything, 6, &pass, again);
    assert_memory_equal(base, again, sizeof base);
    forward(&f, everything, 6, &view, again);
    for (int s = 0; s < 6; s++) assert_true(distance(again + s * H, base + s * H) > 1e-3);
    forward(&f, everything, 6, &seed, again);
    for (int s = 0; s < 6; s++) assert_true(distance(again + s * H, base + s * H) > 1e-3);
    f.model.state->step = 1;
    forward(&f, everything, 6, &pass, again);
    for (int s = 0; s < 6; s++) assert_true(distance(again + s * H, base + s * H) > 1e-3);
    close_fixture(&f);
}

/* With no dropout a training pass computes what an evaluation does. */
static void training_as_evaluation(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
        fixture f;
        float a[6 * H], b[6 * H];
        open_fixture(&f, (rt_pooling)pooling, 0, NULL);
        forward(&f, everything, 6, &(rt_pass){.training = true}, a);
        forward(&f, everything, 6, &(rt_pass){.training = false}, b);
        assert_memory_equal(a, b, sizeof a);
        close_fixture(&f);
    }
}

typedef struct {
    int64_t at;
    int calls;
    const float *grads;
    float *seen;     /* [n_trainables] or NULL: each range as it was when it was reported */
    int64_t to_come; /* elements that were still poison when the first range was reported */
} ranges;

static rt_status take_range(void *context, int64_t offset, int64_t count) {
    ranges *r = context;
    if (offset != r->at || count <= 0) return rt_fail(RT_EINTERNAL, "range %d at %d", (int)offset, (int)r->at);
    if (r->seen) memcpy(r->seen + offset, r->grads + offset, (size_t)count * sizeof *r->seen);
    r->at += count;
    r->calls++;
    return RT_OK;
}

static void backward(fixture *f, int n, int accumulate, ranges *r) {
    rt_pass pass = {.training = true};
    fill(f, everything, n);
    ok(rt_encoder_forward(&f->encoder, &f->batch, &pass));
    float *d = rt_encoder_dpooled(&f->encoder);
    for (int i = 0; i < n * H; i++) d[i] = (float)((i * 37) % 11 - 5);
    ok(rt_encoder_backward(&f->encoder, &f->batch, &pass, d, accumulate, take_range, r));
}

/* Ranges are reported once each, from the front on, all of them, whatever is frozen, also for a batch without rows;
 * a failing report ends the pass. */
static void ranges_in_order(void **state) {
    (void)state;
    for (int layers = -1; layers <= 3; layers++)
        for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
            if (layers == 3 && pooling == RT_POOL_MEAN) continue; /* nothing of the encoder is trained */
            fixture f;
            rt_freeze freeze = {
                .embeddings = layers >= 0, .layers = layers > 0 ? layers : 0, .layer_decay = 1, .n_layers = 3};
            open_fixture(&f, (rt_pooling)pooling, 0, &freeze);
            ranges full = {0}, empty = {0}, wrong = {.at = 64};
            backward(&f, 6, 0, &full);
            assert_int_equal(full.at, f.table.n_trainables);
            assert_int_equal(full.calls, (pooling == RT_POOL_CLS) + 2 * (3 - (layers > 0 ? layers : 0)) + (layers < 0));
            backward(&f, 0, 1, &empty);
            assert_int_equal(empty.at, full.at);
            assert_int_equal(empty.calls, full.calls);
            rt_pass pass = {.training = true};
            fill(&f, everything, 6);
            ok(rt_encoder_forward(&f.encoder, &f.batch, &pass));
            assert_int_equal(
                rt_encoder_backward(&f.encoder, &f.batch, &pass, rt_encoder_dpooled(&f.encoder), 0, take_range, &wrong),
                RT_EINTERNAL);
            close_fixture(&f);
        }
}

/* A range that was reported changes no more, and it is reported while those below are still to come. */
static void ranges_are_final(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
        fixture f;
        open_fixture(&f, (rt_pooling)pooling, 0, NULL);
        const size_t bytes = (size_t)f.table.n_trainables * sizeof(float);
        ranges r = {.grads = f.model.grads, .seen = malloc(bytes)};
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            if (!accumulate) memset(f.model.grads, 0xFF, bytes);
            r.at = 0;
            backward(&f, 6, accumulate, &r);
            assert_int_equal(r.at, f.table.n_trainables);
            assert_memory_equal(r.seen, f.model.grads, bytes);
        }
        free(r.seen);
        close_fixture(&f);
    }
}

static rt_status look_ahead(void *context, int64_t offset, int64_t count) {
    ranges *r = context;
    int64_t poison = 0;
    for (int64_t i = offset + count; i < r->at; i++) poison += isnan(r->grads[i]);
    if (r->calls++ == 0) r->to_come = poison;
    return RT_OK;
}

static void ranges_are_early(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, RT_POOL_MEAN, 0, NULL);
    const rt_pass pass = {.training = true};
    ranges r = {.grads = f.model.grads, .at = f.table.n_trainables};
    memset(f.model.grads, 0xFF, (size_t)r.at * sizeof(float));
    fill(&f, everything, 6);
    ok(rt_encoder_forward(&f.encoder, &f.batch, &pass));
    memset(rt_encoder_dpooled(&f.encoder), 0, 6 * H * sizeof(float));
    ok(rt_encoder_backward(&f.encoder, &f.batch, &pass, rt_encoder_dpooled(&f.encoder), 0, look_ahead, &r));
    /* The first is the top layer's feed-forward: two layers, the embeddings and the top layer's attention are to come.
     */
    assert_int_equal(r.calls, 2 * 3 + 1);
    assert_true(r.to_come > r.at * 3 / 4);
    close_fixture(&f);
}

/* Storing overwrites what was there, poison too; adding a batch without rows changes nothing. */
static void storing_and_adding(void **state) {
    (void)state;
    for (int pooling = RT_POOL_CLS; pooling <= RT_POOL_MEAN; pooling++) {
        fixture f;
        open_fixture(&f, (rt_pooling)pooling, 0, NULL);
        size_t n = (size_t)f.table.n_trainables;
        float *first = malloc(n * sizeof *first);
        backward(&f, 6, 0, &(ranges){0});
        memcpy(first, f.model.grads, n * sizeof *first);
        for (int i = 0; i < f.table.n; i++) {
            float *g = rt_model_grad(&f.model, i);
            for (int64_t k = 0; k < f.table.rows[i].count; k++) g[k] = NAN;
        }
        backward(&f, 6, 0, &(ranges){0});
        assert_memory_equal(first, f.model.grads, n * sizeof *first); /* the padding is still 0 */
        backward(&f, 0, 1, &(ranges){0});
        assert_memory_equal(first, f.model.grads, n * sizeof *first);
        backward(&f, 6, 1, &(ranges){0});
        for (size_t i = 0; i < n; i++) /* x + x is exact where each row is added whole; sums of parts round */
            assert_true(fabs((double)f.model.grads[i] - 2 * (double)first[i]) <= 1e-5 * (fabs((double)first[i]) + 1));
        free(first);
        close_fixture(&f);
    }
}

static void too_large_a_batch(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, RT_POOL_CLS, 0, NULL);
    fill(&f, everything, 6);
    f.batch.n_seqs = MOST_SEQS + 1;
    assert_int_equal(rt_encoder_forward(&f.encoder, &f.batch, &(rt_pass){0}), RT_EINTERNAL);
    f.batch.n_seqs = 6;
    f.batch.n_tokens = MOST_TOKENS + 1;
    assert_int_equal(rt_encoder_forward(&f.encoder, &f.batch, &(rt_pass){0}), RT_EINTERNAL);
    close_fixture(&f);
}

/* Layers below the first that is trained keep no activations. */
static void freezing_saves_memory(void **state) {
    (void)state;
    fixture f;
    size_t before = 0;
    for (int layers = 0; layers <= 3; layers++) {
        rt_freeze freeze = {.embeddings = true, .layers = layers, .layer_decay = 1, .n_layers = 3};
        open_fixture(&f, RT_POOL_CLS, 0, &freeze);
        if (layers == 2) assert_true(f.encoder.arena_bytes < before);
        before = f.encoder.arena_bytes;
        assert_int_equal(f.encoder.first_trainable, layers);
        assert_false(f.encoder.embeddings_trainable);
        close_fixture(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_alone),
        cmocka_unit_test(dropout_moves),
        cmocka_unit_test(ranges_in_order),
        cmocka_unit_test(ranges_are_final),
        cmocka_unit_test(ranges_are_early),
        cmocka_unit_test(training_as_evaluation),
        cmocka_unit_test(too_large_a_batch),
        cmocka_unit_test(storing_and_adding),
        cmocka_unit_test(freezing_saves_memory),
    };
    return cmocka_run_group_tests_name("encoder", tests, NULL, NULL);
}
