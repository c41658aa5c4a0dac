/* The token cache: what its key hangs on, and that nothing damaged or hostile is believed. */
#include "base/file.h"
#include "data/dataset_internal.h"
#include "tests/data/set.h"
#include <dirent.h>
#include <sys/wait.h>
#include <utime.h>

static rt_tokenizer *tok;
static int folders;

static int set_up(void **state) {
    tok = make_tokenizer("", false);
    return make_folder(state);
}

static int tear_down(void **state) {
    rt_tokenizer_free(tok);
    return drop_folder(state);
}

static const char *fresh_folder(void) {
    char name[32];
    snprintf(name, sizeof name, "cache%d", folders++);
    return in_folder(name);
}

/* The only file in `folder` whose name ends so; "" if none. */
static const char *find_file(const char *folder, const char *end) {
    static char path[512];
    DIR *d = opendir(folder);
    path[0] = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name), m = strlen(end);
        if (n < m || strcmp(e->d_name + n - m, end) != 0) continue;
        assert_string_equal(path, "");
        snprintf(path, sizeof path, "%.200s/%.255s", folder, e->d_name);
    }
    closedir(d);
    return path;
}

static const char text[] =
    "a\tb\ty\tg\tw\tu\ti\tt\nred shoe\tblue\t1\tq1\t2\tann\tx\t1\nshoes\td d\t0\tq2\t0.5\tbob\ty\t2\n"
    "A\tzzz [SEP]\t1\tq1\t1\tann\tx\t3\n";

static rt_data_spec full_spec(const char *const *files, const char *folder) {
    rt_data_spec spec = make_spec(files, 1);
    spec.group = "g", spec.weight = "w", spec.user = "u", spec.item = "i", spec.time = "t";
    spec.cache_folder = folder;
    return spec;
}

/* Opens, checks whether the cache served, and that the rows are right either way. */
static void open_and_check(const rt_data_spec *spec, const rt_tokenizer *with, bool cached) {
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(spec, with, NULL, NULL, NULL, &ds), RT_OK);
    assert_int_equal(rt_dataset_stats(ds)->from_cache, cached);
    assert_int_equal(rt_dataset_rows(ds), 3);
    assert_int_equal(rt_dataset_labels(ds)[0], 1);
    rt_dataset_close(ds);
}

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
    /* All over every section, and over the header. */
    for (size_t at = 0; at < sizeof h; at += 12) {
        memcpy(bad, good, size);
        bad[at] ^= 1;
        put_bytes(path, bad, size);
        is_made_anew(&spec, path,
                     at < 8    ? "no token cache"
                     : at < 16 ? "of another version"
                               : "its header does not fit");
    }
    for (int k = 0; k < RT_SECTIONS; k++) {
        assert_true(h.sections[k].bytes > 0);
        for (uint64_t i = 0; i < h.sections[k].bytes; i += 7) {
            char why[64];
            memcpy(bad, good, size);
            bad[h.sections[k].offset + i] ^= 0x10;
            put_bytes(path, bad, size);
            snprintf(why, sizeof why, "section %s does not fit its checksum", rt_cache_section_name[k]);
            is_made_anew(&spec, path, why);
        }
    }
    /* Cut at every sort of place, or grown. */
    const size_t cuts[] = {
        0, 1, 100, sizeof h, RT_CACHE_HEADER - 1, RT_CACHE_HEADER, RT_CACHE_HEADER + 1, size / 2, size - 256, size - 1};
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

/* Writes the header with right digests, as an attacker could, or a bug of ours. */
static void seal(char *bytes, rt_cache_header *h) {
    for (int k = 0; k < RT_SECTIONS; k++)
        if (h->sections[k].offset <= h->file_bytes && h->sections[k].bytes <= h->file_bytes - h->sections[k].offset)
            h->sections[k].digest = rt_hash128(bytes + h->sections[k].offset, h->sections[k].bytes);
    struct {
        uint64_t rows;
        rt_digest128 d[6];
    } all = {h->rows,
             {h->sections[0].digest, h->sections[2].digest, h->sections[3].digest, h->sections[4].digest,
              h->sections[5].digest, h->sections[6].digest}};
    h->content = rt_hash128(&all, sizeof all);
    h->self = rt_hash128(h, offsetof(rt_cache_header, self));
    memcpy(bytes, h, sizeof *h);
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
        seal(bad, &h);                                                                                                 \
        put_bytes(path, bad, size);                                                                                    \
        is_made_anew(&spec, path, why);                                                                                \
    } while (0)
#define AT(k, type) ((type *)(void *)(bad + h.sections[k].offset))
    LIE(h.sections[RT_SECTION_IDS].offset = 0, "section ids lies outside the file");
    LIE(h.sections[RT_SECTION_IDS].offset = 4097, "section ids lies outside the file");
    LIE(h.sections[RT_SECTION_LABELS].offset = size + 256, "section labels lies outside the file");
    LIE(h.sections[RT_SECTION_LABELS].offset = UINT64_MAX - 255, "section labels lies outside the file");
    LIE(h.sections[RT_SECTION_ITEMS].bytes = UINT64_MAX, "section items lies outside the file");
    LIE(h.sections[RT_SECTION_SPLITS].offset = h.sections[RT_SECTION_LENGTHS].offset,
        "section splits lies outside the file");
    LIE(h.sections[RT_SECTION_USERS].bytes -= 8, "section users has the wrong size");
    LIE(h.rows = 2, "has the wrong size");
    LIE(h.rows = 1ull << 33, "impossible counts");
    LIE(h.id_bytes = 3, "impossible counts");
    LIE(h.id_bytes = 4, "section ids has the wrong size");
    LIE(h.tokens = 1ull << 63, "section ids has the wrong size");
    LIE(h.max_len++, "counts that do not fit the rows");
    LIE(h.n_groups++, "counts that do not fit the rows");
    LIE(h.one_class_groups = 9, "counts that do not fit the rows");
    LIE(AT(RT_SECTION_OFFSETS, uint64_t)[1]++, "impossible lengths");
    LIE(AT(RT_SECTION_OFFSETS, uint64_t)[0] = UINT64_MAX, "impossible lengths");
    LIE(AT(RT_SECTION_OFFSETS, uint64_t)[3]++, "counts that do not fit the rows");
    LIE(AT(RT_SECTION_LENGTHS, uint16_t)[2] = 60000, "impossible lengths");
    LIE(AT(RT_SECTION_LENGTHS, uint16_t)[0] = 0, "impossible lengths");
    LIE(AT(RT_SECTION_SPLITS, uint16_t)[0] = 9, "impossible lengths");
    LIE(AT(RT_SECTION_LABELS, int32_t)[0] = 2, "impossible labels");
    LIE(AT(RT_SECTION_LABELS, int32_t)[1] = -1, "impossible labels");
    LIE(h.sections[RT_SECTION_LABELS].bytes = 0, "labels do not fit what is asked for");
    LIE(AT(RT_SECTION_WEIGHTS, uint32_t)[0] = 0x7FC00000u, "impossible weights");
    LIE(AT(RT_SECTION_WEIGHTS, uint32_t)[0] = 0xBF800000u, "impossible weights");
    LIE(AT(RT_SECTION_GROUPS, uint32_t)[0] = 1, "impossible groups");
    LIE(AT(RT_SECTION_GROUPS, uint32_t)[2] = 77, "impossible groups");
    LIE(h.n_slices = 2, "section slices has the wrong size");
    LIE(h.n_slices = 17, "impossible counts");
    LIE(h.slice_values[0] = 1, "slices whose names do not fit");
    LIE(h.slice_values[0] = UINT32_MAX, "impossible slices");
    LIE(AT(RT_SECTION_SLICES, uint16_t)[1] = 2, "impossible slices");
    LIE(AT(RT_SECTION_SLICE_NAMES, char)[h.sections[RT_SECTION_SLICE_NAMES].bytes - 1] = 'x', "names do not fit");
    LIE(h.sections[RT_SECTION_SLICE_NAMES].bytes = 0, "names do not fit");
    /* An id outside the vocabulary reads as [UNK]: no index that leaves the embedding table. */
    memcpy(bad, good, size);
    memcpy(&h, bad, sizeof h);
    AT(RT_SECTION_IDS, uint16_t)[1] = 65535;
    seal(bad, &h);
    put_bytes(path, bad, size);
    rt_dataset *ds;
    assert_int_equal(rt_dataset_open(&spec, tok, NULL, NULL, NULL, &ds), RT_OK);
    assert_true(rt_dataset_stats(ds)->from_cache);
    assert_string_equal(row_text(ds, 0), "2 1 11 3 | 10 3");
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
    /* 40,000 rows: offsets, hashes and labels outgrow the writer's buffers. */
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
        cmocka_unit_test(damage_is_found_and_mended),
        cmocka_unit_test(a_lie_with_right_checksums_is_found),
        cmocka_unit_test(a_cache_of_another_key_or_kind_is_refused),
        cmocka_unit_test(a_sidecar_spares_the_hashing),
        cmocka_unit_test(racing_writers_both_succeed),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(large_sections_pass_through_files),
        cmocka_unit_test(wide_vocabularies_take_four_bytes),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_no_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
