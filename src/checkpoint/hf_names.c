#include "hf_names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { H, F, V, P, Y, NONE } size; /* hidden, feed-forward, vocabulary, positions, types */

static const struct {
    const char *name;
    size rows, columns;
} layer_rows[] =
    {
        {"attention.self.query.weight", H, H},
        {"attention.self.query.bias", H, NONE},
        {"attention.self.key.weight", H, H},
        {"attention.self.key.bias", H, NONE},
        {"attention.self.value.weight", H, H},
        {"attention.self.value.bias", H, NONE},
        {"attention.output.dense.weight", H, H},
        {"attention.output.dense.bias", H, NONE},
        {"attention.output.LayerNorm.weight", H, NONE},
        {"attention.output.LayerNorm.bias", H, NONE},
        {"intermediate.dense.weight", F, H},
        {"intermediate.dense.bias", F, NONE},
        {"output.dense.weight", H, F},
        {"output.dense.bias", H, NONE},
        {"output.LayerNorm.weight", H, NONE},
        {"output.LayerNorm.bias", H, NONE},
},
  other_rows[] = {
      {"bert.embeddings.word_embeddings.weight", V, H},
      {"bert.embeddings.position_embeddings.weight", P, H},
      {"bert.embeddings.token_type_embeddings.weight", Y, H},
      {"bert.embeddings.LayerNorm.weight", H, NONE},
      {"bert.embeddings.LayerNorm.bias", H, NONE},
      {"bert.pooler.dense.weight", H, H}, /* the last two: the pooler */
      {"bert.pooler.dense.bias", H, NONE},
};
#define N_LAYER_ROWS (sizeof layer_rows / sizeof *layer_rows)
#define N_OTHER_ROWS (sizeof other_rows / sizeof *other_rows)

static bool starts(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

rt_hf_kind rt_hf_canonical(const char *name, char out[RT_HF_NAME]) {
    const char *body = starts(name, "bert.") ? name + 5 : name;
    out[0] = '\0';
    if (strlen(body) > RT_HF_NAME - 8) return RT_HF_FOREIGN;
    if (strcmp(name, "classifier.weight") == 0 || strcmp(name, "classifier.bias") == 0) {
        strcpy(out, name);
        return RT_HF_KEEP;
    }
    if (!starts(body, "embeddings.") && !starts(body, "encoder.") && !starts(body, "pooler.")) return RT_HF_FOREIGN;
    if (ends(body, ".position_ids") || ends(body, ".token_type_ids")) return RT_HF_BUFFER;
    strcpy(out, "bert.");
    strcat(out, body);
    if (ends(out, ".LayerNorm.gamma")) strcpy(out + strlen(out) - 5, "weight");
    if (ends(out, ".LayerNorm.beta")) strcpy(out + strlen(out) - 4, "bias");
    return RT_HF_KEEP;
}

static int compare_rows(const void *a, const void *b) {
    return strcmp(((const rt_hf_row *)a)->name, ((const rt_hf_row *)b)->name);
}

static int64_t length(const rt_bert *b, size s) {
    const int64_t lengths[] = {
        [H] = b->hidden, [F] = b->ffn, [V] = b->vocab, [P] = b->max_positions, [Y] = b->type_vocab, [NONE] = 1};
    return lengths[s];
}

static void put_row(rt_hf_row *row, const rt_bert *b, size rows, size columns) {
    row->rank = columns == NONE ? 1 : 2;
    row->shape[0] = length(b, rows);
    row->shape[1] = length(b, columns);
}

rt_status rt_hf_rows(const rt_bert *bert, bool pooler, int labels, rt_hf_row **rows, int *n) {
    size_t others = N_OTHER_ROWS - (pooler ? 0 : 2), at = 0;
    rt_hf_row *r = calloc((size_t)bert->layers * N_LAYER_ROWS + N_OTHER_ROWS + 2, sizeof *r);
    *rows = NULL;
    *n = 0;
    if (!r) return rt_fail(RT_ENOMEM, "out of memory for a list of tensors");
    for (int l = 0; l < bert->layers; l++) {
        for (size_t i = 0; i < N_LAYER_ROWS; i++) {
            snprintf(r[at].name, sizeof r[at].name, "bert.encoder.layer.%d.%s", l, layer_rows[i].name);
            put_row(&r[at++], bert, layer_rows[i].rows, layer_rows[i].columns);
        }
    }
    for (size_t i = 0; i < others; i++) {
        snprintf(r[at].name, sizeof r[at].name, "%s", other_rows[i].name);
        put_row(&r[at++], bert, other_rows[i].rows, other_rows[i].columns);
    }
    if (labels > 0) {
        r[at++] = (rt_hf_row){"classifier.weight", 2, {labels, bert->hidden}};
        r[at++] = (rt_hf_row){"classifier.bias", 1, {labels, 1}};
    }
    qsort(r, at, sizeof *r, compare_rows);
    *rows = r;
    *n = (int)at;
    return RT_OK;
}

const rt_hf_row *rt_hf_row_find(const rt_hf_row *rows, int n, const char *name) {
    rt_hf_row key = {.rank = 0};
    if (strlen(name) >= sizeof key.name) return NULL;
    strcpy(key.name, name);
    return bsearch(&key, rows, (size_t)n, sizeof *rows, compare_rows);
}

int rt_hf_layer(const char *name) {
    int layer = -1, end = 0;
    if (sscanf(name, "bert.encoder.layer.%d.%n", &layer, &end) != 1 || end == 0 || layer < 0) return -1;
    return layer;
}
