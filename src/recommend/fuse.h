/* Several scored lists of items become one.
 *
 * What a list gives an item, times the list's weight; an item that is not in a list gets nothing from it:
 *   MINMAX  (s - min) / (max - min) over the list; 1 for all where they are equal
 *   RANK    1 - (r - 1) / n, r the place in the list from 1, n its length
 *   RRF     1 / (k + r): reciprocal rank fusion (Cormack, Clarke, Buettcher 2009), k = 60
 * Places go by falling score, ties to the smaller item number. */
#ifndef RT_RECOMMEND_FUSE_H
#define RT_RECOMMEND_FUSE_H
#include "../base/status.h"
#include <stdint.h>

typedef enum { RT_FUSE_MINMAX, RT_FUSE_RANK, RT_FUSE_RRF } rt_fuse_kind;

enum { RT_FUSE_LISTS = 8, RT_FUSE_RRF_K = 60 };

typedef struct {
    uint32_t item;
    double score;
} rt_item_score;

typedef struct {
    const rt_item_score *items; /* [n] in any order, each item once */
    uint32_t n;
    double weight; /* >= 0 */
} rt_fuse_list;

typedef struct {
    uint32_t item;
    double score;                /* the sum of */
    double given[RT_FUSE_LISTS]; /* what each list gave, weight applied */
    double parts[RT_FUSE_LISTS]; /* its score in each list; NaN where it is not in it */
} rt_fused;

typedef struct rt_fuser rt_fuser; /* keeps its memory from call to call; one a thread */
rt_status rt_fuser_new(rt_fuser **out);
void rt_fuser_free(rt_fuser *fuser);
/* *fused [*n], greatest score first, ties to the smaller item number; the fuser's until its next use. RT_EDATA: a score
 * that is not finite. */
rt_status rt_fuse(rt_fuser *fuser, rt_fuse_kind kind, const rt_fuse_list *lists, int n_lists, const rt_fused **fused,
                  uint32_t *n);

#endif
