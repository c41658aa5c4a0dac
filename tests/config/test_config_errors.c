/* What is refused, with which words: every message names file and line, the key, what was found and what is accepted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/options.h"
#include "files.h"

static const struct {
    const char *text, *message;
    rt_status status;
} files[] = {
    {"[train]\nbatch_size = 0\n", ":2: train.batch_size = 0: expected a whole number from 1 to 65536", RT_ECONFIG},
    {"[train]\nbatch_size = 16 ; rows\n", ":2: train.batch_size = 16 ; rows: expected a whole number", RT_ECONFIG},
    {"[train]\nbatch_size = 1e3\n", ":2: train.batch_size = 1e3: expected", RT_ECONFIG},
    {"[train]\nbatch_size =\n", ":2: train.batch_size = : expected", RT_ECONFIG},
    {"[train]\nbatch_size = 99999999999999999999\n", "expected a whole number from 1 to 65536", RT_ECONFIG},
    {"[optimizer]\nlearning_rate = nan\n", "optimizer.learning_rate = nan: expected a number from 0 to 10", RT_ECONFIG},
    {"[optimizer]\nlearning_rate = 1e999\n", "expected a number from 0 to 10", RT_ECONFIG},
    {"[optimizer]\nbeta1 = 1\n", "optimizer.beta1 = 1: expected a number from 0 to below 1", RT_ECONFIG},
    {"[optimizer]\nepsilon = 0\n", "optimizer.epsilon = 0: expected a number above 0 up to 1", RT_ECONFIG},
    {"[optimizer]\ntype = sgd\n", "optimizer.type = sgd: expected adam or adamw", RT_ECONFIG},
    {"[run]\nprecision = half\n", "expected auto, fp32, tf32 or bf16", RT_ECONFIG},
    {"[run]\nseed = -1\n", "run.seed = -1: expected a whole number from 0 to 18446744073709551615", RT_ECONFIG},
    {"[run]\nseed = 18446744073709551616\n", "expected a whole number", RT_ECONFIG},
    {"[run]\nname = a/b\n", "run.name = a/b: expected a file name without folders", RT_ECONFIG},
    {"[run]\nname = ..\n", "run.name = ..: expected", RT_ECONFIG},
    {"[run]\ndeterministic = maybe\n", "run.deterministic = maybe: expected yes or no", RT_ECONFIG},
    {"[model]\nlabels = a,,b\n", "model.labels = a,,b: expected names with commas", RT_ECONFIG},
    {"[model]\nlabels = \"a\n", "model.labels = \"a: expected", RT_ECONFIG},
    {"[model]\nlabels = a, b, a\n", ":2: model.labels: \"a\" stands there twice", RT_ECONFIG},
    {"[eval]\nevery = 3 days\n", "eval.every = 3 days: expected a span such as 500 steps", RT_ECONFIG},
    {"[eval]\nevery = 1.5 steps\n", "expected a span", RT_ECONFIG},
    {"[schedule]\nwarmup = 1.5\n", "schedule.warmup = 1.5: expected a share", RT_ECONFIG},
    {"[train]\nfreeze = 3\n", "train.freeze = 3: expected none, embeddings, or N layers", RT_ECONFIG},
    {"[train]\nclass_weights = 1, -1\n", "train.class_weights = 1, -1: expected none, balanced", RT_ECONFIG},
    {"[train]\nbatch_size = 1\n# c\nbatch_size = 2\n", ":4: train.batch_size stands already in line 2", RT_ECONFIG},
    {"[train]\nbatch_size = 1\n[run]\nseed = 1\n[train]\nbatch_size = 2\n",
     ":6: train.batch_size stands already in line 2", RT_ECONFIG},
    {"[train]\nbatchsize = 1\n", ":2: no option train.batchsize; did you mean train.batch_size?", RT_ECONFIG},
    {"[trian]\nbatch_size = 1\n", ":2: no section [trian]; did you mean [train]?", RT_ECONFIG},
    {"[zzz]\nbatch_size = 1\n", "no section [zzz]; there are [run] [model] [data]", RT_ECONFIG},
    {"seed = 1\n", ":1: seed = 1: a key before the first [section]", RT_ECONFIG},
    {"[run\nseed = 1\n", ":1: [run: expected [section] alone on its line", RT_ECONFIG},
    {"[run] # comment\nseed = 1\n", ":1: [run] # comment: expected [section] alone", RT_ECONFIG},
    {"[run]\nseed\n", ":2: seed: expected key = value", RT_ECONFIG},
    {"[run]\n= 3\n", ":2: = 3: expected a key", RT_ECONFIG},
    {"[]\n", ":1: []: expected a section's name", RT_ECONFIG},
    {"[run]\nname = a\n  b\n", ":3: b: expected key = value", RT_ECONFIG},
    {"[run]\nname = \xff\xfe\n", ":2: name = \\xff\\xfe: invalid UTF-8", RT_ECONFIG},
    {"[run]\nname = a\x1b[31m\n", ":2: name = a\\x1b[31m: a control byte", RT_ECONFIG},
    {"[optimizer]\nweight_decay = 0.1\n", ":2: optimizer.weight_decay = 0.1 with optimizer.type = adam", RT_ECONFIG},
    {"[model]\nbase = x.h5\ninit = random\n", "model.init = random takes no pretrained weights", RT_ECONFIG},
    {"[data]\ntext_a =\n", ":2: data.text_a is empty", RT_ECONFIG},
    {"[data]\ntext_b =\ntruncation = text_b\n", ":3: data.truncation = text_b, but there is no data.text_b",
     RT_ECONFIG},
    {"[data]\ngroup =\n[eval]\nmetric = ndcg@10\n", ":4: eval.metric = ndcg@10 needs groups", RT_ECONFIG},
    {"[run]\ndevice = cpu\nprecision = tf32\n", ":3: run.precision = tf32 needs a GPU", RT_ECONFIG},
    {"[eval]\nmetric = f1\n", "eval.metric = f1: expected auc,", RT_ECONFIG},
    {"[eval]\nmetric = f1\n", "ndcg@20; did you mean macro_f1?", RT_ECONFIG},
    {"[schedule]\ntype = linaer\n", "expected constant, linear or cosine; did you mean linear?", RT_ECONFIG},
    {"[trainer]\nlr = 1e-5\n", "no section [trainer]; did you mean [train]?", RT_ECONFIG},
    {"[trainer]\nlr = 1e-5\n", "Write in [optimizer]: learning_rate = 1e-5", RT_ECONFIG},
    {"[data]\nmax_length = 513\n", "data.max_length = 513: expected a whole number from 3 to 512", RT_ECONFIG},
    {"[data]\ntrain = a*.nothing\n", ":2: data.train = ", RT_ENOINPUT},
};

static void a_bad_file_is_refused_with_its_line(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        rt_config *cfg = NULL;
        const char *path = write_text("bad.ini", files[i].text);
        rt_status rc = rt_config_load(&(rt_config_request){.path = path}, NULL, &cfg);
        if (rc != files[i].status || cfg) fail_msg("\"%s\": status %d", files[i].text, rc);
        if (!strstr(rt_error_get()->text, files[i].message) || !strstr(rt_error_get()->text, "bad.ini"))
            fail_msg("\"%s\": message \"%s\"", files[i].text, rt_error_get()->text);
    }
}

static void unusual_but_right_files_are_taken(void **state) {
    (void)state;
    static const char *const right[] = {
        "",
        "\n\n",
        "\xEF\xBB\xBF[run]\nseed = 7\n",
        "[run]\r\nseed = 7\r\n",
        "  # indented = comment\n\t; other = one\n [run] \n\tseed=7",
        "[ run ]\nseed = 7\n\n[train]\nepochs = 1\n[run]\nthreads = auto\n",
        "[run]\nseed=7\n[data]\ntext_a = {a} = {b} # \xC3\xA9 ; all of it\n",
    };
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        rt_config *cfg = NULL;
        const char *path = write_text("right.ini", right[i]);
        rt_status rc = rt_config_load(&(rt_config_request){.path = path}, NULL, &cfg);
        if (rc != RT_OK) fail_msg("%zu: %s", i, rt_error_get()->text);
        assert_int_equal(cfg->run.seed, i < 2 ? 42 : 7);
        if (i == 6) assert_string_equal(cfg->data.text_a, "{a} = {b} # \xC3\xA9 ; all of it");
        rt_config_free(cfg);
    }
}

static void other_trainers_names_are_known(void **state) {
    (void)state;
    static const char *const names[][3] = {
        {"train", "per_device_train_batch_size", "; did you mean train.batch_size (over all ranks)?"},
        {"train", "num_train_epochs", "; did you mean train.epochs?"},
        {"train", "lr", "; did you mean optimizer.learning_rate?"},
        {"train", "learning_rate", "; did you mean optimizer.learning_rate?"},
        {"optimizer", "learning-rate", "; did you mean optimizer.learning_rate?"},
        {"optimizer", "Learning_Rate", "; did you mean optimizer.learning_rate?"},
        {"train", "warmup_ratio", "; did you mean schedule.warmup (below 1 a share)?"},
        {"data", "max_seq_length", "; did you mean data.max_length?"},
        {"run", "bf16", "; did you mean run.precision?"},
        {"run", "fp16", "; did you mean run.precision (fp16 is not there; bf16 takes its place)?"},
        {"run", "output_dir", "; did you mean run.output?"},
        {"model", "model_name_or_path", "; did you mean model.base?"},
        {"train", "gradient_accumulation_steps", "; it is not needed:"},
        {"eval", "metric_for_best_model", "; did you mean eval.metric?"},
        {"schedule", "lr_scheduler_type", "; did you mean schedule.type?"},
        {"checkpoint", "save_steps", "; did you mean checkpoint.every?"},
        {"train", "seed", "; did you mean run.seed?"},
        {NULL, "batch_siz", "; did you mean train.batch_size?"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        rt_text hint = {0};
        rt_option_hint(names[i][0], names[i][1], &hint);
        if (!hint.data || strncmp(hint.data, names[i][2], strlen(names[i][2])) != 0)
            fail_msg("%s: \"%s\"", names[i][1], hint.data ? hint.data : "");
        rt_text_free(&hint);
    }
    rt_text nothing = {0};
    rt_option_hint("train", "qqqqqqqqqqqq", &nothing);
    assert_true(nothing.size == 0);
    rt_text_free(&nothing);
}

static void and_answered_with_the_line_to_write(void **state) {
    (void)state;
    static const struct {
        const char *section, *key, *value;
        bool flag;
        const char *hint;
    } rows[] = {
        {"train", "per_device_train_batch_size", "32", false,
         "; did you mean train.batch_size (over all ranks)? Write in [train]: batch_size = 32"},
        {NULL, "per-device-train-batch-size", "32", true,
         "; did you mean train.batch_size (over all ranks)? Write: --set train.batch_size=32"},
        {NULL, "bf16", "True", true, "; did you mean run.precision? Write: --set run.precision=bf16"},
        {NULL, "bf16", "False", true, "; did you mean run.precision? Write: --set run.precision=fp32"},
        {NULL, "bf16", "maybe", true, "; did you mean run.precision?"},
        {NULL, "no_cuda", "true", true, "; did you mean run.device? Write: --set run.device=cpu"},
        {NULL, "eval_strategy", "epoch", true, "; did you mean eval.every? Write: --set 'eval.every=1 epoch'"},
        {NULL, "eval_strategy", "steps", true, "; did you mean eval.every?"},
        {"train", "save_steps", "500", false,
         "; did you mean checkpoint.every? Write in [checkpoint]: every = 500 steps"},
        {NULL, "optim", "adamw_torch_fused", true, "; did you mean optimizer.type? Write: --set optimizer.type=adamw"},
        {NULL, "metric_for_best_model", "eval_loss", true,
         "; did you mean eval.metric? Write: --set eval.metric=log_loss"},
        {NULL, "load_best_model_at_end", "True", true,
         "; did you mean eval.test_with? Write: --set eval.test_with=best"},
        {NULL, "lr_scheduler_type", "polynomial", true,
         "; did you mean schedule.type? It takes constant, linear or cosine"},
        {NULL, "num_train_epochs", "3.5", true,
         "; did you mean train.epochs? It takes a whole number from 1 to 100000"},
        {NULL, "num_labels", "2", true, "; did you mean model.labels (their names)?"},
        {NULL, "overwrite_output_dir", "true", true,
         "; did you mean run.if_exists? Write: --set run.if_exists=overwrite"},
        {NULL, "report_to", "none", true, "; did you mean track.tensorboard? Write: --set track.tensorboard=no"},
        {NULL, "text_column", "it's $x", true, "; did you mean data.text_a?"},
        {NULL, "batch_siz", "8", true, "; did you mean train.batch_size? Write: --set train.batch_size=8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rt_text hint = {0};
        rt_option_hint_value(rows[i].section, rows[i].key, rows[i].value, rows[i].flag, &hint);
        assert_string_equal(hint.data ? hint.data : "", rows[i].hint);
        rt_text_free(&hint);
    }
    /* Near is not certain. */
    rt_text hint = {0};
    assert_false(rt_option_hint_known(NULL, "batch_siz", "8", true, &hint));
    assert_true(rt_option_hint_known(NULL, "batch-size", "8", true, &hint));
    assert_true(rt_option_hint_known("train", "LR", "1", true, &hint));
    rt_text_free(&hint);
}

/* Each name of the table leads to an option that is there, or to a sentence. */
static void every_foreign_name_leads_somewhere(void **state) {
    (void)state;
    static const char *const theirs[] = {"learning_rate",
                                         "num_train_epochs",
                                         "weight_decay",
                                         "warmup_ratio",
                                         "warmup_steps",
                                         "lr_scheduler_type",
                                         "bf16",
                                         "fp16",
                                         "tf32",
                                         "gradient_checkpointing",
                                         "gradient_accumulation_steps",
                                         "save_total_limit",
                                         "save_steps",
                                         "metric_for_best_model",
                                         "load_best_model_at_end",
                                         "eval_strategy",
                                         "evaluation_strategy",
                                         "eval_steps",
                                         "logging_steps",
                                         "seed",
                                         "output_dir",
                                         "run_name",
                                         "max_seq_length",
                                         "model_name_or_path",
                                         "max_steps",
                                         "adam_epsilon",
                                         "adam_beta1",
                                         "max_grad_norm",
                                         "optim",
                                         "label_smoothing_factor",
                                         "early_stopping_patience",
                                         "per_device_train_batch_size",
                                         "per_device_eval_batch_size",
                                         "dataloader_num_workers",
                                         "report_to",
                                         "train_file",
                                         "validation_file",
                                         "test_file",
                                         "do_train",
                                         "group_by_length",
                                         "remove_unused_columns",
                                         "logging_dir",
                                         "push_to_hub",
                                         "ddp_timeout",
                                         "full_determinism",
                                         "resume_from_checkpoint",
                                         "no_cuda"};
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++) {
        rt_text hint = {0};
        if (!rt_option_hint_known("x", theirs[i], NULL, true, &hint) || !hint.data || hint.data[0] != ';')
            fail_msg("%s: \"%s\"", theirs[i], hint.data ? hint.data : "");
        rt_text_free(&hint);
    }
}

static void a_set_has_a_form(void **state) {
    (void)state;
    static const struct {
        const char *set, *message;
        rt_status status;
    } sets[] = {
        {"train.batch_size", "--set train.batch_size: expected section.key=value", RT_EUSAGE},
        {"=3", "expected section.key=value", RT_EUSAGE},
        {"train.batch_size=x", "--set train.batch_size = x: expected a whole number from 1 to 65536", RT_ECONFIG},
        {"batch_size=3", "--set batch_size: no such option; did you mean train.batch_size?", RT_ECONFIG},
        {"trian.epochs=3", "--set trian.epochs: no such option; did you mean [train]?", RT_ECONFIG},
        {"run.name=a\nb", "--set run.name = a\\nb: expected", RT_ECONFIG},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        rt_config *cfg = NULL;
        rt_status rc = rt_config_load(&(rt_config_request){.sets = &sets[i].set, .n_sets = 1}, NULL, &cfg);
        if (rc != sets[i].status || !strstr(rt_error_get()->text, sets[i].message))
            fail_msg("%s: %d \"%s\"", sets[i].set, rc, rt_error_get()->text);
    }
}

static void training_needs_more(void **state) {
    (void)state;
    static const char *const sets[][3] = {
        {"run.seed=1", "run.seed=1", "model.base is not set"},
        {"model.base=x.h5", "run.seed=1", "data.train is not set"},
        {"model.init=random", "data.train=x", "needs model.vocab"},
        {"data.negative_keep=0.5", "model.labels=a,b,c", "data.negative_keep = 0.5 with 3 labels"},
        {"train.objective=contrastive", "data.text_a=q", "set data.text_b to the text of the item"},
        {"train.objective=contrastive", "train.label_smoothing=0.1", "train.label_smoothing has no meaning with"},
        {"train.objective=contrastive", "eval.threshold=0.3", "eval.threshold has no meaning with"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        rt_config *cfg = NULL;
        assert_int_equal(rt_config_load(&(rt_config_request){.sets = sets[i], .n_sets = 2}, NULL, &cfg), RT_OK);
        assert_int_equal(rt_config_check_training(cfg), RT_ECONFIG);
        assert_non_null(strstr(rt_error_get()->text, sets[i][2]));
        rt_config_free(cfg);
    }
    const char *odd[] = {"model.init=random", "model.vocab=v", "data.train=x", "model.hidden=40", "model.heads=4"};
    rt_config *cfg = NULL;
    assert_int_equal(rt_config_load(&(rt_config_request){.sets = odd, .n_sets = 5}, NULL, &cfg), RT_OK);
    assert_int_equal(rt_config_check_training(cfg), RT_ECONFIG);
    rt_config_free(cfg);
    odd[4] = "model.heads=5";
    assert_int_equal(rt_config_load(&(rt_config_request){.sets = odd, .n_sets = 5}, NULL, &cfg), RT_OK);
    assert_int_equal(rt_config_check_training(cfg), RT_OK);
    rt_config_free(cfg);
    const char *weights[] = {"model.base=x.h5", "data.train=x", "model.labels=a,b,c", "train.class_weights=1,2"};
    assert_int_equal(rt_config_load(&(rt_config_request){.sets = weights, .n_sets = 4}, NULL, &cfg), RT_OK);
    assert_int_equal(rt_config_check_training(cfg), RT_ECONFIG);
    rt_config_free(cfg);
}

/* Sizes and bytes that a parser should not be shown. */
static void hostile_files_are_refused(void **state) {
    (void)state;
    static const size_t big = (1u << 20) + 1;
    rt_config *cfg = NULL;
    char *bytes = malloc(big);
    assert_non_null(bytes);
    memset(bytes, '#', big);
    assert_int_equal(rt_config_load(&(rt_config_request){.path = write_bytes("big.ini", bytes, big)}, NULL, &cfg),
                     RT_ECONFIG);
    memset(bytes, 0, 4096);
    assert_int_equal(rt_config_load(&(rt_config_request){.path = write_bytes("nul.ini", bytes, 4096)}, NULL, &cfg),
                     RT_ECONFIG);
    /* As many keys as fit: the parser looks each up among all. */
    size_t n = (size_t)snprintf(bytes, big, "[run]\n");
    for (int i = 0; n + 16 < big; i++) n += (size_t)snprintf(bytes + n, 16, "k%d=\n", i);
    assert_int_equal(rt_config_load(&(rt_config_request){.path = write_bytes("keys.ini", bytes, n)}, NULL, &cfg),
                     RT_ECONFIG);
    /* One long value is no fault in itself. */
    n = (size_t)snprintf(bytes, big, "[data]\ntext_a = ");
    memset(bytes + n, 'x', 500000);
    assert_int_equal(
        rt_config_load(&(rt_config_request){.path = write_bytes("long.ini", bytes, n + 500000)}, NULL, &cfg), RT_OK);
    assert_int_equal(strlen(cfg->data.text_a), 500000);
    rt_config_free(cfg);
    free(bytes);
}

/* Bytes of a good file changed at random: no crash, no other status than that of a bad configuration. */
static void changed_bytes_do_no_harm(void **state) {
    (void)state;
    rt_config *cfg = NULL;
    rt_text text = {0};
    rt_config_write_options all = {.classes = RT_CLASS_ALL, .unset_as_comments = true, .relative = true};
    assert_int_equal(rt_config_load(&(rt_config_request){0}, NULL, &cfg), RT_OK);
    assert_int_equal(rt_config_write(cfg, &all, &text), RT_OK);
    rt_config_free(cfg);
    char *bytes = malloc(text.size);
    assert_non_null(bytes);
    uint64_t random = 88172645463325252ull;
    for (int round = 0; round < 1500; round++) {
        memcpy(bytes, text.data, text.size);
        for (int k = 0; k < 1 + round % 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17; /* xorshift64 */
            static const char often[] = "[]=\n\"#;, \t.0-";
            bytes[random % text.size] =
                random >> 40 & 1 ? (char)(random >> 32) : often[(random >> 32) % (sizeof often - 1)];
        }
        size_t size = round % 5 ? text.size : random % text.size;
        rt_status rc = rt_config_from_ini_bytes(bytes, size, "changed", &cfg);
        assert_true(rc == RT_OK || rc == RT_EDATA || rc == RT_ECONFIG);
        assert_true((rc == RT_OK) == (cfg != NULL));
        rt_config_free(cfg);
        cfg = NULL;
    }
    free(bytes);
    rt_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_file_is_refused_with_its_line),
        cmocka_unit_test(unusual_but_right_files_are_taken),
        cmocka_unit_test(other_trainers_names_are_known),
        cmocka_unit_test(and_answered_with_the_line_to_write),
        cmocka_unit_test(every_foreign_name_leads_somewhere),
        cmocka_unit_test(a_set_has_a_form),
        cmocka_unit_test(training_needs_more),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(changed_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
