/* Retrieval by an encoder: against each text run alone and every pair compared in fp64; on any number of ranks to the
 * bit; many queries in parts; stopping. */
#include "eval/catalogue.h"
#include "tests/comm/ranks.h"
#include <math.h>

enum { HIDDEN = 16, VOCAB = 50, LONGEST = 12, TOKENS = 32, SEQS = 6, QUERIES = 83, ITEMS = 150 };

typedef struct {
    rt_backend *be;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
} fixture;

static void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

static void make(fixture *f) {
    memset(f, 0, sizeof *f);
    ok(rt_cpu_backend_open(&(rt_backend_options){.precision = RT_PRECISION_FP32, .threads = 1}, &f->be));
    rt_bert bert = rt_bert_default();
    bert.hidden = HIDDEN, bert.layers = 2, bert.heads = 2, bert.ffn = 32;
    bert.vocab = VOCAB, bert.max_positions = LONGEST, bert.pooling = RT_POOL_MEAN;
    bert.initializer_range = 0.5f; /* far from linear, so that a wrong batch would show */
    ok(rt_encoder_add_params(&f->table, &bert));
    ok(rt_param_table_finish(&f->table, &(rt_freeze){.layer_decay = 1, .n_layers = bert.layers}));
    ok(rt_model_new(f->be, &bert, &f->table, false, &f->model));
    for (int row = 0; row < f->table.n; row++) ok(rt_model_init_row(&f->model, row, 7));
    rt_encoder_sizes sizes = {.eval_tokens = TOKENS, .eval_seqs = SEQS, .max_len = LONGEST};
    ok(rt_encoder_new(&f->model, &sizes, &f->encoder));
    ok(rt_model_pack(&f->model, false));
}

static void unmake(fixture *f) {
    rt_encoder_free(&f->encoder);
    rt_model_free(&f->model);
    rt_param_table_free(&f->table);
    f->be->close(f->be);
}

static uint32_t random_state;

static uint32_t below(uint32_t n) {
    random_state = (uint32_t)((random_state * (uint64_t)1103515245 + 12345) % 2147483648u);
    return (random_state >> 8) % n;
}

typedef struct {
    uint32_t n_queries, n_items;
    int32_t *ids[2];     /* of queries, of items */
    uint64_t *starts[2]; /* of their texts */
    uint32_t *relevant;
    uint64_t *relevant_starts;
    rt_catalogue catalogue;
} texts;

static void random_texts(texts *t, int which, uint32_t n) {
    t->ids[which] = calloc((size_t)n * LONGEST, sizeof **t->ids);
    t->starts[which] = calloc(n + 1u, sizeof **t->starts);
    assert_non_null(t->ids[which]);
    assert_non_null(t->starts[which]);
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = 2 + below(LONGEST - 1);
        for (uint32_t k = 0; k < length; k++) t->ids[which][at++] = (int32_t)below(VOCAB);
        t->starts[which][i + 1] = at;
    }
}

/* Queries have 0 to 3 relevant items. */
static void make_texts(texts *t) {
    memset(t, 0, sizeof *t);
    random_state = 5;
    t->n_queries = QUERIES, t->n_items = ITEMS;
    random_texts(t, 0, QUERIES);
    random_texts(t, 1, ITEMS);
    t->relevant = calloc(QUERIES * 3, sizeof *t->relevant);
    t->relevant_starts = calloc(QUERIES + 1, sizeof *t->relevant_starts);
    uint64_t at = 0;
    for (int q = 0; q < QUERIES; q++) {
        uint32_t n = below(4), item = 0;
        for (uint32_t k = 0; k < n; k++) t->relevant[at++] = item += 1 + below(ITEMS / 3 - 1);
        t->relevant_starts[q + 1] = at;
    }
    t->catalogue = (rt_catalogue){.queries = {QUERIES, t->ids[0], t->starts[0]},
                                  .items = {ITEMS, t->ids[1], t->starts[1]},
                                  .relevant = t->relevant,
                                  .starts = t->relevant_starts};
}

static void free_texts(texts *t) {
    for (int i = 0; i < 2; i++) {
        free(t->ids[i]);
        free(t->starts[i]);
    }
    free(t->relevant);
    free(t->relevant_starts);
}

/* A text by itself: its mean vector, in fp64. */
static void vector_of(fixture *f, const int32_t *ids, int n, double out[HIDDEN]) {
    int32_t zeros[64] = {0}, positions[64], padded[64] = {0};
    int32_t cu[2] = {0, n}, label = 0;
    uint32_t example = 0;
    float pooled[HIDDEN], scale = 1;
    memcpy(padded, ids, (size_t)n * sizeof *ids);
    for (int i = 0; i < 64; i++) positions[i] = i < n ? i : 0;
    rt_batch batch = {.input_ids = padded,
                      .positions = positions,
                      .types = zeros,
                      .cu_seqlens = cu,
                      .row_scale = &scale,
                      .labels = &label,
                      .example_id = &example,
                      .n_tokens = n,
                      .bucket = 64,
                      .n_seqs = 1,
                      .capacity = 1,
                      .max_len = n};
    ok(rt_encoder_forward(&f->encoder, &batch, &(rt_pass){.training = false}));
    memcpy(pooled, f->encoder.last->pooled, sizeof pooled);
    for (int i = 0; i < HIDDEN; i++) out[i] = pooled[i];
}

/* recall@k and the others from every pair's score; ranks count what is larger, and fails where rounding could decide.
 */
static rt_retrieval_metrics reference(fixture *f, const texts *t, int width, bool unit) {
    static double v[2][ITEMS][HIDDEN];
    rt_retrieval_metrics m = {.items = t->n_items};
    for (int which = 0; which < 2; which++) {
        uint32_t n = which ? t->n_items : t->n_queries;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t from = t->starts[which][i];
            double s = 0;
            vector_of(f, t->ids[which] + from, (int)(t->starts[which][i + 1] - from), v[which][i]);
            for (int k = 0; k < width; k++) s += v[which][i][k] * v[which][i][k];
            for (int k = 0; k < width && unit; k++) v[which][i][k] /= sqrt(s);
        }
    }
    for (uint32_t q = 0; q < t->n_queries; q++) {
        uint64_t from = t->relevant_starts[q], n = t->relevant_starts[q + 1] - from;
        double scores[ITEMS], gain[2] = {0}, ideal[2] = {0}, first = INFINITY;
        int within[6] = {0};
        static const int cuts[] = {1, 5, 10, 20, 50, 100};
        for (uint32_t i = 0; i < t->n_items; i++) {
            scores[i] = 0;
            for (int k = 0; k < width; k++) scores[i] += v[0][q][k] * v[1][i][k];
        }
        for (uint64_t r = from; r < from + n; r++) {
            int rank = 1;
            for (uint32_t i = 0; i < t->n_items; i++) {
                rank += scores[i] > scores[t->relevant[r]];
                assert_true(i == t->relevant[r] || fabs(scores[i] - scores[t->relevant[r]]) > 1e-6);
            }
            for (int c = 0; c < 6; c++) within[c] += rank <= cuts[c];
            if (rank <= 10) gain[0] += 1 / log2(rank + 1);
            if (rank <= 20) gain[1] += 1 / log2(rank + 1);
            if (rank <= 10 && rank < first) first = rank;
        }
        for (uint64_t r = 1; r <= n && r <= 10; r++) ideal[0] += 1 / log2((double)r + 1);
        ideal[1] = ideal[0];
        m.queries_no_relevant += n == 0;
        if (n == 0) continue;
        m.queries++;
        m.rows += n;
        double *recall[] = {&m.recall_1, &m.recall_5, &m.recall_10, &m.recall_20, &m.recall_50, &m.recall_100};
        for (int c = 0; c < 6; c++) *recall[c] += (double)within[c] / (double)n;
        m.mrr_10 += 1 / first;
        m.ndcg_10 += gain[0] / ideal[0];
        m.ndcg_20 += gain[1] / ideal[1];
    }
    double *all[] = {&m.recall_1,   &m.recall_5, &m.recall_10, &m.recall_20, &m.recall_50,
                     &m.recall_100, &m.mrr_10,   &m.ndcg_10,   &m.ndcg_20};
    for (int i = 0; i < 9; i++) *all[i] /= (double)m.queries;
    return m;
}

static void same_metrics(const rt_retrieval_metrics *have, const rt_retrieval_metrics *want) {
    static const char *const names[] = {"recall@1",   "recall@5", "recall@10", "recall@20", "recall@50",
                                        "recall@100", "mrr@10",   "ndcg@10",   "ndcg@20"};
    for (int i = 0; i < 9; i++) {
        double a, b;
        bool higher;
        assert_true(rt_retrieval_by_name(have, names[i], &a, &higher));
        assert_true(rt_retrieval_by_name(want, names[i], &b, &higher));
        if (!(fabs(a - b) <= 1e-12)) fail_msg("%s: %.17g, not %.17g", names[i], a, b);
    }
    assert_int_equal(have->queries, want->queries);
    assert_int_equal(have->queries_no_relevant, want->queries_no_relevant);
    assert_int_equal(have->rows, want->rows);
    assert_int_equal(have->items, want->items);
}

static uint32_t last_done, last_all;

static void progress(void *context, uint32_t done, uint32_t all) {
    (void)context;
    assert_true(done > last_done && done <= all && (last_all == 0 || all == last_all));
    last_done = done, last_all = all;
}

static rt_catalogue_options small_options(void) {
    return (rt_catalogue_options){.batch_tokens = TOKENS, .max_seqs = SEQS, .unit = true};
}

static void test_like_pairs(void **state) {
    (void)state;
    fixture f;
    texts t;
    rt_comm *comm;
    make(&f);
    make_texts(&t);
    ok(rt_comm_self(&comm));
    for (int kind = 0; kind < 3; kind++) { /* cosine; dot product; cosine of the first dimensions */
        rt_catalogue_options o = small_options();
        rt_retrieval_metrics have, want = reference(&f, &t, kind == 2 ? 8 : HIDDEN, kind != 1);
        o.unit = kind != 1;
        o.width = kind == 2 ? 8 : 0;
        o.progress = progress;
        last_done = last_all = 0;
        ok(rt_retrieve_evaluate(&f.encoder, &t.catalogue, comm, &o, &have));
        assert_true(last_done == last_all && last_all > 10);
        same_metrics(&have, &want);
        /* The case says something: neither all nor nothing is found. */
        assert_true(want.recall_20 > 0.05 && want.recall_20 < 0.95 && want.mrr_10 > 0.01);
    }
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
}

/* More queries than are searched together: the same ones again and again have the same means. */
static void test_many_queries(void **state) {
    (void)state;
    enum { TIMES = 100 };
    fixture f;
    texts t;
    rt_comm *comm;
    rt_retrieval_metrics once, often;
    make(&f);
    make_texts(&t);
    ok(rt_comm_self(&comm));
    uint64_t n_ids = t.starts[0][QUERIES], n_relevant = t.relevant_starts[QUERIES];
    int32_t *ids = calloc(n_ids * TIMES, sizeof *ids);
    uint32_t *relevant = calloc(n_relevant * TIMES, sizeof *relevant);
    uint64_t *starts = calloc(QUERIES * TIMES + 1, sizeof *starts), *of = calloc(QUERIES * TIMES + 1, sizeof *of);
    for (uint32_t i = 0; i < TIMES; i++) {
        memcpy(ids + i * n_ids, t.ids[0], n_ids * sizeof *ids);
        memcpy(relevant + i * n_relevant, t.relevant, n_relevant * sizeof *relevant);
        for (uint32_t q = 1; q <= QUERIES; q++) {
            starts[i * QUERIES + q] = i * n_ids + t.starts[0][q];
            of[i * QUERIES + q] = i * n_relevant + t.relevant_starts[q];
        }
    }
    rt_catalogue_options o = small_options();
    rt_catalogue many = t.catalogue;
    many.queries = (rt_token_texts){QUERIES * TIMES, ids, starts};
    many.relevant = relevant;
    many.starts = of;
    ok(rt_retrieve_evaluate(&f.encoder, &t.catalogue, comm, &o, &once));
    ok(rt_retrieve_evaluate(&f.encoder, &many, comm, &o, &often));
    once.queries *= TIMES;
    once.queries_no_relevant *= TIMES;
    once.rows *= TIMES;
    same_metrics(&often, &once);
    free(ids);
    free(relevant);
    free(starts);
    free(of);
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
}

/* The catalogue behind so many copies of its first text. */
static rt_retrieval_metrics behind(fixture *f, const texts *t, rt_comm *comm, uint32_t copies) {
    uint64_t size = t->starts[1][1], n_relevant = t->relevant_starts[QUERIES], *starts;
    rt_retrieval_metrics m;
    rt_catalogue_options o = small_options();
    rt_catalogue c = t->catalogue;
    int32_t *ids = calloc(copies * size + t->starts[1][ITEMS], sizeof *ids);
    uint32_t *relevant = calloc(n_relevant, sizeof *relevant);
    starts = calloc(copies + ITEMS + 1, sizeof *starts);
    for (uint32_t i = 0; i < copies; i++) {
        memcpy(ids + i * size, t->ids[1], size * sizeof *ids);
        starts[i] = i * size;
    }
    memcpy(ids + copies * size, t->ids[1], t->starts[1][ITEMS] * sizeof *ids);
    for (uint32_t i = 0; i <= ITEMS; i++) starts[copies + i] = copies * size + t->starts[1][i];
    for (uint64_t i = 0; i < n_relevant; i++) relevant[i] = t->relevant[i] + copies;
    c.items = (rt_token_texts){copies + ITEMS, ids, starts};
    c.relevant = relevant;
    ok(rt_retrieve_evaluate(&f->encoder, &c, comm, &o, &m));
    assert_int_equal(m.items, copies + ITEMS);
    m.items = 0;
    free(ids);
    free(relevant);
    free(starts);
    return m;
}

/* More items than are searched at a time: what stands before an item pushes it beyond the list or does not, a hundred
 * times or seventeen thousand. */
static void test_many_items(void **state) {
    (void)state;
    fixture f;
    texts t;
    rt_comm *comm;
    make(&f);
    make_texts(&t);
    ok(rt_comm_self(&comm));
    rt_retrieval_metrics few = behind(&f, &t, comm, RT_RETRIEVAL_DEPTH), many = behind(&f, &t, comm, 17000);
    assert_true(few.recall_100 > 0.05 && few.recall_100 < 0.95);
    same_metrics(&many, &few);
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
}

static rt_retrieval_metrics *shared; /* of rank 0 */
static int stop_at;                  /* rank 1 asks for an end at its so-manieth question; 0: never */
static int questions;

static bool stop(void *context) {
    return *(int *)context == 1 && stop_at && ++questions >= stop_at;
}

static rt_status on_a_rank(rank_world *w, int rank) {
    fixture f;
    texts t;
    rt_comm *comm = NULL;
    make(&f);
    make_texts(&t);
    RT_TRY(ranks_open(w, rank, &comm));
    rt_catalogue_options o = small_options();
    o.context = &rank;
    o.stop = stop;
    rt_status rc = rt_retrieve_evaluate(&f.encoder, &t.catalogue, comm, &o, rank ? NULL : shared);
    if (rc != RT_OK && rc != RT_ESTOPPED) return rc;
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
    return rc;
}

static void test_ranks(void **state) {
    (void)state;
    fixture f;
    texts t;
    rt_comm *comm;
    rt_retrieval_metrics alone;
    make(&f);
    make_texts(&t);
    ok(rt_comm_self(&comm));
    rt_catalogue_options o = small_options();
    memset(&alone, 0, sizeof alone);
    ok(rt_retrieve_evaluate(&f.encoder, &t.catalogue, comm, &o, &alone));
    for (int size = 2; size <= 4; size++) {
        rank_world *w = ranks_new(size, 60);
        memset(shared, 0, sizeof *shared);
        ranks_run(w, on_a_rank, 120);
        ranks_all_ok(w);
        assert_memory_equal(shared, &alone, sizeof alone);
        ranks_free(w);
    }
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
}

static void test_stop(void **state) {
    (void)state;
    stop_at = 4;
    rank_world *w = ranks_new(3, 60);
    ranks_run(w, on_a_rank, 120);
    for (int r = 0; r < 3; r++) assert_int_equal(w->rank[r].status, RT_ESTOPPED);
    ranks_free(w);
    stop_at = 0;
}

static void test_empty_and_refused(void **state) {
    (void)state;
    fixture f;
    texts t;
    rt_comm *comm;
    rt_retrieval_metrics m;
    make(&f);
    make_texts(&t);
    ok(rt_comm_self(&comm));
    rt_catalogue_options o = small_options();
    rt_catalogue c = t.catalogue;
    c.queries.n = 0;
    ok(rt_retrieve_evaluate(&f.encoder, &c, comm, &o, &m));
    assert_true(m.queries == 0 && m.items == ITEMS && isnan(m.recall_20));
    c = t.catalogue;
    uint32_t kept = t.relevant[0];
    t.relevant[0] = ITEMS;
    assert_int_equal(rt_retrieve_evaluate(&f.encoder, &c, comm, &o, &m), RT_EINTERNAL);
    t.relevant[0] = kept;
    t.starts[1][9] = t.starts[1][8];
    assert_int_equal(rt_retrieve_evaluate(&f.encoder, &c, comm, &o, &m), RT_EINTERNAL);
    comm->close(comm, RT_OK);
    free_texts(&t);
    unmake(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_pairs), cmocka_unit_test(test_many_queries),
        cmocka_unit_test(test_many_items), cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_stop),       cmocka_unit_test(test_empty_and_refused),
    };
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? 1 : cmocka_run_group_tests_name("catalogue", tests, NULL, NULL);
}
