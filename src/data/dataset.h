/* A labelled data set: tokenised once into a cache file, from which rows are read when they are asked for. */
#ifndef RT_DATA_DATASET_H
#define RT_DATA_DATASET_H
#include "../base/log.h"
#include "../text/tokenizer.h"
#include "table.h"

/* Where a run's data are and what their columns mean; strings are borrowed. NULL or "" column: none. */
typedef struct {
    const char *const *files; /* already expanded, in order */
    int n_files;
    rt_table_format format;
    rt_quoting quoting;
    const char *text_a, *text_b; /* column names or templates "{brand} {title}" */
    const char *label, *group, *weight, *user, *item, *time;
    const char *const *labels; /* names in order of the values 0, 1, ... */
    int n_labels;              /* 1: one label, values 0 and 1 */
    const char *const *slices; /* columns whose values are told apart in metrics; at most 16 */
    int n_slices;
    bool group_by_default; /* nobody named the group column: a file without it is no surprise, and no warning */
    bool need_label;       /* false for predict */
    rt_encode_options encode;
    bool skip_bad_rows;         /* on_bad_row = skip */
    int threads;                /* 0: all */
    const char *cache_folder;   /* NULL: tokenise in memory, keep nothing */
    const char *scratch_folder; /* without a cache: tokens go to a file without a name there; NULL: to memory */
    /* Below 1: of the rows of label 0 each is kept with this probability, as (seed, number of the row) decide. 0 is 1:
     * all are kept. */
    double negative_keep;
    uint64_t seed;
    bool leave_groups; /* training asks for no row's group: rt_dataset_groups is NULL, their counts are there */
    /* Pairs for vectors: text_a, text_b and each text of `negatives` (columns or templates, at most
     * RT_MOST_NEGATIVES) become records of their own, [CLS] text [SEP], one after the other; everything else of the row
     * stands at each of them. Of rows with a label only those of a label above 0 are taken, and a file may lack a label
     * column that nobody named: then all are. need_label is false. */
    bool apart;
    const char *const *negatives;
    int n_negatives;
    bool label_by_default; /* apart: nobody named the label column */
    bool raw_texts; /* equal texts are those of equal bytes, for a check without a vocabulary; else of equal tokens */
} rt_data_spec;

typedef struct {
    uint64_t rows, bad_rows, tokens /* real, [CLS] and [SEP] counted */, truncated, empty_a, empty_b, special_split,
        invalid_utf8, unknown, left_out /* rows of label 0, by negative_keep */;
    uint64_t label_counts[2]; /* rows of label 0, and of any other */
    int max_len;
    double mean_len, click_rate; /* share of rows whose label is > 0 */
    bool from_cache;
    double seconds; /* to open or make */
} rt_data_stats;

enum { RT_MOST_NEGATIVES = 16 };

typedef struct rt_dataset rt_dataset;

/* Progress of a long tokenisation; may return true to ask for an end (a signal): then RT_ESTOPPED. */
typedef bool (*rt_progress)(void *context, uint64_t done_bytes, uint64_t all_bytes, uint64_t rows);

/* Memory of an open set: up to 15 bytes a row: length, label, and weight and group where there are such columns; and a
 * part in 500 of the file.
 *
 * Opens the cache whose key fits (digest of the files, the vocabulary and what changes ids), or makes it (temporary
 * name, fsync, rename), with all threads. A bad row stops with file, line, column, what was found and what is accepted
 * (RT_EDATA), or is counted. A cache whose damage shows when it is opened is remade with a warning; of a large one
 * (beyond 64 MiB) ids and what the data check reads are held against their checksums when they are read. More than 2^32
 * - 1 rows: RT_EDATA. Optional columns (group, weight, user, item, time) that the file lacks are left out with a
 * warning. */
rt_status rt_dataset_open(const rt_data_spec *spec, const rt_tokenizer *tok, rt_log *log, rt_progress progress,
                          void *context, rt_dataset **out);
void rt_dataset_close(rt_dataset *ds);
/* From now on the data check and the comparison of two sets ask `stop` at every window of rows, from any thread; where
 * it says true they end with RT_ESTOPPED. NULL: never. */
void rt_dataset_stop_when(rt_dataset *ds, bool (*stop)(void));

const rt_data_stats *rt_dataset_stats(const rt_dataset *ds);
uint32_t rt_dataset_rows(const rt_dataset *ds); /* records */
/* Records of one row of the file: 1, or of texts apart 2 and one for each negative. */
int rt_dataset_sides(const rt_dataset *ds);
/* What a step draws: rows of the file, rt_dataset_rows / rt_dataset_sides. */
uint32_t rt_dataset_examples(const rt_dataset *ds);
const int32_t *rt_dataset_labels(const rt_dataset *ds);   /* [rows]; NULL without */
const float *rt_dataset_weights(const rt_dataset *ds);    /* [rows]; NULL without */
const uint16_t *rt_dataset_lengths(const rt_dataset *ds); /* [rows] tokens, [CLS] and [SEP] counted */
/* Group number of each row, 0, 1, ... in order of first appearance; NULL without a group column, or left. */
const uint32_t *rt_dataset_groups(const rt_dataset *ds);
bool rt_dataset_has_groups(const rt_dataset *ds);
uint32_t rt_dataset_group_count(const rt_dataset *ds);
/* Copies a row's ids to ids[length]; *split: index of the first token of type 1. RT_EDATA, RT_EIO: the cache was
 * altered or cut off while it was in use, or cannot be read. Any thread. */
rt_status rt_dataset_tokens(const rt_dataset *ds, uint32_t row, int32_t *ids, int *split);
/* Digest of the content that matters to a run: rows, tokens, labels, weights, groups. */
rt_digest128 rt_dataset_digest(const rt_dataset *ds);
/* Hashes of records first .. first + n - 1: of their tokens, or of the value of data.user or data.item; 0 where the
 * value is empty or there is no such column. RT_EDATA, RT_EIO. */
typedef enum { RT_HASH_TEXT, RT_HASH_USER, RT_HASH_ITEM } rt_dataset_hash;
rt_status rt_dataset_hashes(const rt_dataset *ds, rt_dataset_hash which, uint32_t first, uint32_t n, uint64_t *out);
/* Rows of `other` whose (text_a, text_b) tokens also stand in `ds`, and shared user and item values, for the data
 * check. */
typedef struct {
    uint64_t rows, users, items; /* by 64-bit hashes: two different values are one by a chance of n^2 / 2^65 */
    bool has_users, has_items;
} rt_data_overlap;
rt_status rt_dataset_overlap(const rt_dataset *ds, const rt_dataset *other, rt_data_overlap *out);
/* Rows by the values of data.slice, the most frequent values of each column; a column that the file lacks is none. */
typedef struct {
    int n_columns;
    uint32_t n;       /* slices of all columns */
    char **names;     /* [n] "column=value", "column=(other)" for all that are not among the 100 most frequent */
    uint32_t *of_row; /* [n_columns, rows] */
} rt_data_slices;
/* RT_ENOMEM, RT_EDATA, RT_EIO. Free it in any case. */
rt_status rt_dataset_slices(const rt_dataset *ds, rt_data_slices *out);
void rt_data_slices_free(rt_data_slices *slices);
/* Groups whose rows all have one class. */
uint32_t rt_dataset_one_class_groups(const rt_dataset *ds);

#endif
