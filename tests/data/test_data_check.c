/* The data check, against counts made by hand. */
#include "data/data_check.h"
#include "tests/data/set.h"

static rt_tokenizer *tok;

static int set_up(void **state) {
    tok = make_tokenizer("", false);
    return make_folder(state);
}

static int tear_down(void **state) {
    rt_tokenizer_free(tok);
    return drop_folder(state);
}

static const char *const slices[] = {"c"};

static rt_dataset *open_set(const char *name, const char *text) {
    const char *files[] = {write_text(name, text)};
    rt_data_spec spec = make_spec(files, 1);
    spec.group = "g", spec.user = "u", spec.item = "i", spec.time = "t";
    spec.slices = slices, spec.n_slices = 1;
    rt_dataset *ds = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    return ds;
}

static const char train[] = "a\tb\ty\tg\tu\ti\tt\tc\n"
                            "red\tblue\t1\tq1\tann\tx\t10\tnew\n"
                            "red\tblue\t0\tq1\tbob\ty\t20\told\n" /* the same texts, the other label */
                            "RED\tblue\t0\tq2\tbob\ty\t30\told\n" /* equal tokens */
                            "a\tb c\t0\tq2\tann\tx\tsoon\told\n"
                            "a\tb c\t0\tq3\tann\tx\t5\told\n"
                            "a b c d\tb\t1\tq3\tann\tx\t7\tnew\n";
static const char test[] = "a\tb\ty\tg\tu\ti\tt\tc\n"
                           "red\tblue\t1\tq9\tann\tz\t30\tnew\n"
                           "shoe\tb\t1\tq9\tcid\tx\t31\tnew\n";

static void everything_is_counted(void **state) {
    (void)state;
    rt_dataset *ds = open_set("train.tsv", train);
    rt_data_check c;
    assert_int_equal(rt_data_check_fill(ds, 6, &c), RT_OK);
    assert_int_equal(c.rows, 6);
    assert_int_equal(c.clicks, 2);
    assert_int_equal(c.duplicates, 3);
    assert_int_equal(c.contradictory_pairs, 1);
    assert_int_equal(c.contradictory_rows, 3);
    /* lengths 5 5 5 6 6 8, [CLS] and two [SEP] counted */
    assert_true(c.mean_len == 35.0 / 6);
    assert_int_equal(c.p50, 5);
    assert_int_equal(c.p95, 8);
    assert_int_equal(c.max_len, 8);
    assert_int_equal(c.cut, 1);
    assert_int_equal(c.groups, 3);
    assert_int_equal(c.one_class_groups, 1);
    assert_true(c.has_times && !c.calendar && c.first == 5 && c.last == 30);
    assert_int_equal(c.without_time, 1);
    assert_int_equal(c.n_slices, 2);
    assert_string_equal(c.by_slice[0].name, "c=old");
    assert_int_equal(c.by_slice[0].rows, 4);
    assert_int_equal(c.by_slice[0].clicks, 0);
    assert_int_equal(c.by_slice[1].clicks, 2);
    assert_int_equal(c.suggested_max_length, 16);
    assert_int_equal(c.suggested_batch_size, 16);
    assert_true(c.suggested_keep == 1);
    rt_text text = {0};
    rt_data_check_text(&c, "tokens", &text);
    assert_non_null(strstr(text.data, "6 rows, 2 clicks, click rate 0.3333"));
    assert_non_null(strstr(text.data, "3 rows (50.00 %) repeat the texts of an earlier row"));
    assert_non_null(strstr(text.data, "1 pairs, 3 rows (50.00 %); no text model can tell them apart"));
    assert_non_null(strstr(text.data, "times: 5 to 30; 1 rows have none"));
    assert_non_null(strstr(text.data, "slice c=old: 4 rows, click rate 0.0000 (one class: no AUC)"));
    rt_text_free(&text);
    rt_data_check_free(&c);
    rt_dataset_close(ds);
}

static void what_two_sets_share(void **state) {
    (void)state;
    rt_dataset *a = open_set("train.tsv", train), *b = open_set("test.tsv", test);
    rt_data_against s;
    assert_int_equal(rt_data_check_against(a, b, &s), RT_OK);
    assert_int_equal(s.shared.rows, 1);
    assert_int_equal(s.shared.users, 1);
    assert_int_equal(s.shared.items, 1);
    assert_true(s.has_times && s.overlaps);
    assert_int_equal(s.not_newer, 1); /* 30 is not newer than 30 */
    assert_int_equal(rt_data_check_against(b, a, &s), RT_OK);
    assert_int_equal(s.shared.rows, 3);
    assert_int_equal(s.not_newer, 5);
    rt_dataset_close(a);
    rt_dataset_close(b);
}

static void dates_are_times(void **state) {
    (void)state;
    const char *head = "a\tb\ty\tg\tu\ti\tt\tc\n";
    char old[256], new[256];
    snprintf(old, sizeof old, "%sred\tb\t1\tg\tu\ti\t2019-11-14 10:00:00\tc\n", head);
    snprintf(new, sizeof new, "%sred\tb\t1\tg\tu\ti\t2019-11-15\tc\n", head);
    rt_dataset *a = open_set("old.tsv", old), *b = open_set("new.tsv", new);
    rt_data_against s;
    rt_data_check c;
    assert_int_equal(rt_data_check_against(a, b, &s), RT_OK);
    assert_true(s.has_times && !s.overlaps);
    assert_int_equal(rt_data_check_against(b, a, &s), RT_OK);
    assert_true(s.overlaps);
    assert_int_equal(rt_data_check_fill(a, 16, &c), RT_OK);
    rt_text text = {0};
    rt_data_check_json(&c, "tokens", &text);
    assert_non_null(strstr(text.data, "\"times\": {\"first\": \"2019-11-14 10:00:00\", "));
    rt_text_free(&text);
    rt_data_check_free(&c);
    rt_dataset_close(a);
    rt_dataset_close(b);
}

static void rare_clicks_get_a_rate(void **state) {
    (void)state;
    /* 1 click in 101 rows: 4 x (1 / 101) / (100 / 101) = 0.04 */
    rt_text text = {0};
    rt_text_puts(&text, "a\tb\ty\tg\tu\ti\tt\tc\n");
    for (int i = 0; i < 101; i++) rt_text_printf(&text, "a\tb\t%d\tg\tu\ti\t1\tc\n", i == 7);
    rt_dataset *ds = open_set("rare.tsv", text.data);
    rt_data_check c;
    assert_int_equal(rt_data_check_fill(ds, 16, &c), RT_OK);
    assert_true(c.suggested_keep > 0.0399999 && c.suggested_keep < 0.0400001);
    rt_text_clear(&text);
    rt_data_check_suggestions(&c, &text);
    assert_non_null(strstr(text.data, "data.negative_keep = 0.04, or train.class_weights = balanced"));
    rt_text_free(&text);
    rt_data_check_free(&c);
    rt_dataset_close(ds);
}

static int left; /* reads until the stop */

static bool stop_soon(void) {
    return left-- <= 0;
}

/* Stopped at its first window, its second, and so on, each ends so; with no stop left, with what was found. */
static void a_stop_ends_it_wherever_it_is(void **state) {
    (void)state;
    rt_dataset *a = open_set("train.tsv", train), *b = open_set("test.tsv", test);
    rt_dataset_stop_when(a, stop_soon);
    rt_dataset_stop_when(b, stop_soon);
    rt_status rc = RT_ESTOPPED;
    int stops = 0;
    rt_data_check c;
    for (; rc == RT_ESTOPPED && stops < 100; stops++) {
        left = stops;
        rc = rt_data_check_fill(a, 6, &c);
        if (rc == RT_ESTOPPED) assert_null(c.by_slice);
    }
    assert_int_equal(rc, RT_OK);
    assert_true(stops > 3); /* texts, slices and times were read */
    assert_int_equal(c.duplicates, 3);
    rt_data_check_free(&c);
    rt_data_against s;
    rc = RT_ESTOPPED;
    for (stops = 0; rc == RT_ESTOPPED && stops < 100; stops++) {
        left = stops;
        rc = rt_data_check_against(a, b, &s);
    }
    assert_int_equal(rc, RT_OK);
    assert_true(stops > 8); /* both sets' texts, users, items and times */
    assert_int_equal(s.shared.rows, 1);
    rt_dataset_close(a);
    rt_dataset_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_counted),
        cmocka_unit_test(what_two_sets_share),
        cmocka_unit_test(dates_are_times),
        cmocka_unit_test(rare_clicks_get_a_rate),
        cmocka_unit_test(a_stop_ends_it_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
