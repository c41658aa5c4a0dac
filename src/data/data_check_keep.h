/* Inside the data check; and what it found, kept beside the token cache: a second start does not look through all rows
 * again. */
#ifndef RT_DATA_DATA_CHECK_KEEP_H
#define RT_DATA_DATA_CHECK_KEEP_H
#include "data_check.h"
#include "dataset_internal.h"

/* Raised when a check counts otherwise than before. */
#define RT_FINDINGS_VERSION 1

/* data_check.c: counts repeats and contradictions with a table of at most so many slots, a power of two and at least
 * 2^15. */
rt_status rt_data_check_texts(const rt_dataset *ds, size_t most_slots, rt_data_check *out);

/* False: nothing is kept of this set with out->max_length, or it is damaged; then *out is as it was. True: everything
 * that is not in the set's header is filled in. */
bool rt_data_check_recall(const rt_dataset *ds, rt_data_check *out);
/* Without a cache folder, or if it cannot be written, nothing happens. */
void rt_data_check_keep(const rt_dataset *ds, const rt_data_check *found);
bool rt_data_against_recall(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out);
void rt_data_against_keep(const rt_dataset *ds, const rt_dataset *other, const rt_data_against *found);

#endif
