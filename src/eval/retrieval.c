#include "retrieval.h"
#include "metrics_parts.h"
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { RECALL, MRR, NDCG };

/* The one list: key in JSON, title for people, what is computed, down to which rank, where it stands. */
static const struct metric {
    const char *key, *title;
    enum kind kind;
    int k;
    size_t offset;
} metric_list[] = {
    {"recall@1", "recall@1", RECALL, 1, offsetof(rt_retrieval_metrics, recall_1)},
    {"recall@5", "recall@5", RECALL, 5, offsetof(rt_retrieval_metrics, recall_5)},
    {"recall@10", "recall@10", RECALL, 10, offsetof(rt_retrieval_metrics, recall_10)},
    {"recall@20", "recall@20", RECALL, 20, offsetof(rt_retrieval_metrics, recall_20)},
    {"recall@50", "recall@50", RECALL, 50, offsetof(rt_retrieval_metrics, recall_50)},
    {"recall@100", "recall@100", RECALL, RT_RETRIEVAL_DEPTH, offsetof(rt_retrieval_metrics, recall_100)},
    {"mrr@10", "MRR@10", MRR, 10, offsetof(rt_retrieval_metrics, mrr_10)},
    {"ndcg@10", "nDCG@10", NDCG, 10, offsetof(rt_retrieval_metrics, ndcg_10)},
    {"ndcg@20", "nDCG@20", NDCG, 20, offsetof(rt_retrieval_metrics, ndcg_20)},
};
enum { N_METRICS = sizeof metric_list / sizeof metric_list[0], A_LINE = 3 };
_Static_assert(N_METRICS == sizeof((rt_retrieval_sums *)NULL)->sums / sizeof(double), "a sum a metric");

static double value_of(const rt_retrieval_metrics *m, size_t offset) {
    return *(const double *)(const void *)((const char *)m + offset);
}

static double *place_of(rt_retrieval_metrics *m, size_t offset) {
    return (double *)(void *)((char *)m + offset);
}

/* One query's list: found[r] says whether the hit at rank r + 1 is relevant. `seen` has a byte a relevant item. */
static rt_status look_up(const rt_ranked *in, uint32_t query, unsigned char *seen, bool *found, int depth) {
    const uint32_t *relevant = in->relevant + in->starts[query];
    size_t n = (size_t)(in->starts[query + 1] - in->starts[query]);
    const rt_hit *hits = in->hits + (size_t)query * (size_t)in->k;
    memset(seen, 0, n);
    memset(found, 0, (size_t)depth * sizeof *found);
    for (int r = 0; r < depth && hits[r].item != RT_NO_HIT; r++) {
        uint32_t item = hits[r].item;
        if (item >= in->n_items)
            return rt_fail(RT_EINTERNAL, "hit %d of query %u is item %u of %u", r, query, item, in->n_items);
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (relevant[middle] < item)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == n || relevant[low] != item) continue;
        if (seen[low]) return rt_fail(RT_EINTERNAL, "item %u stands twice among the hits of query %u", item, query);
        seen[low] = 1;
        found[r] = true;
    }
    return RT_OK;
}

static double discount(int rank) {
    return 1 / log2(rank + 1.0);
}

static double measure(enum kind kind, int k, const bool *found, int depth, uint64_t n_relevant) {
    int last = k < depth ? k : depth;
    double sum = 0, ideal = 0;
    for (int r = 0; r < last; r++) {
        if (!found[r]) continue;
        if (kind == MRR) return 1.0 / (r + 1);
        sum += kind == NDCG ? discount(r + 1) : 1;
    }
    if (kind == MRR) return 0;
    if (kind == RECALL) return sum / (double)n_relevant;
    for (int r = 0; r < k && (uint64_t)r < n_relevant; r++) ideal += discount(r + 1);
    return sum / ideal;
}

/* Sizes, order and range of the relevant items; the largest number of them. */
static rt_status check(const rt_ranked *in, uint64_t *most) {
    *most = 0;
    if (in->k < 1) return rt_fail(RT_EINTERNAL, "ranked lists of %d hits", in->k);
    for (uint32_t q = 0; q < in->n_queries; q++) {
        uint64_t from = in->starts[q], to = in->starts[q + 1];
        if (to < from || to - from > in->n_items)
            return rt_fail(RT_EINTERNAL, "the relevant items of query %u run from %llu to %llu", q,
                           (unsigned long long)from, (unsigned long long)to);
        if (to - from > *most) *most = to - from;
        for (uint64_t i = from; i < to; i++)
            if (in->relevant[i] >= in->n_items || (i > from && in->relevant[i] <= in->relevant[i - 1]))
                return rt_fail(RT_EINTERNAL, "relevant item %u of query %u: numbers must rise and stay below %u",
                               in->relevant[i], q, in->n_items);
    }
    return RT_OK;
}

rt_status rt_retrieval_add(rt_retrieval_sums *sums, const rt_ranked *in) {
    rt_status rc = RT_OK;
    uint64_t most;
    unsigned char *seen = NULL;
    bool found[RT_RETRIEVAL_DEPTH];
    int depth = in->k < RT_RETRIEVAL_DEPTH ? in->k : RT_RETRIEVAL_DEPTH;
    RT_GO(check(in, &most));
    seen = malloc((size_t)most + 1);
    if (!seen) RT_GO(rt_fail(RT_ENOMEM, "out of memory for %llu relevant items", (unsigned long long)most));
    sums->k = in->k;
    for (uint32_t q = 0; q < in->n_queries; q++) {
        uint64_t n = in->starts[q + 1] - in->starts[q];
        if (n == 0) {
            sums->queries_no_relevant++;
            continue;
        }
        RT_GO(look_up(in, q, seen, found, depth));
        sums->queries++;
        sums->rows += n;
        for (size_t i = 0; i < N_METRICS; i++)
            sums->sums[i] += measure(metric_list[i].kind, metric_list[i].k, found, depth, n);
    }
done:
    free(seen);
    return rc;
}

void rt_retrieval_finish(const rt_retrieval_sums *sums, uint32_t n_items, rt_retrieval_metrics *out) {
    *out = (rt_retrieval_metrics){.items = n_items,
                                  .queries = sums->queries,
                                  .queries_no_relevant = sums->queries_no_relevant,
                                  .rows = sums->rows};
    for (size_t i = 0; i < N_METRICS; i++) {
        bool whole = metric_list[i].k <= sums->k || n_items <= (uint32_t)sums->k;
        *place_of(out, metric_list[i].offset) =
            whole && sums->queries ? sums->sums[i] / (double)sums->queries : (double)NAN;
    }
}

rt_status rt_retrieval_compute(const rt_ranked *in, rt_retrieval_metrics *out) {
    rt_retrieval_sums sums = {.k = 0};
    RT_TRY(rt_retrieval_add(&sums, in));
    rt_retrieval_finish(&sums, in->n_items, out);
    return RT_OK;
}

void rt_retrieval_text(const rt_retrieval_metrics *m, rt_text *out) {
    static const int widths[A_LINE] = {12, 16, 13};
    for (size_t i = 0; i < N_METRICS; i++) {
        rt_metrics_put_cell(out, metric_list[i].title, widths[i % A_LINE], value_of(m, metric_list[i].offset));
        if (i % A_LINE == A_LINE - 1) rt_text_puts(out, "\n");
    }
    rt_text_puts(out, "queries ");
    rt_metrics_put_count(out, m->queries, 0);
    if (m->queries_no_relevant) {
        rt_text_puts(out, " (and ");
        rt_metrics_put_count(out, m->queries_no_relevant, 0);
        rt_text_puts(out, " without a relevant item, left out)");
    }
    rt_text_puts(out, ", items ");
    rt_metrics_put_count(out, m->items, 0);
    rt_text_puts(out, ", relevant pairs ");
    rt_metrics_put_count(out, m->rows, 0);
    rt_text_puts(out, "\n");
}

void rt_retrieval_json(const rt_retrieval_metrics *m, bool inner, rt_text *out) {
    if (!inner) rt_text_puts(out, "{");
    for (size_t i = 0; i < N_METRICS; i++) {
        rt_text_printf(out, "%s\"%s\": ", i ? ", " : "", metric_list[i].key);
        rt_metrics_put_json(out, value_of(m, metric_list[i].offset));
    }
    rt_text_printf(out, ", \"queries\": %llu, \"queries_no_relevant\": %llu, \"items\": %llu, \"rows\": %llu%s",
                   (unsigned long long)m->queries, (unsigned long long)m->queries_no_relevant,
                   (unsigned long long)m->items, (unsigned long long)m->rows, inner ? "" : "}");
}

bool rt_retrieval_by_name(const rt_retrieval_metrics *m, const char *key, double *value, bool *higher) {
    for (size_t i = 0; i < N_METRICS; i++) {
        if (!rt_streq(key, metric_list[i].key)) continue;
        *value = value_of(m, metric_list[i].offset);
        *higher = true;
        return true;
    }
    return false;
}

const char *rt_retrieval_names(void) {
    return "recall@1, recall@5, recall@10, recall@20, recall@50, recall@100, mrr@10, ndcg@10, ndcg@20";
}
