/* The data check: what a labelled set holds, what two sets share, and what settings that suggests. */
#ifndef RT_DATA_DATA_CHECK_H
#define RT_DATA_DATA_CHECK_H
#include "../base/text.h"
#include "dataset.h"

typedef struct {
    char *name;
    uint64_t rows, clicks;
} rt_check_slice;

typedef struct {
    uint64_t rows, bad_rows, clicks; /* label above 0 */
    uint64_t tokens, empty_texts;
    double mean_len;
    int p50, p95, p99, max_len;
    uint64_t cut;                                     /* rows longer than max_length */
    int max_length;                                   /* data.max_length */
    uint64_t duplicates;                              /* rows whose texts stand in an earlier row */
    uint64_t contradictory_pairs, contradictory_rows; /* the same texts with label 0 and with another */
    bool has_groups, has_times, calendar;
    uint32_t groups, one_class_groups;
    int64_t first, last; /* times; first > last where no row has one */
    uint64_t without_time;
    uint32_t n_slices;
    rt_check_slice *by_slice; /* [n_slices] */
    /* suggestions */
    int suggested_max_length; /* 0: none, as lengths are not those of the model */
    int suggested_batch_size;
    double suggested_keep; /* data.negative_keep; 1: clicks are not rare */
} rt_data_check;

/* What `other` (dev or test) has in common with `ds` (train). */
typedef struct {
    rt_data_overlap shared;
    bool has_times, overlaps; /* the other begins before this one ends */
    uint64_t not_newer;       /* rows of the other that are not newer than the newest of this */
} rt_data_against;

/* max_length: data.max_length, which lengths are compared with; the set may have been encoded with a larger one.
 * Memory stays within 64 MiB beside the set's own. Texts are equal if their 64-bit hashes are: of n different ones two
 * are taken for one by a chance of n^2 / 2^65, 3 in a million for ten million; all else is exact. What is found is kept
 * beside the set's cache, if it has one, and found there the next time. RT_ENOMEM, RT_EDATA, RT_EIO,
 * RT_ESTOPPED (rt_dataset_stop_when). Free it in any case. */
rt_status rt_data_check_fill(const rt_dataset *ds, int max_length, rt_data_check *out);
void rt_data_check_free(rt_data_check *check);
/* Kept as well. */
rt_status rt_data_check_against(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out);

/* data_check_text.c: lines for people, each with its line break; `unit` is what lengths count ("tokens", "words"). */
void rt_data_check_text(const rt_data_check *check, const char *unit, rt_text *out);
void rt_data_check_suggestions(const rt_data_check *check, rt_text *out);
void rt_data_against_text(const rt_data_against *against, uint64_t rows, rt_text *out);
/* One JSON object each. */
void rt_data_check_json(const rt_data_check *check, const char *unit, rt_text *out);
void rt_data_against_json(const rt_data_against *against, rt_text *out);

#endif
