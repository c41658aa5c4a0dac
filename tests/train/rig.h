/* A whole tiny trainer for a test: words, a table of pairs, a model of two narrow layers, a step or a loop. */
#ifndef TEST_TRAIN_RIG_H
#define TEST_TRAIN_RIG_H
#include "tests/data/files.h"
#include "train/train.h"
#include <math.h>

typedef struct {
    const char *rows; /* lines "a TAB b TAB label TAB weight" */
    int labels;       /* K; 0: two */
    int hidden;       /* 0: 32 */
    bool plain_init;  /* BertConfig's range as it is */
    int eval_tokens;  /* of an evaluation batch; 0: 64 */
    bool weights;     /* the fourth column counts */
    float dropout;    /* everywhere */
    rt_pooling pooling;
    rt_freeze freeze; /* layer_decay 0: none */
    int threads;      /* 0: one */
    rt_precision precision;
    int layers; /* 0: two */
    bool recompute;
    bool pairs; /* the contrastive objective; rows go on with "TAB user TAB item TAB negative" */
    rt_contrastive_options contrastive; /* sides 0: two; 3: with the negative */
    bool log_share;
    rt_train_settings settings; /* batch_size, micro_tokens, rates and so on; what is 0 gets a sensible value */
    uint64_t total_steps, warmup_steps;
} rig_options;

typedef struct {
    rt_tokenizer *tok;
    rt_dataset *data;
    rt_pairs keys;
    rt_backend *be;
    rt_bert bert;
    rt_param_table table;
    rt_model model;
    rt_encoder encoder;
    rt_objective *objective;
    rt_comm *comm;
    rt_train_state state;
    rt_train_job job;
    rt_stepper *stepper;
} rig;

static inline void ok(rt_status s) {
    if (s != RT_OK) fail_msg("%s", rt_error_get()->text);
}

/* A short list of words, whatever the rows say: w0 .. w79. */
static inline rt_tokenizer *rig_tokenizer(void) {
    char text[1024];
    int at = snprintf(text, sizeof text, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (int i = 0; i < 80; i++) at += snprintf(text + at, sizeof text - (size_t)at, "w%d\n", i);
    rt_tokenizer_options options = rt_tokenizer_defaults();
    rt_tokenizer *tok = NULL;
    ok(rt_tokenizer_from_vocab(text, (size_t)at, "vocab.txt", &options, &tok));
    return tok;
}

static inline rt_dataset *rig_dataset(const rig_options *o, const rt_tokenizer *tok) {
    static const char *const names[] = {"0", "1", "2"};
    rt_text text = {0};
    rt_dataset *data = NULL;
    rt_text_puts(&text, o->pairs ? "a\tb\ty\tw\tuser\titem\tn\n" : "a\tb\ty\tw\n");
    rt_text_puts(&text, o->rows);
    const char *file = write_bytes("rows.tsv", text.data, text.size);
    rt_text_free(&text);
    rt_data_spec spec = {.files = &file,
                         .n_files = 1,
                         .text_a = "a",
                         .text_b = "b",
                         .label = "y",
                         .weight = o->weights ? "w" : NULL,
                         .labels = names,
                         .n_labels = o->labels ? o->labels : 2,
                         .need_label = true,
                         .encode = {.max_length = 16},
                         .threads = 1};
    static const char *const negative[] = {"n"};
    if (o->pairs) {
        spec.apart = true, spec.need_label = false;
        spec.user = "user", spec.item = "item";
        spec.negatives = negative, spec.n_negatives = o->contrastive.sides == 3;
    }
    ok(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &data));
    return data;
}

static inline void rig_model(rig *r, const rig_options *o, int train_tokens) {
    r->bert = rt_bert_default();
    r->bert.hidden = o->hidden ? o->hidden : 32;
    r->bert.layers = o->layers ? o->layers : 2, r->bert.heads = 2, r->bert.ffn = 2 * r->bert.hidden,
    r->bert.max_positions = 16;
    r->bert.vocab = rt_tokenizer_size(r->tok);
    r->bert.labels = o->labels ? o->labels : 2;
    r->bert.pooling = o->pooling;
    r->bert.dropout = r->bert.attention_dropout = r->bert.head_dropout = o->dropout;
    ok(rt_cpu_backend_open(&(rt_backend_options){.precision = o->precision, .threads = o->threads ? o->threads : 1},
                           &r->be));
    ok(rt_comm_self(&r->comm));
    int batch = r->job.settings.batch_size;
    int sides = rt_dataset_sides(r->data);
    rt_contrastive_options vectors = o->contrastive;
    vectors.max_rows = batch, vectors.sides = sides, vectors.max_micro = batch * sides;
    if (vectors.scale == 0) vectors.scale = 20;
    if (o->pairs) {
        r->bert.labels = 0, r->bert.head_dropout = 0;
        ok(rt_objective_contrastive_new(&vectors, &r->objective));
    } else {
        ok(rt_objective_classify_new(&(rt_classify_options){.labels = r->bert.labels, .max_micro = batch},
                                     &r->objective));
    }
    ok(rt_encoder_add_params(&r->table, &r->bert));
    ok(r->objective->add_params(r->objective, &r->table, &r->bert));
    rt_freeze freeze = o->freeze;
    freeze.n_layers = r->bert.layers;
    if (freeze.layer_decay == 0) freeze.layer_decay = 1;
    ok(rt_param_table_finish(&r->table, &freeze));
    ok(rt_model_new(r->be, &r->bert, &r->table, true, &r->model));
    int eval_tokens = o->eval_tokens ? o->eval_tokens : 64;
    rt_encoder_sizes sizes = {.train_tokens = train_tokens,
                              .train_seqs = batch * sides,
                              .eval_tokens = eval_tokens,
                              .eval_seqs = eval_tokens / 4,
                              .max_len = 16,
                              .recompute = o->recompute};
    if (o->pairs) rt_contrastive_sizes(&vectors, &sizes.head_rows, &sizes.head_width);
    ok(rt_encoder_new(&r->model, &sizes, &r->encoder));
    ok(r->objective->bind(r->objective, &r->encoder));
    for (int i = 0; i < r->table.n; i++) {
        ok(rt_model_init_row(&r->model, i, r->job.settings.seed + 3));
        /* BertConfig's 0.02 leaves so small a model near symmetry: gradients would be rounding. */
        float *p = rt_model_direct(&r->model, i, RT_BUFFER_PARAMS);
        for (int64_t k = 0; !o->plain_init && r->table.rows[i].init == RT_INIT_NORMAL && k < r->table.rows[i].count;
             k++)
            p[k] *= 8;
    }
    ok(rt_model_pack(&r->model, false));
}

static inline void rig_open(rig *r, const rig_options *o) {
    memset(r, 0, sizeof *r);
    rt_train_settings s = o->settings;
    if (!s.batch_size) s.batch_size = 64;
    if (!s.micro_tokens) s.micro_tokens = 1024;
    if (!s.max_seqs) s.max_seqs = s.batch_size * (o->pairs ? o->contrastive.sides == 3 ? 3 : 2 : 1);
    if (s.beta1 == 0) s.beta1 = 0.9, s.beta2 = 0.999;
    if (s.epsilon == 0) s.epsilon = 1e-8;
    r->job.settings = s;
    r->tok = rig_tokenizer();
    r->data = rig_dataset(o, r->tok);
    if (o->pairs) ok(rt_pairs_new(r->data, o->log_share, &r->keys));
    rig_model(r, o, s.micro_tokens < 16 ? 64 : (s.micro_tokens + 63) / 64 * 64);
    r->state = (rt_train_state){
        .best_metric = NAN, .total_steps = o->total_steps ? o->total_steps : 1000, .warmup_steps = o->warmup_steps};
    r->job = (rt_train_job){.data = r->data,
                            .pairs = o->pairs ? &r->keys : NULL,
                            .objective = r->objective,
                            .encoder = &r->encoder,
                            .comm = r->comm,
                            .settings = s,
                            .state = &r->state};
}

static inline rt_step_result rig_step(rig *r) {
    rt_step_result result;
    if (!r->stepper) ok(rt_stepper_new(&r->job, &r->stepper));
    ok(rt_stepper_run(r->stepper, &result));
    return result;
}

static inline void rig_close(rig *r) {
    rt_stepper_free(r->stepper);
    r->objective->close(r->objective);
    rt_encoder_free(&r->encoder);
    rt_model_free(&r->model);
    rt_param_table_free(&r->table);
    r->be->close(r->be);
    r->comm->close(r->comm, RT_OK);
    rt_pairs_free(&r->keys);
    rt_dataset_close(r->data);
    rt_tokenizer_free(r->tok);
}

/* Copies of a buffer, whole. */
static inline float *rig_copy(const float *from, int64_t n) {
    float *copy = malloc((size_t)n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, from, (size_t)n * sizeof *copy);
    return copy;
}

static inline double rig_norm(const float *a, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (double)a[i] * a[i];
    return sqrt(s);
}

/* Every gradient of two models within a relative L2 distance; a NaN is infinitely far. The key's bias has the true
 * gradient 0, so its rounding is measured against the key's weight. */
static inline void rig_same_gradients(const rig *x, const rig *y, double tolerance) {
    for (int i = 0; i < x->table.n; i++) {
        const rt_param *p = &x->table.rows[i];
        const float *a = rt_model_grad(&x->model, i), *b = rt_model_grad(&y->model, i);
        if (!a || !b) continue;
        double d = 0, size = rig_norm(b, p->count);
        if (strstr(p->name, "key.bias")) size = rig_norm(rt_model_grad(&y->model, i - 3), y->table.rows[i - 3].count);
        for (int64_t k = 0; k < p->count; k++) d += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
        if (!(sqrt(d) <= tolerance * size)) fail_msg("%s: %.3g away, of %.3g", p->name, sqrt(d), size);
    }
}

static const char rig_rows[] = "w0 w1\tw2\t1\t1\n"
                               "w3\tw4 w5 w6\t0\t2\n"
                               "w7 w8 w9\tw10\t1\t3\n"
                               "w11\tw12 w1 w2\t0\t1\n"
                               "w13 w14 w15 w16\tw17 w18\t0\t2\n"
                               "w19\tw0\t1\t1\n"
                               "w2 w5 w7 w9 w12\tw3 w3 w4 w8 w16 w1\t0\t1\n"
                               "w6\tw6\t1\t2\n"
                               "w1 w4\tw10 w11 w12\t0\t1\n"
                               "w8 w18\tw13 w2 w5\t1\t3\n";

/* Clicked rows but for one; users and items come again, so that something is masked; a negative is missing. */
static const char rig_pairs[] = "w0 w1\tw2\t1\t1\tu0\ti0\tw9 w8\n"
                                "w3\tw4 w5 w6\t1\t2\tu1\ti1\tw10\n"
                                "w7 w8 w9\tw10\t1\t3\tu2\ti2\t\n"
                                "w11\tw12 w1 w2\t0\t1\tu3\ti3\tw1 w2\n"
                                "w13 w14 w15 w16\tw17 w18\t1\t2\tu0\ti4\tw3 w3\n"
                                "w19\tw0\t1\t1\tu4\ti5\tw30 w31 w32\n"
                                "w2 w5 w7 w9 w12\tw3 w3 w4 w8 w16 w1\t1\t1\tu5\ti1\tw2 w40\n"
                                "w6\tw6\t1\t2\tu6\ti6\tw7 w41 w42 w43\n"
                                "w1 w4\tw10 w11 w12\t1\t1\tu7\ti7\tw2\n"
                                "w8 w18\tw13 w2 w5\t1\t3\tu8\ti8\tw50 w51\n";

#endif
