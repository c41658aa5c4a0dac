/* Metrics of ranked lists: one list a group. Tied scores have no order, so every value is its expectation over all
 * orders of the tied rows, in closed form. */
#include "metrics_parts.h"
#include <math.h>
#include <stdlib.h>

enum { DEPTH = 10 }; /* of MRR@10 and nDCG@10 */

/* One list, walked block by block of equal scores. */
typedef struct {
    double auc, first_rank, all_ranks, dcg_5, dcg_10, ideal_5, ideal_10;
    uint32_t positives;
    bool ties;
} list_metrics;

static double discount(uint32_t rank) {
    return 1.0 / log2((double)rank + 1);
}

/* Expected 1 / rank (0 beyond DEPTH) of the first of `up` clicks among `size` tied rows that take ranks above + 1 ...:
 * P(first click at place 1) = up / size, and P(place j + 1) = P(place j) x (size - j - up + 1) / (size - j). */
static double expected_first(uint32_t above, uint32_t size, uint32_t up) {
    double expected = 0, p = (double)up / size;
    for (uint32_t j = 1; j + up <= size + 1 && above + j <= DEPTH; j++) {
        expected += p / (above + j);
        if (j < size) p *= (double)(size - j - up + 1) / (size - j);
    }
    return expected;
}

/* The DEPTH largest gains of a list, falling. */
static void keep_largest(int32_t *largest, uint32_t *kept, int32_t gain) {
    uint32_t at = *kept < DEPTH ? (*kept)++ : DEPTH;
    if (at == DEPTH) {
        if (largest[DEPTH - 1] >= gain) return;
        at = DEPTH - 1;
    }
    for (; at > 0 && largest[at - 1] < gain; at--) largest[at] = largest[at - 1];
    largest[at] = gain;
}

static list_metrics measure_list(const uint32_t *rows, uint32_t n, const int32_t *labels, const double *scores) {
    list_metrics m = {.auc = rt_rank_auc(rows, n, labels, scores, NULL)};
    int32_t largest[DEPTH];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n;) {
        uint32_t above = i, up = 0;
        double gain = 0;
        while (i < n && scores[rows[i]] == scores[rows[above]]) {
            int32_t label = labels[rows[i++]];
            gain += label;
            up += label > 0;
            keep_largest(largest, &kept, label);
        }
        uint32_t size = i - above;
        m.ties |= size > 1;
        if (up == 0) continue;
        if (m.positives == 0) m.first_rank = expected_first(above, size, up);
        m.positives += up;
        double inverse = 0;
        for (uint32_t rank = above + 1; rank <= i; rank++) inverse += 1.0 / rank;
        m.all_ranks += inverse / size * up;
        for (uint32_t rank = above + 1; rank <= i && rank <= DEPTH; rank++) {
            m.dcg_10 += gain / size * discount(rank);
            if (rank <= 5) m.dcg_5 += gain / size * discount(rank);
        }
    }
    for (uint32_t k = 0; k < kept; k++) {
        m.ideal_10 += largest[k] * discount(k + 1);
        if (k < 5) m.ideal_5 += largest[k] * discount(k + 1);
    }
    return m;
}

rt_status rt_rank_groups(const rt_scored *scored, const uint32_t *order, const double *scores, rt_metrics *out) {
    out->gauc = out->gauc_mean = out->mrr_10 = out->mrr_mind = out->ndcg_5 = out->ndcg_10 = NAN;
    if (!scored->groups || scored->n_groups == 0 || scored->n_rows == 0) return RT_OK;
    rt_status rc = RT_OK;
    uint32_t *starts = malloc(((size_t)scored->n_groups + 1) * sizeof *starts);
    uint32_t *rows = malloc((size_t)scored->n_rows * sizeof *rows);
    if (!starts || !rows) {
        rc = rt_fail(RT_ENOMEM, "out of memory: metrics of %u groups", scored->n_groups);
        goto done;
    }
    rt_rank_split(order, scored->n_rows, scored->groups, scored->n_groups, starts, rows);

    rt_sum by_rows = {0}, plain = {0}, first = {0}, all = {0}, ndcg_5 = {0}, ndcg_10 = {0};
    uint64_t auc_groups = 0, auc_rows = 0, clicked = 0;
    for (uint32_t g = 0; g < scored->n_groups; g++) {
        uint32_t n = starts[g + 1] - starts[g];
        if (n == 0) continue;
        list_metrics m = measure_list(rows + starts[g], n, scored->labels, scores);
        out->groups++;
        out->groups_with_ties += m.ties;
        if (isnan(m.auc)) {
            out->groups_one_class++;
        } else {
            auc_groups++;
            auc_rows += n;
            rt_sum_add(&by_rows, m.auc * n);
            rt_sum_add(&plain, m.auc);
        }
        if (m.positives == 0) {
            out->groups_no_positive++;
            continue;
        }
        clicked++;
        rt_sum_add(&first, m.first_rank);
        rt_sum_add(&all, m.all_ranks / m.positives);
        rt_sum_add(&ndcg_5, m.dcg_5 / m.ideal_5);
        rt_sum_add(&ndcg_10, m.dcg_10 / m.ideal_10);
    }
    if (auc_groups > 0) {
        out->gauc = rt_sum_value(&by_rows) / (double)auc_rows;
        out->gauc_mean = rt_sum_value(&plain) / (double)auc_groups;
    }
    if (clicked > 0) {
        out->mrr_10 = rt_sum_value(&first) / (double)clicked;
        out->mrr_mind = rt_sum_value(&all) / (double)clicked;
        out->ndcg_5 = rt_sum_value(&ndcg_5) / (double)clicked;
        out->ndcg_10 = rt_sum_value(&ndcg_10) / (double)clicked;
    }
done:
    free(starts);
    free(rows);
    return rc;
}
