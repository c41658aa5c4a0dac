/* Precedence, origins, paths, globs, the search for a file, what checkpoints store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sys/stat.h>

#include "config/config.h"
#include "config/options.h"
#include "files.h"

static rt_config *load_with(const char *path, const char *const *sets, const char *const *environment) {
    rt_config *cfg = NULL;
    int n = 0;
    while (sets && sets[n]) n++;
    rt_status rc = rt_config_load(
        &(rt_config_request){.path = path, .sets = sets, .n_sets = n, .environment = environment}, NULL, &cfg);
    if (rc != RT_OK) fail_msg("%s", rt_error_get()->text);
    return cfg;
}
#define SETS(...)                                                                                                      \
    (const char *const[]) {                                                                                            \
        __VA_ARGS__, NULL                                                                                              \
    }

static void defaults_are_the_seed_recipe(void **state) {
    (void)state;
    rt_config *cfg = load_with(NULL, NULL, NULL);
    assert_int_equal(cfg->optimizer.type, RT_CFG_ADAM);
    assert_true(cfg->optimizer.learning_rate == 2e-5);
    assert_int_equal(cfg->schedule.type, RT_CFG_SCHEDULE_CONSTANT);
    assert_true(cfg->optimizer.clip_norm == 0);
    assert_int_equal(cfg->train.batch_size, 16);
    assert_int_equal(cfg->train.epochs, 5);
    assert_int_equal(cfg->data.max_length, 128);
    assert_true(cfg->eval.every.value == 1 && cfg->eval.every.unit == RT_SPAN_EPOCHS);
    assert_true(cfg->checkpoint.every.value == 10 && cfg->checkpoint.every.unit == RT_SPAN_MINUTES);
    assert_string_equal(cfg->data.text_a, "text_a");
    assert_string_equal(cfg->data.text_b, "text_b");
    assert_string_equal(cfg->data.label, "label");
    assert_string_equal(cfg->data.group, "group");
    assert_string_equal(cfg->run.output, "runs");
    assert_string_equal(cfg->run.name, "run");
    assert_int_equal(cfg->run.if_exists, RT_IF_EXISTS_RESUME);
    assert_null(cfg->model.base);
    assert_null(cfg->data.weight);
    assert_int_equal(cfg->data.train.n, 0);
    assert_int_equal(cfg->train.max_steps, -1);
    assert_int_equal(cfg->run.threads, 0);
    assert_true(isnan(cfg->model.dropout) && isnan(cfg->eval.threshold));
    assert_int_equal(cfg->model.labels.n, 2);
    assert_false(rt_config_is_set(cfg, "train.batch_size"));
    assert_string_equal(rt_config_origin(cfg, "train.batch_size"), "default");
    rt_config_free(cfg);
}

static void flags_beat_environment_beats_file_beats_stored(void **state) {
    (void)state;
    const char *path = write_text("layers.ini", "[train]\nbatch_size = 2\nepochs = 2\npatience=2\n\n[run]\nseed = 2\n");
    static const char stored[] = "[train]\nbatch_size = 1\nepochs = 1\npatience = 1\nlabel_smoothing = 0.25\n";
    const char *environment[] = {"HOME=/root",
                                 "RECTRAIN_TRAIN_EPOCHS=3",
                                 "RECTRAIN_TRAIN_BATCH_SIZE=3",
                                 "RECTRAIN_ISA=v2",
                                 "RECTRAIN_CONFIG_PATH=/nowhere",
                                 "RECTRAIN_NO_SUCH_THING=1",
                                 NULL};
    rt_config *cfg = NULL;
    rt_config_request q = {.path = path,
                           .sets = SETS("train.batch_size=4"),
                           .n_sets = 1,
                           .environment = environment,
                           .stored = stored,
                           .stored_size = sizeof stored - 1,
                           .stored_name = "best.h5:/config.ini"};
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_OK);
    assert_int_equal(cfg->train.batch_size, 4);
    assert_int_equal(cfg->train.epochs, 3);
    assert_int_equal(cfg->train.patience, 2);
    assert_int_equal(cfg->run.seed, 2);
    assert_true(cfg->train.label_smoothing == 0.25);
    assert_string_equal(cfg->run.name, "layers");
    assert_string_equal(cfg->path, path);
    assert_string_equal(rt_config_origin(cfg, "train.batch_size"), "--set");
    assert_string_equal(rt_config_origin(cfg, "train.epochs"), "RECTRAIN_TRAIN_EPOCHS");
    assert_string_equal(rt_config_origin(cfg, "train.label_smoothing"), "best.h5:/config.ini:5");
    assert_string_equal(rt_config_origin(cfg, "train.max_steps"), "default");
    char expected[600];
    snprintf(expected, sizeof expected, "%s:4", path);
    assert_string_equal(rt_config_origin(cfg, "train.patience"), expected);
    rt_config_free(cfg);
}

static void the_first_text_alone_means_single_texts(void **state) {
    (void)state;
    rt_config *single = load_with(NULL, SETS("data.text_a=title"), NULL);
    rt_config *pair = load_with(NULL, SETS("data.text_a=title", "data.text_b=text_b"), NULL);
    assert_null(single->data.text_b);
    assert_string_equal(pair->data.text_b, "text_b");
    /* as a checkpoint stores it, too */
    rt_text stored = {0};
    rt_config *again = NULL;
    rt_config_write_options options = {.classes = RT_CLASS_MEANING | RT_CLASS_COLUMNS};
    assert_int_equal(rt_config_write(single, &options, &stored), RT_OK);
    assert_int_equal(rt_config_from_ini_bytes(stored.data, stored.size, "stored", &again), RT_OK);
    assert_string_equal(again->data.text_a, "title");
    assert_null(again->data.text_b);
    rt_text_free(&stored);
    rt_config_free(again);
    rt_config_free(pair);
    rt_config_free(single);
}

static void a_written_configuration_reads_back_to_itself(void **state) {
    (void)state;
    rt_config *a = load_with(
        NULL,
        SETS("data.text_b=", "model.labels=no, \"yes, sir\", \"a \"\"b\"\"\"", "train.freeze=3 layers",
             "train.class_weights=1,0.1,3", "schedule.warmup=0.1", "eval.every=500", "checkpoint.every=0.5 minutes",
             "optimizer.learning_rate=3e-5", "run.seed=18446744073709551615", "train.max_steps=1000000000000",
             "data.cache=none", "run.threads=3", "model.base=bert-base-cased", "data.group=", "data.train=a.tsv,b.tsv"),
        NULL);
    rt_config_write_options all = {
        .classes = RT_CLASS_ALL, .comments = true, .origins = true, .unset_as_comments = true};
    rt_text first = {0}, second = {0};
    assert_int_equal(rt_config_write(a, &all, &first), RT_OK);
    const char *path = write_bytes("written.ini", first.data, first.size);
    rt_config *b = load_with(path, NULL, NULL);
    assert_null(b->data.text_b);
    assert_null(b->data.group);
    assert_string_equal(b->model.labels.items[1], "yes, sir");
    assert_string_equal(b->model.labels.items[2], "a \"b\"");
    assert_true(b->run.seed == UINT64_MAX);
    assert_string_equal(b->model.base, "bert-base-cased");
    assert_string_equal(b->data.cache, "none");
    assert_int_equal(b->data.train.n, 2);
    assert_int_equal(b->data.train.items[0][0], '/'); /* so that it means the same from any folder */
    all.origins = false;
    rt_text_clear(&first);
    assert_int_equal(rt_config_write(a, &all, &first), RT_OK);
    assert_int_equal(rt_config_write(b, &all, &second), RT_OK);
    assert_string_equal(first.data, second.data);
    rt_text_free(&first);
    rt_text_free(&second);
    rt_config_free(a);
    rt_config_free(b);
}

static void every_option_stands_in_the_reference_file(void **state) {
    (void)state;
    rt_config *cfg = load_with(NULL, NULL, NULL);
    rt_text text = {0};
    rt_config_write_options o = {
        .classes = RT_CLASS_ALL, .comments = true, .unset_as_comments = true, .relative = true};
    assert_int_equal(rt_config_write(cfg, &o, &text), RT_OK);
    int n;
    const rt_option *options = rt_options(&n);
    const char *p = text.data, *section = "";
    for (int i = 0; i < n; i++) {
        char wanted[128];
        if (strcmp(section, options[i].section) != 0) {
            section = options[i].section;
            snprintf(wanted, sizeof wanted, "[%s]\n", section);
            p = strstr(p, wanted);
            assert_non_null(p);
        }
        snprintf(wanted, sizeof wanted, "%s =", options[i].key);
        p = strstr(p, wanted);
        if (!p) fail_msg("%s.%s is missing", section, options[i].key);
        assert_true(p[-1] == '\n' || (p[-1] == ' ' && p[-2] == '#'));
    }
    rt_config *again = load_with(write_bytes("reference.ini", text.data, text.size), NULL, NULL);
    assert_string_equal(again->run.name, "reference"); /* places stay open in a file to start one's own from */
    rt_digest128 a = rt_config_meaning_digest(cfg), b = rt_config_meaning_digest(again);
    assert_true(a.high == b.high && a.low == b.low);
    rt_config_free(again);
    rt_config_free(cfg);
    rt_text_free(&text);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void globs_become_sorted_files(void **state) {
    (void)state;
    mkdir(at("data"), 0700);
    mkdir(at("data/z.tsv"), 0700); /* a folder that matches is no file */
    write_text("data/b.tsv", "");
    write_text("data/a.tsv", "");
    write_text("data/B.tsv", "");
    write_text("data/odd[1].tsv", "");
    const char *path = write_text(
        "globs.ini", "[data]\ntrain = data/?.tsv, data/a.tsv\ndev = data/odd[1].tsv\ntest = data/gone.tsv\n");
    rt_config *cfg = load_with(path, NULL, NULL);
    assert_int_equal(cfg->data.train.n, 4);
    assert_string_equal(cfg->data.train.items[0], at("data/B.tsv"));
    assert_string_equal(cfg->data.train.items[1], at("data/a.tsv"));
    assert_string_equal(cfg->data.train.items[2], at("data/b.tsv"));
    assert_string_equal(cfg->data.train.items[3], at("data/a.tsv"));
    assert_string_equal(cfg->data.dev.items[0], at("data/odd[1].tsv"));
    assert_string_equal(cfg->data.test.items[0], at("data/gone.tsv")); /* whoever opens it will say more */
    rt_config_free(cfg);

    rt_config *none = NULL;
    path = write_text("none.ini", "[data]\ntrain = data/*.csv\n");
    assert_int_equal(rt_config_load(&(rt_config_request){.path = path}, NULL, &none), RT_ENOINPUT);
    assert_null(none);
    assert_non_null(strstr(rt_error_get()->text, "none.ini:2: data.train = "));
    path = write_text("folders.ini", "[data]\ntrain = data/z*\n");
    assert_int_equal(rt_config_load(&(rt_config_request){.path = path}, NULL, &none), RT_ENOINPUT);
    /* The first would look into every folder of the system as often as there are folders, five times over. */
    const char *const endless[] = {"/*/../*/../*/../*/../*/../*.tsv", "/*/*/*/*/*.tsv", "z*/../*.tsv"};
    for (int i = 0; i < 3; i++) {
        rt_text text = {0};
        rt_text_printf(&text, "[data]\ntrain = %s\n", endless[i]);
        const char *endless_path = write_text("endless.ini", text.data);
        assert_int_equal(rt_config_load(&(rt_config_request){.path = endless_path}, NULL, &none), RT_ECONFIG);
        assert_non_null(strstr(rt_error_get()->text, "at most 4 parts of the path"));
        rt_text_free(&text);
    }
    /* A glob that is overridden need not match. */
    cfg = load_with(path, SETS("data.train=x.tsv"), NULL);
    assert_string_equal(cfg->data.train.items[0], "x.tsv");
    rt_config_free(cfg);
}

static void paths_start_where_they_were_written(void **state) {
    (void)state;
    mkdir(at("conf"), 0700);
    assert_int_equal(symlink("/tmp", at("link")), 0);
    setenv("RECTRAIN_TEST_PLACE", "/place", 1);
    setenv("HOME", "/home/me", 1);
    const char *path =
        write_text("conf/p.ini", "[run]\noutput = ../runs\n[model]\nvocab = ~/v.txt\nbase = m/x.h5\n"
                                 "[data]\ncache = ${RECTRAIN_TEST_PLACE}/cache\ntrain = ../link/../t.tsv\n");
    rt_config *cfg = load_with(path, NULL, NULL);
    assert_string_equal(cfg->run.output, at("runs"));
    assert_string_equal(cfg->model.vocab, "/home/me/v.txt");
    assert_string_equal(cfg->model.base, at("conf/m/x.h5"));
    assert_string_equal(cfg->data.cache, "/place/cache");
    assert_string_equal(cfg->data.train.items[0], at("link/../t.tsv")); /* behind a link ".." is somewhere else */
    rt_config_free(cfg);

    const char *environment[] = {"RECTRAIN_RUN_OUTPUT=there", "RECTRAIN_MODEL_BASE=bert-base-cased", NULL};
    cfg = load_with(path, SETS("model.vocab=here/v.txt"), environment);
    assert_string_equal(cfg->run.output, "there");
    assert_string_equal(cfg->model.vocab, "here/v.txt");
    assert_string_equal(cfg->model.base, "bert-base-cased");
    rt_config_free(cfg);

    /* A name that stands beside the file is that file; else it is a name for the hub's cache. */
    mkdir(at("conf/my-model"), 0700);
    cfg = load_with(write_text("conf/b.ini", "[model]\nbase = my-model\n"), NULL, NULL);
    assert_string_equal(cfg->model.base, at("conf/my-model"));
    rt_config_free(cfg);
    cfg = load_with(write_text("conf/b.ini", "[model]\nbase = org/model\n"), NULL, NULL);
    assert_string_equal(cfg->model.base, "org/model");
    rt_config_free(cfg);

    rt_config *none = NULL;
    path = write_text("conf/u.ini", "[data]\ncache = ${RECTRAIN_TEST_NOT_SET}/x\n");
    assert_int_equal(rt_config_load(&(rt_config_request){.path = path}, NULL, &none), RT_ECONFIG);
    assert_non_null(strstr(rt_error_get()->text, "u.ini:2: data.cache"));
    assert_non_null(strstr(rt_error_get()->text, "RECTRAIN_TEST_NOT_SET"));
}

static void a_name_is_looked_for_in_order(void **state) {
    (void)state;
    mkdir(at("one"), 0700);
    mkdir(at("two"), 0700);
    mkdir(at("configs"), 0700);
    mkdir(at("build"), 0700);
    write_text("two/shop.ini", "[run]\nseed = 2\n");
    write_text("configs/shop.ini", "[run]\nseed = 3\n");
    write_text("configs/only.ini", "[run]\nseed = 4\n");
    char variable[400], program[400];
    snprintf(variable, sizeof variable, "RECTRAIN_CONFIG_PATH=%s/one::%s/two", folder, folder);
    snprintf(program, sizeof program, "%s/build/rectrain", folder);
    const char *environment[] = {variable, NULL};
    rt_config_request q = {.path = "shop", .environment = environment, .program = program};
    rt_config *cfg = NULL;
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_OK);
    assert_int_equal(cfg->run.seed, 2);
    assert_string_equal(cfg->run.name, "shop");
    rt_config_free(cfg);
    write_text("one/shop", "[run]\nseed = 1\n");
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_OK);
    assert_int_equal(cfg->run.seed, 1);
    rt_config_free(cfg);
    q.path = "only.ini";
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_OK);
    assert_int_equal(cfg->run.seed, 4);
    assert_string_equal(cfg->path, at("configs/only.ini"));
    rt_config_free(cfg);
    q.path = at("one/shop"); /* an absolute path is that file and no other */
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_OK);
    rt_config_free(cfg);
    q.path = "./only.ini";
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_ENOINPUT);
    q.path = "nowhere";
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_ENOINPUT);
    assert_non_null(strstr(rt_error_get()->text, at("two")));
    assert_non_null(strstr(rt_error_get()->text, at("configs")));
    assert_null(cfg);
    q.path = folder;
    assert_int_equal(rt_config_load(&q, NULL, &cfg), RT_ENOINPUT);
}

/* --- what checkpoints store --------------------------------------------------------------------------------------- */

static bool same_digest(const rt_config *a, const rt_config *b) {
    rt_digest128 x = rt_config_meaning_digest(a), y = rt_config_meaning_digest(b);
    return x.high == y.high && x.low == y.low;
}

static void a_checkpoint_stores_meaning_and_columns_alone(void **state) {
    (void)state;
    const char *path =
        write_text("stored.ini", "[run]\noutput = /secret/place\nname = x\nthreads = 3\n[model]\nbase = /secret/base\n"
                                 "[data]\ntrain = /secret/train.tsv\nuser = who\nkeep = a, b\ncache = /secret/c\n"
                                 "[train]\nbatch_size = 32\n");
    rt_config *cfg = load_with(path, NULL, NULL);
    rt_text text = {0}, difference = {0};
    rt_config_write_options stored = {.classes = RT_CLASS_MEANING | RT_CLASS_COLUMNS};
    assert_int_equal(rt_config_write(cfg, &stored, &text), RT_OK);
    assert_null(strstr(text.data, "secret"));
    assert_null(strstr(text.data, "threads"));
    assert_null(strchr(text.data, '/'));
    assert_non_null(strstr(text.data, "user = who"));
    assert_non_null(strstr(text.data, "batch_size = 32"));

    rt_config *back = NULL;
    assert_int_equal(rt_config_from_ini_bytes(text.data, text.size, "best.h5:/config.ini", &back), RT_OK);
    assert_string_equal(back->data.user, "who");
    assert_int_equal(back->data.keep.n, 2);
    assert_true(same_digest(cfg, back));
    assert_int_equal(rt_config_meaning_differences(cfg, text.data, text.size, "last.h5", &difference), RT_OK);
    assert_true(difference.size == 0);
    rt_config_free(back);

    rt_config *other =
        load_with(path, SETS("train.batch_size=16", "data.text_b=", "run.threads=1", "eval.threshold=0.5"), NULL);
    assert_int_equal(rt_config_meaning_differences(other, text.data, text.size, "last.h5", &difference), RT_OK);
    assert_string_equal(difference.data, "data.text_b =  (stored: text_b); train.batch_size = 16 (stored: 32); "
                                         "eval.threshold = 0.5 (stored: unset)");
    rt_config_free(other);
    rt_config_free(cfg);
    rt_text_free(&text);
    rt_text_free(&difference);
}

static void a_stored_file_is_not_trusted(void **state) {
    (void)state;
    static const char *const bad[] = {"[run]\noutput = /etc\n",
                                      "[data]\ntrain = /etc/passwd\n",
                                      "[model]\nbase = /x\n",
                                      "[train]\nbatch_size = 0\n",
                                      "[train]\nno_such = 1\n",
                                      "[nowhere]\nx = 1\n",
                                      "[train]\nbatch_size = 1\nbatch_size = 1\n",
                                      "rubbish\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rt_config *cfg = NULL;
        assert_int_equal(rt_config_from_ini_bytes(bad[i], strlen(bad[i]), "x.h5:/config.ini", &cfg), RT_EDATA);
        assert_null(cfg);
        assert_non_null(strstr(rt_error_get()->text, "x.h5:/config.ini:"));
    }
}

/* Every meaning option changes the digest, no other does; and a value's spelling does not. */
static void the_digest_sees_meaning_alone(void **state) {
    (void)state;
    int n, seen = 0;
    const rt_option *options = rt_options(&n);
    rt_config *plain = load_with(NULL, NULL, NULL);
    for (int i = 0; i < n; i++) {
        const rt_option *o = &options[i];
        char set[128];
        const char *value = "a";
        char name[64];
        rt_option_name(o, name);
        if (o->type == RT_OPTION_BOOL)
            value = !strcmp(o->initial, "yes") ? "no" : "yes";
        else if (o->type == RT_OPTION_ENUM && !o->names[1])
            continue; /* one value alone */
        else if (o->type == RT_OPTION_ENUM || o->type == RT_OPTION_CHOICE)
            value = o->names[1];
        else if (o->type == RT_OPTION_SPAN)
            value = "7 steps";
        else if (o->type == RT_OPTION_FREEZE)
            value = "2 layers";
        else if (o->type == RT_OPTION_WEIGHTS)
            value = "1, 2";
        else if (o->type == RT_OPTION_DOUBLE)
            value = o->high > 1000 ? "17" : "0.125";
        else if (o->type == RT_OPTION_WARMUP)
            value = "0.5";
        else if (o->type == RT_OPTION_INT && o->low >= 512)
            value = "1000";
        else if (o->type == RT_OPTION_INT || o->type == RT_OPTION_INT64 || o->type == RT_OPTION_UINT64)
            value = "8";
        if (!strcmp(name, "model.labels")) value = "a, b";
        if (!strcmp(name, "data.text_b") || !strcmp(name, "data.text_a")) value = "column";
        snprintf(set, sizeof set, "%s=%s", name, value);
        const char *adamw = !strcmp(name, "optimizer.weight_decay") ? "optimizer.type=adamw" : "run.threads=2";
        rt_config *cfg = load_with(NULL, SETS(adamw, set), NULL);
        bool meaning = (o->classes & RT_CLASS_MEANING) != 0;
        if (same_digest(plain, cfg) == meaning)
            fail_msg("%s: the digest is %s", name, meaning ? "the same" : "another");
        seen += meaning;
        rt_config_free(cfg);
    }
    assert_true(seen > 40);
    rt_config *spelt =
        load_with(NULL,
                  SETS("optimizer.learning_rate=0.00002", "schedule.type=CONSTANT", "data.negative_keep=1.0",
                       "checkpoint.keep_best=TRUE", "eval.every=1 epochs", "model.labels=0,1"),
                  NULL);
    assert_true(same_digest(plain, spelt));
    rt_config *eight = load_with(NULL, SETS("train.batch_size=8"), NULL),
              *nine = load_with(NULL, SETS("train.batch_size=9"), NULL);
    assert_false(same_digest(eight, nine));
    rt_config_free(eight);
    rt_config_free(nine);
    rt_config_free(spelt);
    rt_config_free(plain);
}

/* Vectors have defaults of their own; what was set stays. */
static void defaults_of_vectors(void **state) {
    (void)state;
    const char *sets[] = {"train.objective=contrastive", "model.pooling=cls", "eval.metric=mrr@10"};
    for (int n = 0; n <= 3; n++) {
        rt_config *cfg = NULL;
        assert_int_equal(rt_config_load(&(rt_config_request){.sets = sets, .n_sets = n}, NULL, &cfg), RT_OK);
        assert_int_equal(cfg->model.pooling, n == 1 ? RT_CFG_POOLING_MEAN : RT_CFG_POOLING_CLS);
        assert_string_equal(cfg->eval.metric, n == 0 ? "auc" : n == 3 ? "mrr@10" : "recall@20");
        assert_true(cfg->contrastive.scale == 20 && !cfg->contrastive.symmetric && cfg->contrastive.mask_clicked);
        rt_config_free(cfg);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_vectors),
        cmocka_unit_test(defaults_are_the_seed_recipe),
        cmocka_unit_test(flags_beat_environment_beats_file_beats_stored),
        cmocka_unit_test(the_first_text_alone_means_single_texts),
        cmocka_unit_test(a_written_configuration_reads_back_to_itself),
        cmocka_unit_test(every_option_stands_in_the_reference_file),
        cmocka_unit_test(globs_become_sorted_files),
        cmocka_unit_test(paths_start_where_they_were_written),
        cmocka_unit_test(a_name_is_looked_for_in_order),
        cmocka_unit_test(a_checkpoint_stores_meaning_and_columns_alone),
        cmocka_unit_test(a_stored_file_is_not_trusted),
        cmocka_unit_test(the_digest_sees_meaning_alone),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
