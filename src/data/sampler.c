#include "sampler.h"
#include "../base/philox.h"
#include <rectrain/types.h>
#include <stdbool.h>
#include <stdlib.h>

/* Four rounds make a Feistel network a pseudo-random permutation (Luby and Rackoff 1988); small domains, whose halves
 * are a bit or two, want more. */
enum { FEISTEL_ROUNDS = 8 };

/* Rows of an evaluation window: enough for lengths to be near each other in a batch, small enough that a batch's rows
 * lie near each other in the file. */
enum { EVAL_WINDOW = 32768 };

static uint32_t feistel(uint32_t x, int half, uint32_t n, uint64_t seed, uint32_t epoch) {
    const uint32_t mask = (1u << half) - 1;
    uint32_t left = x >> half, right = x & mask;
    for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
        rt_philox4 f =
            rt_philox(right, epoch, (uint32_t)RT_SITE_SHUFFLE << 16 | round, n, (uint32_t)seed, (uint32_t)(seed >> 32));
        uint32_t next = left ^ (f.v[0] & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint32_t rt_permute(uint32_t n, uint64_t seed, uint32_t epoch, uint32_t i) {
    if (n <= 1) return 0;
    int half = 1;
    while (half < 16 && (uint64_t)1 << (2 * half) < n) half++;
    /* Walking the cycle until it comes back below n keeps it a bijection; the domain is under 4 n, so four steps or so.
     */
    do i = feistel(i, half, n, seed, epoch);
    while (i >= n);
    return i;
}

uint32_t rt_steps_per_epoch(uint32_t n_rows, int batch_size) {
    if (batch_size <= 0) return 0;
    return n_rows / (uint32_t)batch_size + (n_rows % (uint32_t)batch_size != 0);
}

int rt_step_rows(uint32_t n_rows, uint64_t seed, uint32_t epoch, uint32_t step_in_epoch, int batch_size,
                 uint32_t *rows) {
    uint64_t first = (uint64_t)step_in_epoch * (uint64_t)(batch_size > 0 ? batch_size : 0);
    int n = 0;
    for (; n < batch_size && first + (uint64_t)n < n_rows; n++)
        rows[n] = rt_permute(n_rows, seed, epoch, (uint32_t)(first + (uint64_t)n));
    return n;
}

/* What one rank holds while a step is dealt: the cut is made on the way, because it is greedy in the order of dealing.
 */
struct rt_plan_share {
    uint64_t tokens;     /* of the whole share */
    uint64_t cut_tokens; /* of the open micro-batch */
    int cut_seqs, n_micro;
    int seqs; /* of the whole share */
};

static int descending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static rt_status plan_grow(rt_plan *plan, int n_rows, int n_ranks) {
    if (n_rows > plan->capacity || !plan->starts) {
        size_t n = (size_t)n_rows;
        int *starts = realloc(plan->starts, (n + 1) * sizeof *starts);
        if (starts) plan->starts = starts;
        uint32_t *rows = realloc(plan->rows, (n + 1) * sizeof *rows);
        if (rows) plan->rows = rows;
        uint64_t *order = realloc(plan->order, (n + 1) * sizeof *order);
        if (order) plan->order = order;
        if (!starts || !rows || !order)
            return rt_fail(RT_ENOMEM, "no memory for the plan of a step of %d rows", n_rows);
        plan->capacity = n_rows;
    }
    if (n_ranks > plan->share_capacity) {
        struct rt_plan_share *shares = realloc(plan->shares, (size_t)n_ranks * sizeof *shares);
        if (!shares) return rt_fail(RT_ENOMEM, "no memory for the shares of %d ranks", n_ranks);
        plan->shares = shares;
        plan->share_capacity = n_ranks;
    }
    return RT_OK;
}

rt_status rt_plan_step(rt_plan *plan, const uint32_t *rows, int n_rows, const uint16_t *lengths, int micro_tokens,
                       int max_seqs, int rank, int n_ranks) {
    if (n_rows < 0 || n_ranks < 1 || rank < 0 || rank >= n_ranks || micro_tokens < 1 || max_seqs < 1)
        return rt_fail(RT_EINTERNAL, "a plan of %d rows for rank %d of %d, micro-batches of %d tokens and %d sequences",
                       n_rows, rank, n_ranks, micro_tokens, max_seqs);
    RT_TRY(plan_grow(plan, n_rows, n_ranks));
    for (int r = 0; r < n_ranks; r++) plan->shares[r] = (struct rt_plan_share){0};
    /* One sort key: the longest first, then the one that stands earlier in the step. */
    for (int i = 0; i < n_rows; i++) plan->order[i] = (uint64_t)lengths[rows[i]] << 32 | (UINT32_MAX - (uint32_t)i);
    qsort(plan->order, (size_t)n_rows, sizeof *plan->order, descending);

    int mine = 0;
    for (int i = 0; i < n_rows; i++) {
        uint32_t row = rows[UINT32_MAX - (uint32_t)plan->order[i]];
        uint64_t length = plan->order[i] >> 32;
        int to = 0;
        for (int r = 1; r < n_ranks; r++)
            if (plan->shares[r].tokens < plan->shares[to].tokens) to = r;
        struct rt_plan_share *share = &plan->shares[to];
        bool opens =
            share->n_micro == 0 || share->cut_seqs >= max_seqs || share->cut_tokens + length > (uint64_t)micro_tokens;
        if (opens) {
            if (to == rank) plan->starts[share->n_micro] = mine;
            share->n_micro++;
            share->cut_tokens = 0;
            share->cut_seqs = 0;
        }
        share->tokens += length;
        share->seqs++;
        share->cut_tokens += length;
        share->cut_seqs++;
        if (to == rank) plan->rows[mine++] = row;
    }
    plan->n_micro = 0;
    for (int r = 0; r < n_ranks; r++)
        if (plan->shares[r].n_micro > plan->n_micro) plan->n_micro = plan->shares[r].n_micro;
    for (int m = plan->shares[rank].n_micro; m <= plan->n_micro; m++) plan->starts[m] = mine;
    return RT_OK;
}

int rt_plan_count(const rt_plan *plan, int rank) {
    return plan->shares[rank].seqs;
}

void rt_plan_free(rt_plan *plan) {
    if (!plan) return;
    free(plan->starts);
    free(plan->rows);
    free(plan->order);
    free(plan->shares);
    *plan = (rt_plan){0};
}

/* order[0..n) = first..first+n-1, longest first, equal lengths in row order; counts has 65,536 entries. */
static void sort_window(uint32_t first, uint32_t n, const uint16_t *lengths, uint32_t *order, uint32_t *counts) {
    for (uint32_t l = 0; l < 65536; l++) counts[l] = 0;
    for (uint32_t i = 0; i < n; i++) counts[lengths[first + i]]++;
    uint32_t at = 0;
    for (uint32_t l = 65536; l-- > 0;) {
        uint32_t c = counts[l];
        counts[l] = at;
        at += c;
    }
    for (uint32_t i = 0; i < n; i++) order[counts[lengths[first + i]]++] = first + i;
}

/* The number of batches; also writes where they start unless `starts` is NULL. */
static uint32_t cut(uint32_t n_rows, const uint16_t *lengths, const uint32_t *order, uint64_t batch_tokens,
                    int max_seqs, uint32_t *starts) {
    uint32_t n = 0;
    uint64_t tokens = 0;
    int seqs = 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        uint64_t length = lengths[order[i]];
        if (i == 0 || seqs >= max_seqs || tokens + length > batch_tokens) {
            if (starts) starts[n] = i;
            n++;
            tokens = 0;
            seqs = 0;
        }
        tokens += length;
        seqs++;
    }
    if (starts) starts[n] = n_rows;
    return n;
}

rt_status rt_eval_cut(uint32_t n_rows, const uint16_t *lengths, int batch_tokens, int max_seqs, uint32_t **order,
                      uint32_t **starts, uint32_t *n_batches) {
    *order = NULL;
    *starts = NULL;
    *n_batches = 0;
    if (batch_tokens < 1 || max_seqs < 1)
        return rt_fail(RT_EINTERNAL, "evaluation batches of %d tokens and %d sequences", batch_tokens, max_seqs);
    rt_status rc = RT_ENOMEM;
    uint32_t *o = malloc(((size_t)n_rows + 1) * sizeof *o), *s = NULL;
    uint32_t *counts = malloc(65536 * sizeof *counts);
    if (!o || !counts) goto done;
    for (uint32_t first = 0; first < n_rows;) {
        uint32_t n = n_rows - first < EVAL_WINDOW ? n_rows - first : EVAL_WINDOW;
        sort_window(first, n, lengths, o + first, counts);
        first += n;
    }
    uint32_t n = cut(n_rows, lengths, o, (uint64_t)batch_tokens, max_seqs, NULL);
    s = malloc(((size_t)n + 1) * sizeof *s);
    if (!s) goto done;
    cut(n_rows, lengths, o, (uint64_t)batch_tokens, max_seqs, s);
    *order = o, o = NULL;
    *starts = s, s = NULL;
    *n_batches = n;
    rc = RT_OK;
done:
    free(counts);
    free(o);
    free(s);
    if (rc != RT_OK) return rt_fail(rc, "no memory to order %u rows for evaluation", n_rows);
    return rc;
}
