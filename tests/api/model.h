/* What the tests of the API share: small models on disk, with weights drawn by the model's own initialisers (ten times
 * as wide, so that texts differ in their scores), and rows to score. */
#ifndef RT_TEST_API_MODEL_H
#define RT_TEST_API_MODEL_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rectrain/rectrain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "checkpoint/source.h"
#include "objective/objective.h"

/* Ids 0 to 4 are the special tokens, then a0 .. a9, b0 .. b9. */
static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na0\na1\na2\na3\na4\na5\na6\na7\na8\na9\n"
                                 "b0\nb1\nb2\nb3\nb4\nb5\nb6\nb7\nb8\nb9\n";
enum { FIRST_A = 5, FIRST_B = 15, WORDS = 25 };
static const char settings[] = "[data]\nmax_length = 12\n";

static char model_folder[64];

static inline int make_model_folder(void **state) {
    (void)state;
    strcpy(model_folder, "/tmp/rectrain-api-XXXXXX");
    return mkdtemp(model_folder) ? 0 : -1;
}

/* A path in the folder; good until the fourth call after. */
static inline const char *in_folder(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", model_folder, name);
    return path;
}

static inline int drop_model_folder(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", model_folder);
    return system(command);
}

typedef struct {
    int labels; /* 0: no head */
    const char *ini;
    bool resumable; /* has a state and moments, as last.h5 */
} model_kind;

static inline void write_model(const char *name, model_kind kind) {
    static const char *const labels[] = {"no", "yes", "maybe"};
    rt_bert bert = rt_bert_default();
    bert.hidden = 16, bert.layers = 2, bert.heads = 2, bert.ffn = 32;
    bert.vocab = WORDS, bert.max_positions = 160, bert.type_vocab = 2, bert.labels = kind.labels;
    rt_param_table table = {0};
    rt_objective *objective = NULL;
    assert_int_equal(rt_encoder_add_params(&table, &bert), RT_OK);
    if (kind.labels) {
        assert_int_equal(
            rt_objective_classify_new(&(rt_classify_options){.labels = kind.labels, .max_micro = 1}, &objective),
            RT_OK);
        assert_int_equal(objective->add_params(objective, &table, &bert), RT_OK);
        objective->close(objective);
    }
    assert_int_equal(rt_param_table_finish(&table, &(rt_freeze){.layer_decay = 1, .n_layers = bert.layers}), RT_OK);
    rt_tensor_view *views = calloc((size_t)table.n, sizeof *views);
    assert_non_null(views);
    for (int i = 0; i < table.n; i++) {
        const rt_param *p = &table.rows[i];
        float *data = calloc((size_t)p->count, sizeof *data);
        assert_non_null(data);
        rt_param_init(p, 7, 10 * bert.initializer_range, data);
        views[i] = (rt_tensor_view){p->name, p->rank, {p->shape[0], p->shape[1]}, data};
    }
    rt_text config = {0};
    assert_int_equal(rt_config_json_write(&bert, labels, kind.labels, &config), RT_OK);
    const char *ini = kind.ini ? kind.ini : settings;
    rt_checkpoint_contents contents = {.config_json = {config.data, config.size},
                                       .vocab_txt = {vocabulary, sizeof vocabulary - 1},
                                       .tokenizer_config_json = {"{\"do_lower_case\": true}", 23},
                                       .config_ini = {ini, strlen(ini)},
                                       .tensors = views,
                                       .n_tensors = table.n};
    if (kind.resumable) {
        contents.state = (rt_blob){"{\"step\": 1}", 11};
        contents.m = contents.v = views;
        contents.n_moments = table.n;
    }
    if (rt_checkpoint_write(in_folder(name), &contents) != RT_OK) fail_msg("%s", rt_error_get()->text);
    for (int i = 0; i < table.n; i++) free((float *)(uintptr_t)views[i].data);
    free(views);
    rt_text_free(&config);
    rt_param_table_free(&table);
}

static inline rectrain_model *load(const char *name) {
    rectrain_model *m = NULL;
    rectrain_options options = RECTRAIN_OPTIONS_INIT;
    options.precision = RECTRAIN_PRECISION_FP32;
    options.threads = 1;
    if (rectrain_load(in_folder(name), &options, &m) != RECTRAIN_OK) fail_msg("%s", rectrain_error());
    return m;
}

/* Row i of an endless table: one to five words on either side; every seventh is a single text. */
typedef struct {
    char a[32], b[32];
} words;
static inline rectrain_pair make_row(uint32_t i, words *w) {
    uint32_t h = i * 2654435761u;
    w->a[0] = w->b[0] = 0;
    for (uint32_t j = 0; j <= (h >> 7) % 5; j++) snprintf(w->a + strlen(w->a), 5, "a%u ", (h >> (3 * j)) % 10);
    for (uint32_t j = 0; j <= (h >> 17) % 5; j++) snprintf(w->b + strlen(w->b), 5, "b%u ", (h >> (2 * j + 5)) % 10);
    return (rectrain_pair){w->a, RECTRAIN_NUL, i % 7 == 6 ? NULL : w->b, RECTRAIN_NUL};
}

static inline void make_rows(uint32_t first, uint32_t n, words *w, rectrain_pair *pairs) {
    for (uint32_t i = 0; i < n; i++) pairs[i] = make_row(first + i, &w[i]);
}

#endif
