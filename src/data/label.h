/* Labels, weights: 0/1, 1.0, true/false, yes/no where they are the names, or the names themselves. */
#ifndef RT_DATA_LABEL_H
#define RT_DATA_LABEL_H
#include "table.h"

/* Accepted: a name of `labels` (exact; not with K = 1, where it names the score); an integer 0..K-1 (K = 1: 0 or 1),
 * also as "1.0"; true / false, also as Python writes them, for two classes or one label. Returns the value or -1. A
 * name wins over a number. labels NULL: numbers alone. */
int rt_label_parse(const rt_field *field, const char *const *labels, int n_labels);
/* A finite number >= 0; false otherwise. */
bool rt_weight_parse(const rt_field *field, float *out);

#endif
