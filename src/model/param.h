/* The parameter table: the one list of tensors. Optimizer ranges, all-reduce ranges, checkpoints, import, freezing and
 * adapters read it; nothing else knows an offset. */
#ifndef RT_MODEL_PARAM_H
#define RT_MODEL_PARAM_H
#include "../base/status.h"
#include <rectrain/kernels.h>

typedef enum { RT_INIT_NORMAL /* N(0, initializer_range) */, RT_INIT_ZERO, RT_INIT_ONE } rt_init;

typedef struct {
    char name[96];    /* Hugging Face's: "bert.encoder.layer.0.attention.self.query.weight" */
    int rank;         /* 1 or 2 */
    int64_t shape[2]; /* shape[1] = 1 when rank is 1 */
    int64_t count;    /* elements */
    rt_init init;
    bool decay; /* weight decay applies: matrices and embedding tables, never biases or LayerNorm */
    bool trainable;
    bool matrix; /* read by linear_* alone, so may live in packed form */
    int depth;   /* embeddings 0, layer i i + 1, pooler and head L + 1: for freezing and layer decay */
    float lr_scale;
    int group;         /* rows with one positive number are one block in memory (query, key, value) */
    int64_t param_off; /* elements from the start of the parameter buffer; blocks start on 256 bytes */
    int64_t train_off; /* the same in gradient, m and v; backward order; -1 where frozen */
} rt_param;

typedef struct {
    rt_param *rows;
    int n, capacity;
    int next_group;
    int64_t n_params;     /* elements of the parameter buffer, padding included */
    int64_t n_trainables; /* elements of the gradient buffer, padding included (padding is and stays 0) */
} rt_param_table;

typedef struct {
    bool embeddings;   /* freeze the embeddings ... */
    int layers;        /* ... and the first n layers (implies embeddings when > 0) */
    float layer_decay; /* 1: none */
    int n_layers;      /* of the model */
} rt_freeze;

void rt_param_table_free(rt_param_table *table);
/* Appends a row in forward order; returns its index, or -1 when out of memory. group 0: its own block. */
int rt_param_add(rt_param_table *table, const char *name, int64_t rows, int64_t columns /* 0: a vector */, rt_init init,
                 bool decay, int depth, int group);
/* Fixes flags, lr_scale and offsets: parameters in forward order, trainables in backward order. */
rt_status rt_param_table_finish(rt_param_table *table, const rt_freeze *freeze);
int rt_param_find(const rt_param_table *table, const char *name);         /* -1: not there */
int64_t rt_param_count(const rt_param_table *table, bool trainable_only); /* without padding */
/* Fills one row by its initialiser, from (seed, name): independent of every other row. `out` is host memory [count]. */
void rt_param_init(const rt_param *row, uint64_t seed, float initializer_range, float *out);

#endif
