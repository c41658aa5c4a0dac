/* The token cache: what its key hangs on, what a second start finds, that threads and races do not show. */
#include "tests/data/cache_case.h"
#include <sys/wait.h>
#include <utime.h>

static void a_second_start_finds_everything(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    rt_data_spec spec = full_spec(files, fresh_folder());
    rt_dataset *a, *b;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &a), RT_OK);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &b), RT_OK);
    rt_data_stats s = *rt_dataset_stats(a), t = *rt_dataset_stats(b);
    assert_false(s.from_cache);
    assert_true(t.from_cache);
    s.from_cache = true, s.seconds = t.seconds;
    assert_memory_equal(&s, &t, sizeof s);
    assert_int_equal(s.special_split, 1);
    for (uint32_t r = 0; r < 3; r++) {
        char first[4096];
        snprintf(first, sizeof first, "%s", row_text(a, r));
        assert_string_equal(first, row_text(b, r));
    }
    assert_memory_equal(rt_dataset_labels(a), rt_dataset_labels(b), 12);
    assert_memory_equal(rt_dataset_weights(a), rt_dataset_weights(b), 12);
    assert_memory_equal(rt_dataset_groups(a), rt_dataset_groups(b), 12);
    rt_digest128 da = rt_dataset_digest(a), db = rt_dataset_digest(b);
    assert_memory_equal(&da, &db, sizeof da);
    assert_int_equal(rt_dataset_one_class_groups(b), 2);
    rt_data_overlap o;
    assert_int_equal(rt_dataset_overlap(a, b, &o), RT_OK);
    assert_int_equal(o.rows, 3);
    assert_true(o.has_users && o.users == 2 && o.has_items && o.items == 2);
    rt_dataset_close(a);
    rt_dataset_close(b);
}

static void every_part_of_the_key_counts(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)}, *two[] = {"no", "yes"}, *other[] = {"yes", "no"};
    rt_data_spec base = full_spec(files, fresh_folder()), s;
    open_and_check(&base, tok, false);
    open_and_check(&base, tok, true);
#define DIFFERS(change)                                                                                                \
    do {                                                                                                               \
        s = base;                                                                                                      \
        change;                                                                                                        \
        open_and_check(&s, tok, false);                                                                                \
        open_and_check(&s, tok, true);                                                                                 \
    } while (0)
    DIFFERS(s.format = RT_FORMAT_TSV);
    DIFFERS(s.quoting = RT_QUOTING_NONE);
    DIFFERS(s.quoting = RT_QUOTING_CSV);
    DIFFERS(s.text_a = "b");
    DIFFERS(s.text_a = "{a} {b}");
    DIFFERS(s.text_b = "a");
    DIFFERS(s.text_b = NULL);
    DIFFERS(s.label = "t"; s.n_labels = 4);
    DIFFERS(s.group = "u");
    DIFFERS(s.group = NULL);
    DIFFERS(s.weight = NULL);
    DIFFERS(s.user = NULL);
    DIFFERS(s.item = NULL);
    DIFFERS(s.time = NULL);
    DIFFERS(s.n_labels = 2; s.labels = two);
    DIFFERS(s.n_labels = 2; s.labels = other);
    const char *by_user[] = {"u", "i"};
    DIFFERS(s.slices = by_user; s.n_slices = 1);
    DIFFERS(s.slices = by_user; s.n_slices = 2);
    DIFFERS(s.raw_texts = true);
    s = base;
    s.negative_keep = 1; /* as if it were not set, whatever the seed */
    s.seed = 9;
    open_and_check(&s, tok, true);
    DIFFERS(s.encode.max_length = 17);
    DIFFERS(s.encode.truncation = RT_TRUNCATE_A);
    DIFFERS(s.encode.truncation = RT_TRUNCATE_B);
    DIFFERS(s.encode.left = true);
    DIFFERS(s.skip_bad_rows = true);
    /* Nothing of the machine. */
    s = base;
    s.threads = 1;
    open_and_check(&s, tok, true);
    /* Without a label. */
    s = base;
    s.need_label = false;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&s, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_false(rt_dataset_stats(ds)->from_cache);
    rt_dataset_close(ds);
    /* Another vocabulary, other options. */
    rt_tokenizer *more = make_tokenizer("zzz\n", false), *cased = make_tokenizer("", true);
    open_and_check(&base, more, false);
    open_and_check(&base, cased, false);
    open_and_check(&base, more, true);
    rt_tokenizer_free(more);
    rt_tokenizer_free(cased);
    open_and_check(&base, tok, true);
    /* The bytes, and only they: a copy elsewhere is the same data. */
    const char *copy[] = {write_text("copy.tsv", text)};
    s = base;
    s.files = copy;
    open_and_check(&s, tok, true);
    char changed[sizeof text];
    memcpy(changed, text, sizeof text);
    changed[sizeof text - 3] = '4';
    files[0] = write_text("t.tsv", changed);
    open_and_check(&base, tok, false);
    files[0] = write_text("t.tsv", text);
    open_and_check(&base, tok, true);
    /* With format = auto the ending speaks. */
    const char *ending[] = {write_text("t.txt", text)};
    s = base;
    s.files = ending;
    open_and_check(&s, tok, false);
}

static void the_order_of_files_counts(void **state) {
    (void)state;
    const char *files[] = {write_text("1.tsv", "a\tb\ty\nred\tx\t1\n"), write_text("2.tsv", "a\tb\ty\nblue\tx\t0\n")};
    const char *turned[] = {files[1], files[0]};
    rt_data_spec spec = make_spec(files, 2);
    spec.cache_folder = fresh_folder();
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 2);
    assert_string_equal(row_text(ds, 0), "2 9 3 | 1 3");
    rt_dataset_close(ds);
    spec.files = turned;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_false(rt_dataset_stats(ds)->from_cache);
    assert_string_equal(row_text(ds, 0), "2 10 3 | 1 3");
    rt_dataset_close(ds);
}

/* Rows lie across the borders of blocks, in both widths, and each is found. */
static void rows_of_every_place_are_read(void **state) {
    (void)state;
    rt_text rows = {0}, vocab = {0};
    rt_text_puts(&rows, "a\tb\ty\n");
    for (unsigned i = 0; i < 5000; i++) {
        for (unsigned j = 0; j < i * 2654435761u % 61; j++) rt_text_printf(&rows, "%u ", (i + j) % 10);
        rt_text_printf(&rows, "\tred\t%u\n", i % 2);
    }
    const char *files[] = {write_text("places.tsv", rows.data)};
    rt_text_free(&rows);
    rt_text_puts(&vocab, vocab_text);
    for (int i = 0; i < 66000; i++) rt_text_printf(&vocab, "w%d\n", i);
    rt_tokenizer_options options = rt_tokenizer_defaults();
    rt_tokenizer *wide;
    assert_int_equal(rt_tokenizer_from_vocab(vocab.data, vocab.size, "vocab.txt", &options, &wide), RT_OK);
    rt_text_free(&vocab);
    static const int digits[] = {22, 13, 14, 15, 16, 17, 18, 19, 20, 21};
    for (int way = 0; way < 2; way++) {
        rt_data_spec spec = make_spec(files, 1);
        spec.encode.max_length = 64;
        rt_dataset *ds;
        assert_int_equal(rt_dataset_open(&spec, way ? wide : tok, NULL, NULL, NULL, &ds), RT_OK);
        for (unsigned i = 5000; i-- > 0;) {
            int32_t ids[64];
            int split, n = (int)(i * 2654435761u % 61);
            assert_int_equal(rt_dataset_tokens(ds, i, ids, &split), RT_OK);
            assert_int_equal(rt_dataset_lengths(ds)[i], n + 4);
            assert_int_equal(split, n + 2);
            for (int j = 0; j < n; j++) assert_int_equal(ids[1 + j], digits[(i + (unsigned)j) % 10]);
            assert_int_equal(ids[n + 2], W_RED);
        }
        rt_dataset_close(ds);
    }
    rt_tokenizer_free(wide);
}

/* What nobody asks for is not read. */
static void groups_may_be_left(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    rt_data_spec spec = full_spec(files, fresh_folder());
    open_and_check(&spec, tok, false);
    spec.leave_groups = true;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_true(rt_dataset_stats(ds)->from_cache);
    assert_null(rt_dataset_groups(ds));
    assert_true(rt_dataset_has_groups(ds));
    assert_int_equal(rt_dataset_group_count(ds), 2);
    rt_dataset_close(ds);
}

static void a_sidecar_spares_the_hashing(void **state) {
    (void)state;
    const char *files[] = {write_text("s.tsv", text)};
    rt_data_spec spec = full_spec(files, fresh_folder());
    /* Too young to be trusted: a change within the same tick of the clock could not be seen. */
    open_and_check(&spec, tok, false);
    usleep(1100000);
    open_and_check(&spec, tok, true); /* hashed again, and noted again */
    char path[512], *line;
    size_t size;
    snprintf(path, sizeof path, "%s", find_file(spec.cache_folder, ".digest"));
    assert_int_equal(rt_file_read(path, 4096, &line, &size), RT_OK);
    /* Trusted now: another digest in it, well made, leads to another cache. */
    unsigned long long v[8];
    assert_int_equal(sscanf(line, "rectrain 1 %llu %llu %llu %llu %llu %llu %llx %llx", v, v + 1, v + 2, v + 3, v + 4,
                            v + 5, v + 6, v + 7),
                     8);
    rt_text forged = {0};
    rt_text_printf(&forged, "rectrain 1 %llu %llu %llu %llu %llu %llu %016llx %016llx", v[0], v[1], v[2], v[3], v[4],
                   v[5], v[6] ^ 1, v[7]);
    rt_text_printf(&forged, " %016llx\n", (unsigned long long)rt_hash64(forged.data, forged.size));
    put_bytes(path, forged.data, forged.size);
    open_and_check(&spec, tok, false);
    /* Damaged: hashed again. */
    for (size_t at = 0; at < size; at += 13) {
        char *bad = malloc(size);
        assert_non_null(bad);
        memcpy(bad, line, size);
        bad[at] ^= 1;
        put_bytes(path, bad, size);
        open_and_check(&spec, tok, true);
        free(bad);
    }
    /* Touched: its time stamp is another, its bytes are not. */
    assert_int_equal(utime(files[0], NULL), 0);
    open_and_check(&spec, tok, true);
    rt_text_free(&forged);
    free(line);
}

static void racing_writers_both_succeed(void **state) {
    (void)state;
    rt_text rows = {0};
    rt_text_puts(&rows, "a\tb\ty\n");
    for (int i = 0; i < 5000; i++) rt_text_printf(&rows, "red %d shoe\tblue d\t%d\n", i % 10, i % 2);
    const char *files[] = {write_text("race.tsv", rows.data)};
    rt_text_free(&rows);
    rt_data_spec spec = make_spec(files, 1);
    spec.cache_folder = fresh_folder();
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            char c;
            close(gate[1]);
            if (read(gate[0], &c, 1) < 0) _exit(9); /* ends when the parent opens the gate */
            rt_dataset *ds;
            rt_status rc = rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds);
            _exit(rc != RT_OK                                          ? 1
                  : rt_dataset_rows(ds) != 5000                        ? 2
                  : strcmp(row_text(ds, 4999), "2 9 21 11 3 | 10 8 3") ? 3
                                                                       : 0);
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_string_not_equal(find_file(spec.cache_folder, ".tokens"), "");
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_true(rt_dataset_stats(ds)->from_cache);
    rt_dataset_close(ds);
}

static void threads_do_not_show(void **state) {
    (void)state;
    /* Several chunks, rows of very different length. */
    rt_text rows = {0};
    rt_text_puts(&rows, "a\tb\ty\tg\tw\n");
    for (unsigned i = 0; i < 9000; i++) {
        for (unsigned j = 0; j < i * 2654435761u % 97; j++) rt_text_puts(&rows, j % 3 ? "red " : "7 ");
        rt_text_printf(&rows, "\tblue %u\t%u\tq%u\t0.%u\n", i % 10, i % 3 == 0, i / 7, i % 10);
    }
    const char *files[] = {write_text("many.tsv", rows.data)};
    rt_text_free(&rows);
    char *first = NULL;
    size_t first_size = 0;
    const int threads[] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) {
        rt_data_spec spec = make_spec(files, 1);
        spec.group = "g", spec.weight = "w", spec.threads = threads[i], spec.cache_folder = fresh_folder();
        rt_dataset *ds;
        assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
        assert_int_equal(rt_dataset_rows(ds), 9000);
        assert_int_equal(rt_dataset_group_count(ds), 1286);
        rt_dataset_close(ds);
        char *bytes;
        size_t size;
        assert_int_equal(rt_file_read(find_file(spec.cache_folder, ".tokens"), 1 << 26, &bytes, &size), RT_OK);
        if (!first) {
            first = bytes, first_size = size;
            continue;
        }
        assert_int_equal(size, first_size);
        assert_memory_equal(bytes, first, size);
        free(bytes);
    }
    free(first);
}

static void large_sections_pass_through_files(void **state) {
    (void)state;
    /* 40,000 rows: hashes and labels outgrow the writer's buffers. */
    rt_text rows = {0};
    rt_text_puts(&rows, "a\tb\ty\n");
    for (int i = 0; i < 40000; i++) rt_text_printf(&rows, "%c\t%c\t%d\n", 'a' + i % 4, '1' + i % 9, i % 5 == 0);
    const char *files[] = {write_text("large.tsv", rows.data)};
    rt_text_free(&rows);
    rt_digest128 digests[3];
    rt_data_spec spec = make_spec(files, 1);
    for (int way = 0; way < 3; way++) { /* in memory, made, mapped */
        rt_dataset *ds;
        if (way == 1) spec.cache_folder = fresh_folder();
        assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
        assert_int_equal(rt_dataset_stats(ds)->from_cache, way == 2);
        for (uint32_t r = 0; r < 40000; r++) {
            int32_t ids[8];
            int split;
            rt_dataset_tokens(ds, r, ids, &split);
            assert_int_equal(rt_dataset_lengths(ds)[r], 5);
            assert_int_equal(ids[1], W_A + r % 4);
            assert_int_equal(ids[3], 13 + r % 9);
            assert_int_equal(split, 3);
            assert_int_equal(rt_dataset_labels(ds)[r], r % 5 == 0);
        }
        digests[way] = rt_dataset_digest(ds);
        rt_dataset_close(ds);
    }
    assert_memory_equal(&digests[0], &digests[1], sizeof digests[0]);
    assert_memory_equal(&digests[0], &digests[2], sizeof digests[0]);
}

static void wide_vocabularies_take_four_bytes(void **state) {
    (void)state;
    rt_text vocab = {0};
    rt_text_puts(&vocab, vocab_text);
    for (int i = 0; i < 70000; i++) rt_text_printf(&vocab, "w%d\n", i);
    rt_tokenizer_options options = rt_tokenizer_defaults();
    rt_tokenizer *wide;
    assert_int_equal(rt_tokenizer_from_vocab(vocab.data, vocab.size, "vocab.txt", &options, &wide), RT_OK);
    rt_text_free(&vocab);
    const char *files[] = {write_text("wide.tsv", "a\tb\ty\nw0\tw69999\t1\n")};
    rt_data_spec spec = make_spec(files, 1);
    spec.cache_folder = fresh_folder();
    for (int cached = 0; cached < 2; cached++) {
        rt_dataset *ds;
        assert_int_equal(rt_dataset_open(&spec, wide, NULL, NULL, NULL, &ds), RT_OK);
        assert_int_equal(rt_dataset_stats(ds)->from_cache, cached);
        assert_string_equal(row_text(ds, 0), "2 23 3 | 70022 3");
        rt_dataset_close(ds);
    }
    rt_tokenizer_free(wide);
}

static void a_folder_that_cannot_be_made_is_no_end(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    write_text("file-in-the-way", "x");
    rt_data_spec spec = full_spec(files, in_folder("file-in-the-way/cache"));
    rt_dataset *ds;
    log_catcher log;
    catch_log(&log);
    assert_int_equal(rt_dataset_open(&spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_rows(ds), 3);
    assert_true(log_says(&log, "going on with the tokens in memory"));
    rt_dataset_close(ds);
    drop_log(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_start_finds_everything),
        cmocka_unit_test(every_part_of_the_key_counts),
        cmocka_unit_test(the_order_of_files_counts),
        cmocka_unit_test(rows_of_every_place_are_read),
        cmocka_unit_test(groups_may_be_left),
        cmocka_unit_test(a_sidecar_spares_the_hashing),
        cmocka_unit_test(racing_writers_both_succeed),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(large_sections_pass_through_files),
        cmocka_unit_test(wide_vocabularies_take_four_bytes),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_no_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
