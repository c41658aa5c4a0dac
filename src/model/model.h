/* A model's memory on a backend: parameters, gradients, moments, packed weights. Shapes and offsets come from the
 * parameter table alone. */
#ifndef RT_MODEL_MODEL_H
#define RT_MODEL_MODEL_H
#include "bert.h"
#include "param.h"

/* One linear layer: the one place for adapters, int8 weights and freezing. */
typedef struct rt_linear {
    int weight;   /* first row of the weight block in the table (query, of query / key / value) */
    int bias;     /* row of the bias, -1: none, or added by the op that follows */
    int64_t n, k; /* [n, k], the block's whole height */
    void *packed; /* the backend's private form; NULL where it keeps none */
    size_t packed_bytes;
    void *adapter; /* a low-rank branch; NULL */
} rt_linear;

typedef struct rt_model {
    rt_backend *be;
    rt_bert bert;
    rt_param_table *table; /* borrowed; finished */
    float *params;         /* [n_params] */
    float *grads;          /* [n_trainables]; NULL unless training */
    float *m, *v;          /* [moment_count], of the trainables from moment_off on */
    int64_t moment_off, moment_count;
    rt_linear **linears; /* registered layers, borrowed: their owners may be gone when the model is freed */
    void **packs;        /* [n_linears] their packed memory, the model's own; NULL where there is none */
    size_t *pack_bytes;  /* [n_linears] */
    int n_linears, linears_capacity;
    double *norm_partials;                          /* backend memory of sum_squares; NULL unless training */
    rt_step_state *state;                           /* backend memory; NULL unless training */
    size_t bytes_params, bytes_train, bytes_packed; /* for the plan */
} rt_model;

/* Bytes that rt_model_new and rt_model_register will take, for --dry-run: parameters, trainables x 3. */
rt_status rt_model_new(rt_backend *be, const rt_bert *bert, rt_param_table *table, bool training, rt_model *out);
/* For training with the moments of trainables [off, off + count) alone: another rank has the rest. */
rt_status rt_model_new_share(rt_backend *be, const rt_bert *bert, rt_param_table *table, int64_t off, int64_t count,
                             rt_model *out);
void rt_model_free(rt_model *model);
/* Gives a layer its packed memory and keeps it on the list that rt_model_pack walks. */
rt_status rt_model_register(rt_model *model, rt_linear *linear);
/* Refreshes packed weights: after load (trainable_only false) and after each optimizer step (true). */
rt_status rt_model_pack(rt_model *model, bool trainable_only);
/* Host copies in and out of a row's parameters, moments or gradient (f32, [count]). */
typedef enum { RT_BUFFER_PARAMS, RT_BUFFER_GRADS, RT_BUFFER_M, RT_BUFFER_V } rt_buffer;
/* put of a moment that is not wholly here keeps the part that is; get fails there, and get_part gives the part:
 * [*first, *first + *count) of the row's elements, count 0: none. values has room for the row. */
rt_status rt_model_put(rt_model *model, int row, rt_buffer buffer, const float *values);
rt_status rt_model_get(rt_model *model, int row, rt_buffer buffer, float *values);
rt_status rt_model_get_part(rt_model *model, int row, rt_buffer buffer, float *values, int64_t *first, int64_t *count);
/* The row's memory where the backend's memory is host memory, else NULL: saves a copy. */
float *rt_model_direct(rt_model *model, int row, rt_buffer buffer);
rt_status rt_model_init_row(rt_model *model, int row, uint64_t seed);

const float *rt_model_param(const rt_model *model, int row);
float *rt_model_grad(const rt_model *model, int row); /* NULL where frozen or not training */

/* y = act(x w^T + b) on `rows` rows; see rt_linear_forward_args. `with_bias` false leaves the bias to the next op. */
typedef struct {
    rt_activation act;
    const void *x;
    void *y;
    rt_dtype y_dtype;
    void *pre;
    int64_t rows;
    bool with_bias;
} rt_linear_run;
rt_status rt_linear_apply(rt_model *model, const rt_linear *linear, const rt_linear_run *run);

typedef struct {
    rt_activation act;
    const void *x, *saved;
    void *dy;
    rt_dtype dy_dtype;
    void *dx;
    const void *dx_add;
    int64_t rows;
    bool with_bias; /* false: the bias gradient comes from the op that followed */
    int accumulate;
} rt_linear_gradient;
/* Skips the parameter half of frozen layers. */
rt_status rt_linear_grad(rt_model *model, const rt_linear *linear, const rt_linear_gradient *g);

#endif
