#include "model.h"
#include <stdlib.h>
#include <string.h>

static rt_status take(rt_model *model, size_t n, size_t size, const char *what, void *out) {
    void *memory = NULL;
    RT_TRY(model->be->alloc(model->be, n * size, what, &memory));
    *(void **)out = memory;
    return RT_OK;
}

static size_t norm_blocks(const rt_model *model) {
    return (size_t)(model->table->n_trainables + 65535) / 65536 + 1;
}

static rt_status take_training(rt_model *m) {
    size_t n = (size_t)m->table->n_trainables, moments = (size_t)m->moment_count;
    m->bytes_train = (n + 2 * moments) * sizeof(float);
    if (n) RT_TRY(take(m, n, sizeof(float), "the gradients", &m->grads));
    if (moments) RT_TRY(take(m, moments, sizeof(float), "Adam's first moments", &m->m));
    if (moments) RT_TRY(take(m, moments, sizeof(float), "Adam's second moments", &m->v));
    RT_TRY(take(m, norm_blocks(m), sizeof(double), "the gradient norm", &m->norm_partials));
    return take(m, 1, sizeof(rt_step_state), "the step's scalars", &m->state);
}

static rt_status start(rt_backend *be, const rt_bert *bert, rt_param_table *table, rt_model *out) {
    memset(out, 0, sizeof *out);
    out->be = be;
    out->bert = *bert;
    out->table = table;
    out->bytes_params = (size_t)table->n_params * sizeof(float);
    return take(out, (size_t)table->n_params, sizeof(float), "the parameters", &out->params);
}

rt_status rt_model_new_share(rt_backend *be, const rt_bert *bert, rt_param_table *table, int64_t off, int64_t count,
                             rt_model *out) {
    rt_status rc = start(be, bert, table, out);
    out->moment_off = off;
    out->moment_count = count;
    if (rc == RT_OK) rc = take_training(out);
    if (rc != RT_OK) rt_model_free(out);
    return rc;
}

rt_status rt_model_new(rt_backend *be, const rt_bert *bert, rt_param_table *table, bool training, rt_model *out) {
    if (training) return rt_model_new_share(be, bert, table, 0, table->n_trainables, out);
    rt_status rc = start(be, bert, table, out);
    if (rc != RT_OK) rt_model_free(out);
    return rc;
}

void rt_model_free(rt_model *model) {
    if (!model || !model->be) return;
    rt_backend *be = model->be;
    size_t n = (size_t)model->table->n_trainables * sizeof(float);
    size_t moments = (size_t)model->moment_count * sizeof(float);
    if (model->params) be->release(be, model->params, model->bytes_params);
    if (model->grads) be->release(be, model->grads, n);
    if (model->m) be->release(be, model->m, moments);
    if (model->v) be->release(be, model->v, moments);
    if (model->norm_partials) be->release(be, model->norm_partials, norm_blocks(model) * sizeof(double));
    if (model->state) be->release(be, model->state, sizeof(rt_step_state));
    for (int i = 0; i < model->n_linears; i++)
        if (model->packs[i]) be->release(be, model->packs[i], model->pack_bytes[i]);
    free(model->linears);
    free(model->packs);
    free(model->pack_bytes);
    memset(model, 0, sizeof *model);
}

static bool grow(void *array, size_t n, size_t size) {
    void *grown = realloc(*(void **)array, n * size);
    if (grown) *(void **)array = grown;
    return grown != NULL;
}

rt_status rt_model_register(rt_model *model, rt_linear *linear) {
    if (model->n_linears == model->linears_capacity) {
        size_t capacity = model->linears_capacity ? 2 * (size_t)model->linears_capacity : 64;
        if (!grow(&model->linears, capacity, sizeof(*model->linears)) ||
            !grow(&model->packs, capacity, sizeof(*model->packs)) ||
            !grow(&model->pack_bytes, capacity, sizeof(*model->pack_bytes)))
            return rt_fail(RT_ENOMEM, "out of memory for the list of layers");
        model->linears_capacity = (int)capacity;
    }
    linear->packed_bytes = model->be->packed_bytes(model->be, linear->n, linear->k);
    if (linear->packed_bytes)
        RT_TRY(model->be->alloc(model->be, linear->packed_bytes, "packed weights", &linear->packed));
    model->bytes_packed += linear->packed_bytes;
    model->linears[model->n_linears] = linear;
    model->packs[model->n_linears] = linear->packed;
    model->pack_bytes[model->n_linears++] = linear->packed_bytes;
    return RT_OK;
}

rt_status rt_model_pack(rt_model *model, bool trainable_only) {
    for (int i = 0; i < model->n_linears; i++) {
        const rt_linear *l = model->linears[i];
        if (!l->packed || (trainable_only && !model->table->rows[l->weight].trainable)) continue;
        RT_TRY(model->be->pack(model->be, rt_model_param(model, l->weight), l->n, l->k, l->packed));
    }
    return RT_OK;
}

const float *rt_model_param(const rt_model *model, int row) {
    return row < 0 ? NULL : model->params + model->table->rows[row].param_off;
}

float *rt_model_grad(const rt_model *model, int row) {
    if (row < 0 || !model->grads || model->table->rows[row].train_off < 0) return NULL;
    return model->grads + model->table->rows[row].train_off;
}

/* The part of a row's elements that is here: all of a parameter or gradient, of a moment perhaps less. */
typedef struct {
    bool there; /* the model has such a buffer */
    float *at;
    int64_t first, count; /* 0: nothing of it */
} part;

static part locate(const rt_model *model, int row, rt_buffer buffer) {
    const rt_param *p = &model->table->rows[row];
    part whole = {.there = true, .count = p->count};
    if (buffer == RT_BUFFER_PARAMS) {
        whole.at = model->params + p->param_off;
        return whole;
    }
    float *base = buffer == RT_BUFFER_GRADS ? model->grads : buffer == RT_BUFFER_M ? model->m : model->v;
    bool moment = buffer != RT_BUFFER_GRADS;
    if ((!base && !(moment && model->state)) || p->train_off < 0) return (part){0};
    if (!moment) {
        whole.at = base + p->train_off;
        return whole;
    }
    int64_t low = p->train_off > model->moment_off ? p->train_off : model->moment_off;
    int64_t high = p->train_off + p->count, end = model->moment_off + model->moment_count;
    if (high > end) high = end;
    if (low >= high) return (part){.there = true};
    return (part){true, base + (low - model->moment_off), low - p->train_off, high - low};
}

static rt_status no_buffer(const rt_model *model, int row) {
    return rt_fail(RT_EINTERNAL, "%s has no such buffer here", model->table->rows[row].name);
}

float *rt_model_direct(rt_model *model, int row, rt_buffer buffer) {
    part p = locate(model, row, buffer);
    return model->be->host_memory && p.count == model->table->rows[row].count ? p.at : NULL;
}

rt_status rt_model_put(rt_model *model, int row, rt_buffer buffer, const float *values) {
    part p = locate(model, row, buffer);
    if (!p.there) return no_buffer(model, row);
    return p.count ? model->be->upload(model->be, p.at, values + p.first, (size_t)p.count * sizeof(float)) : RT_OK;
}

rt_status rt_model_get_part(rt_model *model, int row, rt_buffer buffer, float *values, int64_t *first, int64_t *count) {
    part p = locate(model, row, buffer);
    if (!p.there) return no_buffer(model, row);
    *first = p.first, *count = p.count;
    return p.count ? model->be->download(model->be, values + p.first, p.at, (size_t)p.count * sizeof(float)) : RT_OK;
}

rt_status rt_model_get(rt_model *model, int row, rt_buffer buffer, float *values) {
    int64_t first, count;
    if (locate(model, row, buffer).count != model->table->rows[row].count) return no_buffer(model, row);
    return rt_model_get_part(model, row, buffer, values, &first, &count);
}

rt_status rt_model_init_row(rt_model *model, int row, uint64_t seed) {
    const rt_param *p = &model->table->rows[row];
    float *direct = rt_model_direct(model, row, RT_BUFFER_PARAMS);
    if (direct) {
        rt_param_init(p, seed, model->bert.initializer_range, direct);
        return RT_OK;
    }
    float *staging = malloc((size_t)p->count * sizeof *staging);
    if (!staging) return rt_fail(RT_ENOMEM, "out of memory to initialise %s", p->name);
    rt_param_init(p, seed, model->bert.initializer_range, staging);
    rt_status rc = rt_model_put(model, row, RT_BUFFER_PARAMS, staging);
    free(staging);
    return rc;
}

rt_status rt_linear_apply(rt_model *model, const rt_linear *linear, const rt_linear_run *run) {
    return model->be->linear_forward(
        model->be,
        &(rt_linear_forward_args){.w = {rt_model_param(model, linear->weight), linear->packed, linear->n, linear->k},
                                  .bias = run->with_bias ? rt_model_param(model, linear->bias) : NULL,
                                  .act = run->act,
                                  .x = run->x,
                                  .y = run->y,
                                  .y_dtype = run->y_dtype,
                                  .pre = run->pre,
                                  .rows = run->rows});
}

rt_status rt_linear_grad(rt_model *model, const rt_linear *linear, const rt_linear_gradient *g) {
    float *dw = rt_model_grad(model, linear->weight);
    float *db = g->with_bias ? rt_model_grad(model, linear->bias) : NULL;
    if (!dw && !db && !g->dx) return RT_OK;
    return model->be->linear_backward(model->be, &(rt_linear_backward_args){.w = {rt_model_param(model, linear->weight),
                                                                                  linear->packed, linear->n, linear->k},
                                                                            .act = g->act,
                                                                            .x = g->x,
                                                                            .saved = g->saved,
                                                                            .dy = g->dy,
                                                                            .dy_dtype = g->dy_dtype,
                                                                            .dx = g->dx,
                                                                            .dx_add = g->dx_add,
                                                                            .dw = dw,
                                                                            .db = db,
                                                                            .accumulate = g->accumulate,
                                                                            .rows = g->rows});
}
