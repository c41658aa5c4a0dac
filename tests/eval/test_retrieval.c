/* Metrics over a catalogue: lists worked by hand, a reference that goes the other way round (from each relevant item to
 * its rank), the figures of another program, and what must be refused. */
#include "eval/retrieval.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near_(double value, double expected, double tolerance, const char *what) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: %.17g, not %.17g", what, value, expected);
}

/* A few roundings of numbers up to 1. */
#define FEW (8 * DBL_EPSILON)

enum { MOST_QUERIES = 64, MOST_ITEMS = 160, MOST_RELEVANT = 40 };

typedef struct {
    uint32_t n_queries, n_items;
    int k;
    rt_hit hits[MOST_QUERIES * RT_RETRIEVAL_DEPTH];
    uint32_t relevant[MOST_QUERIES * MOST_RELEVANT];
    uint64_t starts[MOST_QUERIES + 1];
} lists;

static rt_ranked ranked_of(const lists *l) {
    return (rt_ranked){.n_queries = l->n_queries,
                       .n_items = l->n_items,
                       .k = l->k,
                       .hits = l->hits,
                       .relevant = l->relevant,
                       .starts = l->starts};
}

static rt_retrieval_metrics metrics_of(const lists *l) {
    rt_ranked ranked = ranked_of(l);
    rt_retrieval_metrics m;
    if (rt_retrieval_compute(&ranked, &m) != RT_OK) fail_msg("%s", rt_error_get()->text);
    return m;
}

static void hit(lists *l, uint32_t query, int rank, uint32_t item) {
    l->hits[query * (uint32_t)l->k + (uint32_t)rank] = (rt_hit){.item = item, .score = (float)(1000 - rank)};
}

/* Query 0 finds two of its three items, at ranks 1 and 4; query 1 nothing of its one; query 2 has no relevant item;
 * query 3 one at rank 11, of two. */
static void test_by_hand(void **state) {
    (void)state;
    static lists l = {.n_queries = 4, .n_items = 120, .k = 100, .relevant = {5, 7, 119, 118, 40, 119}};
    const uint64_t starts[] = {0, 3, 4, 4, 6};
    memcpy(l.starts, starts, sizeof starts);
    for (uint32_t q = 0; q < 4; q++) {
        uint32_t item = 10; /* items 10 to 109 */
        for (int r = 0; r < 100; r++) {
            if (q == 3 && item == 40) item++;
            hit(&l, q, r, item++);
        }
    }
    hit(&l, 0, 0, 7);
    hit(&l, 0, 3, 5);
    hit(&l, 3, 10, 40);
    rt_retrieval_metrics m = metrics_of(&l);
    assert_int_equal(m.queries, 3);
    assert_int_equal(m.queries_no_relevant, 1);
    assert_int_equal(m.items, 120);
    assert_int_equal(m.rows, 6);
    near_(m.recall_1, (1.0 / 3) / 3, FEW, "recall@1");
    near_(m.recall_5, (2.0 / 3) / 3, FEW, "recall@5");
    near_(m.recall_10, (2.0 / 3) / 3, FEW, "recall@10");
    near_(m.recall_20, (2.0 / 3 + 0.5) / 3, FEW, "recall@20");
    near_(m.recall_100, (2.0 / 3 + 0.5) / 3, FEW, "recall@100");
    near_(m.mrr_10, 1.0 / 3, FEW, "mrr@10");
    /* Discounts of ranks 1 to 4: 1, 0.630930, 0.5, 0.430677; of 11: 0.278943. */
    double ideal3 = 1 + 1 / log2(3) + 0.5, ideal2 = 1 + 1 / log2(3), first = (1 + 1 / log2(5)) / ideal3;
    near_(first, 0.671386, 1e-6, "ndcg of query 0");
    near_(m.ndcg_10, first / 3, FEW, "ndcg@10");
    near_(m.ndcg_20, (first + 1 / log2(12) / ideal2) / 3, FEW, "ndcg@20");
}

/* More relevant items than the list is long: the ideal list ends where the list ends. */
static void test_ideal_is_cut(void **state) {
    (void)state;
    static lists l = {.n_queries = 1, .n_items = 100, .k = 100};
    for (uint32_t i = 0; i < 40; i++) l.relevant[i] = i;
    l.starts[1] = 40;
    for (int r = 0; r < 100; r++) hit(&l, 0, r, (uint32_t)r);
    rt_retrieval_metrics m = metrics_of(&l);
    near_(m.ndcg_10, 1, FEW, "ndcg@10");
    near_(m.ndcg_20, 1, FEW, "ndcg@20");
    near_(m.recall_20, 0.5, FEW, "recall@20");
    near_(m.recall_50, 1, 0, "recall@50");
}

/* A list shorter than a metric's k says nothing of it, unless the catalogue itself is no longer. */
static void test_short_lists(void **state) {
    (void)state;
    static lists l = {.n_queries = 1, .n_items = 30, .k = 20, .relevant = {3}, .starts = {0, 1}};
    for (int r = 0; r < 20; r++) hit(&l, 0, r, (uint32_t)r);
    rt_retrieval_metrics m = metrics_of(&l);
    near_(m.recall_20, 1, 0, "recall@20");
    near_(m.mrr_10, 0.25, 0, "mrr@10");
    assert_true(isnan(m.recall_50) && isnan(m.recall_100));
    l.n_items = 20;
    assert_true(metrics_of(&l).recall_100 == 1);
    /* A filter may leave a query fewer hits than k: what is not there was not found. */
    l.hits[3].item = RT_NO_HIT;
    assert_true(metrics_of(&l).recall_100 == 0);
    /* Nothing to find at all. */
    l.starts[1] = 0;
    m = metrics_of(&l);
    assert_true(isnan(m.recall_1) && isnan(m.mrr_10) && isnan(m.ndcg_20));
    assert_int_equal(m.queries, 0);
    assert_int_equal(m.queries_no_relevant, 1);
}

static uint32_t random_state;

static uint32_t below(uint32_t n) {
    random_state = (uint32_t)((random_state * (uint64_t)1103515245 + 12345) % 2147483648u);
    return (random_state >> 8) % n;
}

/* Lists of 100 of 150 items; 0 to 5 relevant ones, half of them near the top; query 7 has thirty. */
static void fill(lists *l, uint32_t n_queries, uint32_t n_items) {
    uint32_t order[MOST_ITEMS];
    memset(l, 0, sizeof *l);
    l->n_queries = n_queries;
    l->n_items = n_items;
    l->k = 100;
    for (uint32_t q = 0; q < n_queries; q++) {
        for (uint32_t i = 0; i < n_items; i++) order[i] = i;
        for (uint32_t i = n_items - 1; i > 0; i--) {
            uint32_t j = below(i + 1), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        for (int r = 0; r < 100; r++) hit(l, q, r, order[r]);
        uint32_t n = below(6), made = 0, *out = l->relevant + l->starts[q];
        if (q == 7) n = 30;
        bool chosen[MOST_ITEMS] = {false};
        while (made < n) {
            uint32_t item = below(3) ? below(n_items) : order[below(15)];
            if (!chosen[item]) made++;
            chosen[item] = true;
        }
        l->starts[q + 1] = l->starts[q] + n;
        for (uint32_t i = 0; i < n_items; i++)
            if (chosen[i]) *out++ = i;
    }
}

/* What sentence-transformers 6.2.0 says of fill(23, 150) from state 12345: InformationRetrievalEvaluator(queries,
 * corpus, relevant, mrr_at_k=[10], ndcg_at_k=[10, 20], precision_recall_at_k=[1, 5, 10, 20, 50, 100])
 * .compute_metrics(lists of the queries with a relevant item), the same generator written in Python. */
static void test_like_sentence_transformers(void **state) {
    (void)state;
    static lists l;
    random_state = 12345;
    fill(&l, 23, 150);
    rt_retrieval_metrics m = metrics_of(&l);
    assert_int_equal(m.queries, 19);
    assert_int_equal(m.queries_no_relevant, 4);
    assert_int_equal(m.rows, 82);
    near_(m.recall_1, 0.019298245614035085, FEW, "recall@1");
    near_(m.recall_5, 0.092982456140350875, FEW, "recall@5");
    near_(m.recall_10, 0.31491228070175437, FEW, "recall@10");
    near_(m.recall_20, 0.35964912280701755, FEW, "recall@20");
    near_(m.recall_50, 0.49210526315789471, FEW, "recall@50");
    near_(m.recall_100, 0.80789473684210522, FEW, "recall@100");
    near_(m.mrr_10, 0.23088972431077695, FEW, "mrr@10");
    near_(m.ndcg_10, 0.19862554103081462, FEW, "ndcg@10");
    near_(m.ndcg_20, 0.21403944654604801, FEW, "ndcg@20");
}

/* From each relevant item to its rank (0: not in the list). */
static int rank_of(const lists *l, uint32_t query, uint32_t item) {
    for (int r = 0; r < l->k; r++)
        if (l->hits[query * (uint32_t)l->k + (uint32_t)r].item == item) return r + 1;
    return 0;
}

static double reference(const lists *l, const char *what, int k) {
    double sum = 0;
    int queries = 0;
    for (uint32_t q = 0; q < l->n_queries; q++) {
        double gain = 0, ideal = 0, first = INFINITY;
        int n = (int)(l->starts[q + 1] - l->starts[q]), within = 0;
        for (uint64_t i = l->starts[q]; i < l->starts[q + 1]; i++) {
            int rank = rank_of(l, q, l->relevant[i]);
            if (rank == 0 || rank > k) continue;
            within++;
            gain += log(2) / log(rank + 1);
            if (rank < first) first = rank;
        }
        for (int r = 1; r <= n && r <= k; r++) ideal += log(2) / log(r + 1);
        if (n == 0) continue;
        queries++;
        sum += strcmp(what, "recall") == 0 ? (double)within / n : strcmp(what, "mrr") == 0 ? 1 / first : gain / ideal;
    }
    return sum / queries;
}

static void test_like_ranks(void **state) {
    (void)state;
    static lists l;
    random_state = 7;
    for (int round = 0; round < 50; round++) {
        fill(&l, 8 + below(50), 100 + below(60));
        rt_retrieval_metrics m = metrics_of(&l);
        double value;
        bool higher = false;
        char names[256], *save = NULL;
        int n = 0;
        snprintf(names, sizeof names, "%s", rt_retrieval_names());
        for (char *name = strtok_r(names, ", ", &save); name; name = strtok_r(NULL, ", ", &save), n++) {
            assert_true(rt_retrieval_by_name(&m, name, &value, &higher));
            assert_true(higher);
            char *at = strchr(name, '@');
            assert_non_null(at);
            *at = '\0';
            near_(value, reference(&l, name, atoi(at + 1)), 1e-12, name);
        }
        assert_int_equal(n, 9);
    }
}

static void test_names(void **state) {
    (void)state;
    rt_retrieval_metrics m = {.recall_20 = 0.25};
    double value = 0;
    bool higher = false;
    assert_true(rt_retrieval_by_name(&m, "recall@20", &value, &higher));
    assert_true(value == 0.25 && higher);
    assert_false(rt_retrieval_by_name(&m, "recall@21", &value, &higher));
    assert_false(rt_retrieval_by_name(&m, "auc", &value, &higher));
    assert_false(rt_retrieval_by_name(&m, NULL, &value, &higher));
}

static void test_text_and_json(void **state) {
    (void)state;
    const rt_retrieval_metrics m = {.recall_1 = 0.03125,
                                    .recall_5 = 0.125,
                                    .recall_10 = 0.25,
                                    .recall_20 = 0.375,
                                    .recall_50 = 0.5,
                                    .recall_100 = NAN,
                                    .mrr_10 = 0.0625,
                                    .ndcg_10 = 0.09375,
                                    .ndcg_20 = 0.1875,
                                    .queries = 4905,
                                    .queries_no_relevant = 12,
                                    .items = 1682,
                                    .rows = 5001};
    rt_text t = {0};
    rt_retrieval_text(&m, &t);
    assert_string_equal(t.data, "    recall@1   0.0312        recall@5   0.1250    recall@10   0.2500\n"
                                "   recall@20   0.3750       recall@50   0.5000   recall@100        -\n"
                                "      MRR@10   0.0625         nDCG@10   0.0938      nDCG@20   0.1875\n"
                                "queries 4,905 (and 12 without a relevant item, left out), items 1,682, relevant pairs "
                                "5,001\n");
    rt_text_clear(&t);
    rt_retrieval_json(&m, true, &t);
    assert_string_equal(t.data,
                        "\"recall@1\": 0.03125, \"recall@5\": 0.125, \"recall@10\": 0.25, \"recall@20\": 0.375, "
                        "\"recall@50\": 0.5, \"recall@100\": null, \"mrr@10\": 0.0625, \"ndcg@10\": 0.09375, "
                        "\"ndcg@20\": 0.1875, \"queries\": 4905, \"queries_no_relevant\": 12, \"items\": 1682, "
                        "\"rows\": 5001");
    rt_text_clear(&t);
    rt_retrieval_json(&m, false, &t);
    assert_int_equal(t.data[0], '{');
    assert_int_equal(t.data[t.size - 1], '}');
    rt_text_free(&t);
}

/* What a caller got wrong is told, not computed. */
static void test_refused(void **state) {
    (void)state;
    static lists l;
    rt_retrieval_metrics m;
    for (int what = 0; what < 6; what++) {
        random_state = 3;
        fill(&l, 9, 120);
        rt_ranked in = ranked_of(&l);
        uint32_t *thirty = l.relevant + l.starts[7];
        if (what == 0) in.k = 0;
        if (what == 1) thirty[29] = 120;                                /* no such item */
        if (what == 2) thirty[1] = thirty[0];                           /* not rising */
        if (what == 3) l.hits[7 * 100 + 99].item = 120;                 /* no such item */
        if (what == 4) l.hits[700].item = l.hits[701].item = thirty[0]; /* twice */
        if (what == 5) l.starts[3] = l.starts[2] - 1;
        if (rt_retrieval_compute(&in, &m) != RT_EINTERNAL) fail_msg("case %d is not refused", what);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_ideal_is_cut),
        cmocka_unit_test(test_short_lists),   cmocka_unit_test(test_like_sentence_transformers),
        cmocka_unit_test(test_like_ranks),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_text_and_json), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("retrieval", tests, NULL, NULL);
}
