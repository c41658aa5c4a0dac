#include "mmr.h"
#include <math.h>
#include <stdlib.h>

double rt_dot_rows(const float *a, const float *b, int width) {
    double sum = 0;
    for (int i = 0; i < width; i++) sum += (double)a[i] * b[i];
    return sum;
}

typedef struct {
    double rel, nearest; /* the greatest similarity to what is chosen; 0 while nothing is */
    bool gone;
} place;

static void scale(const rt_item_score *c, uint32_t n, place *places) {
    double most = -INFINITY, least = INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (c[i].score > most) most = c[i].score;
        if (c[i].score < least) least = c[i].score;
    }
    for (uint32_t i = 0; i < n; i++)
        places[i].rel = most > least ? (c[i].score / 2 - least / 2) / (most / 2 - least / 2) : 1;
}

static double worth(const rt_mmr_options *o, const place *p) {
    return o->diversity > 0 ? (1 - o->diversity) * p->rel - o->diversity * p->nearest : p->rel;
}

/* a before b, apart from their worth. */
static bool before(const rt_item_score *a, const rt_item_score *b) {
    return a->score > b->score || (a->score == b->score && a->item < b->item);
}

/* Candidates of one place in the order are asked whether they may be taken until one may. */
static uint32_t best(const rt_mmr_options *o, const rt_item_score *c, uint32_t n, place *places) {
    for (;;) {
        uint32_t found = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++) {
            if (places[i].gone) continue;
            if (found == UINT32_MAX) {
                found = i;
                continue;
            }
            double here = worth(o, &places[i]), there = worth(o, &places[found]);
            if (here > there || (here == there && before(&c[i], &c[found]))) found = i;
        }
        if (found == UINT32_MAX || !o->may || o->may(o->context, c[found].item)) return found;
        places[found].gone = true;
    }
}

rt_status rt_mmr_choose(const rt_mmr_options *o, const rt_item_score *c, uint32_t n, uint32_t k, uint32_t *chosen,
                        uint32_t *n_chosen) {
    place *places = calloc((size_t)n + 1, sizeof *places);
    *n_chosen = 0;
    if (!places) return rt_fail(RT_ENOMEM, "out of memory to choose among %u items", n);
    scale(c, n, places);
    while (*n_chosen < k) {
        uint32_t next = best(o, c, n, places);
        if (next == UINT32_MAX) break;
        places[next].gone = true;
        if (o->taken) o->taken(o->context, c[next].item);
        for (uint32_t i = 0; o->diversity > 0 && i < n; i++) {
            if (places[i].gone) continue;
            double near = o->similarity(o->context, c[i].item, c[next].item);
            if (*n_chosen == 0 || near > places[i].nearest) places[i].nearest = near;
        }
        chosen[(*n_chosen)++] = next;
    }
    free(places);
    return RT_OK;
}
