/* What large sets rest on: comparing a part of the rows at a time counts the same, what a check found is kept and
 * believed only where it is whole and meant, and the number of rows has an end. */
#include "data/data_check_keep.h"
#include "data/dataset_read.h"
#include "tests/data/cache_case.h"

/* Rows enough for several parts of the smallest table, which takes 2^15 x 0.9 less a window of 8,192, 21,292 values: of
 * two parts one fits and one does not. `first`: texts, users and items are numbered from here on, each text twice, now
 * and then with the other label. */
enum { PAIRS = 42584, SMALLEST = 1 << 15 };

static rt_dataset *many(const char *name, unsigned first) {
    rt_text rows = {0};
    rt_text_puts(&rows, "a\tb\ty\tu\ti\n");
    for (unsigned i = first; i < first + PAIRS; i++)
        for (unsigned pass = 0; pass < 2; pass++)
            rt_text_printf(&rows, "%u\t%u\t%u\tu%u\ti%u\n", i % 1000, i / 1000, (i + pass * (i % 7 == 0)) % 2, i / 2,
                           i % 100);
    const char *files[] = {write_text(name, rows.data)};
    rt_text_free(&rows);
    rt_data_spec spec = make_spec(files, 1);
    spec.user = "u", spec.item = "i";
    spec.raw_texts = true; /* the vocabulary does not tell numbers apart */
    rt_dataset *ds = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 2 * PAIRS);
    return ds;
}

static void parts_count_as_the_whole_does(void **state) {
    (void)state;
    rt_dataset *a = many("a.tsv", 0), *b = many("b.tsv", PAIRS - 25000);
    rt_data_check whole = {0}, parts = {0};
    assert_int_equal(rt_data_check_texts(a, (size_t)1 << 20, &whole), RT_OK);
    assert_int_equal(rt_data_check_texts(a, SMALLEST, &parts), RT_OK);
    /* Each text stands there twice; those whose number is a multiple of 7 with both labels. */
    assert_int_equal(whole.duplicates, PAIRS);
    assert_int_equal(whole.contradictory_pairs, PAIRS / 7 + 1);
    assert_int_equal(whole.contradictory_rows, 2 * (PAIRS / 7 + 1));
    assert_int_equal(parts.duplicates, whole.duplicates);
    assert_int_equal(parts.contradictory_pairs, whole.contradictory_pairs);
    assert_int_equal(parts.contradictory_rows, whole.contradictory_rows);
    for (int way = 0; way < 4; way++) { /* the smaller set is in the table: both ways, in one part and in several */
        rt_data_overlap o;
        const rt_dataset *train = way & 1 ? b : a, *other = way & 1 ? a : b;
        assert_int_equal(rt_dataset_overlap_within(train, other, way & 2 ? SMALLEST : (size_t)1 << 20, &o), RT_OK);
        assert_int_equal(o.rows, 2 * 25000);
        assert_int_equal(o.users, 12500);
        assert_int_equal(o.items, 100);
    }
    rt_dataset_close(a);
    rt_dataset_close(b);
}

/* A small set against a large one, in either place. */
static void sizes_may_differ(void **state) {
    (void)state;
    const char *files[] = {write_text("few.tsv", "a\tb\ty\tu\ti\n7\t0\t1\tu3\ti7\n7\t0\t1\tu3\ti7\nred\t1\t0\tx\tx\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.user = "u", spec.item = "i";
    spec.raw_texts = true;
    rt_dataset *few, *a = many("a.tsv", 0);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &few), RT_OK);
    rt_data_overlap o;
    assert_int_equal(rt_dataset_overlap_within(a, few, SMALLEST, &o), RT_OK);
    assert_true(o.rows == 2 && o.users == 1 && o.items == 1);
    assert_int_equal(rt_dataset_overlap_within(few, a, SMALLEST, &o), RT_OK);
    assert_true(o.rows == 2 && o.users == 1 && o.items == 1);
    rt_dataset_close(few);
    rt_dataset_close(a);
}

static const char *const by_user[] = {"u"};

static rt_dataset *open_cached(const char *const *files, const char *folder) {
    rt_data_spec spec = full_spec(files, folder);
    spec.slices = by_user, spec.n_slices = 1;
    rt_dataset *ds = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    return ds;
}

/* The check as text, which shows every count. */
static char *check_text(const rt_dataset *ds, int max_length) {
    rt_data_check c;
    rt_text text = {0};
    assert_int_equal(rt_data_check_fill(ds, max_length, &c), RT_OK);
    rt_data_check_json(&c, "tokens", &text);
    rt_data_check_free(&c);
    return text.data;
}

/* Raises the kept count of repeats and seals the file anew: whoever reads it shows that number. */
static void forge(const char *path, bool seal) {
    enum { NUMBERS = 8 + 8 + 32 + 16 }; /* where they begin: after name, versions, keys and sizes */
    char *bytes;
    size_t size;
    uint64_t repeats = 777;
    assert_int_equal(rt_file_read(path, 1 << 20, &bytes, &size), RT_OK);
    memcpy(bytes + NUMBERS, &repeats, sizeof repeats);
    rt_digest128 digest = rt_hash128(bytes, size - sizeof digest);
    if (seal) memcpy(bytes + size - sizeof digest, &digest, sizeof digest);
    put_bytes(path, bytes, size);
    free(bytes);
}

static void findings_are_kept(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)}, *folder = fresh_folder();
    rt_dataset *ds = open_cached(files, folder);
    char *first = check_text(ds, 6), path[512], *again;
    assert_non_null(strstr(first, "\"u=ann\": {\"rows\": 2,"));
    snprintf(path, sizeof path, "%s", find_file(folder, ".found"));
    assert_string_not_equal(path, "");
    rt_dataset_close(ds);
    ds = open_cached(files, folder);
    again = check_text(ds, 6);
    assert_string_equal(again, first);
    free(again);
    /* Read, not counted: a forged number shows. */
    forge(path, true);
    again = check_text(ds, 6);
    assert_non_null(strstr(again, "\"duplicates\": 777"));
    free(again);
    /* With another data.max_length it is another check. */
    again = check_text(ds, 5);
    assert_null(strstr(again, "777"));
    free(again);
    /* Altered or cut off anywhere: counted anew, and kept anew. */
    forge(path, false);
    char *bytes;
    size_t size;
    assert_int_equal(rt_file_read(path, 1 << 20, &bytes, &size), RT_OK);
    for (size_t at = 0; at < 2 * size; at += 5) {
        bytes[at % size] ^= 1;
        put_bytes(path, bytes, at < size ? size : at - size);
        bytes[at % size] ^= 1;
        again = check_text(ds, 6);
        assert_string_equal(again, first);
        free(again);
    }
    free(bytes);
    free(first);
    rt_dataset_close(ds);
}

static void findings_about_two_sets_are_kept(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)},
               *others[] = {write_text("o.tsv", "a\tb\ty\tg\tw\tu\ti\tt\nred shoe\tblue\t1\tq1\t2\tann\tz\t9\n")};
    const char *folder = fresh_folder();
    rt_dataset *a = open_cached(files, folder), *b = open_cached(others, folder);
    rt_data_against s;
    assert_int_equal(rt_data_check_against(a, b, &s), RT_OK);
    assert_true(s.shared.rows == 1 && s.shared.users == 1 && s.shared.items == 0 && s.has_times && !s.overlaps);
    forge(find_file(folder, ".found"), true);
    assert_int_equal(rt_data_check_against(a, b, &s), RT_OK);
    assert_true(s.shared.rows == 777 && s.shared.users == 1 && s.shared.has_users && s.has_times && !s.overlaps);
    /* The other way about is another question. */
    assert_int_equal(rt_data_check_against(b, a, &s), RT_OK);
    assert_true(s.shared.rows == 1 && s.overlaps && s.not_newer == 3);
    rt_dataset_close(a);
    rt_dataset_close(b);
}

static void the_number_of_rows_has_an_end(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    rt_data_spec spec = full_spec(files, NULL);
    rt_reader r;
    rt_rows_in *chunk = calloc(1, sizeof *chunk);
    assert_non_null(chunk);
    assert_int_equal(rt_reader_open(&r, &spec, NULL), RT_OK);
    r.rows = UINT32_MAX - 1; /* as if so many had been read: one more fits */
    assert_int_equal(rt_reader_next(&r, chunk), RT_EDATA);
    assert_int_equal(RT_EDATA, 65); /* the exit code */
    assert_string_equal(plain(rt_error_get()->text), "t.tsv:3: more than 4294967295 rows; train on a part of them");
    assert_int_equal(chunk->n, 1);
    rt_reader_close(&r);
    rt_text_free(&chunk->text);
    free(chunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_count_as_the_whole_does),
        cmocka_unit_test(sizes_may_differ),
        cmocka_unit_test(findings_are_kept),
        cmocka_unit_test(findings_about_two_sets_are_kept),
        cmocka_unit_test(the_number_of_rows_has_an_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
