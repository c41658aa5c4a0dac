/* Data sets: what comes out of the files, and what is said about rows that do not fit. */
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

static void rows_come_out_as_they_stand(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\tg\tw\tu\ti\nred shoe\tblue\t1\tq1\t2\tann\tx\nshoes\td "
                                               "d\t0\tq2\t0.5\tbob\ty\nA\tzzz\t1.0\tq1\t1\tann\tx\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.group = "g", spec.weight = "w", spec.user = "u", spec.item = "i";
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 3);
    assert_string_equal(row_text(ds, 0), "2 9 11 3 | 10 3");
    assert_string_equal(row_text(ds, 1), "2 11 12 3 | 8 8 3");
    assert_string_equal(row_text(ds, 2), "2 5 3 | 1 3");
    const int32_t labels[] = {1, 0, 1};
    const float weights[] = {2, 0.5f, 1};
    const uint32_t groups[] = {0, 1, 0};
    assert_memory_equal(rt_dataset_labels(ds), labels, sizeof labels);
    assert_memory_equal(rt_dataset_weights(ds), weights, sizeof weights);
    assert_memory_equal(rt_dataset_groups(ds), groups, sizeof groups);
    assert_int_equal(rt_dataset_group_count(ds), 2);
    assert_int_equal(rt_dataset_one_class_groups(ds), 2);
    const rt_data_stats *s = rt_dataset_stats(ds);
    assert_int_equal(s->rows, 3);
    assert_int_equal(s->tokens, 6 + 7 + 5);
    assert_int_equal(s->max_len, 7);
    assert_int_equal(s->unknown, 1);
    assert_int_equal(s->label_counts[0], 1);
    assert_int_equal(s->label_counts[1], 2);
    assert_true(s->mean_len == 6.0 && s->click_rate == 2.0 / 3.0);
    assert_false(s->from_cache);
    rt_dataset_close(ds);
    rt_dataset_close(NULL);
}

static void singles_have_no_second_text(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\nred\tblue\t1\n\t\t0\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.text_b = "";
    spec.text_a = "{b} {a}";
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 10 9 3");
    assert_string_equal(row_text(ds, 1), "2 3");
    assert_int_equal(rt_dataset_stats(ds)->empty_a, 1);
    assert_int_equal(rt_dataset_stats(ds)->empty_b, 0);
    assert_null(rt_dataset_weights(ds));
    assert_null(rt_dataset_groups(ds));
    rt_dataset_close(ds);
}

static void an_empty_text_keeps_its_place(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\n\tblue\t1\nred\t\t0\n \t\t0\nred\tblue\t1\n")};
    rt_data_spec spec = make_spec(files, 1);
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 3 | 10 3");
    assert_string_equal(row_text(ds, 1), "2 9 3 | 3");
    assert_string_equal(row_text(ds, 2), "2 3 | 3");
    assert_int_equal(rt_dataset_stats(ds)->empty_a, 2);
    assert_int_equal(rt_dataset_stats(ds)->empty_b, 2);
    assert_int_equal(rt_dataset_stats(ds)->bad_rows, 0);
    rt_dataset_close(ds);
}

static void truncation_is_counted(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\na b c d a b\td\t1\na\tb\t0\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.encode.max_length = 7;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 5 6 7 3 | 8 3");
    assert_int_equal(rt_dataset_stats(ds)->truncated, 1);
    rt_dataset_close(ds);
    spec.encode.left = true;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 8 5 6 3 | 8 3");
    rt_dataset_close(ds);
}

static void prediction_needs_texts_alone(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "b\ta\nblue\tred\n")}, *empty[] = {write_text("e.tsv", "b\ta\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.need_label = false;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_null(rt_dataset_labels(ds));
    assert_string_equal(row_text(ds, 0), "2 9 3 | 10 3");
    rt_dataset_close(ds);
    spec.files = empty;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 0);
    rt_dataset_close(ds);
}

static void stops_with(const char *text, const char *const *labels, int n_labels, rt_status status,
                       const char *message) {
    const char *files[] = {write_text("train.tsv", text)};
    rt_data_spec spec = make_spec(files, 1);
    rt_dataset *ds;
    spec.labels = labels, spec.n_labels = n_labels, spec.weight = "w";
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), status);
    assert_null(ds);
    assert_string_equal(plain(rt_error_get()->text), message);
}

static void bad_rows_stop(void **state) {
    (void)state;
    const char *two[] = {"no", "yes"}, *three[] = {"bad", "fair", "good"}, *plain_names[] = {"0", "1"};
    const char *one[] = {"click"};
    stops_with("a\tb\ty\tw\nx\tx\tyes\t1\nx\tx\tmaybe\t1\n", two, 2, RT_EDATA,
               "train.tsv:3: column \"y\" = \"maybe\": expected 0, 1, or one of the labels no, yes");
    stops_with("a\tb\ty\tw\nx\tx\t7\t1\n", three, 3, RT_EDATA,
               "train.tsv:2: column \"y\" = \"7\": expected 0, 1, 2, or one of the labels bad, fair, good");
    stops_with("a\tb\ty\tw\nx\tx\t2\t1\n", one, 1, RT_EDATA, "train.tsv:2: column \"y\" = \"2\": expected 0 or 1");
    stops_with("a\tb\ty\tw\nx\tx\tclick\t1\n", plain_names, 2, RT_EDATA,
               "train.tsv:2: column \"y\" = \"click\": expected 0 or 1");
    stops_with("a\tb\ty\tw\nx\tx\t\t1\n", one, 1, RT_EDATA, "train.tsv:2: column \"y\" = \"\": expected 0 or 1");
    stops_with("a\tb\ty\tw\nx\tx\t1\t-1\n", one, 1, RT_EDATA,
               "train.tsv:2: column \"w\" = \"-1\": expected a finite number, 0 or more");
    stops_with("a\tb\ty\tw\nx\tx\t1\tnan\n", one, 1, RT_EDATA,
               "train.tsv:2: column \"w\" = \"nan\": expected a finite number, 0 or more");
    stops_with(
        "a\tb\ty\tw\nx\tx\t1\n", one, 1, RT_EDATA,
        "train.tsv:2: 3 fields, expected 4 (a, b, y, w); is there a tab or a line break inside a text (quoting = csv "
        "reads texts in quotes)?");
    stops_with("a\tb\tclicked\nx\tx\t1\n", one, 1, RT_EDATA, "train.tsv:1: no column \"y\"; found a, b, clicked");
    stops_with("a\tbb\ty\nx\tx\t1\n", one, 1, RT_EDATA, "train.tsv:1: no column \"b\"; found a, bb, y");
    stops_with("a\tb\ty\tw\n", one, 1, RT_EDATA, "train.tsv: no rows below the header");
    stops_with("", one, 1, RT_EDATA, "train.tsv: empty; a header line with the columns' names is expected");
    const char *null_label[] = {
        write_text("n.jsonl", "{\"a\": \"x\", \"b\": \"x\", \"y\": 1}\n{\"a\": \"x\", \"b\": \"x\"}\n")};
    rt_data_spec spec = make_spec(null_label, 1);
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text), "n.jsonl:2: column \"y\" is null, or absent: expected 0 or 1");
}

static void specs_that_cannot_be_are_refused(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\nx\tx\t1\n")};
    rt_dataset *ds;
    rt_data_spec spec = make_spec(files, 0);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_ECONFIG);
    spec = make_spec(files, 1);
    spec.encode.max_length = 70000;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_ECONFIG);
    spec = make_spec(files, 1);
    spec.text_a = "";
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_ECONFIG);
    spec = make_spec(files, 1);
    spec.label = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_ECONFIG);
    const char *none[] = {in_folder("none.tsv")};
    spec = make_spec(none, 1);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_ENOINPUT);
}

static void bad_rows_may_be_skipped(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\tg\nred\tx\t1\tp\nred\tx\tmaybe\tnew\nred\tx\nblue\tx\t0\tq\n"),
                           write_text("bad.tsv", "a\tb\ty\nx\tx\tz\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.skip_bad_rows = true;
    spec.group = "g";
    rt_dataset *ds;
    log_catcher log;
    catch_log(&log);
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 2);
    assert_int_equal(rt_dataset_stats(ds)->bad_rows, 2);
    assert_int_equal(rt_dataset_group_count(ds), 2); /* a skipped row's group is none */
    assert_string_equal(row_text(ds, 1), "2 10 3 | 1 3");
    assert_true(log_says(&log, "t.tsv:3: column \"y\" = \"maybe\""));
    assert_true(log_says(&log, "t.tsv:4: 2 fields, expected 4"));
    assert_true(log_says(&log, "2 bad rows were skipped (data.on_bad_row = skip), 2 rows remain"));
    rt_dataset_close(ds);
    spec.files = files + 1;
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_EDATA);
    assert_string_equal(plain(rt_error_get()->text), "bad.tsv: no rows below the header but bad ones");
    drop_log(&log);
}

static void a_damaged_archive_is_no_bad_row(void **state) {
    (void)state;
    /* The magic of gzip, then nothing that inflates. */
    const char *files[] = {write_bytes("t.tsv.gz", "\x1F\x8B\x08\0\0\0\0\0\0\3\xFF\xFF\xFF", 13)};
    rt_data_spec spec = make_spec(files, 1);
    spec.skip_bad_rows = true;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_EIO);
}

static void a_missing_optional_column_is_left_out(void **state) {
    (void)state;
    const char *files[] = {write_text("one.tsv", "a\tb\ty\tg\tw\nred\tx\t1\tp\t2\n"),
                           write_text("two.tsv", "y\tg\tb\ta\n0\tp\tx\tblue\n")};
    rt_data_spec spec = make_spec(files, 2);
    spec.group = "g", spec.weight = "w", spec.time = "when", spec.cache_folder = in_folder("cache-optional");
    rt_dataset *ds;
    for (int cached = 0; cached < 2; cached++) {
        log_catcher log;
        catch_log(&log);
        assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
        assert_int_equal(rt_dataset_stats(ds)->from_cache, cached);
        assert_null(rt_dataset_weights(ds));
        assert_non_null(rt_dataset_groups(ds));
        assert_int_equal(rt_dataset_group_count(ds), 1); /* the same value in two files is one group */
        assert_int_equal(rt_dataset_one_class_groups(ds), 0);
        assert_true(log_says(&log, "no column \"w\" (data.weight) there, or in a file after it; going on without it"));
        assert_true(log_says(&log, "no column \"when\" (data.time)"));
        assert_false(log_says(&log, "\"g\""));
        assert_string_equal(row_text(ds, 1), "2 10 3 | 1 3"); /* columns by name, whatever their order */
        rt_dataset_close(ds);
        drop_log(&log);
    }
    spec.n_files = 1;
    log_catcher log;
    catch_log(&log);
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_non_null(rt_dataset_weights(ds));
    assert_true(log_says(&log, "one.tsv: no column \"when\" (data.time); going on without it"));
    rt_dataset_close(ds);
    drop_log(&log);
    files[0] = write_text("near.tsv", "a\tb\ty\tsession\n\tx\t1\tp\n");
    spec.group = "sesion", spec.weight = NULL;
    catch_log(&log);
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_true(log_says(&log, "no column \"sesion\" (data.group); going on without it; did you mean \"session\"?"));
    assert_false(log_says(&log, "(data.time); going on without it; did"));
    rt_dataset_close(ds);
    drop_log(&log);
}

static void found_quoting_is_said(void **state) {
    (void)state;
    const char *files[] = {write_text("q.tsv", "a\tb\ty\n\"red\tblue\"\tx\t1\n")};
    rt_data_spec spec = make_spec(files, 1);
    log_catcher log;
    catch_log(&log);
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 9 10 3 | 1 3");
    assert_true(log_says(&log, "texts are quoted as in CSV"));
    rt_dataset_close(ds);
    files[0] = write_text("q.tsv", "a\tb\ty\n\"a \"\"b\"\"\"\tx\t1\n");
    spec.quoting = RT_QUOTING_NONE;
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_true(log_says(&log, "1 fields look quoted as in CSV"));
    rt_dataset_close(ds);
    drop_log(&log);
}

static void other_forms_give_the_same_rows(void **state) {
    (void)state;
    const char *files[3] = {
        write_text("f.tsv", "a\tb\ty\nred shoe\tblue\t1\nb\tc\t0\n"),
        write_text("f.csv", "y,a,b\r\n1,\"red shoe\",blue\r\n0,b,c\r\n"),
        write_text("f.jsonl",
                   "{\"a\": \"red shoe\", \"b\": \"blue\", \"y\": true}\n{\"b\": \"c\", \"a\": \"b\", \"y\": 0.0}\n")};
    rt_digest128 digests[3];
    for (int i = 0; i < 3; i++) {
        rt_data_spec spec = make_spec(files + i, 1);
        rt_dataset *ds;
        assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
        digests[i] = rt_dataset_digest(ds);
        rt_dataset_close(ds);
    }
    assert_memory_equal(&digests[0], &digests[1], sizeof digests[0]);
    assert_memory_equal(&digests[0], &digests[2], sizeof digests[0]);
}

static void overlap_is_counted(void **state) {
    (void)state;
    const char *train[] = {
        write_text("o1.tsv", "a\tb\ty\tu\ti\nred\tblue\t1\tann\tx\nb\tc\t0\tbob\ty\nc\tc\t0\tann\tz\nd\td\t0\t\tx\n")};
    const char *dev[] = {write_text(
        "o2.tsv", "a\tb\ty\tu\ti\nRED\tblue\t0\tann\tx\nred\tblue\t1\tann\tq\nred blue\t\t1\tcid\ty\nc\tb\t1\t\tx\n")};
    rt_data_spec spec = make_spec(train, 1);
    rt_dataset *a, *b, *c;
    rt_data_overlap o;
    spec.user = "u", spec.item = "i";
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &a), RT_OK);
    spec.files = dev;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &b), RT_OK);
    spec.user = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &c), RT_OK);
    assert_int_equal(rt_dataset_overlap(a, b, &o), RT_OK);
    assert_int_equal(o.rows, 2);  /* "red blue", "" is another pair */
    assert_int_equal(o.users, 1); /* an empty value is no user */
    assert_int_equal(o.items, 2);
    assert_true(o.has_users && o.has_items);
    assert_int_equal(rt_dataset_overlap(b, a, &o), RT_OK);
    assert_int_equal(o.rows, 1);
    assert_int_equal(o.users, 1);
    assert_int_equal(rt_dataset_overlap(a, c, &o), RT_OK);
    assert_false(o.has_users);
    assert_true(o.has_items);
    rt_dataset_close(a);
    rt_dataset_close(b);
    rt_dataset_close(c);
}

/* The larger set streams past the smaller one, whichever that is. */
static void overlap_is_the_same_both_ways_round(void **state) {
    (void)state;
    rt_text big = {0}, small = {0};
    rt_text_puts(&big, "a\tb\ty\tu\n");
    rt_text_puts(&small, "a\tb\ty\tu\n");
    for (int i = 0; i < 3000; i++) rt_text_printf(&big, "%d\tx\t1\tu%d\n", i, i % 70);
    for (int i = 2990; i < 3100; i++) rt_text_printf(&small, "%d\tx\t1\tu%d\n", i, i % 100);
    const char *files[] = {write_text("big.tsv", big.data), write_text("small.tsv", small.data)};
    rt_data_spec spec = make_spec(files, 1);
    rt_dataset *a, *b;
    rt_data_overlap o, p;
    spec.user = "u";
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &a), RT_OK);
    spec.files = files + 1;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &b), RT_OK);
    assert_int_equal(rt_dataset_overlap(a, b, &o), RT_OK);
    assert_int_equal(rt_dataset_overlap(b, a, &p), RT_OK);
    /* Numbers become digits and pieces of the vocabulary or [UNK]: what stands for 10 and more is [UNK] in both. */
    assert_int_equal(o.users, 70);
    assert_int_equal(p.users, 70);
    assert_int_equal(o.rows, 110);
    assert_true(p.rows >= 10);
    rt_dataset_close(a);
    rt_dataset_close(b);
    rt_text_free(&big);
    rt_text_free(&small);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t all, uint64_t rows) {
    int *calls = context;
    (void)rows;
    assert_true(done <= all);
    return ++*calls >= 1;
}

static void a_stop_leaves_nothing(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", "a\tb\ty\nred\tx\t1\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.cache_folder = in_folder("cache-stop");
    rt_dataset *ds;
    int calls = 0;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, stop_at_once, &calls, &ds), RT_ESTOPPED);
    assert_null(ds);
    assert_int_equal(rmdir(spec.cache_folder), 0); /* empty */
    spec.cache_folder = NULL;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, stop_at_once, &calls, &ds), RT_ESTOPPED);
}

static void stdin_is_a_data_set_too(void **state) {
    (void)state;
    int ends[2], saved = dup(0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a\tb\ty\nred\tb\t1\n", 14), 14);
    close(ends[1]);
    dup2(ends[0], 0);
    close(ends[0]);
    const char *files[] = {"-"};
    rt_data_spec spec = make_spec(files, 1);
    spec.cache_folder = in_folder("cache-stdin"); /* there is nothing to recognise it by */
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_string_equal(row_text(ds, 0), "2 9 3 | 6 3");
    rt_dataset_close(ds);
    dup2(saved, 0);
    close(saved);
}

static void slices_have_the_names_of_their_values(void **state) {
    (void)state;
    const char *files[] = {write_text("s.tsv", "a\tb\ty\tc\td\na\ta\t1\tnew\t1\na\ta\t0\told\t\na\ta\t0\told\t1\n")};
    const char *columns[] = {"c", "missing", "d"};
    rt_data_spec spec = make_spec(files, 1);
    spec.slices = columns, spec.n_slices = 3;
    log_catcher log;
    catch_log(&log);
    rt_dataset *ds;
    rt_data_slices s;
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_true(log_says(&log, "no column \"missing\" (data.slice)"));
    assert_int_equal(rt_dataset_slices(ds, &s), RT_OK);
    assert_int_equal(s.n_columns, 2);
    assert_int_equal(s.n, 4);
    const char *names[] = {"c=old", "c=new", "d=1", "d="}; /* the most frequent first */
    for (int i = 0; i < 4; i++) assert_string_equal(s.names[i], names[i]);
    const uint32_t of_row[] = {1, 0, 0, 2, 3, 2};
    assert_memory_equal(s.of_row, of_row, sizeof of_row);
    rt_data_slices_free(&s);
    rt_dataset_close(ds);
    drop_log(&log);
}

static void rare_values_share_a_slice(void **state) {
    (void)state;
    /* Value v of 0 .. 4199 stands once, and every v below 100 once more at the end: those are shown. Beyond 4,096 a
     * value is not even told apart. */
    rt_text text = {0};
    rt_text_puts(&text, "a\tb\ty\tv\n");
    for (int v = 0; v < 4200; v++) rt_text_printf(&text, "a\tb\t1\t%d\n", v);
    for (int v = 0; v < 100; v++) rt_text_printf(&text, "a\tb\t1\t%d\n", v);
    const char *files[] = {write_text("v.tsv", text.data)}, *columns[] = {"v"};
    rt_data_spec spec = make_spec(files, 1);
    spec.slices = columns, spec.n_slices = 1;
    rt_dataset *ds;
    rt_data_slices s;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_slices(ds, &s), RT_OK);
    assert_int_equal(s.n, 101);
    assert_string_equal(s.names[99], "v=99");
    assert_string_equal(s.names[100], "v=(other)");
    for (uint32_t r = 0; r < 4200; r++) assert_int_equal(s.of_row[r], r < 100 ? r : 100);
    rt_data_slices_free(&s);
    rt_dataset_close(ds);
    rt_text_free(&text);
}

static void raw_texts_differ_where_tokens_do_not(void **state) {
    (void)state;
    const char *one[] = {write_text("one.tsv", "a\tb\ty\nRED\tb\t1\n")},
               *two[] = {write_text("two.tsv", "a\tb\ty\nred\tb\t1\n")};
    for (int raw = 0; raw < 2; raw++) {
        rt_data_spec first = make_spec(one, 1), second = make_spec(two, 1);
        first.raw_texts = second.raw_texts = raw;
        rt_dataset *a, *b;
        rt_data_overlap o;
        assert_int_equal(rt_dataset_open(&first, tok, NULL, NULL, NULL, &a), RT_OK);
        assert_int_equal(rt_dataset_open(&second, tok, NULL, NULL, NULL, &b), RT_OK);
        assert_int_equal(rt_dataset_overlap(a, b, &o), RT_OK);
        assert_int_equal(o.rows, !raw);
        assert_int_equal(rt_dataset_overlap(a, a, &o), RT_OK);
        assert_int_equal(o.rows, 1);
        rt_dataset_close(a);
        rt_dataset_close(b);
    }
}

/* n rows whose text is their number; each tenth a click. */
static const char *numbered(int n) {
    rt_text text = {0};
    rt_text_puts(&text, "a\tb\ty\tg\n");
    for (int i = 0; i < n; i++) rt_text_printf(&text, "%d\tb\t%d\tg%d\n", i, i % 10 == 0, i / 10);
    const char *path = write_text("numbered.tsv", text.data);
    rt_text_free(&text);
    return path;
}

static void rows_of_label_0_are_thinned_out(void **state) {
    (void)state;
    const char *files[] = {numbered(20000)};
    rt_data_spec spec = make_spec(files, 1);
    spec.group = "g", spec.negative_keep = 0.25, spec.seed = 1;
    rt_dataset *first, *again, *other;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &first), RT_OK);
    spec.threads = 1;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &again), RT_OK);
    spec.seed = 2;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &other), RT_OK);
    const rt_data_stats *s = rt_dataset_stats(first);
    assert_int_equal(s->label_counts[1], 2000); /* every click stays */
    assert_int_equal(s->label_counts[0] + s->left_out, 18000);
    /* 18,000 draws of 1/4: 4,500, standard deviation 58; five of them */
    assert_in_range(s->label_counts[0], 4210, 4790);
    assert_int_equal(rt_dataset_rows(first), s->label_counts[0] + 2000);
    assert_int_equal(rt_dataset_group_count(first), 2000);
    rt_digest128 a = rt_dataset_digest(first), b = rt_dataset_digest(again), c = rt_dataset_digest(other);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    rt_dataset_close(first);
    rt_dataset_close(again);
    rt_dataset_close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_out_as_they_stand),
        cmocka_unit_test(singles_have_no_second_text),
        cmocka_unit_test(an_empty_text_keeps_its_place),
        cmocka_unit_test(truncation_is_counted),
        cmocka_unit_test(prediction_needs_texts_alone),
        cmocka_unit_test(bad_rows_stop),
        cmocka_unit_test(specs_that_cannot_be_are_refused),
        cmocka_unit_test(bad_rows_may_be_skipped),
        cmocka_unit_test(a_damaged_archive_is_no_bad_row),
        cmocka_unit_test(a_missing_optional_column_is_left_out),
        cmocka_unit_test(found_quoting_is_said),
        cmocka_unit_test(other_forms_give_the_same_rows),
        cmocka_unit_test(overlap_is_counted),
        cmocka_unit_test(overlap_is_the_same_both_ways_round),
        cmocka_unit_test(a_stop_leaves_nothing),
        cmocka_unit_test(stdin_is_a_data_set_too),
        cmocka_unit_test(slices_have_the_names_of_their_values),
        cmocka_unit_test(rare_values_share_a_slice),
        cmocka_unit_test(raw_texts_differ_where_tokens_do_not),
        cmocka_unit_test(rows_of_label_0_are_thinned_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
