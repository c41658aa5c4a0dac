/* The public functions one by one: what a model says of itself, tokens, scores, every way to go wrong. */
#include "model.h"
#include <math.h>
#include <omp.h>
#include <pthread.h>

static void assert_says(rectrain_status found, rectrain_status expected, const char *part) {
    if (found != expected || !strstr(rectrain_error(), part))
        fail_msg("status %d, expected %d; \"%s\", expected it to say \"%s\"", (int)found, (int)expected,
                 rectrain_error(), part);
}

static void test_what_it_says_of_itself(void **state) {
    (void)state;
    rectrain_model *m = load("two.h5");
    assert_int_equal(rectrain_api_version(), RECTRAIN_API_VERSION);
    assert_string_equal(rectrain_version(), RECTRAIN_VERSION);
    assert_int_equal(rectrain_label_count(m), 2);
    assert_string_equal(rectrain_label(m, 0), "no");
    assert_string_equal(rectrain_label(m, 1), "yes");
    assert_null(rectrain_label(m, 2));
    assert_null(rectrain_label(m, -1));
    assert_int_equal(rectrain_max_length(m), 12);
    assert_int_equal(rectrain_hidden(m), 16);
    assert_non_null(strstr(rectrain_description(m), "1 thread,"));
    assert_non_null(strstr(rectrain_description(m), "fp32"));
    rectrain_free(m);
    rectrain_free(NULL);
}

static void test_options(void **state) {
    (void)state;
    rectrain_model *m = NULL;
    rectrain_options o = RECTRAIN_OPTIONS_INIT;
    o.precision = RECTRAIN_PRECISION_BF16;
    o.threads = 2;
    o.max_length = 5;
    assert_int_equal(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_OK);
    assert_int_equal(rectrain_max_length(m), 5);
    assert_non_null(strstr(rectrain_description(m), "bf16"));
    assert_non_null(strstr(rectrain_description(m), "2 threads"));
    float p[2];
    assert_int_equal(rectrain_predict(m, &(rectrain_pair){"a1", 2, "b1", 2}, 1, p, NULL), RECTRAIN_OK);
    assert_true(fabsf(p[0] + p[1] - 1) < 1e-6f);
    rectrain_free(m);
    assert_int_equal(rectrain_load(in_folder("two.h5"), NULL, &m), RECTRAIN_OK);
    rectrain_free(m);
}

static void test_load_refuses(void **state) {
    (void)state;
    rectrain_model *m = (rectrain_model *)1;
    rectrain_options o = RECTRAIN_OPTIONS_INIT;
    assert_says(rectrain_load(in_folder("nowhere.h5"), NULL, &m), RECTRAIN_ENOINPUT, "nowhere.h5: no such file");
    assert_null(m);
    assert_says(rectrain_load("", NULL, &m), RECTRAIN_ECONFIG, "empty");
    assert_says(rectrain_load(NULL, NULL, &m), RECTRAIN_EINVAL, "path is NULL");
    assert_says(rectrain_load(in_folder("two.h5"), NULL, NULL), RECTRAIN_EINVAL, "out is NULL");
    assert_says(rectrain_load(in_folder("bare.h5"), NULL, &m), RECTRAIN_ECONFIG, "no classification head");
    assert_says(rectrain_load(model_folder, NULL, &m), RECTRAIN_ENOINPUT, "without config.json");
    o.max_length = 161;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_ECONFIG, "3 to 160");
    o.max_length = 2;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_ECONFIG, "3 to 160");
    o.max_length = -1;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_EINVAL, "max_length");
    o.max_length = 0, o.threads = -1;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_EINVAL, "threads");
    o.threads = 0, o.precision = (rectrain_precision)3;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_EINVAL, "precision");
    o.precision = RECTRAIN_PRECISION_AUTO, o.size--;
    assert_says(rectrain_load(in_folder("two.h5"), &o, &m), RECTRAIN_EINVAL, "RECTRAIN_OPTIONS_INIT");
    assert_null(m);
}

/* One changed byte of a tensor, one cut end. */
static void test_altered_file(void **state) {
    (void)state;
    rectrain_model *m = NULL;
    FILE *f = fopen(in_folder("two.h5"), "rb"), *to = fopen(in_folder("altered.h5"), "wb");
    assert_true(f && to);
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    assert_true(n > 20000 && n < sizeof bytes);
    fclose(f);
    bytes[n - 40] ^= 1;
    assert_int_equal(fwrite(bytes, 1, n, to), n);
    fclose(to);
    assert_says(rectrain_load(in_folder("altered.h5"), NULL, &m), RECTRAIN_EDATA, "altered.h5");
    assert_int_equal(truncate(in_folder("altered.h5"), (off_t)(n / 2)), 0);
    assert_says(rectrain_load(in_folder("altered.h5"), NULL, &m), RECTRAIN_EDATA, "altered.h5");
    assert_null(m);
}

static void assert_tokens(rectrain_model *m, rectrain_pair pair, const int32_t *expected, int split, size_t n) {
    int32_t ids[12], types[12];
    size_t found;
    assert_int_equal(rectrain_tokenize(m, &pair, ids, types, 12, &found), RECTRAIN_OK);
    assert_int_equal(found, n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    for (int i = 0; i < (int)n; i++) assert_int_equal(types[i], i >= split);
}

#define IDS(...)                                                                                                       \
    (int32_t[]) {                                                                                                      \
        __VA_ARGS__                                                                                                    \
    }
static void test_tokenize(void **state) {
    (void)state;
    rectrain_model *m = load("two.h5");
    int32_t ids[12] = {-1, -1};
    size_t n = 99;
    /* [CLS] is 2, [SEP] 3, [UNK] 1. */
    assert_tokens(m, (rectrain_pair){"A1 a2", RECTRAIN_NUL, NULL, 0}, IDS(2, 6, 7, 3), 4, 4);
    assert_tokens(m, (rectrain_pair){"a1", RECTRAIN_NUL, "b0 b9", RECTRAIN_NUL}, IDS(2, 6, 3, 15, 24, 3), 3, 6);
    assert_tokens(m, (rectrain_pair){"a1 never", 2, "b0 never", 2}, IDS(2, 6, 3, 15, 3), 3, 5);
    assert_tokens(m, (rectrain_pair){"", 0, "b1", 2}, IDS(2, 3, 16, 3), 2, 4);
    assert_tokens(m, (rectrain_pair){"a1", 2, "", 0}, IDS(2, 6, 3, 3), 3, 4);
    assert_tokens(m, (rectrain_pair){"", RECTRAIN_NUL, NULL, 7}, IDS(2, 3), 2, 2);
    /* A NUL and a broken byte within a text are dropped, as the reference tokenizer does. */
    assert_tokens(m, (rectrain_pair){"a\0001 \xff", 5, NULL, 0}, IDS(2, 6, 3), 3, 3);
    /* Cut to 12 tokens, as longest_first does it. */
    assert_tokens(m, (rectrain_pair){"a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 a0 a1", RECTRAIN_NUL, "b0", 2},
                  IDS(2, 5, 6, 7, 8, 9, 10, 11, 12, 3, 15, 3), 10, 12);
    rectrain_pair pair = {"a1 a2", 5, "b0", 2};
    assert_says(rectrain_tokenize(m, &pair, ids, NULL, 5, &n), RECTRAIN_EINVAL, "6 tokens, and room for 5");
    assert_int_equal(n, 6);
    assert_int_equal(ids[0], -1);
    assert_says(rectrain_tokenize(m, &pair, NULL, NULL, 0, &n), RECTRAIN_EINVAL, "room for 0");
    assert_int_equal(rectrain_tokenize(m, &pair, ids, NULL, 6, &n), RECTRAIN_OK);
    assert_says(rectrain_tokenize(NULL, &pair, ids, NULL, 6, &n), RECTRAIN_EINVAL, "model is NULL");
    assert_says(rectrain_tokenize(m, NULL, ids, NULL, 6, &n), RECTRAIN_EINVAL, "pair is NULL");
    assert_says(rectrain_tokenize(m, &pair, NULL, NULL, 6, &n), RECTRAIN_EINVAL, "ids is NULL");
    assert_says(rectrain_tokenize(m, &pair, ids, NULL, 6, NULL), RECTRAIN_EINVAL, "n is NULL");
    assert_says(rectrain_tokenize(m, &(rectrain_pair){NULL, 0, "b", 1}, ids, NULL, 6, &n), RECTRAIN_EINVAL,
                "a is NULL");
    rectrain_free(m);
}

enum { ROWS = 300 };
static words texts[ROWS];
static rectrain_pair pairs[ROWS];

static void test_predict(void **state) {
    (void)state;
    for (int k = 1; k <= 3; k++) {
        static const char *const names[] = {"one.h5", "two.h5", "three.h5"};
        rectrain_model *m = load(names[k - 1]);
        float p[ROWS * 3], logits[ROWS * 3], again[ROWS * 3];
        assert_int_equal(rectrain_predict(m, pairs, ROWS, p, logits), RECTRAIN_OK);
        int differ = 0;
        for (int i = 0; i < ROWS; i++) {
            double sum = 0;
            for (int j = 0; j < k; j++) sum += exp((double)logits[i * k + j]);
            for (int j = 0; j < k; j++) {
                double wanted = k == 1 ? 1 / (1 + exp(-(double)logits[i])) : exp((double)logits[i * k + j]) / sum;
                /* Rounded once to fp32; exp and the sum are exact to fp64. */
                assert_true(fabs(wanted - (double)p[i * k + j]) <= 6e-8 * wanted);
            }
            differ += logits[i * k] != logits[0];
        }
        assert_true(differ > ROWS / 2);
        /* The same call has the same bits, and either output may be left out. */
        assert_int_equal(rectrain_predict(m, pairs, ROWS, NULL, again), RECTRAIN_OK);
        assert_memory_equal(logits, again, sizeof(float) * ROWS * (size_t)k);
        assert_int_equal(rectrain_predict(m, pairs, ROWS, again, NULL), RECTRAIN_OK);
        assert_memory_equal(p, again, sizeof(float) * ROWS * (size_t)k);
        assert_int_equal(rectrain_predict(m, pairs, ROWS, NULL, NULL), RECTRAIN_OK);
        assert_int_equal(rectrain_predict(m, NULL, 0, NULL, NULL), RECTRAIN_OK);
        /* Alone a row may round elsewhere: fp32 sums of 16 to 32 terms, twice a layer, of values near one. */
        for (int i = 0; i < 5; i++) {
            assert_int_equal(rectrain_predict(m, &pairs[i], 1, NULL, again), RECTRAIN_OK);
            for (int j = 0; j < k; j++) assert_true(fabsf(again[j] - logits[i * k + j]) < 1e-5f);
        }
        rectrain_free(m);
    }
}

/* A text and its two sides count; a pair is not its single text. */
static void test_sides_count(void **state) {
    (void)state;
    rectrain_model *m = load("two.h5");
    rectrain_pair rows[] = {{"a1", 2, "b1", 2}, {"a1", 2, NULL, 0}, {"a1", 2, "", 0}, {"b1", 2, "a1", 2}};
    float logits[8];
    assert_int_equal(rectrain_predict(m, rows, 4, NULL, logits), RECTRAIN_OK);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) assert_true(fabsf(logits[2 * i] - logits[2 * j]) > 1e-3f);
    rectrain_free(m);
}

static void test_predict_refuses_and_goes_on(void **state) {
    (void)state;
    rectrain_model *m = load("two.h5");
    float before[2 * ROWS], after[2 * ROWS];
    rectrain_pair bad[] = {{"a1", 2, NULL, 0}, {NULL, 0, NULL, 0}};
    assert_int_equal(rectrain_predict(m, pairs, ROWS, before, NULL), RECTRAIN_OK);
    assert_says(rectrain_predict(m, bad, 2, after, NULL), RECTRAIN_EINVAL, "row 1: a is NULL");
    assert_says(rectrain_predict(m, NULL, 2, after, NULL), RECTRAIN_EINVAL, "pairs is NULL");
    assert_says(rectrain_predict(NULL, pairs, 2, after, NULL), RECTRAIN_EINVAL, "model is NULL");
    assert_int_equal(rectrain_predict(m, pairs, ROWS, after, NULL), RECTRAIN_OK);
    assert_memory_equal(before, after, sizeof before);
    rectrain_free(m);
}

/* Trained on a tenth of the rows without a click: last.h5 lacks the correction ln(0.1), best.h5 has it. */
static void test_correction_of_a_resumable_checkpoint(void **state) {
    (void)state;
    static const char ini[] = "[data]\nmax_length = 12\nnegative_keep = 0.1\n";
    write_model("best.h5", (model_kind){.labels = 2, .ini = ini});
    write_model("last.h5", (model_kind){.labels = 2, .ini = ini, .resumable = true});
    rectrain_model *best = load("best.h5"), *last = load("last.h5");
    float a[2], b[2];
    assert_int_equal(rectrain_predict(best, pairs, 1, NULL, a), RECTRAIN_OK);
    assert_int_equal(rectrain_predict(last, pairs, 1, NULL, b), RECTRAIN_OK);
    assert_true(a[0] == b[0]);
    assert_true(fabs(b[1] - a[1] - log(0.1)) < 1e-6);
    rectrain_free(best);
    rectrain_free(last);
}

static void test_hugging_face_folder(void **state) {
    (void)state;
    rt_source *source;
    assert_int_equal(rt_source_open(in_folder("two.h5"), NULL, &source), RT_OK);
    assert_int_equal(rt_export(source, in_folder("hf"), 12, NULL), RT_OK);
    rt_source_close(source);
    rectrain_model *m = load("two.h5"), *hf = load("hf");
    assert_int_equal(rectrain_max_length(hf), 128); /* the program's default: a folder was trained by someone else */
    rectrain_free(hf);
    rectrain_options o = RECTRAIN_OPTIONS_INIT;
    o.precision = RECTRAIN_PRECISION_FP32, o.threads = 1, o.max_length = 12;
    assert_int_equal(rectrain_load(in_folder("hf"), &o, &hf), RECTRAIN_OK);
    assert_string_equal(rectrain_label(hf, 1), "yes");
    float a[2 * ROWS], b[2 * ROWS];
    assert_int_equal(rectrain_predict(m, pairs, ROWS, NULL, a), RECTRAIN_OK);
    assert_int_equal(rectrain_predict(hf, pairs, ROWS, NULL, b), RECTRAIN_OK);
    assert_memory_equal(a, b, sizeof a);
    rectrain_free(m);
    rectrain_free(hf);
}

/* A model needs its file while it is loaded alone. */
static void test_file_may_go(void **state) {
    (void)state;
    float a[2], b[2];
    write_model("gone.h5", (model_kind){.labels = 2});
    rectrain_model *m = load("gone.h5");
    assert_int_equal(rectrain_predict(m, pairs, 1, a, NULL), RECTRAIN_OK);
    assert_int_equal(unlink(in_folder("gone.h5")), 0);
    assert_int_equal(rectrain_predict(m, pairs, 1, b, NULL), RECTRAIN_OK);
    assert_memory_equal(a, b, sizeof a);
    rectrain_free(m);
}

static void *read_error(void *context) {
    snprintf(context, 64, "%.63s", rectrain_error());
    return NULL;
}

static void test_errors_are_of_a_thread(void **state) {
    (void)state;
    pthread_t thread;
    rectrain_model *m;
    char elsewhere[64] = "never read";
    assert_says(rectrain_load(in_folder("nowhere.h5"), NULL, &m), RECTRAIN_ENOINPUT, "nowhere");
    assert_int_equal(pthread_create(&thread, NULL, read_error, elsewhere), 0);
    pthread_join(thread, NULL);
    assert_string_equal(elsewhere, "");
    assert_non_null(strstr(rectrain_error(), "nowhere"));
}

static void test_callers_openmp_stays(void **state) {
    (void)state;
    float wanted[2 * ROWS], found[2][2 * ROWS];
    omp_set_num_threads(3);
    omp_set_dynamic(1);
    rectrain_model *m = load("two.h5");
    assert_int_equal(rectrain_predict(m, pairs, ROWS, wanted, NULL), RECTRAIN_OK);
    assert_int_equal(omp_get_max_threads(), 3);
    assert_true(omp_get_dynamic());
    omp_set_dynamic(0);
    /* From inside a parallel region too. */
    int failed = 0;
#pragma omp parallel for num_threads(2) reduction(+ : failed)
    for (int i = 0; i < 2; i++) failed += rectrain_predict(m, pairs, ROWS, found[i], NULL) != RECTRAIN_OK;
    assert_int_equal(failed, 0);
    for (int i = 0; i < 2; i++) assert_memory_equal(found[i], wanted, sizeof wanted);
    rectrain_free(m);
}

static int set_up(void **state) {
    if (make_model_folder(state)) return -1;
    write_model("one.h5", (model_kind){.labels = 1});
    write_model("two.h5", (model_kind){.labels = 2});
    write_model("three.h5", (model_kind){.labels = 3});
    write_model("bare.h5", (model_kind){.labels = 0});
    make_rows(0, ROWS, texts, pairs);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_says_of_itself),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_load_refuses),
        cmocka_unit_test(test_altered_file),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_sides_count),
        cmocka_unit_test(test_predict_refuses_and_goes_on),
        cmocka_unit_test(test_correction_of_a_resumable_checkpoint),
        cmocka_unit_test(test_hugging_face_folder),
        cmocka_unit_test(test_file_may_go),
        cmocka_unit_test(test_errors_are_of_a_thread),
        cmocka_unit_test(test_callers_openmp_stays),
    };
    return cmocka_run_group_tests(tests, set_up, drop_model_folder);
}
