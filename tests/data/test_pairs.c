/* Texts apart: which records a row becomes, which rows are taken, and what makes two pairs the same. */
#include "data/pairs.h"
#include "set.h"
#include <math.h>

static const char *const negatives[] = {"n", "{a} {n}"};

static rt_data_spec apart_spec(const char *const *file, int n_negatives) {
    rt_data_spec spec = make_spec(file, 1);
    spec.apart = true, spec.need_label = false;
    spec.user = "u", spec.item = "i";
    spec.negatives = negatives, spec.n_negatives = n_negatives;
    return spec;
}

static const char rows[] = "a\tb\ty\tn\tu\ti\n"
                           "a\tred shoe\t1\tblue\tu1\ti1\n"
                           "b\tblue\t0\tred\tu2\ti2\n"
                           "c d\tshoe\t1\t\tu1\t\n"
                           "a\tred shoe\t1\td\t\ti1\n";

/* Rows of label 0 are left out; each text is [CLS] text [SEP] and has one type. */
static void records(void **state) {
    (void)state;
    const char *file = write_bytes("rows.tsv", rows, strlen(rows));
    rt_tokenizer *tok = make_tokenizer("", false);
    rt_data_spec spec = apart_spec(&file, 2);
    rt_dataset *ds;
    for (int cached = 0; cached < 3; cached++) { /* in memory, made, and found */
        spec.cache_folder = cached ? test_folder : NULL;
        assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
        assert_int_equal(rt_dataset_stats(ds)->from_cache, cached == 2);
        assert_int_equal(rt_dataset_rows(ds), 12);
        assert_int_equal(rt_dataset_sides(ds), 4);
        assert_int_equal(rt_dataset_examples(ds), 3);
        assert_int_equal(rt_dataset_stats(ds)->left_out, 1);
        assert_null(rt_dataset_labels(ds));
        assert_string_equal(row_text(ds, 0), "2 5 3");
        assert_string_equal(row_text(ds, 1), "2 9 11 3");
        assert_string_equal(row_text(ds, 2), "2 10 3");
        assert_string_equal(row_text(ds, 3), "2 5 10 3");
        assert_string_equal(row_text(ds, 4), "2 7 8 3");
        assert_string_equal(row_text(ds, 6), "2 3"); /* no negative */
        rt_dataset_close(ds);
    }
    /* Another cut of the same file is another cache. */
    spec.n_negatives = 1;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 9);
    assert_int_equal(rt_dataset_sides(ds), 3);
    rt_dataset_close(ds);
    rt_tokenizer_free(tok);
}

static void keys(void **state) {
    (void)state;
    const char *file = write_bytes("rows.tsv", rows, strlen(rows));
    rt_tokenizer *tok = make_tokenizer("", false);
    rt_data_spec spec = apart_spec(&file, 1);
    rt_dataset *ds;
    rt_pairs p;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_pairs_new(ds, true, &p), RT_OK);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.sides, 3);
    assert_true(p.texts[0] == p.texts[6] && p.texts[1] == p.texts[7] && p.texts[2] != p.texts[8]);
    assert_true(p.users[0] == p.users[1]); /* u1 */
    assert_true(p.users[2] == p.texts[6]); /* without a user: its text */
    assert_true(p.items[0] == p.items[2]); /* i1 */
    assert_true(p.items[1] == p.texts[4]); /* without an item: its text */
    for (int i = 0; i < 3; i++) assert_true(fabs((double)p.log_share[i] - log(i == 1 ? 1 / 3.0 : 2 / 3.0)) < 1e-6);
    rt_pairs_free(&p);
    rt_dataset_close(ds);
    /* Without the columns texts decide. */
    spec.user = spec.item = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_pairs_new(ds, false, &p), RT_OK);
    assert_true(p.users[0] == p.texts[0] && p.users[2] == p.users[0] && p.items[0] == p.texts[1]);
    assert_null(p.log_share);
    rt_pairs_free(&p);
    rt_dataset_close(ds);
    rt_tokenizer_free(tok);
}

/* More rows than a chunk of the reader, a window of hashes: all in their place. */
static void many_rows(void **state) {
    (void)state;
    enum { N = 3000 };
    rt_text text = {0};
    rt_text_puts(&text, "a\tb\tn\tu\ti\n");
    for (int i = 0; i < N; i++) rt_text_printf(&text, "%d\t%d %d\tred\tu%d\ti%d\n", i, i, i, i % 7, i % 11);
    const char *file = write_bytes("many.tsv", text.data, text.size);
    rt_text_free(&text);
    rt_tokenizer *tok = make_tokenizer("##0\n##1\n##2\n##3\n##4\n##5\n##6\n##7\n##8\n##9\n", false);
    rt_data_spec spec = apart_spec(&file, 1);
    spec.label_by_default = true; /* and there is none: all rows are clicks */
    rt_dataset *ds;
    rt_pairs p;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_examples(ds), N);
    assert_int_equal(rt_pairs_new(ds, true, &p), RT_OK);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(p.users[i] == p.users[i % 7] && p.items[i] == p.items[i % 11]);
        assert_true(p.texts[i * 3 + 2] == p.texts[2] && (i == 0 || p.texts[i * 3] != p.texts[i * 3 - 3]));
        assert_int_equal(rt_dataset_lengths(ds)[i * 3 + 1], 2 * (rt_dataset_lengths(ds)[i * 3] - 2) + 2);
    }
    rt_pairs_free(&p);
    rt_dataset_close(ds);
    rt_tokenizer_free(tok);
}

static void refused(const rt_data_spec *spec, const rt_tokenizer *tok, rt_status status, const char *part) {
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(spec, tok, NULL, NULL, NULL, &ds), status);
    if (!strstr(rt_error_get()->text, part)) fail_msg("%s: no \"%s\" in it", rt_error_get()->text, part);
    assert_null(ds);
}

static void refusals(void **state) {
    (void)state;
    static const char none[] = "a\tb\ty\tn\nred\tblue\t0\t\n", odd[] = "a\tb\tclicked\tn\nred\tblue\t1\t\n";
    const char *file = write_bytes("none.tsv", none, strlen(none)), *other = write_bytes("odd.tsv", odd, strlen(odd));
    rt_tokenizer *tok = make_tokenizer("", false);
    rt_data_spec spec = apart_spec(&file, 0);
    spec.user = spec.item = NULL;
    refused(&spec, tok, RT_EDATA, "no rows below the header that were clicked");
    spec.files = &other; /* its label column was named, and is not there */
    refused(&spec, tok, RT_EDATA, "no column \"y\"");
    spec.text_b = NULL;
    refused(&spec, tok, RT_ECONFIG, "data.text_b");
    rt_tokenizer_free(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(records), cmocka_unit_test(keys), cmocka_unit_test(many_rows),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("pairs", tests, make_folder, drop_folder);
}
