#include "data_check.h"
#include "data_check_keep.h"
#include "slices.h"
#include <stdlib.h>
#include <string.h>

/* Texts are compared a part of all hashes at a time, so that memory does not grow with the rows. */
enum { PART_SLOTS = 1 << 22, WINDOW = 8192, LENGTHS = 1 << 16 };

/* Below this click rate clicks are called rare, and so many rows of label 0 for each are suggested. */
#define RARE_RATE 0.05
#define KEPT_FOR_A_CLICK 4.0

typedef struct {
    uint64_t hash; /* 0: free */
    uint32_t rows;
    uint32_t labels; /* bit 0: label 0 was met; bit 1: another */
} text_seen;

static text_seen *find(text_seen *table, size_t slots, uint64_t hash) {
    size_t slot = (size_t)(hash >> 20) & (slots - 1);
    while (table[slot].hash && table[slot].hash != hash) slot = (slot + 1) & (slots - 1);
    return &table[slot];
}

/* Counts one of `parts` parts of all texts. *full: more different texts than there is room for. */
static rt_status compare_part(const rt_dataset *ds, text_seen *table, size_t slots, uint64_t parts, uint64_t part,
                              rt_data_check *out, bool *full) {
    const bool holds_all = slots >= 2 * ds->header.rows;
    const int32_t *labels = ds->labels;
    uint64_t texts[WINDOW], rows = ds->header.rows;
    size_t used = 0;
    memset(table, 0, slots * sizeof *table);
    for (uint64_t first = 0, n; first < rows; first += n) {
        n = rows - first < WINDOW ? rows - first : WINDOW;
        RT_TRY(rt_section_read(ds, RT_SECTION_TEXTS, first, (size_t)n, texts));
        for (uint64_t i = 0; i < n; i++) {
            if ((texts[i] & (parts - 1)) != part) continue;
            text_seen *seen = find(table, slots, texts[i]);
            used += !seen->rows;
            out->duplicates += seen->rows > 0;
            seen->hash = texts[i];
            seen->rows++;
            if (labels) seen->labels |= labels[first + i] > 0 ? 2 : 1;
        }
        *full = !holds_all && used + WINDOW > slots / 10 * 9; /* always room for another window */
        if (*full) return RT_OK;
    }
    for (size_t i = 0; i < slots; i++) {
        out->contradictory_pairs += table[i].labels == 3;
        out->contradictory_rows += table[i].labels == 3 ? table[i].rows : 0;
    }
    return RT_OK;
}

/* As many parts as it takes: tables of a few texts many times over need one. */
rt_status rt_data_check_texts(const rt_dataset *ds, size_t most_slots, rt_data_check *out) {
    const uint64_t rows = ds->header.rows;
    size_t slots = 64;
    while (slots < 2 * rows && slots < most_slots) slots *= 2;
    text_seen *table = malloc(slots * sizeof *table);
    if (!table) return rt_fail(RT_ENOMEM, "no memory to compare %llu rows", (unsigned long long)rows);
    rt_status rc = RT_OK;
    for (uint64_t parts = 1, part = 0; part < parts && rc == RT_OK; part++) {
        bool full = false;
        rc = compare_part(ds, table, slots, parts, part, out, &full);
        if (rc != RT_OK || !full) continue;
        /* Hashes share themselves out evenly, unless somebody made them not to. */
        if (parts > 16 * (rows / slots + 1))
            rc = rt_fail(RT_EDATA, "%s: texts whose hashes do not tell them apart", ds->name);
        out->duplicates = out->contradictory_pairs = out->contradictory_rows = 0;
        parts *= 2;
        part = UINT64_MAX; /* from the first */
    }
    free(table);
    return rc;
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
    const uint16_t *lengths = ds->lengths;
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

static rt_status measure_times(const rt_dataset *ds, rt_data_check *out) {
    int64_t times[WINDOW];
    for (uint64_t first = 0, n; out->has_times && first < out->rows; first += n) {
        n = out->rows - first < WINDOW ? out->rows - first : WINDOW;
        RT_TRY(rt_section_read(ds, RT_SECTION_TIMES, first, (size_t)n, times));
        for (uint64_t i = 0; i < n; i++) {
            out->without_time += times[i] == INT64_MIN;
            if (times[i] == INT64_MIN) continue;
            if (times[i] < out->first) out->first = times[i];
            if (times[i] > out->last) out->last = times[i];
        }
    }
    return RT_OK;
}

static rt_status balance_slices(const rt_dataset *ds, rt_data_check *out) {
    rt_slice_counts counts;
    RT_TRY(rt_dataset_slice_counts(ds, &counts));
    rt_status rc = RT_OK;
    out->by_slice = calloc((size_t)counts.n + 1, sizeof *out->by_slice);
    if (!out->by_slice) {
        rc = rt_fail(RT_ENOMEM, "no memory for %u slices", counts.n);
        goto done;
    }
    for (uint32_t i = 0; i < counts.n; i++) {
        out->by_slice[i] = (rt_check_slice){counts.names[i], counts.rows[i], counts.clicks[i]};
        counts.names[i] = NULL;
    }
    out->n_slices = counts.n;
done:
    rt_slice_counts_free(&counts);
    return rc;
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
                           .has_groups = rt_dataset_has_groups(ds),
                           .has_times = rt_section_has(ds, RT_SECTION_TIMES),
                           .calendar = ds->header.calendar,
                           .first = INT64_MAX,
                           .last = INT64_MIN,
                           .groups = ds->header.n_groups,
                           .one_class_groups = ds->header.one_class_groups};
    rt_status rc = RT_OK;
    if (!rt_data_check_recall(ds, out)) {
        RT_GO(rt_data_check_texts(ds, PART_SLOTS, out));
        RT_GO(measure_lengths(ds, out));
        RT_GO(balance_slices(ds, out));
        RT_GO(measure_times(ds, out));
        rt_data_check_keep(ds, out);
    }
    suggest(out);
done:
    if (rc != RT_OK) rt_data_check_free(out);
    return rc;
}

void rt_data_check_free(rt_data_check *check) {
    if (!check) return;
    for (uint32_t i = 0; check->by_slice && i < check->n_slices; i++) free(check->by_slice[i].name);
    free(check->by_slice);
    check->by_slice = NULL;
    check->n_slices = 0;
}

static rt_status newest(const rt_dataset *ds, int64_t *out) {
    int64_t times[WINDOW];
    *out = INT64_MIN;
    for (uint64_t first = 0, n; first < ds->header.rows; first += n) {
        n = ds->header.rows - first < WINDOW ? ds->header.rows - first : WINDOW;
        RT_TRY(rt_section_read(ds, RT_SECTION_TIMES, first, (size_t)n, times));
        for (uint64_t i = 0; i < n; i++) *out = times[i] > *out ? times[i] : *out;
    }
    return RT_OK;
}

static rt_status compare_times(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out) {
    int64_t times[WINDOW], last;
    if (!rt_section_has(ds, RT_SECTION_TIMES) || !rt_section_has(other, RT_SECTION_TIMES) ||
        ds->header.calendar != other->header.calendar)
        return RT_OK;
    RT_TRY(newest(ds, &last));
    for (uint64_t first = 0, n; first < other->header.rows; first += n) {
        n = other->header.rows - first < WINDOW ? other->header.rows - first : WINDOW;
        RT_TRY(rt_section_read(other, RT_SECTION_TIMES, first, (size_t)n, times));
        for (uint64_t i = 0; i < n; i++) out->not_newer += times[i] != INT64_MIN && times[i] <= last;
    }
    out->has_times = last != INT64_MIN;
    out->overlaps = out->not_newer > 0;
    return RT_OK;
}

rt_status rt_data_check_against(const rt_dataset *ds, const rt_dataset *other, rt_data_against *out) {
    *out = (rt_data_against){0};
    if (rt_data_against_recall(ds, other, out)) return RT_OK;
    RT_TRY(rt_dataset_overlap(ds, other, &out->shared));
    RT_TRY(compare_times(ds, other, out));
    rt_data_against_keep(ds, other, out);
    return RT_OK;
}
