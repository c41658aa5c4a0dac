/* A Hugging Face folder in its variants: in, through a checkpoint, and out again, to the bit. */
#include "cases.h"
#include "checkpoint/hf_names.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/source.h"

#define CONFIG                                                                                                         \
    "\"hidden_size\": 16, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 24, "           \
    "\"vocab_size\": 9, \"max_position_embeddings\": 12, \"hidden_dropout_prob\": 0"
#define VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nc\n"

typedef struct {
    const char *config; /* further keys; NULL: model_type alone */
    bool prefix, gamma, pooler, position_ids, foreign;
    int labels;
    const char *dtype; /* NULL: F32 */
    int skip;          /* leaves out this row, counted from 1 */
    const char *extra; /* one more tensor of one F32 */
} variant;

static float value(int row, int64_t i) {
    return (float)(row * 1000 + i % 997) * 0.25f;
} /* exact in F32 */

static void add(rt_text *header, rt_text *data, const char *name, const char *dtype, const char *shape,
                const void *bytes, size_t size) {
    rt_text_printf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                   header->size > 1 ? "," : "", name, dtype, shape, data->size, data->size + size);
    rt_text_append(data, bytes, size);
}

/* The name as an older or barer model spells it. */
static void spell(const variant *v, const char *canonical, char out[RT_HF_NAME]) {
    bool bare = !v->prefix && strncmp(canonical, "bert.", 5) == 0;
    strcpy(out, canonical + (bare ? 5 : 0));
    char *norm = strstr(out, "LayerNorm.");
    if (v->gamma && norm) strcpy(norm + 10, strcmp(norm + 10, "weight") == 0 ? "gamma" : "beta");
}

static void write_weights(const variant *v, const char *file, int part, int parts) {
    rt_bert b = rt_bert_default();
    rt_hf_row *rows;
    rt_text header = {0}, data = {0}, whole = {0};
    int n;
    b.hidden = 16, b.layers = 2, b.heads = 2, b.ffn = 24, b.vocab = 9, b.max_positions = 12;
    assert_int_equal(rt_hf_rows(&b, v->pooler, v->labels, &rows, &n), RT_OK);
    rt_text_puts(&header, "{");
    for (int r = 0; r < n; r++) {
        char name[RT_HF_NAME], shape[64];
        rt_text bytes = {0};
        if (r % parts != part || r + 1 == v->skip) continue;
        spell(v, rows[r].name, name);
        snprintf(shape, sizeof shape, rows[r].rank == 2 ? "%d,%d" : "%d", (int)rows[r].shape[0], (int)rows[r].shape[1]);
        for (int64_t i = 0; i < rows[r].shape[0] * rows[r].shape[1]; i++) {
            float f = v->dtype ? (float)(r % 8) : value(r, i);
            uint32_t bits;
            memcpy(&bits, &f, 4);
            if (!v->dtype)
                rt_text_append(&bytes, (char *)&bits, 4);
            else /* BF16: the upper half of these small whole numbers */
                rt_text_append(&bytes, (char *)&bits + 2, 2);
        }
        add(&header, &data, name, v->dtype ? v->dtype : "F32", shape, bytes.data, bytes.size);
        rt_text_free(&bytes);
    }
    if (v->position_ids) add(&header, &data, "embeddings.position_ids", "I64", "1,2", "0123456789abcdef", 16);
    if (v->foreign) add(&header, &data, "cls.predictions.bias", "F32", "2", "12345678", 8);
    if (v->extra) add(&header, &data, v->extra, "F32", "1", "1234", 4);
    rt_text_puts(&header, "}");
    for (int i = 0; i < 8; i++) rt_text_append(&whole, &(char){(char)(header.size >> (8 * i))}, 1);
    rt_text_append(&whole, header.data, header.size);
    rt_text_append(&whole, data.data, data.size);
    put_file(file, whole.data, whole.size);
    rt_text_free(&header), rt_text_free(&data), rt_text_free(&whole);
    free(rows);
}

static void make_model(const variant *v) {
    rt_text config = {0};
    mkdir(at("hf"), 0700);
    rt_text_printf(&config, "{%s, %s}", v->config ? v->config : "\"model_type\": \"bert\"", CONFIG);
    put_text("hf/config.json", config.data);
    rt_text_free(&config);
    put_text("hf/vocab.txt", VOCAB);
    write_weights(v, "hf/model.safetensors", 0, 1);
}

static void check_values(rt_source *s, const variant *v) {
    rt_hf_row *rows;
    int n;
    float out[24 * 16];
    assert_int_equal(rt_hf_rows(rt_source_bert(s), v->pooler, v->labels, &rows, &n), RT_OK);
    assert_int_equal(rt_source_tensor_count(s), n);
    for (int r = 0; r < n; r++) {
        assert_true(rt_source_has(s, rows[r].name));
        assert_int_equal(rt_source_read(s, rows[r].name, rows[r].rank, rows[r].shape, out), RT_OK);
        for (int64_t i = 0; i < rows[r].shape[0] * rows[r].shape[1]; i++)
            assert_true(out[i] == (v->dtype ? (float)(r % 8) : value(r, i)));
    }
    free(rows);
}

static void every_variant_goes_round(void **state) {
    (void)state;
    static const variant variants[] = {
        {.pooler = true},
        {.prefix = true, .gamma = true, .foreign = true, .position_ids = true},
        {.prefix = true, .pooler = true, .labels = 1},
        {.prefix = true,
         .pooler = true,
         .labels = 2,
         .config = "\"model_type\": \"bert\", \"id2label\": {\"1\": \"yes\", \"0\": \"no\"}"},
        {.pooler = true, .gamma = true, .dtype = "BF16"},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *v = &variants[i];
        rt_source *s;
        make_model(v);
        for (int step = 0; step < 3; step++) { /* the folder, the checkpoint, the exported folder */
            const char *base = at(step == 0 ? "hf" : step == 1 ? "a.h5" : "out");
            assert_int_equal(rt_source_open(base, NULL, &s), RT_OK);
            assert_int_equal(rt_source_is_checkpoint(s), step == 1);
            assert_int_equal(rt_source_bert(s)->labels, v->labels);
            assert_int_equal(rt_source_label_count(s), v->labels);
            if (v->labels == 2) assert_string_equal(rt_source_label_name(s, 1), "yes");
            if (v->labels == 1) assert_string_equal(rt_source_label_name(s, 0), "0");
            assert_int_equal(rt_tokenizer_size(rt_source_tokenizer(s)), 8);
            check_values(s, v);
            if (step == 1) assert_int_equal(rt_export(s, at("out"), 10, NULL), RT_OK);
            rt_source_close(s);
            if (step == 0) assert_int_equal(rt_convert(at("hf"), at("a.h5"), NULL), RT_OK);
        }
    }
}

static void shards(void **state) {
    (void)state;
    const variant v = {.prefix = true, .pooler = true};
    rt_bert b = rt_bert_default();
    rt_hf_row *rows;
    rt_text index = {0};
    rt_source *s;
    int n;
    make_model(&v);
    remove(at("hf/model.safetensors"));
    write_weights(&v, "hf/model-1.safetensors", 0, 2);
    write_weights(&v, "hf/model-2.safetensors", 1, 2);
    b.layers = 2;
    assert_int_equal(rt_hf_rows(&b, true, 0, &rows, &n), RT_OK);
    for (int wrong = 0; wrong < 3; wrong++) {
        rt_text_clear(&index);
        rt_text_puts(&index, "{\"weight_map\": {");
        for (int r = 0; r < n; r++)
            rt_text_printf(&index, "%s\"%s\": \"%smodel-%d.safetensors\"", r ? ", " : "", rows[r].name,
                           wrong == 2 && r == 3 ? "../" : "", 1 + (r + (wrong == 1 && r == 3)) % 2);
        rt_text_puts(&index, "}}");
        put_text("hf/model.safetensors.index.json", index.data);
        rt_status rc = rt_source_open(at("hf"), NULL, &s);
        if (wrong) {
            assert_fails(rc, RT_EDATA, wrong == 1 ? "where the index puts it" : "expected NAME.safetensors");
            continue;
        }
        assert_int_equal(rc, RT_OK);
        check_values(s, &v);
        rt_source_close(s);
    }
    rt_text_free(&index);
    free(rows);
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        variant v;
        rt_status status;
        const char *says;
    } cases[] = {
        {{.config = "\"model_type\": \"xlm-roberta\""},
         RT_ECONFIG,
         "config.json: model_type xlm-roberta; rectrain takes bert with WordPiece (bert-*, MiniLM, bge-*-v1.5, "
         "e5-*-v2)"},
        {{.config = "\"x\": 1"}, RT_ECONFIG, "no model_type"},
        {{.config = "\"model_type\": \"bert\", \"hidden_act\": \"gelu_new\""}, RT_ECONFIG, "hidden_act gelu_new"},
        {{.config = "\"model_type\": \"bert\", \"position_embedding_type\": \"relative_key\""},
         RT_ECONFIG,
         "relative_key"},
        {{.config = "\"model_type\": \"bert\", \"is_decoder\": true"}, RT_ECONFIG, "is_decoder"},
        {{.config = "\"model_type\": \"bert\", \"quantization_config\": {}"}, RT_ECONFIG, "quantization_config"},
        {{.config = "\"model_type\": \"bert\", \"layer_norm_eps\": \"small\""}, RT_EDATA, "layer_norm_eps"},
        {{.config = "\"model_type\": \"bert\", \"type_vocab_size\": 3"}, RT_EDATA, "[2, 16], expected [3, 16]"},
        {{.config = "\"model_type\": \"bert\", \"num_labels\": 3", .labels = 2},
         RT_EDATA,
         "classifier.weight has 2 rows"},
        {{.config = "\"model_type\": \"bert\", \"id2label\": {\"0\": \"a\", \"2\": \"b\"}"}, RT_EDATA, "id2label"},
        {{.config = "\"model_type\": \"bert\", \"id2label\": {\"0\": \"a\"}, \"num_labels\": 2"},
         RT_EDATA,
         "num_labels is 2"},
        {{.config = "\"model_type\": \"bert\", \"rectrain\": {\"pooling\": \"max\"}"}, RT_EDATA, "rectrain.pooling"},
        {{.config = "\"model_type\": \"bert\", \"model_type\": \"bert\""}, RT_EDATA, "duplicate"},
        {{.skip = 7}, RT_EDATA, "its weights lack"},
        {{.dtype = "I16"}, RT_EDATA, "dtype I16, expected F32, F16 or BF16"},
        {{.extra = "encoder.layer.0.attention.self.query.lora_A"}, RT_ECONFIG, "no part of BERT"},
        {{.prefix = true, .extra = "embeddings.LayerNorm.weight"}, RT_EDATA, "two spellings"},
        {{.extra = "classifier.bias"}, RT_EDATA, "lack classifier.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_source *s = NULL;
        make_model(&cases[i].v);
        assert_fails(rt_source_open(at("hf"), NULL, &s), cases[i].status, cases[i].says);
        assert_null(s);
    }
}

static void missing_parts(void **state) {
    (void)state;
    rt_source *s;
    make_model(&(variant){.pooler = true});
    remove(at("hf/vocab.txt"));
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_ENOINPUT, "neither vocab.txt nor tokenizer.json");
    put_text("hf/spiece.model", "x");
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_ECONFIG, "spiece.model");
    put_text("hf/vocab.txt", VOCAB "d\ne\n");
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_EDATA, "vocab_size is 9");
    put_text("hf/vocab.txt", VOCAB);
    remove(at("hf/model.safetensors"));
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_ENOINPUT, "neither model.safetensors");
    put_text("hf/pytorch_model.bin", "x");
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_ECONFIG, "python3 -c");
    remove(at("hf/config.json"));
    assert_fails(rt_source_open(at("hf"), NULL, &s), RT_ENOINPUT, "without config.json");
}

static void names_on_this_machine(void **state) {
    (void)state;
    rt_source *s;
    setenv("HF_HUB_CACHE", at("hub"), 1);
    setenv("RECTRAIN_MODELS", at("models"), 1);
    assert_fails(
        rt_source_open("org/tiny", NULL, &s), RT_ENOINPUT,
        "model.base = org/tiny: no such file or folder, nor in the hub's cache. Get it: tools/fetch_model.sh org/tiny");
    make_model(&(variant){.pooler = true});
    mkdir(at("hub"), 0700), mkdir(at("hub/models--org--tiny"), 0700);
    mkdir(at("hub/models--org--tiny/refs"), 0700), mkdir(at("hub/models--org--tiny/snapshots"), 0700);
    put_text("hub/models--org--tiny/refs/main", "0123abcd");
    assert_fails(rt_source_open("org/tiny", NULL, &s), RT_EDATA, "0123abcd");
    assert_int_equal(rename(at("hf"), at("hub/models--org--tiny/snapshots/0123abcd")), 0);
    assert_int_equal(rt_source_open("org/tiny", NULL, &s), RT_OK);
    assert_non_null(strstr(rt_source_path(s), "snapshots/0123abcd"));
    rt_source_close(s);
    assert_int_equal(rt_source_open("tiny", NULL, &s), RT_OK);
    rt_source_close(s);
    put_text("hub/models--org--tiny/refs/main", "../../../etc");
    assert_fails(rt_source_open("org/tiny", NULL, &s), RT_EDATA, "hex digits");
    mkdir(at("models"), 0700);
    assert_int_equal(rename(at("hub/models--org--tiny/snapshots/0123abcd"), at("models/other")), 0);
    assert_int_equal(rt_source_open("other", NULL, &s), RT_OK);
    rt_source_close(s);
    assert_int_equal(rt_source_open("org/other", NULL, &s), RT_OK);
    rt_source_close(s);
    assert_fails(rt_source_open("../models/none", NULL, &s), RT_ENOINPUT, "no such file");
}

static void export_refuses(void **state) {
    (void)state;
    rt_source *s;
    make_model(&(variant){.prefix = true,
                          .pooler = true,
                          .labels = 2,
                          .config = "\"model_type\": \"bert\", \"rectrain\": {\"pooling\": \"mean\"}"});
    assert_int_equal(rt_source_open(at("hf"), NULL, &s), RT_OK);
    assert_fails(rt_export(s, at("out"), 10, NULL), RT_ECONFIG, "pooling = mean");
    assert_false(rt_is_folder(at("out")));
    rt_source_close(s);
    make_model(&(variant){.prefix = true, .pooler = true, .labels = 2});
    assert_int_equal(rt_source_open(at("hf"), NULL, &s), RT_OK);
    assert_fails(rt_export(s, at("out"), 13, NULL), RT_ECONFIG, "max_length = 13");
    mkdir(at("foreign"), 0700);
    put_text("foreign/letters.txt", "mine");
    assert_fails(rt_export(s, at("foreign"), 10, NULL), RT_ECONFIG, "no earlier export");
    assert_int_equal(rt_export(s, at("out"), 10, NULL), RT_OK);
    assert_int_equal(rt_export(s, at("out"), 10, NULL), RT_OK); /* ours is replaced */
    put_text("out/model-2.safetensors", "x");
    assert_fails(rt_export(s, at("out"), 10, NULL), RT_ECONFIG, "model-2.safetensors");
    size_t n;
    char *text = get_file("out/sentence_bert_config.json", &n);
    assert_string_equal(text, "{\"max_seq_length\": 10}\n");
    free(text);
    rt_source_close(s);
    assert_fails(rt_convert(at("hf"), at("out"), NULL), RT_EUSAGE, "name the file");
}

static void config_json_goes_round(void **state) {
    (void)state;
    rt_bert b = rt_bert_default(), back;
    const char *names[] = {"no \"x\"", "yes \xc3\xa9", "maybe"};
    char **labels;
    int n;
    rt_text t = {0};
    b.vocab = 77, b.labels = 3, b.pooling = RT_POOL_MEAN, b.head_dropout = 0.25f, b.layer_norm_eps = 1e-7f;
    assert_int_equal(rt_config_json_write(&b, names, 3, &t), RT_OK);
    assert_int_equal(rt_config_json_parse(t.data, t.size, "config.json", &back, &labels, &n), RT_OK);
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) {
        assert_string_equal(labels[i], names[i]);
        free(labels[i]);
    }
    free(labels);
    assert_true(back.vocab == 77 && back.labels == 3 && back.pooling == RT_POOL_MEAN && back.head_dropout == 0.25f &&
                back.layer_norm_eps == 1e-7f && back.hidden == b.hidden && back.ffn == b.ffn &&
                back.dropout == b.dropout);
    names[2] = names[0];
    assert_fails(rt_config_json_write(&b, names, 3, &t), RT_ECONFIG, "stands twice");
    rt_text_free(&t);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        TEST(every_variant_goes_round),
        TEST(shards),
        TEST(refusals),
        TEST(missing_parts),
        TEST(names_on_this_machine),
        TEST(export_refuses),
        TEST(config_json_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
