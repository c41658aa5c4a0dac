/* A token cache under edits, as one that lies in a folder that others can write to. The first byte chooses: its lowest
 * bit mends the checksums afterwards, so that lies with the right checksum are tried too; the next has the file checked
 * whole when it is opened, not as it is read. Then come the edits: two bytes of place, one of value. Damage must be
 * refused; whatever is taken must give rows that hold together. */
#include "tests/data/seal.h"
#include "tests/fuzz/fuzz.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n";
static const char *const slices[] = {"s"};
static const rt_data_spec spec = {
    .labels = NULL, .n_labels = 2, .slices = slices, .n_slices = 1, .need_label = true, .encode = {.max_length = 8}};

/* Three rows: every section has bytes. */
static void make_sound(rt_tokenizer *tok, uint8_t **out, size_t *size) {
    static const uint16_t ids[] = {3, 2, 4, 3, 5, 3, 3, 2, 5, 3, 4, 4, 3, 2, 2, 3, 3}, lengths[] = {5, 6, 3},
                          labels[] = {0, 1, 1};
    static const uint64_t hashes[] = {1, 2, 3};
    static const float weights[] = {1, 0.5f, 2};
    static const uint32_t groups[] = {0, 0, 1};
    static const int64_t times[] = {10, 20, INT64_MIN};
    static const uint16_t values[] = {0, 1, 0};
    static const char names[] = "s=x\0s=y";
    const struct {
        const void *bytes;
        size_t size;
    } sections[RT_SECTIONS] = {{ids, sizeof ids},         {lengths, sizeof lengths}, {labels, sizeof labels},
                               {weights, sizeof weights}, {groups, sizeof groups},   {hashes, sizeof hashes},
                               {hashes, sizeof hashes},   {hashes, sizeof hashes},   {times, sizeof times},
                               {values, sizeof values},   {names, sizeof names}};
    rt_cache_header h = {.rows = 3, .tokens = 14, .id_bytes = 2, .max_len = 6, .n_groups = 2, .one_class_groups = 1};
    rt_cache_writer w;
    int fd = memfd_create("sound", 0);
    h.n_slices = 1;
    h.slice_values[0] = 2;
    fuzz_require(fd >= 0 && rt_cache_writer_open(&w, fd, "sound", NULL) == RT_OK);
    for (int k = 0; k < RT_SECTIONS; k++)
        fuzz_require(rt_cache_write(&w, (rt_section_kind)k, sections[k].bytes, sections[k].size) == RT_OK);
    fuzz_require(rt_cache_writer_finish(&w, &h) == RT_OK);
    rt_cache_writer_close(&w);
    rt_dataset *ds = NULL;
    fuzz_require(rt_cache_open(fd, "sound", NULL, &spec, tok, RT_CACHE_EAGER, &ds) == RT_OK);
    rt_dataset_close(ds);
    *size = (size_t)h.file_bytes;
    *out = malloc(*size);
    fuzz_require(pread(fd, *out, *size, 0) == (ssize_t)*size);
    close(fd);
}

/* As the writer computes them. */
static void mend(uint8_t *file, size_t size) {
    rt_cache_header h;
    memcpy(&h, file, sizeof h);
    seal_cache(file, size, &h);
}

static void read_all(const rt_dataset *ds) {
    const rt_data_stats *stats = rt_dataset_stats(ds);
    uint64_t tokens = 0;
    fuzz_require(stats->rows == rt_dataset_rows(ds));
    for (uint32_t r = 0; r < rt_dataset_rows(ds); r++) {
        int32_t ids[8];
        int split, n = rt_dataset_lengths(ds)[r];
        fuzz_require(n >= 2 && n <= 8 && rt_dataset_labels(ds)[r] >= 0 && rt_dataset_labels(ds)[r] < 2);
        tokens += (uint64_t)n;
        rt_status rc = rt_dataset_tokens(ds, r, ids, &split);
        if (rc != RT_OK) {
            fuzz_refused(rc);
            continue;
        }
        for (int t = 0; t < n; t++) fuzz_require(ids[t] >= 0 && ids[t] < 6);
        fuzz_require(split >= 0 && split <= n);
        if (rt_dataset_weights(ds)) fuzz_require(rt_dataset_weights(ds)[r] >= 0);
        if (rt_dataset_groups(ds)) fuzz_require(rt_dataset_groups(ds)[r] < rt_dataset_group_count(ds));
    }
    rt_data_slices found = {0};
    rt_data_overlap overlap;
    fuzz_require(tokens == stats->tokens);
    rt_status rc = rt_dataset_slices(ds, &found);
    if (rc != RT_OK) fuzz_refused(rc);
    for (uint32_t r = 0; found.n_columns && r < rt_dataset_rows(ds); r++) fuzz_require(found.of_row[r] < found.n);
    for (uint32_t i = 0; i < found.n; i++) fuzz_require(strlen(found.names[i]) < 4096);
    rt_data_slices_free(&found);
    rc = rt_dataset_overlap(ds, ds, &overlap);
    if (rc != RT_OK) fuzz_refused(rc);
    fuzz_require(rc != RT_OK || overlap.rows <= rt_dataset_rows(ds));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static rt_tokenizer *tok;
    static uint8_t *sound;
    static size_t sound_size;
    if (!tok) {
        fuzz_require(rt_tokenizer_from_vocab(vocab, sizeof vocab - 1, "vocab", NULL, &tok) == RT_OK);
        make_sound(tok, &sound, &sound_size);
        uint8_t *copy = malloc(sound_size);
        memcpy(copy, sound, sound_size);
        mend(copy, sound_size);
        fuzz_require(memcmp(copy, sound, sound_size) == 0); /* mending computes what the writer does */
        free(copy);
    }
    fuzz_bytes edits = {data, size};
    const unsigned choice = fuzz_choice(&edits);
    bool mended = choice & 1, whole = choice & 2;
    uint8_t *copy = malloc(sound_size);
    memcpy(copy, sound, sound_size);
    for (size_t i = 0; i + 3 <= edits.size; i += 3)
        copy[(edits.data[i] | edits.data[i + 1] << 8) % sound_size] = edits.data[i + 2];
    if (mended) mend(copy, sound_size);
    bool same = memcmp(copy, sound, sound_size) == 0;
    static int fd = -1;
    if (fd < 0) fd = memfd_create("cache", 0);
    fuzz_require(pwrite(fd, copy, sound_size, 0) == (ssize_t)sound_size);
    rt_dataset *ds = NULL;
    rt_status rc = rt_cache_open(fd, "cache", NULL, &spec, tok, whole ? RT_CACHE_EAGER : 0, &ds);
    if (rc == RT_OK)
        read_all(ds);
    else
        fuzz_refused(rc);
    fuzz_require(!same || rc == RT_OK);
    rt_dataset_close(ds);
    free(copy);
    return 0;
}
