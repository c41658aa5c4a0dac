/* Exact top-k against every pair's score; scores against plain fp64. An order of hits is checked without tolerance: the
 * score of a pair is one number, and ties go to the smaller item. */
#include "retrieve/topk.h"
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

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* About normal, of deviation 1: the sum of 12 uniform numbers. */
static float normal(uint32_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += next_random(state) * 0x1p-24;
    return (float)sum;
}

static float *vectors(uint32_t n, int width, uint32_t seed) {
    float *v = malloc(((size_t)n * (size_t)width + 1) * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < (size_t)n * (size_t)width; i++) v[i] = normal(&seed);
    return v;
}

typedef struct {
    int width, k;
    uint32_t n_queries, n_items;
    const float *queries, *items;
    const rt_topk_filter *filter;
    rt_backend *be; /* NULL: the search's own */
    bool sets_workspace;
    uint32_t step; /* items of one rt_topk_add; 0: all */
} search;

static rt_status run(const search *s, rt_hit *hits) {
    rt_topk *t = NULL;
    rt_status rc = rt_topk_new(&(rt_topk_options){.be = s->be,
                                                  .sets_workspace = s->sets_workspace,
                                                  .width = s->width,
                                                  .k = s->k,
                                                  .n_queries = s->n_queries,
                                                  .queries = s->queries,
                                                  .filter = s->filter},
                               &t);
    const uint32_t step = s->step ? s->step : s->n_items;
    for (uint32_t i = 0; rc == RT_OK && i < s->n_items; i += step)
        rc = rt_topk_add(t, s->items + (size_t)i * (size_t)s->width, i, s->n_items - i < step ? s->n_items - i : step);
    if (rc == RT_OK) rc = rt_topk_finish(t, hits);
    rt_topk_free(t);
    return rc;
}

static rt_hit *found(const search *s) {
    rt_hit *hits = malloc(((size_t)s->n_queries * (size_t)s->k + 1) * sizeof *hits);
    assert_non_null(hits);
    if (run(s, hits) != RT_OK) fail_msg("%s", rt_error_get()->text);
    return hits;
}

static bool permitted(const rt_topk_filter *f, uint32_t q, uint32_t item) {
    if (!f) return true;
    if (f->allowed && !(f->allowed[item / 64] >> (item % 64) & 1)) return false;
    for (uint64_t i = f->seen ? f->starts[q] : 0; f->seen && i < f->starts[q + 1]; i++)
        if (f->seen[i] == item) return false;
    return !f->item_category || f->query_category[q] == RT_ANY_CATEGORY ||
           f->query_category[q] == f->item_category[item];
}

static bool better(rt_hit a, rt_hit b) {
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

/* The hits are the k first of all permitted items in falling order. */
static void check(const search *s, const rt_hit *hits, const char *what) {
    for (uint32_t q = 0; q < s->n_queries; q++) {
        const rt_hit *mine = hits + (size_t)q * (size_t)s->k;
        uint32_t n = 0, beaten = 0, all = 0;
        while (n < (uint32_t)s->k && mine[n].item != RT_NO_HIT) n++;
        for (uint32_t i = n; i < (uint32_t)s->k; i++)
            if (mine[i].item != RT_NO_HIT) fail_msg("%s: query %u: a hit behind none", what, q);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(mine[i].item < s->n_items && permitted(s->filter, q, mine[i].item));
            if (i && !better(mine[i - 1], mine[i]))
                fail_msg("%s: query %u: item %u (%.9g) before %u (%.9g)", what, q, mine[i - 1].item,
                         (double)mine[i - 1].score, mine[i].item, (double)mine[i].score);
        }
        for (uint32_t i = 0; i < s->n_items; i++) {
            if (!permitted(s->filter, q, i)) continue;
            const rt_hit h = {i, rt_pair_score(s->queries + (size_t)q * (size_t)s->width,
                                               s->items + (size_t)i * (size_t)s->width, s->width)};
            all++;
            beaten += n > 0 && !better(h, mine[n - 1]);
        }
        /* Of `all` items n - 1 are better than the last hit, and no more. */
        if (n != ((uint32_t)s->k < all ? (uint32_t)s->k : all) || (n && all - beaten != n - 1))
            fail_msg("%s: query %u: %u hits of %u items, and %u better than the last of them", what, q, n, all,
                     all - beaten);
        for (uint32_t i = 0; i < n; i++) {
            const float score = rt_pair_score(s->queries + (size_t)q * (size_t)s->width,
                                              s->items + (size_t)mine[i].item * (size_t)s->width, s->width);
            if (memcmp(&score, &mine[i].score, sizeof score) != 0)
                fail_msg("%s: query %u item %u: score %.9g, not %.9g", what, q, mine[i].item, (double)mine[i].score,
                         (double)score);
        }
    }
}

static void check_found(const search *s, const char *what) {
    rt_hit *hits = found(s);
    check(s, hits, what);
    free(hits);
}

static void same(const search *s, const rt_hit *a, const char *what) {
    rt_hit *b = found(s);
    if (memcmp(a, b, (size_t)s->n_queries * (size_t)s->k * sizeof *a) != 0) fail_msg("%s: other hits", what);
    free(b);
}

static rt_backend *processor(rt_precision precision, int threads) {
    rt_backend *be = NULL;
    if (rt_cpu_backend_open(&(rt_backend_options){.precision = precision, .threads = threads, .device = -1}, &be) !=
        RT_OK)
        fail_msg("%s", rt_error_get()->text);
    return be;
}

/* The same sum, element by element, in the order that topk_rows.c promises. */
static float plain_score(const float *a, const float *b, int width) {
    double s[16] = {0}, t[4];
    for (int i = 0; i < width; i++) s[i % 16] += (double)a[i] * (double)b[i];
    for (int j = 0; j < 4; j++) t[j] = (s[j] + s[8 + j]) + (s[4 + j] + s[12 + j]);
    return (float)((t[0] + t[2]) + (t[1] + t[3])) + 0.0f;
}

/* Two fp64 sums of width products differ by at most 2 width 2^-53 |a| |b|, and one rounding to fp32 is 2^-24 |s|. */
static void test_pair_score(void **state) {
    (void)state;
    for (int width = 1; width < 70; width++) {
        float *v = vectors(2, width, (uint32_t)width);
        double sum = 0, a = 0, b = 0;
        for (int i = 0; i < width; i++) {
            sum += (double)v[i] * (double)v[width + i];
            a += (double)v[i] * (double)v[i];
            b += (double)v[width + i] * (double)v[width + i];
        }
        const double got = (double)rt_pair_score(v, v + width, width);
        if (!(fabs(got - sum) <= 0x1p-24 * fabs(sum) + 2 * width * 0x1p-53 * sqrt(a * b)))
            fail_msg("width %d: %.17g, not %.17g", width, got, sum);
        /* Large terms that cancel: in another order another sum would be left. */
        for (int i = 0; i + 1 < width; i += 4) {
            v[i] = ldexpf(v[i], 20), v[i + 1] = -v[i], v[width + i + 1] = v[width + i];
            for (int j = i + 2; j < i + 4 && j < width; j++) v[j] = ldexpf(v[j], -20);
        }
        for (int r = 0; r < 40; r++, v[(4 * r + 2) % width] += 0x1p-21f) {
            const float plain = plain_score(v, v + width, width), fast = rt_pair_score(v, v + width, width);
            if (memcmp(&plain, &fast, sizeof fast) != 0)
                fail_msg("width %d: %.9g in this order, not %.9g", width, (double)plain, (double)fast);
        }
        free(v);
    }
    const float least[2] = {1e-30f, 0}, minus[2] = {-1e-30f, 0}; /* -1e-60, for which fp32 has -0 */
    assert_true(rt_pair_score(least, minus, 2) == 0 && !signbit(rt_pair_score(least, minus, 2)));
}

/* The example of the first recommender, with the norms that it forgot: dot 0.67, lengths 0.99499 and 1.02470. Values
 * with five decimals: half a unit of the last, and fp32's rounding of six numbers. */
static void test_worked_example(void **state) {
    (void)state;
    float user[3] = {0.5f, 0.5f, 0.7f}, items[9] = {-1, 0, 0, 1.0f, 0.2f, 0.1f, 0, 0, 0};
    search s = {.width = 3, .k = 2, .n_queries = 1, .n_items = 3, .queries = user, .items = items};
    rt_hit *hits = found(&s);
    assert_int_equal(hits[0].item, 1);
    assert_true(fabs((double)hits[0].score - 0.67) < 1e-7);
    assert_true(hits[1].item == 2 && hits[1].score == 0);
    free(hits);
    double a = 0, b = 0;
    for (int i = 0; i < 3; i++)
        a += (double)user[i] * (double)user[i], b += (double)items[3 + i] * (double)items[3 + i];
    assert_true(fabs(sqrt(a) - 0.99499) < 6e-6 && fabs(sqrt(b) - 1.02470) < 6e-6);
    rt_unit_rows(user, 1, 3);
    rt_unit_rows(items, 3, 3);
    hits = found(&s);
    assert_int_equal(hits[0].item, 1);
    assert_true(fabs((double)hits[0].score - 0.65715) < 6e-6);
    free(hits);
}

static void test_unit_rows(void **state) {
    (void)state;
    float *v = vectors(50, 37, 3);
    for (int i = 0; i < 37; i++) v[i] = 0, v[37 + i] *= 1e30f, v[74 + i] *= 1e-30f;
    rt_unit_rows(v, 50, 37);
    for (int r = 0; r < 50; r++) {
        double sum = 0;
        for (int i = 0; i < 37; i++) sum += (double)v[37 * r + i] * (double)v[37 * r + i];
        /* Each element is rounded once, so the sum of squares is at most 2 x 2^-24 off. */
        assert_true(r == 0 ? sum == 0 : fabs(sum - 1) <= 0x1p-23 * 1.001);
    }
    free(v);
}

static void test_all_pairs(void **state) {
    (void)state;
    const int widths[] = {1, 3, 8, 20, 64, 384};
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        float *items = vectors(5000, widths[w], 10), *queries = vectors(21, widths[w], 11);
        const int ks[] = {1, 20, 1000, 6000};
        for (int k = 0; k < 4; k++) {
            char what[64];
            snprintf(what, sizeof what, "width %d, k %d", widths[w], ks[k]);
            const search s = {
                .width = widths[w], .k = ks[k], .n_queries = 21, .n_items = 5000, .queries = queries, .items = items};
            check_found(&s, what);
        }
        free(items);
        free(queries);
    }
}

/* Several blocks of one rt_topk_add, several groups of queries. */
static void test_sizes(void **state) {
    (void)state;
    float *items = vectors(40000, 8, 20), *queries = vectors(2100, 8, 21);
    search s = {.width = 8, .k = 10, .n_queries = 20, .n_items = 40000, .queries = queries, .items = items};
    check_found(&s, "blocks");
    s.n_queries = 2100, s.n_items = 5000;
    check_found(&s, "groups");
    s.n_queries = 40, s.k = 100000; /* groups of few queries */
    s.n_items = 300;
    check_found(&s, "large k");
    s.n_items = 0, s.k = 3;
    check_found(&s, "no items");
    s.n_items = 300, s.n_queries = 0;
    check_found(&s, "no queries");
    free(items);
    free(queries);
}

static void test_same_bits(void **state) {
    (void)state;
    enum { N = 9000, Q = 33, WIDTH = 40 };
    float *items = vectors(N, WIDTH, 30), *queries = vectors(Q, WIDTH, 31);
    for (int i = 0; i < 500 * WIDTH; i++) items[(N - 500) * WIDTH + i] = items[i]; /* ties */
    search s = {.width = WIDTH, .k = 25, .n_queries = Q, .n_items = N, .queries = queries, .items = items};
    rt_hit *hits = found(&s);
    check(&s, hits, "as it is");
    const uint32_t steps[] = {1, 7, 64, 1000, 4096, 4097};
    for (int i = 0; i < 6; i++) {
        s.step = steps[i];
        same(&s, hits, "steps");
    }
    s.step = 0;
    for (int threads = 1; threads <= 3; threads++) {
        for (int way = 0; way < 4; way++) { /* bit 0: bf16; bit 1: memory of a device */
            s.be = processor(way & 1 ? RT_PRECISION_BF16 : RT_PRECISION_FP32, threads);
            s.be->host_memory = !(way & 2);
            s.sets_workspace = true;
            same(&s, hits, way & 1 ? "bf16" : "fp32");
            s.sets_workspace = way & 2; /* a workspace of the caller's would be there; fp32 needs none */
            same(&s, hits, "its workspace");
            s.be->close(s.be);
        }
    }
    free(hits);
    free(items);
    free(queries);
}

/* Items that differ in the last bits of their values: fp32 products put many of them in the wrong order. */
static void test_near_ties(void **state) {
    (void)state;
    enum { N = 6000, Q = 9, WIDTH = 96 };
    uint32_t seed = 40;
    float *base = vectors(1, WIDTH, 41), *queries = vectors(Q, WIDTH, 42), *items = vectors(N, WIDTH, 43);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < WIDTH; j++) {
            float x = base[j];
            for (uint32_t ulps = next_random(&seed) % 3; ulps; ulps--) x = nextafterf(x, 9);
            items[i * WIDTH + j] = i % 3 ? x : base[j];
        }
    }
    uint32_t wrong = 0;
    for (int i = 1; i < N; i++) {
        float a = 0, b = 0;
        for (int j = 0; j < WIDTH; j++)
            a += items[(i - 1) * WIDTH + j] * queries[j], b += items[i * WIDTH + j] * queries[j];
        const float s = rt_pair_score(queries, items + (i - 1) * WIDTH, WIDTH),
                    t = rt_pair_score(queries, items + i * WIDTH, WIDTH);
        wrong += (a > b) - (a < b) != (s > t) - (s < t);
    }
    assert_true(wrong > N / 20); /* else these items would prove little */
    search s = {.width = WIDTH, .k = 20, .n_queries = Q, .n_items = N, .queries = queries, .items = items};
    check_found(&s, "last bits");
    s.k = 1;
    check_found(&s, "last bits, k 1");
    s.k = 3000, s.step = 1111;
    check_found(&s, "last bits, k 3000");
    s.k = 20, s.be = processor(RT_PRECISION_BF16, 2), s.sets_workspace = true;
    check_found(&s, "last bits, bf16");
    s.be->close(s.be);
    s.be = NULL;
    /* All alike: the smallest numbers. Zero vectors on either side, too. */
    for (int i = 1; i < N; i++) memcpy(items + i * WIDTH, items, WIDTH * sizeof *items);
    check_found(&s, "all alike");
    memset(queries, 0, WIDTH * sizeof *queries);
    check_found(&s, "a zero query");
    memset(items, 0, (size_t)N * WIDTH * sizeof *items);
    check_found(&s, "zero items");
    free(base);
    free(queries);
    free(items);
}

/* Products that are as wrong as bf16 can make them, in opposite directions. The first half of the query rounds down to
 * 1 and the second up to 1 + 2^-7. The best item lives in the first half and rounds down too, so its product is 512
 * where its score is 516.0; all others live in the second and round up: 519.0 where 515.0 is right. That is 1.2 times
 * the error that either may have. */
static void test_worst_products(void **state) {
    (void)state;
    enum { N = 301, BEST = 290, HALF = 512 };
    const float down = 1 + 0x1p-8f - 0x1p-16f, up = 1 + 0x1p-8f + 0x1p-16f;
    float *query = calloc(2 * HALF, sizeof *query), *items = calloc((size_t)N * 2 * HALF, sizeof *items);
    assert_true(query && items);
    for (int i = 0; i < HALF; i++) query[i] = down, query[HALF + i] = up;
    for (int n = 0; n < N; n++)
        for (int i = 0; i < HALF; i++)
            if (n == BEST || i > 0) items[(size_t)(2 * n + (n != BEST)) * HALF + i] = n == BEST ? down : up;
    search s = {.width = 2 * HALF, .k = 1, .n_queries = 1, .n_items = N, .queries = query, .items = items};
    for (int sign = 1; sign >= -1; sign -= 2) {
        s.be = processor(RT_PRECISION_BF16, 2), s.sets_workspace = true;
        rt_hit *hits = found(&s);
        check(&s, hits, "worst products");
        assert_true(sign < 0 || hits[0].item == BEST);
        free(hits);
        s.be->close(s.be);
        for (int i = 0; i < 2 * HALF; i++) query[i] = -query[i];
    }
    free(query);
    free(items);
}

/* Lengths that are far apart, products that are next to nothing, and such that cancel. */
static void test_magnitudes(void **state) {
    (void)state;
    enum { N = 3000, Q = 12, WIDTH = 24 };
    float *items = vectors(N, WIDTH, 50), *queries = vectors(Q, WIDTH, 51), *own = vectors(N, WIDTH, 52);
    search s = {.width = WIDTH, .k = 15, .n_queries = Q, .n_items = N, .queries = queries, .items = own};
    for (int way = 0; way < 6; way++) {
        for (int i = 0; i < N * WIDTH; i++) {
            const int item = i / WIDTH;
            const float scale = way == 0   ? (item == 1700 ? 1e12f : 1)
                                : way == 1 ? ldexpf(1, item % 60 - 30)
                                : way == 2 ? 1e-38f
                                : way == 3 ? 1e-44f
                                : way == 4 ? 1e35f
                                           : (i % 2 ? 1e7f : 1e-7f);
            own[i] = items[i] * scale;
        }
        char what[32];
        snprintf(what, sizeof what, "magnitudes, way %d", way);
        check_found(&s, what);
        s.be = processor(RT_PRECISION_BF16, 1), s.sets_workspace = true;
        check_found(&s, what);
        s.be->close(s.be);
        s.be = NULL;
    }
    free(items);
    free(queries);
    free(own);
}

static void test_filters(void **state) {
    (void)state;
    enum { N = 10000, Q = 14, WIDTH = 16 };
    float *items = vectors(N, WIDTH, 60), *queries = vectors(Q, WIDTH, 61);
    static uint64_t allowed[(N + 63) / 64];
    static uint32_t seen[Q * 600], item_category[N];
    uint64_t starts[Q + 1] = {0};
    uint32_t query_category[Q], seed = 62;
    for (uint32_t q = 0; q < Q; q++) {
        starts[q + 1] = starts[q];
        query_category[q] = q % 5 == 4 ? RT_ANY_CATEGORY : q % 7;
        if (q == 3) continue;
        for (uint32_t i = next_random(&seed) % 40; i < N && starts[q + 1] - starts[q] < 600;
             i += 1 + next_random(&seed) % 30)
            seen[starts[q + 1]++] = i;
    }
    for (uint32_t i = 0; i < N; i++) item_category[i] = next_random(&seed) % 5; /* 5 and 6 have no items */
    for (int which = 0; which < 8; which++) {
        for (int dense = 0; dense < 3; dense++) { /* one in 1000, 1 in 3, 9 in 10 */
            memset(allowed, 0, sizeof allowed);
            for (uint32_t i = 0; i < N; i++)
                if (next_random(&seed) % 1000 < (dense == 0 ? 1 : dense == 1 ? 333 : 900))
                    allowed[i / 64] |= (uint64_t)1 << (i % 64);
            const rt_topk_filter f = {.allowed = which & 1 ? allowed : NULL,
                                      .seen = which & 2 ? seen : NULL,
                                      .starts = which & 2 ? starts : NULL,
                                      .item_category = which & 4 ? item_category : NULL,
                                      .query_category = which & 4 ? query_category : NULL};
            search s = {.width = WIDTH,
                        .k = 30,
                        .n_queries = Q,
                        .n_items = N,
                        .queries = queries,
                        .items = items,
                        .filter = &f};
            check_found(&s, "filter");
            s.step = 777;
            check_found(&s, "filter, steps");
            if (!(which & 1)) break;
        }
    }
    /* The best items of all queries are seen: what is left must be found all the same. */
    search s = {.width = WIDTH, .k = 500, .n_queries = Q, .n_items = N, .queries = queries, .items = items};
    rt_hit *hits = found(&s);
    static uint32_t best[Q * 500];
    for (uint32_t q = 0; q < Q; q++) {
        starts[q] = (uint64_t)q * 500;
        static bool taken[N];
        memset(taken, 0, sizeof taken);
        for (uint32_t i = 0; i < 500; i++) taken[hits[q * 500 + i].item] = true;
        for (uint32_t i = 0, at = q * 500; i < N; i++)
            if (taken[i]) best[at++] = i;
    }
    starts[Q] = Q * 500;
    const rt_topk_filter f = {.seen = best, .starts = starts};
    s.filter = &f, s.k = 20;
    check_found(&s, "the best are seen");
    free(hits);
    free(items);
    free(queries);
}

static void refused(const search *s, rt_status want, const char *words) {
    rt_hit hits[16];
    const rt_status got = run(s, hits);
    if (got != want || !strstr(rt_error_get()->text, words))
        fail_msg("status %d \"%s\", not %d with \"%s\"", got, rt_error_get()->text, want, words);
    rt_error_clear();
}

static void test_refusals(void **state) {
    (void)state;
    float *items = vectors(100, 5, 70), *queries = vectors(4, 5, 71);
    search s = {.width = 5, .k = 4, .n_queries = 4, .n_items = 100, .queries = queries, .items = items, .step = 30};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        const float item = items[63 * 5 + 4], query = queries[2 * 5];
        items[63 * 5 + 4] = bad[i];
        refused(&s, RT_EDATA, "item 63 (from 0) has a value that is not finite");
        items[63 * 5 + 4] = item;
        queries[2 * 5] = bad[i];
        refused(&s, RT_EDATA, "query 2 (from 0) has a value that is not finite");
        queries[2 * 5] = query;
    }
    items[99 * 5] = FLT_MAX;
    refused(&s, RT_EDATA, "item 99 (from 0) has length 3.4");
    items[99 * 5] = 1;
    s.k = 0;
    refused(&s, RT_ESHAPE, "0 best");
    s.k = 4, s.width = 0;
    refused(&s, RT_ESHAPE, "width 0");
    s.width = 5, s.k = INT32_MAX, s.n_queries = UINT32_MAX;
    refused(&s, RT_ENOMEM, "beyond any memory");
    rt_topk *t = NULL;
    rt_hit hits[16];
    assert_int_equal(rt_topk_new(&(rt_topk_options){.width = 5, .k = 4, .n_queries = 4, .queries = queries}, &t),
                     RT_OK);
    assert_true(rt_topk_rows(t) >= 4096);
    assert_int_equal(rt_topk_add(t, items, 10, 20), RT_OK);
    assert_int_equal(rt_topk_add(t, items, 29, 20), RT_ESHAPE);
    assert_int_equal(rt_topk_add(t, items, UINT32_MAX - 5, 20), RT_ESHAPE);
    assert_int_equal(rt_topk_add(t, items, UINT32_MAX - 20, 20), RT_OK); /* a gap, and the last numbers there are */
    assert_int_equal(rt_topk_finish(t, hits), RT_OK);
    assert_int_equal(rt_topk_add(t, items, 60, 1), RT_ESHAPE);
    for (int i = 0; i < 16; i++)
        assert_true((hits[i].item >= 10 && hits[i].item < 30) || hits[i].item >= UINT32_MAX - 20);
    rt_topk_free(t);
    rt_topk_free(NULL);
    assert_int_equal(rt_topk_new(&(rt_topk_options){.width = 5, .k = 4, .n_queries = 4, .queries = queries}, &t),
                     RT_OK);
    assert_int_equal(rt_topk_finish(t, hits), RT_OK);
    assert_int_equal(rt_topk_add(t, items, 0, 1), RT_ESHAPE);
    rt_topk_free(t);
    free(items);
    free(queries);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pair_score), cmocka_unit_test(test_worked_example), cmocka_unit_test(test_unit_rows),
        cmocka_unit_test(test_all_pairs),  cmocka_unit_test(test_sizes),          cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_near_ties),  cmocka_unit_test(test_magnitudes),     cmocka_unit_test(test_worst_products),
        cmocka_unit_test(test_filters),    cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("topk", tests, NULL, NULL);
}
