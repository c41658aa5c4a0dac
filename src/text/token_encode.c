/* Rows of a model's input: special tokens around the pieces of one text or two, and truncation. */
#include "tokenizer_impl.h"
#include <string.h>

static int at_least_zero(int n) {
    return n > 0 ? n : 0;
}
static int at_most(int n, int limit) {
    return n < limit ? n : limit;
}

/* Hugging Face fast's longest_first: the shorter text keeps all it has if the longer can pay alone; if not, both get
 * half of the budget and the odd token goes to the longer (to B where they are equal). */
static void longest_first(int budget, int na, int nb, int *keep_a, int *keep_b) {
    int shorter = na > nb ? nb : na;
    int n1 = shorter, n2 = shorter > budget ? shorter : budget - shorter;
    if (n2 < n1) n2 = n1;
    if (n1 > budget - n2) {
        n1 = budget / 2;
        n2 = n1 + budget % 2;
    }
    *keep_a = at_most(na, na > nb ? n2 : n1);
    *keep_b = at_most(nb, na > nb ? n1 : n2);
}

void rt_truncate_pair(rt_truncation truncation, int budget, int na, int nb, int *keep_a, int *keep_b) {
    budget = at_least_zero(budget);
    *keep_a = at_least_zero(na);
    *keep_b = at_least_zero(nb);
    long long total = (long long)*keep_a + *keep_b;
    if (total <= budget) return;
    switch (truncation) {
    case RT_TRUNCATE_A:
        *keep_b = at_most(*keep_b, budget);
        *keep_a = budget - *keep_b;
        break;
    case RT_TRUNCATE_B:
        *keep_a = at_most(*keep_a, budget);
        *keep_b = budget - *keep_a;
        break;
    case RT_TRUNCATE_LONGEST_FIRST:
    default:
        longest_first(budget, *keep_a, *keep_b, keep_a, keep_b);
        break;
    }
}

static int copy_kept(int32_t *to, const int32_t *ids, int n, int keep, bool left) {
    if (keep > 0) memcpy(to, left ? ids + (n - keep) : ids, (size_t)keep * sizeof *ids);
    return keep;
}

rt_status rt_encode(const rt_tokenizer *tok, rt_tok_scratch *scratch, const rt_encode_options *options, const char *a,
                    size_t a_size, const char *b, size_t b_size, int32_t *ids, int *n, int *split,
                    rt_tok_stats *stats) {
    rt_tok_stats ignored = {0};
    if (!stats) stats = &ignored;
    if (options->max_length < 3)
        return rt_fail(RT_ECONFIG, "max_length = %d; at least 3 ([CLS] and two [SEP])", options->max_length);
    RT_TRY(rt_tok_begin(tok, scratch));
    RT_TRY(rt_tok_append(tok, scratch, a, a_size, stats));
    int na = (int)scratch->n_ids, nb = 0;
    if (b) {
        RT_TRY(rt_tok_append(tok, scratch, b, b_size, stats));
        nb = (int)(scratch->n_ids - (size_t)na);
    }
    int keep_a = at_most(na, options->max_length - 2), keep_b = 0;
    if (b) rt_truncate_pair(options->truncation, options->max_length - 3, na, nb, &keep_a, &keep_b);
    stats->truncated += keep_a < na || keep_b < nb;
    int at = 0;
    ids[at++] = tok->cls;
    at += copy_kept(ids + at, scratch->ids, na, keep_a, options->left);
    ids[at++] = tok->sep;
    *split = at;
    if (b) {
        at += copy_kept(ids + at, scratch->ids + na, nb, keep_b, options->left);
        ids[at++] = tok->sep;
    }
    *n = at;
    return RT_OK;
}
