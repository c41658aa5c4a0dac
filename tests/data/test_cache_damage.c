/* Token caches that are damaged, cut off, or lie: nothing of them is believed, whether it is met when they are opened
 * or when a row is read. */
#include "tests/data/cache_case.h"
#include "tests/data/seal.h"
#include <fcntl.h>

/* The cache at `path` was tampered with: it is said, made anew, and whole again. */
static void is_made_anew(const rt_data_spec *spec, const char *path, const char *why) {
    log_catcher log;
    rt_dataset *ds;
    catch_log(&log);
    assert_int_equal(rt_dataset_open(spec, tok, log.log, NULL, NULL, &ds), RT_OK);
    if (rt_dataset_stats(ds)->from_cache || !log_says(&log, "damaged token cache, made anew") || !log_says(&log, why))
        fail_msg("%s: expected \"%s\", log: %s", path, why, log.text ? log.text : "");
    assert_string_equal(row_text(ds, 1), "2 11 12 3 | 8 8 3");
    rt_dataset_close(ds);
    drop_log(&log);
    open_and_check(spec, tok, true);
}

static void damage_is_found_and_mended(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    const char *by_user[] = {"u"};
    rt_data_spec spec = full_spec(files, fresh_folder());
    spec.slices = by_user, spec.n_slices = 1;
    open_and_check(&spec, tok, false);
    char path[512], *good;
    size_t size;
    snprintf(path, sizeof path, "%s", find_file(spec.cache_folder, ".tokens"));
    assert_int_equal(rt_file_read(path, 1 << 20, &good, &size), RT_OK);
    char *bad = malloc(size + 64);
    assert_non_null(bad);
    rt_cache_header h;
    memcpy(&h, good, sizeof h);
    /* All over every section, what fills it up, the checksums and the header. */
    for (size_t at = 0; at < RT_CACHE_BLOCK; at += at < sizeof h ? 12 : 1024) {
        memcpy(bad, good, size);
        bad[at] ^= 1;
        put_bytes(path, bad, size);
        is_made_anew(&spec, path,
                     at < 8    ? "no token cache"
                     : at < 16 ? "of another version"
                               : "its header does not fit");
    }
    rt_cache_layout layout;
    assert_true(rt_cache_lay_out(&h, &layout));
    assert_int_equal(layout.file_bytes, size);
    for (int k = 0; k < RT_SECTIONS; k++) {
        assert_true(h.section_bytes[k] > 0);
        for (uint64_t i = 0; i < RT_CACHE_BLOCK; i += i < h.section_bytes[k] ? 7 : 1000) {
            char why[64];
            memcpy(bad, good, size);
            bad[layout.at[k] + i] ^= 0x10;
            put_bytes(path, bad, size);
            snprintf(why, sizeof why, "section %s, do not fit their checksum", rt_cache_section_name[k]);
            is_made_anew(&spec, path, why);
        }
    }
    for (uint64_t at = layout.at[RT_SECTIONS]; at < size; at++) {
        memcpy(bad, good, size);
        bad[at] ^= 0x80;
        put_bytes(path, bad, size);
        is_made_anew(&spec, path, "its list of checksums does not fit its own");
    }
    /* Cut at every sort of place, or grown. */
    const size_t cuts[] = {0,
                           1,
                           100,
                           sizeof h,
                           RT_CACHE_BLOCK - 1,
                           RT_CACHE_BLOCK,
                           RT_CACHE_BLOCK + 1,
                           size / 2,
                           layout.at[RT_SECTIONS],
                           size - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        put_bytes(path, good, cuts[i]);
        is_made_anew(&spec, path, "cut off");
    }
    memcpy(bad, good, size);
    memset(bad + size, 0, 64);
    put_bytes(path, bad, size + 64);
    is_made_anew(&spec, path, "grown");
    free(good);
    free(bad);
}

static void a_lie_with_right_checksums_is_found(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    const char *by_user[] = {"u"};
    rt_data_spec spec = full_spec(files, fresh_folder());
    spec.slices = by_user, spec.n_slices = 1;
    open_and_check(&spec, tok, false);
    char path[512], *good;
    size_t size;
    snprintf(path, sizeof path, "%s", find_file(spec.cache_folder, ".tokens"));
    assert_int_equal(rt_file_read(path, 1 << 20, &good, &size), RT_OK);
    char *bad = malloc(size);
    assert_non_null(bad);
    rt_cache_header h;
#define LIE(change, why)                                                                                               \
    do {                                                                                                               \
        memcpy(bad, good, size);                                                                                       \
        memcpy(&h, bad, sizeof h);                                                                                     \
        change;                                                                                                        \
        seal_cache(bad, size, &h);                                                                                     \
        put_bytes(path, bad, size);                                                                                    \
        is_made_anew(&spec, path, why);                                                                                \
    } while (0)
    rt_cache_layout layout;
    memcpy(&h, good, sizeof h);
    assert_true(rt_cache_lay_out(&h, &layout));
#define AT(k, type) ((type *)(void *)(bad + layout.at[k]))
    LIE(h.section_bytes[RT_SECTION_ITEMS] = UINT64_MAX, "impossible counts");
    LIE(h.section_bytes[RT_SECTION_ITEMS] = (uint64_t)1 << 59, "section items has the wrong size");
    LIE(h.section_bytes[RT_SECTION_USERS] -= 8, "section users has the wrong size");
    LIE(h.section_bytes[RT_SECTION_IDS] += RT_CACHE_BLOCK, "section ids has the wrong size");
    LIE(h.section_bytes[RT_SECTION_TEXTS] = 0, "section texts has the wrong size");
    LIE(h.section_bytes[RT_SECTION_SLICE_NAMES] += RT_CACHE_BLOCK, "sections that do not fill the file");
    LIE(h.rows = 2, "has the wrong size");
    LIE(h.rows = 1ull << 33, "impossible counts");
    LIE(h.rows = UINT32_MAX, "has the wrong size");
    LIE(h.id_bytes = 3, "impossible counts");
    LIE(h.id_bytes = 4, "section ids has the wrong size");
    LIE(h.tokens = 1ull << 63, "impossible counts");
    LIE(h.tokens--, "section ids has the wrong size");
    LIE(h.max_len++, "counts that do not fit the rows");
    LIE(h.n_groups++, "counts that do not fit the rows");
    LIE(h.one_class_groups = 9, "counts that do not fit the rows");
    LIE(AT(RT_SECTION_LENGTHS, uint16_t)[1]++, "counts that do not fit the rows");
    LIE(AT(RT_SECTION_LENGTHS, uint16_t)[2] = 60000, "impossible lengths");
    LIE(AT(RT_SECTION_LENGTHS, uint16_t)[0] = 0, "impossible lengths");
    LIE(AT(RT_SECTION_LABELS, uint16_t)[0] = 2, "impossible labels");
    LIE(AT(RT_SECTION_LABELS, uint16_t)[1] = UINT16_MAX, "impossible labels");
    LIE(h.section_bytes[RT_SECTION_LABELS] = 0, "sections that do not fill the file");
    LIE(AT(RT_SECTION_WEIGHTS, uint32_t)[0] = 0x7FC00000u, "impossible weights");
    LIE(AT(RT_SECTION_WEIGHTS, uint32_t)[0] = 0xBF800000u, "impossible weights");
    LIE(AT(RT_SECTION_GROUPS, uint32_t)[0] = 1, "impossible groups");
    LIE(AT(RT_SECTION_GROUPS, uint32_t)[2] = 77, "impossible groups");
    LIE(AT(RT_SECTION_GROUPS, uint32_t)[1] = 0, "counts that do not fit the rows");
    LIE(h.n_slices = 2, "slices do not fit what is asked for");
    LIE(h.n_slices = 17, "impossible counts");
    LIE(h.slice_values[0] = 1, "slices whose names do not fit");
    LIE(h.slice_values[0] = UINT32_MAX, "impossible slices");
    LIE(AT(RT_SECTION_SLICES, uint16_t)[1] = 2, "impossible slices");
    LIE(AT(RT_SECTION_SLICE_NAMES, char)[h.section_bytes[RT_SECTION_SLICE_NAMES] - 1] = 'x', "names do not fit");
    LIE(h.section_bytes[RT_SECTION_SLICE_NAMES]--, "names do not fit");
    /* A split is looked at when its row is read. */
    rt_dataset *ds;
    int32_t ids[16];
    int split;
    memcpy(bad, good, size);
    memcpy(&h, good, sizeof h);
    AT(RT_SECTION_IDS, uint16_t)[0] = 9;
    seal_cache(bad, size, &h);
    put_bytes(path, bad, size);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_tokens(ds, 0, ids, &split), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "row 0: impossible split"));
    assert_int_equal(rt_dataset_tokens(ds, 1, ids, &split), RT_OK);
    rt_dataset_close(ds);
    /* An id outside the vocabulary reads as [UNK]: no index that leaves the embedding table. */
    memcpy(bad, good, size);
    memcpy(&h, good, sizeof h);
    AT(RT_SECTION_IDS, uint16_t)[2] = 65535;
    seal_cache(bad, size, &h);
    put_bytes(path, bad, size);
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_true(rt_dataset_stats(ds)->from_cache);
    assert_string_equal(row_text(ds, 0), "2 1 11 3 | 10 3");
    rt_dataset_close(ds);
    free(good);
    free(bad);
}

/* Rows are read when they are asked for: what is altered or cut off by then is refused with a sentence, not with a
 * signal, and what is whole is still read. */
static void damage_to_an_open_cache_is_refused(void **state) {
    (void)state;
    rt_text rows = {0};
    rt_text_puts(&rows, "a\tb\ty\tg\tw\tu\ti\tt\n");
    for (int i = 0; i < 3000; i++)
        rt_text_printf(&rows, "red %d shoe\tblue d\t%d\tq%d\t1\tu%d\ti%d\t%d\n", i % 10, i % 2, i / 4, i, i, i);
    const char *files[] = {write_text("open.tsv", rows.data)};
    const char *by_group[] = {"g"};
    rt_text_free(&rows);
    rt_data_spec spec = full_spec(files, fresh_folder());
    spec.slices = by_group, spec.n_slices = 1;
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    rt_dataset_close(ds);
    char path[512], *good;
    size_t size;
    snprintf(path, sizeof path, "%s", find_file(spec.cache_folder, ".tokens"));
    assert_int_equal(rt_file_read(path, 1 << 20, &good, &size), RT_OK);
    rt_cache_header h;
    rt_cache_layout layout;
    memcpy(&h, good, sizeof h);
    assert_true(rt_cache_lay_out(&h, &layout));
    char *bad = malloc(size);
    assert_non_null(bad);
    static const bool at_once[RT_SECTIONS] = {[RT_SECTION_LENGTHS] = true,
                                              [RT_SECTION_LABELS] = true,
                                              [RT_SECTION_WEIGHTS] = true,
                                              [RT_SECTION_GROUPS] = true};
    int32_t ids[16];
    int split;
    for (int k = 0; k < RT_SECTIONS; k++) {
        /* The last byte of each section, as if the cache were too large to be checked whole. */
        char why[64];
        memcpy(bad, good, size);
        bad[layout.at[k] + h.section_bytes[k] - 1] ^= 1;
        put_bytes(path, bad, size);
        snprintf(why, sizeof why, "section %s, do not fit their checksum", rt_cache_section_name[k]);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(rt_cache_open(fd, path, NULL, &spec, tok, size, &ds), RT_EDATA);
        assert_non_null(strstr(rt_error_get()->text, why));
        rt_status rc = rt_cache_open(fd, path, NULL, &spec, tok, 0, &ds);
        close(fd);
        assert_int_equal(rc, at_once[k] ? RT_EDATA : RT_OK);
        rt_data_overlap overlap;
        rt_data_slices slices;
        int64_t times[3000];
        if (k == RT_SECTION_IDS) {
            assert_int_equal(rt_dataset_tokens(ds, 0, ids, &split), RT_OK);
            rc = rt_dataset_tokens(ds, 2999, ids, &split);
        } else if (k == RT_SECTION_TEXTS || k == RT_SECTION_USERS || k == RT_SECTION_ITEMS) {
            rc = rt_dataset_overlap(ds, ds, &overlap);
        } else if (k == RT_SECTION_TIMES) {
            rc = rt_section_read(ds, RT_SECTION_TIMES, 0, 3000, times);
        } else if (k == RT_SECTION_SLICES || k == RT_SECTION_SLICE_NAMES) {
            rc = rt_dataset_slices(ds, &slices);
            rt_data_slices_free(&slices);
        }
        assert_int_equal(rc, RT_EDATA);
        assert_non_null(strstr(rt_error_get()->text, why));
        rt_dataset_close(ds);
    }
    /* Cut off under its reader. */
    put_bytes(path, good, size);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(rt_cache_open(fd, path, NULL, &spec, tok, size, &ds), RT_OK);
    close(fd);
    assert_int_equal(rt_dataset_tokens(ds, 2999, ids, &split), RT_OK);
    assert_int_equal(truncate(path, 2 * RT_CACHE_BLOCK), 0);
    assert_int_equal(rt_dataset_tokens(ds, 0, ids, &split), RT_OK);
    assert_int_equal(rt_dataset_tokens(ds, 2999, ids, &split), RT_EDATA);
    assert_non_null(strstr(rt_error_get()->text, "cut off at byte "));
    assert_int_equal(rt_dataset_labels(ds)[2999], 1); /* in memory since it was opened */
    rt_dataset_close(ds);
    free(good);
    free(bad);
}

static void a_cache_of_another_key_or_kind_is_refused(void **state) {
    (void)state;
    const char *files[] = {write_text("t.tsv", text)};
    const char *first = fresh_folder(), *second = fresh_folder();
    rt_data_spec spec = full_spec(files, first), other = full_spec(files, second);
    other.encode.left = true;
    open_and_check(&spec, tok, false);
    open_and_check(&other, tok, false);
    char path[512], *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s", find_file(first, ".tokens"));
    assert_int_equal(rt_file_read(find_file(second, ".tokens"), 1 << 20, &bytes, &size), RT_OK);
    put_bytes(path, bytes, size);
    is_made_anew(&spec, path, "of another key");
    free(bytes);
    /* A pipe in its place: not waited for. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    is_made_anew(&spec, path, "cut off");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_found_and_mended),
        cmocka_unit_test(a_lie_with_right_checksums_is_found),
        cmocka_unit_test(damage_to_an_open_cache_is_refused),
        cmocka_unit_test(a_cache_of_another_key_or_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
