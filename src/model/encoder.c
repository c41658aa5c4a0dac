#include "encoder.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add_vector(rt_param_table *t, const char *name, int64_t n, rt_init init, int depth, int group) {
    return rt_param_add(t, name, n, 0, init, false, depth, group);
}

static int add_norm(rt_param_table *t, const char *prefix, int64_t n, int depth) {
    char name[96];
    snprintf(name, sizeof name, "%s.LayerNorm.weight", prefix);
    int first = add_vector(t, name, n, RT_INIT_ONE, depth, 0);
    snprintf(name, sizeof name, "%s.LayerNorm.bias", prefix);
    return add_vector(t, name, n, RT_INIT_ZERO, depth, 0) < 0 ? -1 : first;
}

static int add_linear(rt_param_table *t, const char *prefix, int64_t n, int64_t k, int depth) {
    char name[96];
    snprintf(name, sizeof name, "%s.weight", prefix);
    int first = rt_param_add(t, name, n, k, RT_INIT_NORMAL, true, depth, 0);
    if (first >= 0) t->rows[first].matrix = true;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return add_vector(t, name, n, RT_INIT_ZERO, depth, 0) < 0 ? -1 : first;
}

static bool add_layer(rt_param_table *t, const rt_bert *b, int layer) {
    static const char *const parts[] = {"query", "key", "value"};
    char name[96], prefix[64];
    int64_t h = b->hidden;
    int depth = layer + 1, group = t->next_group + 1;
    bool ok = true;
    for (int i = 0; i < 6; i++) { /* three weights, one block; three biases, one block */
        bool weight = i < 3;
        snprintf(name, sizeof name, "bert.encoder.layer.%d.attention.self.%s.%s", layer, parts[i % 3],
                 weight ? "weight" : "bias");
        int row = weight ? rt_param_add(t, name, h, h, RT_INIT_NORMAL, true, depth, group)
                         : add_vector(t, name, h, RT_INIT_ZERO, depth, group + 1);
        if (row >= 0) t->rows[row].matrix = weight;
        ok = ok && row >= 0;
    }
    snprintf(prefix, sizeof prefix, "bert.encoder.layer.%d.attention.output", layer);
    snprintf(name, sizeof name, "%s.dense", prefix);
    ok = ok && add_linear(t, name, h, h, depth) >= 0 && add_norm(t, prefix, h, depth) >= 0;
    snprintf(name, sizeof name, "bert.encoder.layer.%d.intermediate.dense", layer);
    ok = ok && add_linear(t, name, b->ffn, h, depth) >= 0;
    snprintf(prefix, sizeof prefix, "bert.encoder.layer.%d.output", layer);
    snprintf(name, sizeof name, "%s.dense", prefix);
    return ok && add_linear(t, name, h, b->ffn, depth) >= 0 && add_norm(t, prefix, h, depth) >= 0;
}

rt_status rt_encoder_add_params(rt_param_table *t, const rt_bert *b) {
    RT_TRY(rt_bert_check(b));
    static const char *const tables[] = {"word", "position", "token_type"};
    const int64_t sizes[] = {b->vocab, b->max_positions, b->type_vocab};
    bool ok = true;
    for (int i = 0; i < 3; i++) {
        char name[96];
        snprintf(name, sizeof name, "bert.embeddings.%s_embeddings.weight", tables[i]);
        ok = ok && rt_param_add(t, name, sizes[i], b->hidden, RT_INIT_NORMAL, true, 0, 0) >= 0;
    }
    ok = ok && add_norm(t, "bert.embeddings", b->hidden, 0) >= 0;
    for (int l = 0; ok && l < b->layers; l++) ok = add_layer(t, b, l);
    if (b->pooling == RT_POOL_CLS)
        ok = ok && add_linear(t, "bert.pooler.dense", b->hidden, b->hidden, b->layers + 1) >= 0;
    return ok ? RT_OK : rt_fail(RT_ENOMEM, "out of memory for the parameter table");
}

/* Row numbers follow from the order of rt_encoder_add_params; names are looked up once and checked. */
static rt_status find(const rt_param_table *t, int *row, const char *format, int layer) {
    char name[96];
    snprintf(name, sizeof name, format, layer);
    *row = rt_param_find(t, name);
    return *row < 0 ? rt_fail(RT_EINTERNAL, "parameter table has no row %s", name) : RT_OK;
}

static rt_linear linear_at(int weight, int bias, int64_t n, int64_t k) {
    return (rt_linear){.weight = weight, .bias = bias, .n = n, .k = k};
}

static rt_status bind_layer(rt_encoder *e, int l) {
    const rt_param_table *t = e->model->table;
    const rt_bert *b = &e->model->bert;
    rt_layer_rows *r = &e->layers[l];
    int64_t h = b->hidden;
    int row;
    RT_TRY(find(t, &r->q_weight, "bert.encoder.layer.%d.attention.self.query.weight", l));
    RT_TRY(find(t, &r->q_bias, "bert.encoder.layer.%d.attention.self.query.bias", l));
    r->qkv = linear_at(r->q_weight, r->q_bias, 3 * h, h);
    r->q = linear_at(r->q_weight, r->q_bias, h, h);
    r->kv = linear_at(r->q_weight + 1, r->q_bias + 1, 2 * h, h);
    RT_TRY(find(t, &row, "bert.encoder.layer.%d.attention.output.dense.weight", l));
    r->attn_out = linear_at(row, row + 1, h, h);
    r->norm1 = (rt_norm_rows){row + 2, row + 3};
    RT_TRY(find(t, &row, "bert.encoder.layer.%d.intermediate.dense.weight", l));
    r->ffn_in = linear_at(row, row + 1, b->ffn, h);
    RT_TRY(find(t, &row, "bert.encoder.layer.%d.output.dense.weight", l));
    r->ffn_out = linear_at(row, row + 1, h, b->ffn);
    r->norm2 = (rt_norm_rows){row + 2, row + 3};
    if (e->first_rows && l == b->layers - 1) {
        RT_TRY(rt_model_register(e->model, &r->q));
        RT_TRY(rt_model_register(e->model, &r->kv));
    } else {
        RT_TRY(rt_model_register(e->model, &r->qkv));
    }
    RT_TRY(rt_model_register(e->model, &r->attn_out));
    RT_TRY(rt_model_register(e->model, &r->ffn_in));
    return rt_model_register(e->model, &r->ffn_out);
}

/* Pieces of one layer; `share` gives layers that keep nothing, or are run again, the same memory. `saves`: a
 * backward will read what its forward leaves. */
static void take_layer(const rt_encoder *e, const rt_acts *set, rt_arena *arena, int l, bool saves, rt_layer_acts *a,
                       const rt_layer_acts *share) {
    const rt_bert *b = &e->model->bert;
    size_t size = rt_dtype_size(e->model->be->act), h = (size_t)b->hidden;
    bool first = e->first_rows && l == b->layers - 1;
    size_t tokens = (size_t)set->max_tokens, rows = first ? (size_t)set->max_seqs : tokens;
    if (share) {
        void *x = a->x, *y = a->y;
        *a = *share;
        a->x = x, a->y = y;
    } else {
        a->qkv = rt_arena_take(arena, tokens * 3 * h, size);
        a->ctx = rt_arena_take(arena, rows * h, size);
        a->z1 = rt_arena_take(arena, rows * h, size);
        a->y1 = rt_arena_take(arena, rows * h, size);
        a->gelu = rt_arena_take(arena, rows * (size_t)b->ffn, size);
        a->pre = saves ? rt_arena_take(arena, rows * (size_t)b->ffn, size) : NULL;
        a->z2 = rt_arena_take(arena, rows * h, size);
        a->lse = saves ? RT_ARENA_NEW(arena, float, rows *(size_t)b->heads) : NULL;
        a->mean1 = RT_ARENA_NEW(arena, float, rows);
        a->rstd1 = RT_ARENA_NEW(arena, float, rows);
        a->mean2 = RT_ARENA_NEW(arena, float, rows);
        a->rstd2 = RT_ARENA_NEW(arena, float, rows);
    }
    if (first) {
        a->x_first = rt_arena_take(arena, (size_t)set->max_seqs * h, size);
        a->q_first = rt_arena_take(arena, (size_t)set->max_seqs * h, size);
    }
}

/* Cuts the arena for a micro-batch of these sizes: run before every forward, so that memory touched is memory used. */
static void bind_acts(const rt_encoder *e, rt_acts *set, bool training, rt_arena *arena) {
    const rt_bert *b = &e->model->bert;
    size_t size = rt_dtype_size(e->model->be->act), h = (size_t)b->hidden, tokens = (size_t)set->max_tokens,
           seqs = (size_t)set->max_seqs;
    void *spare[2] = {NULL, NULL}; /* outputs of layers that keep nothing alternate between two buffers */
    const rt_layer_acts *shared = NULL;
    void *x = rt_arena_take(arena, tokens * h, size);
    set->embed_mean = RT_ARENA_NEW(arena, float, tokens);
    set->embed_rstd = RT_ARENA_NEW(arena, float, tokens);
    int low = training ? e->first_trainable : b->layers;
    const bool again = training && e->sizes.recompute; /* one set of buffers serves all layers */
    for (int l = 0; l < b->layers; l++) {
        rt_layer_acts *a = &set->layers[l];
        bool keep = l >= low;
        a->x = x;
        if (keep) {
            a->y = rt_arena_take(arena, tokens * h, size);
        } else {
            if (l < 2) spare[l] = rt_arena_take(arena, tokens * h, size);
            a->y = spare[l & 1];
        }
        take_layer(e, set, arena, l, keep || again, a, keep && !again ? NULL : shared);
        if (!shared && (!keep || again)) shared = a;
        x = a->y;
    }
    set->pooled_raw = rt_arena_take(arena, seqs * h, size);
    set->pooled = rt_arena_take(arena, seqs * h, size);
    if (!training) return;
    set->grad_a = rt_arena_take(arena, tokens * h, size);
    set->grad_b = rt_arena_take(arena, tokens * h, size);
    set->grad_wide = rt_arena_take(arena, tokens * (size_t)b->ffn, size);
    set->grad_qkv = rt_arena_take(arena, (tokens * 3 + seqs) * h, size);
}

/* A set for one kind of pass at its largest; what it takes in bytes. */
static size_t measure_set(const rt_encoder *e, rt_acts *set, bool training, int tokens, int seqs) {
    rt_arena arena = {0};
    set->max_tokens = (tokens + 63) / 64 * 64;
    set->max_seqs = seqs;
    bind_acts(e, set, training, &arena);
    return arena.used;
}

rt_status rt_encoder_bind(rt_encoder *e, const rt_batch *batch, bool training) {
    rt_acts *set = training ? &e->train : &e->eval;
    int tokens = training ? e->sizes.train_tokens : e->sizes.eval_tokens;
    int seqs = training ? e->sizes.train_seqs : e->sizes.eval_seqs;
    if (batch->n_tokens > tokens || batch->n_seqs > seqs)
        return rt_fail(RT_EINTERNAL, "a micro-batch of %d tokens in %d sequences, but room for %d in %d",
                       batch->n_tokens, batch->n_seqs, tokens, seqs);
    rt_arena arena = {.base = e->arena_memory, .capacity = e->arena_bytes};
    set->max_tokens = (batch->n_tokens + 63) / 64 * 64;
    set->max_seqs = batch->n_seqs;
    bind_acts(e, set, training, &arena);
    e->last = set;
    return rt_arena_ok(&arena) ? RT_OK : rt_fail(RT_EINTERNAL, "activations need more than was measured");
}

static void find_first_trainable(rt_encoder *e) {
    const rt_param_table *t = e->model->table;
    e->first_trainable = e->model->bert.layers;
    for (int i = t->n - 1; i >= 0; i--) {
        const rt_param *p = &t->rows[i];
        if (!p->trainable) continue;
        if (p->depth == 0) e->embeddings_trainable = true;
        int layer = p->depth > 0 ? p->depth - 1 : 0;
        if (layer < e->first_trainable) e->first_trainable = layer;
    }
}

static rt_status start(rt_model *model, const rt_encoder_sizes *sizes, rt_encoder *e) {
    size_t layers = (size_t)model->bert.layers;
    memset(e, 0, sizeof *e);
    e->model = model;
    e->sizes = *sizes;
    e->training = sizes->train_tokens > 0;
    e->first_rows = model->bert.pooling != RT_POOL_MEAN;
    find_first_trainable(e);
    e->layers = calloc(layers, sizeof *e->layers);
    e->train.layers = calloc(layers, sizeof *e->train.layers);
    e->eval.layers = calloc(layers, sizeof *e->eval.layers);
    if (!e->layers || !e->train.layers || !e->eval.layers)
        return rt_fail(RT_ENOMEM, "out of memory for the list of layers");
    size_t train = e->training ? measure_set(e, &e->train, true, sizes->train_tokens, sizes->train_seqs) : 0;
    size_t eval = measure_set(e, &e->eval, false, sizes->eval_tokens, sizes->eval_seqs);
    e->arena_bytes = train > eval ? train : eval;
    return RT_OK;
}

static rt_dims dims_of(const rt_encoder *e) {
    const rt_encoder_sizes *s = &e->sizes;
    const rt_bert *b = &e->model->bert;
    int tokens = s->train_tokens > s->eval_tokens ? s->train_tokens : s->eval_tokens;
    int seqs = s->train_seqs > s->eval_seqs ? s->train_seqs : s->eval_seqs;
    return (rt_dims){.max_tokens = (tokens + 63) / 64 * 64,
                     .max_seqs = seqs > s->head_rows ? seqs : s->head_rows,
                     .max_len = s->max_len,
                     .hidden = b->hidden,
                     .heads = b->heads,
                     .ffn = b->ffn,
                     .vocab = b->vocab,
                     .max_positions = b->max_positions,
                     .type_vocab = b->type_vocab,
                     .labels = b->labels > s->head_width ? b->labels : s->head_width,
                     .training = e->training};
}

static void free_lists(rt_encoder *e) {
    free(e->layers);
    free(e->train.layers);
    free(e->eval.layers);
}

rt_status rt_encoder_measure(rt_model *model, const rt_encoder_sizes *sizes, size_t *activations, size_t *workspace) {
    rt_encoder e;
    rt_status rc = start(model, sizes, &e);
    if (rc == RT_OK) {
        rt_dims dims = dims_of(&e);
        *activations = e.arena_bytes;
        *workspace = model->be->workspace_bytes(model->be, &dims);
    }
    free_lists(&e);
    return rc;
}

rt_status rt_encoder_new(rt_model *model, const rt_encoder_sizes *sizes, rt_encoder *out) {
    rt_backend *be = model->be;
    const rt_param_table *t = model->table;
    rt_status rc = start(model, sizes, out);
    if (rc != RT_OK) goto done;
    RT_GO(find(t, &out->word, "bert.embeddings.word_embeddings.weight", 0));
    RT_GO(find(t, &out->position, "bert.embeddings.position_embeddings.weight", 0));
    RT_GO(find(t, &out->type, "bert.embeddings.token_type_embeddings.weight", 0));
    out->embed_norm = (rt_norm_rows){out->type + 1, out->type + 2};
    for (int l = 0; l < model->bert.layers; l++) RT_GO(bind_layer(out, l));
    out->has_pooler = model->bert.pooling == RT_POOL_CLS;
    if (out->has_pooler) {
        int row;
        RT_GO(find(t, &row, "bert.pooler.dense.weight", 0));
        out->pooler = linear_at(row, row + 1, model->bert.hidden, model->bert.hidden);
        RT_GO(rt_model_register(model, &out->pooler));
    }
    RT_GO(be->alloc(be, out->arena_bytes, "activations", &out->arena_memory));
    rt_dims dims = dims_of(out);
    out->workspace_bytes = be->workspace_bytes(be, &dims);
    if (out->workspace_bytes) RT_GO(be->alloc(be, out->workspace_bytes, "workspace", &out->workspace));
    RT_GO(be->set_workspace(be, &dims, out->workspace, out->workspace_bytes));
    return RT_OK;
done:
    rt_encoder_free(out);
    return rc;
}

void rt_encoder_free(rt_encoder *e) {
    if (!e || !e->model) return;
    rt_backend *be = e->model->be;
    if (e->arena_memory) be->release(be, e->arena_memory, e->arena_bytes);
    if (e->workspace) be->release(be, e->workspace, e->workspace_bytes);
    free_lists(e);
    memset(e, 0, sizeof *e);
}

int64_t rt_encoder_token_rows(const rt_encoder *e, const rt_batch *batch) {
    return e->model->be->host_memory ? batch->n_tokens : batch->bucket;
}

rt_dropout rt_encoder_dropout(const rt_encoder *e, const rt_pass *pass, float p, int site) {
    if (!pass->training) p = 0.0f;
    return (rt_dropout){
        .p = p, .site = (uint16_t)site, .view = pass->view, .seed = pass->seed, .state = e->model->state};
}

void *rt_encoder_dpooled(rt_encoder *e) {
    return e->last->grad_b;
}

const void *rt_encoder_hidden(const rt_encoder *e) {
    return e->last->layers[e->model->bert.layers - 1].y;
}

void rt_param_span(const rt_param_table *t, int low, int high, int64_t *offset, int64_t *count) {
    int64_t first = INT64_MAX, end = 0;
    for (int i = 0; i < t->n; i++) {
        const rt_param *p = &t->rows[i];
        if (p->train_off < 0 || p->depth < low || p->depth > high) continue;
        if (p->train_off < first) first = p->train_off;
        int64_t last = (p->train_off + p->count + 63) / 64 * 64; /* with the padding of its block */
        if (last > end) end = last;
    }
    *offset = end ? first : 0;
    *count = end ? end - first : 0;
}
