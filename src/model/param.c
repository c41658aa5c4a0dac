#include "param.h"
#include "../base/digest.h"
#include "../base/philox.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ELEMENTS 64 /* 256 bytes of f32: where blocks may start */

static int64_t round_block(int64_t n) {
    return (n + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS * BLOCK_ELEMENTS;
}

void rt_param_table_free(rt_param_table *table) {
    if (!table) return;
    free(table->rows);
    memset(table, 0, sizeof *table);
}

int rt_param_add(rt_param_table *table, const char *name, int64_t rows, int64_t columns, rt_init init, bool decay,
                 int depth, int group) {
    if (table->n == table->capacity) {
        int capacity = table->capacity ? 2 * table->capacity : 64;
        rt_param *grown = realloc(table->rows, (size_t)capacity * sizeof *grown);
        if (!grown) return -1;
        table->rows = grown;
        table->capacity = capacity;
    }
    rt_param *row = &table->rows[table->n];
    *row = (rt_param){.rank = columns > 0 ? 2 : 1,
                      .shape = {rows, columns > 0 ? columns : 1},
                      .count = rows * (columns > 0 ? columns : 1),
                      .init = init,
                      .decay = decay,
                      .trainable = true,
                      .depth = depth,
                      .lr_scale = 1.0f,
                      .group = group,
                      .param_off = -1,
                      .train_off = -1};
    snprintf(row->name, sizeof row->name, "%s", name);
    if (group > table->next_group) table->next_group = group;
    return table->n++;
}

/* The end (exclusive) of the block that starts at row `first`: one row, or all neighbours of its group. */
static int block_end(const rt_param_table *table, int first) {
    int end = first + 1;
    if (table->rows[first].group > 0)
        while (end < table->n && table->rows[end].group == table->rows[first].group) end++;
    return end;
}

static int64_t place_block(rt_param_table *table, int first, int end, int64_t at, bool trainables) {
    for (int i = first; i < end; i++) {
        if (trainables)
            table->rows[i].train_off = at;
        else
            table->rows[i].param_off = at;
        at += table->rows[i].count;
    }
    return round_block(at);
}

rt_status rt_param_table_finish(rt_param_table *table, const rt_freeze *freeze) {
    rt_freeze none = {.layer_decay = 1.0f};
    if (!freeze) freeze = &none;
    for (int i = 0; i < table->n; i++) {
        rt_param *row = &table->rows[i];
        bool frozen = row->depth <= freeze->layers && (row->depth > 0 || freeze->embeddings || freeze->layers > 0);
        row->trainable = !frozen;
        /* ELECTRA's rule: lr d^(L + 2 - depth), embeddings 0, layer i i + 1, the head (and pooler) undecayed. */
        if (freeze->layer_decay != 1.0f && row->depth <= freeze->n_layers)
            row->lr_scale = powf(freeze->layer_decay, (float)(freeze->n_layers + 2 - row->depth));
        if (row->count <= 0 || row->count > INT64_C(1) << 40)
            return rt_fail(RT_EINTERNAL, "parameter %s has %lld elements", row->name, (long long)row->count);
    }
    int64_t at = 0;
    for (int i = 0; i < table->n; i = block_end(table, i)) at = place_block(table, i, block_end(table, i), at, false);
    table->n_params = at;

    /* Trainables in backward order: the last block first, so that gradients are done from the front on. */
    at = 0;
    for (int end = table->n; end > 0;) {
        int first = end - 1;
        if (table->rows[first].group > 0)
            while (first > 0 && table->rows[first - 1].group == table->rows[end - 1].group) first--;
        if (table->rows[first].trainable) at = place_block(table, first, end, at, true);
        end = first;
    }
    table->n_trainables = at;
    return RT_OK;
}

int rt_param_find(const rt_param_table *table, const char *name) {
    for (int i = 0; i < table->n; i++)
        if (strcmp(table->rows[i].name, name) == 0) return i;
    return -1;
}

int64_t rt_param_count(const rt_param_table *table, bool trainable_only) {
    int64_t n = 0;
    for (int i = 0; i < table->n; i++)
        if (!trainable_only || table->rows[i].trainable) n += table->rows[i].count;
    return n;
}

void rt_param_init(const rt_param *row, uint64_t seed, float initializer_range, float *out) {
    if (row->init != RT_INIT_NORMAL) {
        for (int64_t i = 0; i < row->count; i++) out[i] = row->init == RT_INIT_ONE ? 1.0f : 0.0f;
        return;
    }
    uint32_t index = (uint32_t)rt_hash64(row->name, strlen(row->name));
    /* Counter = element / 4, so any slice can be drawn alone; two Box-Muller pairs a call. */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < row->count; i += 4) {
        rt_philox4 w = rt_philox((uint32_t)(i >> 2), index, (uint32_t)RT_SITE_INIT << 16, 0, (uint32_t)seed,
                                 (uint32_t)(seed >> 32));
        float z[4];
        for (int j = 0; j < 4; j += 2) {
            float u = ((float)(w.v[j] >> 8) + 0.5f) * 0x1p-24f,
                  angle = 6.28318530718f * (float)(w.v[j + 1] >> 8) * 0x1p-24f;
            float radius = sqrtf(-2.0f * logf(u)) * initializer_range;
            z[j] = radius * cosf(angle);
            z[j + 1] = radius * sinf(angle);
        }
        int64_t left = row->count - i < 4 ? row->count - i : 4;
        memcpy(out + i, z, (size_t)left * sizeof *z);
    }
}
