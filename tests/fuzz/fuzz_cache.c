/* A token cache under edits, as one that lies in a folder that others can write to. The first byte chooses: its lowest
 * bit mends the checksums afterwards, so that lies with the right checksums are tried too; the next
 * three, if all are set, ask what the set shares with itself, which is slow. Then come the edits of three bytes: four
 * bits of a block's number, twelve of a place in it, a value. Damage must be refused; what is taken must give rows that
 * hold together, or say that it cannot.
 */
#include "data/dataset_internal.h"
#include "tests/fuzz/fuzz.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n";
static const char *const slices[] = {"s"};
static const rt_data_spec spec = {
    .n_labels = 2, .slices = slices, .n_slices = 1, .need_label = true, .encode = {.max_length = 8}};

/* Three rows: every section has bytes. */
static void make_sound(const rt_tokenizer *tok, uint8_t **out, size_t *size) {
    static const uint16_t ids[] = {3, 2, 4, 3, 5, 3, 3, 2, 5, 3, 4, 4, 3, 2, 2, 3, 3}; /* each row's split before it */
    static const uint16_t lengths[] = {5, 6, 3}, labels[] = {0, 1, 1}, values[] = {0, 1, 0};
    static const uint64_t hashes[] = {1, 2, 3};
    static const float weights[] = {1, 0.5f, 2};
    static const uint32_t groups[] = {0, 0, 1};
    static const int64_t times[] = {10, 20, INT64_MIN};
    static const char names[] = "s=x\0s=y";
    const fuzz_bytes sections[RT_SECTIONS] = {[RT_SECTION_IDS] = {(const uint8_t *)ids, sizeof ids},
                                              [RT_SECTION_LENGTHS] = {(const uint8_t *)lengths, sizeof lengths},
                                              [RT_SECTION_LABELS] = {(const uint8_t *)labels, sizeof labels},
                                              [RT_SECTION_WEIGHTS] = {(const uint8_t *)weights, sizeof weights},
                                              [RT_SECTION_GROUPS] = {(const uint8_t *)groups, sizeof groups},
                                              [RT_SECTION_TEXTS] = {(const uint8_t *)hashes, sizeof hashes},
                                              [RT_SECTION_USERS] = {(const uint8_t *)hashes, sizeof hashes},
                                              [RT_SECTION_ITEMS] = {(const uint8_t *)hashes, sizeof hashes},
                                              [RT_SECTION_TIMES] = {(const uint8_t *)times, sizeof times},
                                              [RT_SECTION_SLICES] = {(const uint8_t *)values, sizeof values},
                                              [RT_SECTION_SLICE_NAMES] = {(const uint8_t *)names, sizeof names}};
    rt_cache_header h = {.rows = 3, .tokens = 14, .id_bytes = 2, .max_len = 6, .n_groups = 2, .one_class_groups = 1};
    rt_cache_writer w;
    rt_dataset *ds = NULL;
    int fd = memfd_create("sound", 0);
    h.n_slices = 1;
    h.slice_values[0] = 2;
    fuzz_require(fd >= 0 && rt_cache_writer_open(&w, fd, "sound", NULL) == RT_OK);
    for (int k = 0; k < RT_SECTIONS; k++)
        fuzz_require(rt_cache_write(&w, (rt_section_kind)k, sections[k].data, sections[k].size) == RT_OK);
    fuzz_require(rt_cache_writer_finish(&w, &h) == RT_OK);
    rt_cache_writer_close(&w);
    fuzz_require(rt_cache_open(fd, "sound", NULL, &spec, tok, RT_CACHE_EAGER, &ds) == RT_OK);
    rt_dataset_close(ds);
    *size = (size_t)h.file_bytes;
    *out = malloc(*size);
    fuzz_require(pread(fd, *out, *size, 0) == (ssize_t)*size);
    close(fd);
}

/* The checksums as the writer computes them, where the sections lie inside the file. */
static void mend(uint8_t *file, size_t size) {
    rt_cache_header *h = (rt_cache_header *)file;
    rt_cache_layout layout;
    if (rt_cache_lay_out(h, &layout) && layout.file_bytes <= size) {
        uint64_t *digests = (uint64_t *)(file + layout.at[RT_SECTIONS]);
        for (uint64_t i = 0; i < layout.blocks; i++)
            digests[i] = rt_hash64(file + (i + 1) * RT_CACHE_BLOCK, RT_CACHE_BLOCK);
        h->digests = rt_hash128(digests, (size_t)layout.blocks * sizeof *digests);
        h->content = rt_cache_content(h, &layout, digests);
    }
    h->self = rt_cache_self(h);
}

static void read_row(const rt_dataset *ds, uint32_t row) {
    int32_t ids[8];
    int split, n = rt_dataset_lengths(ds)[row];
    fuzz_require(n >= 2 && n <= 8 && rt_dataset_labels(ds)[row] >= 0 && rt_dataset_labels(ds)[row] < 2);
    if (rt_dataset_weights(ds)) fuzz_require(rt_dataset_weights(ds)[row] >= 0);
    if (rt_dataset_groups(ds)) fuzz_require(rt_dataset_groups(ds)[row] < rt_dataset_group_count(ds));
    rt_status rc = rt_dataset_tokens(ds, row, ids, &split);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return;
    }
    for (int t = 0; t < n; t++) fuzz_require(ids[t] >= 0 && ids[t] < 6);
    fuzz_require(split >= 0 && split <= n);
}

static void read_all(const rt_dataset *ds, bool compare) {
    rt_data_slices found = {0};
    rt_data_overlap overlap;
    uint32_t rows = rt_dataset_rows(ds);
    fuzz_require(rt_dataset_stats(ds)->rows == rows);
    for (uint32_t r = 0; r < rows; r++) read_row(ds, r);
    rt_status rc = rt_dataset_slices(ds, &found);
    if (rc != RT_OK) fuzz_refused(rc);
    for (uint32_t r = 0; rc == RT_OK && found.n_columns && r < rows; r++) fuzz_require(found.of_row[r] < found.n);
    for (uint32_t i = 0; rc == RT_OK && i < found.n; i++) fuzz_require(strlen(found.names[i]) < 4096);
    rt_data_slices_free(&found);
    if (!compare) return;
    rc = rt_dataset_overlap(ds, ds, &overlap);
    if (rc == RT_OK)
        fuzz_require(overlap.rows <= rows);
    else
        fuzz_refused(rc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static rt_tokenizer *tok;
    static uint8_t *sound, *copy;
    static size_t sound_size;
    static int fd = -1;
    if (!tok) {
        fuzz_require(rt_tokenizer_from_vocab(vocab, sizeof vocab - 1, "vocab", NULL, &tok) == RT_OK);
        make_sound(tok, &sound, &sound_size);
        copy = malloc(sound_size);
        memcpy(copy, sound, sound_size);
        mend(copy, sound_size);
        fuzz_require(memcmp(copy, sound, sound_size) == 0); /* mending computes what the writer does */
        fd = memfd_create("cache", 0);
    }
    fuzz_bytes edits = {data, size};
    unsigned choice = fuzz_choice(&edits);
    bool mended = choice & 1;
    memcpy(copy, sound, sound_size);
    for (const uint8_t *e = edits.data; e + 3 <= edits.data + edits.size; e += 3)
        copy[((e[0] & 15) * RT_CACHE_BLOCK + (e[0] >> 4 << 8) + e[1]) % sound_size] = e[2];
    if (mended) mend(copy, sound_size);
    bool altered = memcmp(copy, sound, sound_size) != 0;
    fuzz_require(pwrite(fd, copy, sound_size, 0) == (ssize_t)sound_size);
    rt_dataset *ds = NULL;
    rt_status rc = rt_cache_open(fd, "cache", NULL, &spec, tok, RT_CACHE_EAGER, &ds);
    if (rc == RT_OK)
        read_all(ds, (choice & 14) == 14);
    else
        fuzz_refused(rc);
    fuzz_require(altered ? mended || rc != RT_OK : rc == RT_OK);
    rt_dataset_close(ds);
    return 0;
}
