#include "data_check.h"
#include "dataset_internal.h"
#include <stdlib.h>
#include <string.h>

/* Texts are compared a part of all hashes at a time, so that memory does not grow with the rows. */
enum { PART_ROWS = 1 << 21, PART_SLOTS = 1 << 22, LENGTHS = 1 << 16 };

/* Below this click rate clicks are called rare, and so many rows of label 0 for each are suggested. */
#define RARE_RATE 0.05
#define KEPT_FOR_A_CLICK 4.0

typedef struct {
    uint64_t hash; /* 0: free */
    uint32_t rows;
    uint32_t labels; /* bit 0: label 0 was met; bit 1: another */
} text_seen;

static text_seen *find(text_seen *table, size_t slots, uint64_t hash) {
    size_t slot = (size_t)(hash >> 12) & (slots - 1);
    while (table[slot].hash && table[slot].hash != hash) slot = (slot + 1) & (slots - 1);
    return &table[slot];
}

static rt_status compare_texts(const rt_dataset *ds, rt_data_check *out) {
    const uint64_t *texts = ds->at[RT_SECTION_TEXTS], rows = ds->header.rows;
    const int32_t *labels = ds->at[RT_SECTION_LABELS];
    uint64_t parts = 1;
    while (rows / parts > PART_ROWS / 2) parts *= 2;
    size_t slots = 64;
    while (slots < 2 * rows && slots < PART_SLOTS) slots *= 2;
    text_seen *table = malloc(slots * sizeof *table);
    if (!table) return rt_fail(RT_ENOMEM, "no memory to compare %llu rows", (unsigned long long)rows);
    for (uint64_t part = 0; part < parts; part++) {
        memset(table, 0, slots * sizeof *table);
        for (uint64_t r = 0; r < rows; r++) {
            if ((texts[r] & (parts - 1)) != part) continue;
            text_seen *seen = find(table, slots, texts[r]);
            out->duplicates += seen->rows > 0;
            seen->hash = texts[r];
            seen->rows++;
            if (labels) seen->labels |= labels[r] > 0 ? 2 : 1;
        }
        for (size_t i = 0; i < slots; i++) {
            out->contradictory_pairs += table[i].labels == 3;
            out->contradictory_rows += table[i].labels == 3 ? table[i].rows : 0;
        }
    }
    free(table);
    return RT_OK;
}

/* The smallest length that this share of the rows does not exceed. */
static int percentile(const uint64_t *histogram, uint64_t rows, double share) {
    uint64_t wanted = (uint64_t)(share * (double)rows + 0.999999), seen = 0;
    for (int n = 0; n < LENGTHS; n++) {
        seen += histogram[n];
        if (seen >= wanted) return n;
    }
    return LENGTHS - 1;
}

static rt_status measure_lengths(const rt_dataset *ds, rt_data_check *out) {
    const uint16_t *lengths = ds->at[RT_SECTION_LENGTHS];
    uint64_t *histogram = calloc(LENGTHS, sizeof *histogram), above = 0;
    if (!histogram) return rt_fail(RT_ENOMEM, "no memory to count lengths");
    for (uint64_t r = 0; r < out->rows; r++) {
        histogram[lengths[r]]++;
        above += lengths[r] > out->max_length;
    }
    /* Encoded with max_length itself, longer rows were cut already, and counted then. */
    out->cut = ds->stats.max_len > out->max_length ? above : ds->stats.truncated;
    out->p50 = percentile(histogram, out->rows, 0.50);
    out->p95 = percentile(histogram, out->rows, 0.95);
    out->p99 = percentile(histogram, out->rows, 0.99);
    free(histogram);
    return RT_OK;
}

static void measure_times(const rt_dataset *ds, rt_data_check *out) {
    const int64_t *times = ds->at[RT_SECTION_TIMES];
    out->has_times = times != NULL;
    out->calendar = ds->header.calendar;
    out->first = INT64_MAX, out->last = INT64_MIN;
    for (uint64_t r = 0; times && r < out->rows; r++) {
        out->without_time += times[r] == INT64_MIN;
        if (times[r] == INT64_MIN) continue;
        if (times[r] < out->first) out->first = times[r];
        if (times[r] > out->last) out->last = times[r];
    }
}

static rt_status balance_slices(const rt_dataset *ds, rt_data_check *out) {
    const int32_t *labels = ds->at[RT_SECTION_LABELS];
    RT_TRY(rt_dataset_slices(ds, &out->slices));
    out->by_slice = calloc((size_t)out->slices.n + 1, sizeof *out->by_slice);
    if (!out->by_slice) return rt_fail(RT_ENOMEM, "no memory for %u slices", out->slices.n);
    for (uint32_t i = 0; i < out->slices.n; i++) out->by_slice[i].name = out->slices.names[i];
    for (int c = 0; c < out->slices.n_columns; c++)
        for (uint64_t r = 0; r < out->rows; r++) {
            rt_check_slice *s = &out->by_slice[out->slices.of_row[(uint64_t)c * out->rows + r]];
            s->rows++;
            s->clicks += labels && labels[r] > 0;
        }
    return RT_OK;
}

static void suggest(rt_data_check *out) {
    int length = (out->p99 + 7) / 8 * 8;
    out->suggested_max_length = length < 16 ? 16 : length > 512 ? 512 : length;
    /* Large enough for a steady gradient, small enough for a thousand steps an epoch. */
    out->suggested_batch_size = 16;
    while (out->suggested_batch_size < 128 && out->rows / (uint64_t)(2 * out->suggested_batch_size) >= 1000)
        out->suggested_batch_size *= 2;
    double rate = out->rows ? (double)out->clicks / (double)out->rows : 0;
    out->suggested_keep = rate > 0 && rate < RARE_RATE ? KEPT_FOR_A_CLICK * rate / (1 - rate) : 1;
}

rt_status rt_data_check_fill(const rt_dataset *ds, int max_length, rt_data_check *out) {
    const rt_data_stats *s = &ds->stats;
    *out = (rt_data_check){.rows = s->rows,
                           .bad_rows = s->bad_rows,
                           .clicks = s->label_counts[1],
                           .tokens = s->tokens,
                           .empty_texts = s->empty_a + s->empty_b,
                           .mean_len = s->mean_len,
                           .max_len = s->max_len,
                           .max_length = max_length,
                           .has_groups = ds->at[RT_SECTION_GROUPS] != NULL,
                           .groups = ds->header.n_groups,
                           .one_class_groups = ds->header.one_class_groups};
    rt_status rc = RT_OK;
    RT_GO(compare_texts(ds, out));
    RT_GO(measure_lengths(ds, out));
    RT_GO(balance_slices(ds, out));
    measure_times(ds, out);
    suggest(out);
done:
    if (rc != RT_OK) rt_data_check_free(out);
    return rc;
}

void rt_data_check_free(rt_data_check *check) {
    if (!check) return;
    rt_data_slices_free(&check->slices);
    free(check->by_slice);
    check->by_slice = NULL;
}

rt_status rt_data_check_against(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out) {
    *out = (rt_data_against){0};
    RT_TRY(rt_dataset_overlap(ds, other, &out->shared));
    const int64_t *a = ds->at[RT_SECTION_TIMES], *b = other->at[RT_SECTION_TIMES];
    int64_t last = INT64_MIN;
    if (!a || !b || ds->header.calendar != other->header.calendar) return RT_OK;
    for (uint64_t r = 0; r < ds->header.rows; r++)
        if (a[r] > last) last = a[r];
    for (uint64_t r = 0; r < other->header.rows; r++) out->not_newer += b[r] != INT64_MIN && b[r] <= last;
    out->has_times = last != INT64_MIN;
    out->overlaps = out->not_newer > 0;
    return RT_OK;
}
