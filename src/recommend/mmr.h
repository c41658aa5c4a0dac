/* Choosing a list: greedily by score, by maximal marginal relevance (Carbonell and Goldstein 1998) where diversity is
 * wanted, and under conditions that change with what is chosen.
 *
 * Each time the candidate that may be taken and has the greatest
 *   (1 - diversity) rel(i) - diversity max over the chosen j of sim(i, j)
 * rel is the score scaled to [0, 1] over all candidates (1 for all where they are equal), the maximum over nothing 0.
 * Ties go to the greater score, then to the smaller item number. */
#ifndef RT_RECOMMEND_MMR_H
#define RT_RECOMMEND_MMR_H
#include "fuse.h"
#include <stdbool.h>

typedef struct {
    double diversity; /* 0: by score alone, and sim is never asked */
    double (*similarity)(void *context, uint32_t item_a, uint32_t item_b);
    /* Whether candidate `item` may be taken now; NULL: always. What may not once, may never. */
    bool (*may)(void *context, uint32_t item);
    void (*taken)(void *context, uint32_t item); /* NULL: nothing */
    void *context;
} rt_mmr_options;

/* chosen[i] is a place in candidates [n], which have finite scores; *n_chosen <= k. O(n k) similarities. */
rt_status rt_mmr_choose(const rt_mmr_options *options, const rt_item_score *candidates, uint32_t n, uint32_t k,
                        uint32_t *chosen, uint32_t *n_chosen);
/* The dot product of two rows, in fp64: the cosine where they have length 1. */
double rt_dot_rows(const float *a, const float *b, int width);

#endif
