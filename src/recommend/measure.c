#include "measure.h"
#include "../base/philox.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SITE_BOOTSTRAP = 0xFFD0 }; /* a stream of random numbers of its own */

const char *const rt_measure_names[RT_MEASURES] = {"recall", "ndcg", "mrr", "novelty", "diversity"};
const char *const rt_group_names[RT_GROUPS] = {"all", "warm users", "cold users", "known items", "new items"};

/* What is kept of a user: the five of all his items, then three each of known and of new ones. NaN: not defined. */
enum { KNOWN = RT_MEASURES, NEW = KNOWN + 3, KEPT = NEW + 3 };
_Static_assert(RT_M_MRR == 2, "the first three are what known and new items have");

struct rt_measure {
    rt_measure_options o;
    double (*rows)[KEPT]; /* [n] */
    bool *warm;
    uint32_t n, room;
    uint64_t *listed; /* bits: items in any list */
    uint64_t held_out, hits, in_lists;
};

rt_status rt_measure_new(const rt_measure_options *o, rt_measure **out) {
    *out = calloc(1, sizeof **out);
    if (*out) {
        (*out)->o = *o;
        (*out)->listed = calloc((size_t)o->n_items / 64 + 1, sizeof *(*out)->listed);
    }
    if (*out && (*out)->listed) return RT_OK;
    rt_measure_free(*out);
    *out = NULL;
    return rt_fail(RT_ENOMEM, "out of memory to measure");
}

void rt_measure_free(rt_measure *m) {
    if (!m) return;
    free(m->rows);
    free(m->warm);
    free(m->listed);
    free(m);
}

static bool among(const uint32_t *held, uint32_t n, uint32_t item) {
    for (uint32_t low = 0, high = n; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        if (held[mid] == item) return true;
        if (held[mid] < item)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

typedef enum { ANY, ONLY_KNOWN, ONLY_NEW } which;

static bool counts(const rt_measure *m, uint32_t item, which w) {
    return w == ANY || (m->o.item_users[item] > 0) == (w == ONLY_KNOWN);
}

/* Recall, nDCG, MRR of the held-out items that count; NaN where there are none. Returns the hits. */
static uint32_t rank_measures(const rt_measure *m, const uint32_t *list, uint32_t n, const uint32_t *held,
                              uint32_t n_held, which w, double out[3]) {
    uint32_t wanted = 0, hits = 0;
    double gain = 0, ideal = 0, first = 0;
    for (uint32_t i = 0; i < n_held; i++) wanted += counts(m, held[i], w);
    for (uint32_t r = 0; r < n; r++) {
        if (!among(held, n_held, list[r]) || !counts(m, list[r], w)) continue;
        if (hits++ == 0) first = 1.0 / (r + 1);
        gain += 1 / log2(r + 2);
    }
    for (uint32_t r = 0; r < wanted && r < m->o.k; r++) ideal += 1 / log2(r + 2);
    out[RT_M_RECALL] = wanted ? (double)hits / wanted : NAN;
    out[RT_M_NDCG] = wanted ? gain / ideal : NAN;
    out[RT_M_MRR] = wanted ? first : NAN;
    return hits;
}

static rt_status make_room(rt_measure *m) {
    if (m->n < m->room) return RT_OK;
    uint32_t room = m->room ? 2 * m->room : 256;
    double(*rows)[KEPT] = realloc(m->rows, room * sizeof *rows);
    if (rows) m->rows = rows;
    bool *warm = rows ? realloc(m->warm, room * sizeof *warm) : NULL;
    if (warm) m->warm = warm;
    if (!warm) return rt_fail(RT_ENOMEM, "out of memory to measure %u users", room);
    m->room = room;
    return RT_OK;
}

rt_status rt_measure_add(rt_measure *m, const uint32_t *list, uint32_t n, const uint32_t *held, uint32_t n_held,
                         bool warm) {
    RT_TRY(make_room(m));
    for (uint32_t i = 0; i < n; i++)
        if (list[i] >= m->o.n_items) return rt_fail(RT_EINTERNAL, "item %u of %u", list[i], m->o.n_items);
    if (n > m->o.k || n_held == 0) return rt_fail(RT_EINTERNAL, "%u listed of %u, %u held out", n, m->o.k, n_held);
    double *row = m->rows[m->n], surprise = 0, apart = 0;
    m->hits += rank_measures(m, list, n, held, n_held, ANY, row);
    rank_measures(m, list, n, held, n_held, ONLY_KNOWN, row + KNOWN);
    rank_measures(m, list, n, held, n_held, ONLY_NEW, row + NEW);
    for (uint32_t i = 0; i < n; i++) {
        surprise -= log2((m->o.item_users[list[i]] + 1.0) / (m->o.n_users + 1.0));
        for (uint32_t j = 0; j < i && m->o.similarity; j++)
            apart += 1 - m->o.similarity(m->o.context, list[i], list[j]);
        m->listed[list[i] / 64] |= (uint64_t)1 << list[i] % 64;
    }
    row[RT_M_NOVELTY] = n ? surprise / n : NAN;
    row[RT_M_DIVERSITY] = n > 1 && m->o.similarity ? apart / ((double)n * (n - 1) / 2) : NAN;
    m->warm[m->n++] = warm;
    m->held_out += n_held;
    m->in_lists += n;
    return RT_OK;
}

/* --- means and intervals --------------------------------------------------------------------------------------------
 */

typedef struct {
    double sum[RT_GROUPS][RT_MEASURES];
    uint32_t n[RT_GROUPS][RT_MEASURES];
} sums;

static void add_value(sums *s, int group, int measure, double value) {
    if (isnan(value)) return;
    s->sum[group][measure] += value;
    s->n[group][measure]++;
}

static void add_user(const rt_measure *m, uint32_t user, sums *s) {
    const double *row = m->rows[user];
    for (int v = 0; v < RT_MEASURES; v++) {
        add_value(s, RT_G_ALL, v, row[v]);
        add_value(s, m->warm[user] ? RT_G_WARM : RT_G_COLD, v, row[v]);
    }
    for (int v = 0; v < 3; v++) {
        add_value(s, RT_G_KNOWN, v, row[KNOWN + v]);
        add_value(s, RT_G_NEW, v, row[NEW + v]);
    }
}

static double mean_of(const sums *s, int group, int measure) {
    return s->n[group][measure] ? s->sum[group][measure] / s->n[group][measure] : NAN;
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, uint32_t n, double share) {
    double place = share * (n - 1);
    uint32_t below = (uint32_t)place;
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

/* Resamples in which nobody has the measure say nothing of it. */
static void interval(const double *means, uint32_t resamples, double *scratch, rt_measured_value *v) {
    uint32_t n = 0;
    for (uint32_t r = 0; r < resamples; r++)
        if (!isnan(means[r])) scratch[n++] = means[r];
    v->low = v->high = NAN;
    if (!n || isnan(v->mean)) return;
    qsort(scratch, n, sizeof *scratch, rising);
    v->low = percentile(scratch, n, 0.025);
    v->high = percentile(scratch, n, 0.975);
}

/* means [RT_GROUPS, RT_MEASURES, resamples] */
static void resample(const rt_measure *m, uint64_t seed, uint32_t resamples, double *means) {
#pragma omp parallel for schedule(static)
    for (uint32_t r = 0; r < resamples; r++) {
        sums s = {0};
        rt_rng rng = rt_rng_make(seed, SITE_BOOTSTRAP, r);
        for (uint32_t i = 0; i < m->n; i++) add_user(m, rt_rng_below(&rng, m->n), &s);
        for (int g = 0; g < RT_GROUPS; g++)
            for (int v = 0; v < RT_MEASURES; v++)
                means[((size_t)g * RT_MEASURES + (size_t)v) * resamples + r] = mean_of(&s, g, v);
    }
}

rt_status rt_measure_finish(const rt_measure *m, uint64_t seed, uint32_t resamples, rt_measured *out) {
    sums s = {0};
    double *means = malloc(((size_t)RT_GROUPS * RT_MEASURES + 1) * ((size_t)resamples + 1) * sizeof *means);
    *out = (rt_measured){.held_out = m->held_out, .hits = m->hits, .listed = m->in_lists};
    if (!means) return rt_fail(RT_ENOMEM, "out of memory for %u resamples", resamples);
    double *scratch = means + (size_t)RT_GROUPS * RT_MEASURES * resamples;
    for (uint32_t i = 0; i < m->n; i++) add_user(m, i, &s);
    resample(m, seed, resamples, means);
    for (int g = 0; g < RT_GROUPS; g++) {
        out->users[g] = s.n[g][RT_M_RECALL];
        for (int v = 0; v < RT_MEASURES; v++) {
            rt_measured_value *value = &out->values[g][v];
            value->mean = mean_of(&s, g, v);
            interval(means + ((size_t)g * RT_MEASURES + (size_t)v) * resamples, resamples, scratch, value);
        }
    }
    uint32_t different = 0;
    for (size_t w = 0; w <= m->o.n_items / 64; w++) different += (uint32_t)__builtin_popcountll(m->listed[w]);
    out->coverage = m->o.n_allowed ? (double)different / m->o.n_allowed : NAN;
    free(means);
    return RT_OK;
}
