/* Files of vectors: what is written reads back, by libhdf5 too; nothing that a file holds does harm. */
#include "vectors_cases.h"
#include <hdf5.h>
#include <math.h>

static void check_all(const char *path, uint32_t n, int width, bool numbered) {
    rt_vectors *v;
    ok(rt_vectors_open(path, &v));
    assert_int_equal(rt_vectors_count(v), n);
    assert_int_equal(rt_vectors_width(v), width);
    assert_string_equal(rt_vectors_path(v), path);
    float *rows = malloc(((size_t)n * (size_t)width + 1) * sizeof *rows);
    ok(rt_vectors_read(v, 0, n, rows));
    for (uint32_t row = 0; row < n; row++) {
        char id[32];
        size_t size;
        id_of(row, id);
        if (numbered) snprintf(id, sizeof id, "%u", row);
        const char *got = rt_vectors_id(v, row, &size);
        if (size != strlen(id) || memcmp(got, id, size) != 0)
            fail_msg("%s: row %u has the id %.*s", path, row, (int)size, got);
        assert_int_equal(rt_vectors_find(v, id, strlen(id)), row);
        for (int k = 0; k < width; k++)
            if (rows[(size_t)row * (size_t)width + (size_t)k] != value_of(row, k))
                fail_msg("%s: row %u, %d", path, row, k);
    }
    assert_int_equal(rt_vectors_find(v, "nobody", 6), -1);
    assert_int_equal(rt_vectors_find(v, "", 0), -1);
    if (n > 2) { /* a part in the middle */
        ok(rt_vectors_read(v, n / 2, 2, rows));
        assert_true(rows[0] == value_of(n / 2, 0) && rows[width] == value_of(n / 2 + 1, 0));
    }
    refused(rt_vectors_read(v, n, 1, rows), RT_EINTERNAL, "rows");
    refused(rt_vectors_read(v, 1, UINT32_MAX, rows), RT_EINTERNAL, "rows");
    free(rows);
    rt_vectors_close(v);
}

static void test_round_trip(void **state) {
    (void)state;
    static const struct {
        uint32_t n;
        int width;
    } sizes[] = {{1, 1}, {7, 5}, {300, 24}, {2, RT_VECTORS_MAX_WIDTH}};
    for (int e = 0; e < N_ENDS; e++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const char *path = with_end("round", ends[e]);
            write_all(path, sizes[s].n, sizes[s].width, 64);
            check_all(path, sizes[s].n, sizes[s].width, false);
        }
        char name[32];
        snprintf(name, sizeof name, "round.%s.part", ends[e]);
        assert_false(rt_file_exists(at(name)));
    }
}

static void test_unit_is_told(void **state) {
    (void)state;
    for (int unit = 0; unit < 2; unit++) {
        rt_vectors_writer *w;
        rt_vectors *v;
        uint64_t done;
        ok(rt_vectors_create(at("unit.h5"), RT_VECTORS_AUTO, 4, unit, KEY, &w, &done));
        ok(append(w, 0, 3, 4));
        ok(rt_vectors_commit(w));
        ok(rt_vectors_open(at("unit.h5"), &v));
        assert_int_equal(rt_vectors_are_unit(v), unit);
        rt_vectors_close(v);
    }
}

/* A name without an end of these, and a format that is told. */
static void test_format_is_told(void **state) {
    (void)state;
    rt_vectors_writer *w;
    uint64_t done;
    ok(rt_vectors_create(at("told"), RT_VECTORS_FBIN, 4, true, KEY, &w, &done));
    ok(append(w, 0, 3, 4));
    ok(rt_vectors_commit(w));
    check_all(at("told"), 3, 4, false);
    refused(rt_vectors_create(at("told"), RT_VECTORS_AUTO, 4, true, KEY, &w, &done), RT_EUSAGE, "tells no format");
    refused(rt_vectors_create(at("h5"), RT_VECTORS_AUTO, 4, true, KEY, &w, &done), RT_EUSAGE, "tells no format");
    refused(rt_vectors_create(folder, RT_VECTORS_H5, 4, true, KEY, &w, &done), RT_EUSAGE, "a folder");
    refused(rt_vectors_create("/dev/null", RT_VECTORS_H5, 4, true, KEY, &w, &done), RT_EUSAGE, "a device");
    refused(rt_vectors_create(at("a.h5"), RT_VECTORS_AUTO, 0, true, KEY, &w, &done), RT_ECONFIG, "expected 1 to");
    refused(rt_vectors_create("/nowhere/a.h5", RT_VECTORS_AUTO, 4, true, KEY, &w, &done), RT_EIO, "cannot be written");
}

/* The beginnings, byte for byte as other programs write them. */
static void test_beginnings(void **state) {
    (void)state;
    char *b;
    size_t size;
    write_all(at("begin.npy"), 3, 2, 8);
    read_bytes(at("begin.npy"), &b, &size);
    assert_int_equal(size, 128 + 24);
    assert_memory_equal(b, "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  ",
                        71);
    assert_int_equal(b[127], '\n');
    free(b);
    write_all(at("begin.fbin"), 3, 2, 8);
    read_bytes(at("begin.fbin"), &b, &size);
    assert_int_equal(size, 8 + 24);
    assert_memory_equal(b, "\x03\0\0\0\x02\0\0\0", 8);
    free(b);
    write_all(at("begin.faiss"), 3, 2, 8);
    read_bytes(at("begin.faiss"), &b, &size);
    assert_int_equal(size, 45 + 24);
    assert_memory_equal(
        b, "IxFI\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x10\0\0\0\0\0\x01\0\0\0\0\x06\0\0\0\0\0\0\0", 45);
    free(b);
    read_bytes(at("begin.faiss.ids"), &b, &size);
    assert_string_equal(b, "item 0\xc3\xa9\nitem 3\xc3\xa9\nitem 6\xc3\xa9\n");
    free(b);
    write_all(at("begin.jsonl"), 1, 3, 8);
    read_bytes(at("begin.jsonl"), &b, &size);
    assert_string_equal(b, "{\"id\": \"item 0\xc3\xa9\", \"vector\": [-510, -251.5, -124]}\n");
    free(b);
}

/* libhdf5 reads what ann-benchmarks asks for. */
static void test_hdf5_library(void **state) {
    (void)state;
    enum { N = 5, W = 3 };
    write_all(at("lib.h5"), N, W, 8);
    hid_t f = H5Fopen(at("lib.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(f >= 0);
    hid_t d = H5Dopen2(f, "train", H5P_DEFAULT), space = H5Dget_space(d);
    hsize_t dims[2] = {0};
    assert_int_equal(H5Sget_simple_extent_dims(space, dims, NULL), 2);
    assert_true(dims[0] == N && dims[1] == W);
    float rows[N][W];
    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < W; k++) assert_true(rows[i][k] == value_of((uint64_t)i, k));
    H5Sclose(space);
    H5Dclose(d);
    d = H5Dopen2(f, "ids", H5P_DEFAULT);
    hid_t type = H5Dget_type(d);
    assert_int_equal(H5Tget_class(type), H5T_STRING);
    assert_false(H5Tis_variable_str(type));
    enum { ID = 9 }; /* of the longest, "item 12" and two bytes */
    assert_int_equal(H5Tget_size(type), ID);
    char ids[N][ID];
    assert_true(H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, ids) >= 0);
    assert_memory_equal(ids[4], "item 12\xc3\xa9", ID);
    assert_memory_equal(ids[1], "item 3\xc3\xa9\0", ID);
    H5Tclose(type);
    H5Dclose(d);
    static const char *const texts[][2] = {{"type", "dense"}, {"distance", "angular"}, {"point_type", "float"}};
    for (int i = 0; i < 3; i++) {
        hid_t a = H5Aopen(f, texts[i][0], H5P_DEFAULT), kind = H5Aget_type(a);
        char *got = NULL;
        assert_true(H5Tis_variable_str(kind) > 0);
        assert_true(H5Aread(a, kind, &got) >= 0);
        assert_string_equal(got, texts[i][1]);
        H5free_memory(got);
        H5Tclose(kind);
        H5Aclose(a);
    }
    hid_t a = H5Aopen(f, "dimension", H5P_DEFAULT);
    int64_t dimension = 0;
    assert_true(H5Aread(a, H5T_NATIVE_INT64, &dimension) >= 0);
    assert_int_equal(dimension, W);
    H5Aclose(a);
    assert_true(H5Fclose(f) >= 0);
}

/* --- what others write -------------------------------------------------------------------------------------------- */

typedef enum { IDS_NONE, IDS_VLEN, IDS_FIXED, IDS_I32, IDS_U64, IDS_F32, IDS_SHORT } ids_form;

/* As h5py does: root attributes of any kind, datasets beside, ids in several forms. */
static void library_file(const char *path, ids_form form, hid_t number, bool chunked) {
    enum { N = 4, W = 2 };
    static const float rows[N][W] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const char *const full[N] = {"a", "bb", "ccc", "d"};
    hsize_t dims[2] = {N, W}, chunk[2] = {2, 2}, n = form == IDS_SHORT ? N - 1 : N, eight = 8;
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), plain = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(2, dims, NULL), list = H5Screate_simple(1, &n, NULL),
          more = H5Screate_simple(1, &eight, NULL);
    for (int i = 0; i < 12; i++) { /* more attributes than anyone keeps, lists among them */
        char name[40];
        snprintf(name, sizeof name, "%s attribute %d", i % 2 ? "a long name of an" : "an", i);
        hid_t a = H5Acreate2(f, name, H5T_IEEE_F64LE, more, H5P_DEFAULT, H5P_DEFAULT);
        H5Aclose(a);
    }
    if (chunked) H5Pset_chunk(plain, 2, chunk);
    hid_t d = H5Dcreate2(f, "train", number, space, H5P_DEFAULT, plain, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows);
    H5Dclose(d);
    d = H5Dcreate2(f, "neighbors", H5T_STD_I64BE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dclose(d);
    hid_t text = H5Tcopy(H5T_C_S1);
    static const int32_t small[N] = {-5, 6, 7, 8};
    static const uint64_t large[N] = {UINT64_MAX, 1, 2, 3};
    if (form == IDS_VLEN) {
        H5Tset_size(text, H5T_VARIABLE);
        d = H5Dcreate2(f, "ids", text, list, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, text, H5S_ALL, H5S_ALL, H5P_DEFAULT, full);
    } else if (form == IDS_FIXED) {
        H5Tset_size(text, 4);
        d = H5Dcreate2(f, "ids", text, list, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, text, H5S_ALL, H5S_ALL, H5P_DEFAULT, "a\0\0\0bb\0\0ccc\0d\0\0");
    } else if (form != IDS_NONE) {
        hid_t file = form == IDS_I32 || form == IDS_SHORT ? H5T_STD_I32LE
                     : form == IDS_U64                    ? H5T_STD_U64LE
                                                          : H5T_IEEE_F32LE;
        d = H5Dcreate2(f, "ids", file, list, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, form == IDS_U64 ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                 form == IDS_U64 ? (const void *)large : (const void *)small);
    }
    if (form != IDS_NONE) H5Dclose(d);
    H5Tclose(text);
    H5Sclose(space);
    H5Sclose(list);
    H5Sclose(more);
    H5Pclose(plain);
    assert_true(H5Fclose(f) >= 0);
}

static void test_hdf5_of_others(void **state) {
    (void)state;
    static const struct {
        ids_form form;
        const char *first, *second;
    } forms[] = {{IDS_NONE, "0", "1"},
                 {IDS_VLEN, "a", "bb"},
                 {IDS_FIXED, "a", "bb"},
                 {IDS_I32, "-5", "6"},
                 {IDS_U64, "18446744073709551615", "1"}};
    rt_vectors *v;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        library_file(at("other.h5"), forms[i].form, H5T_IEEE_F32LE, false);
        float rows[8];
        size_t size;
        ok(rt_vectors_open(at("other.h5"), &v));
        assert_true(rt_vectors_count(v) == 4 && rt_vectors_width(v) == 2 && !rt_vectors_are_unit(v));
        ok(rt_vectors_read(v, 0, 4, rows));
        for (int k = 0; k < 8; k++) assert_true(rows[k] == (float)(k + 1));
        assert_int_equal(rt_vectors_find(v, forms[i].first, strlen(forms[i].first)), 0);
        assert_memory_equal(rt_vectors_id(v, 1, &size), forms[i].second, strlen(forms[i].second));
        rt_vectors_close(v);
    }
    library_file(at("other.h5"), IDS_F32, H5T_IEEE_F32LE, false);
    refused(rt_vectors_open(at("other.h5"), &v), RT_EDATA, "neither strings nor");
    library_file(at("other.h5"), IDS_SHORT, H5T_IEEE_F32LE, false);
    refused(rt_vectors_open(at("other.h5"), &v), RT_EDATA, "/ids holds 3 ids, /train 4");
    library_file(at("other.h5"), IDS_NONE, H5T_IEEE_F32LE, true);
    refused(rt_vectors_open(at("other.h5"), &v), RT_EDATA, "in chunks");
    library_file(at("other.h5"), IDS_NONE, H5T_IEEE_F64LE, false);
    refused(rt_vectors_open(at("other.h5"), &v), RT_EDATA, "other numbers than");
    library_file(at("other.h5"), IDS_NONE, H5T_IEEE_F32BE, false);
    refused(rt_vectors_open(at("other.h5"), &v), RT_EDATA, "other numbers than");
}

/* An id map as Faiss writes it: the flat index within, its numbers behind. */
static void test_faiss_map(void **state) {
    (void)state;
    char *flat;
    size_t size;
    rt_text map = {0};
    rt_vectors *v;
    int64_t ids[3] = {-1, 40, INT64_MAX}, n = 3;
    write_all(at("flat.faiss"), 3, 2, 8);
    read_bytes(at("flat.faiss"), &flat, &size);
    rt_text_append(&map, "IxMp", 4);
    rt_text_append(&map, flat + 4, 33);
    rt_text_append(&map, flat, size);
    rt_text_append(&map, (const char *)&n, 8);
    rt_text_append(&map, (const char *)ids, sizeof ids);
    write_bytes(at("map.faiss"), map.data, map.size);
    ok(rt_vectors_open(at("map.faiss"), &v));
    assert_int_equal(rt_vectors_find(v, "-1", 2), 0);
    assert_int_equal(rt_vectors_find(v, "9223372036854775807", 19), 2);
    rt_vectors_close(v);
    for (size_t cut = 0; cut < map.size; cut++) {
        write_bytes(at("map.faiss"), map.data, cut);
        if (rt_vectors_open(at("map.faiss"), &v) == RT_OK) fail_msg("a map of %zu bytes is taken", cut);
    }
    free(flat);
    rt_text_free(&map);
}

/* --- ids beside --------------------------------------------------------------------------------------------------- */

static void test_ids_beside(void **state) {
    (void)state;
    static const struct {
        const char *ids, *says; /* NULL: taken */
        size_t size;
    } cases[] = {
        {"a\nb\nc\n", NULL, 6},
        {"a\nb\nc", NULL, 5},
        {"a\r\nb\r\nc\r\n", NULL, 9},
        {"a\nb\n", "2 ids, and", 4},
        {"", "0 ids, and", 0},
        {"a\nb\nc\nd\n", "more ids than the 3 vectors", 8},
        {"a\n\nc\n", ":2: an id that is empty", 5},
        {"a\nb\0b\nc\n", ":2: an id that holds a line break or a NUL", 8},
        {"a\nb\na\n", "rows 0 and 2 both have the id \"a\"", 6},
    };
    write_all(at("beside.npy"), 3, 2, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_vectors *v;
        write_bytes(at("beside.npy.ids"), cases[i].ids, cases[i].size);
        if (cases[i].says) {
            refused(rt_vectors_open(at("beside.npy"), &v), RT_EDATA, cases[i].says);
            continue;
        }
        ok(rt_vectors_open(at("beside.npy"), &v));
        assert_int_equal(rt_vectors_find(v, "c", 1), 2);
        rt_vectors_close(v);
    }
    char *large = calloc(1, 2000);
    memset(large, 'x', 1025);
    rt_vectors *v;
    write_bytes(at("beside.npy.ids"), large, 1025);
    refused(rt_vectors_open(at("beside.npy"), &v), RT_EDATA, "over 1,024 bytes");
    free(large);
    unlink(at("beside.npy.ids"));
    check_all(at("beside.npy"), 3, 2, true);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static void test_cut_at_every_length(void **state) {
    (void)state;
    for (int e = 0; e < N_ENDS; e++) {
        char *b;
        size_t size;
        write_all(with_end("whole", ends[e]), 6, 3, 8);
        read_bytes(with_end("whole", ends[e]), &b, &size);
        for (size_t cut = 0; cut < size; cut++) {
            rt_vectors *v = NULL;
            write_bytes(at("cut"), b, cut);
            rt_error_clear();
            rt_status rc = rt_vectors_open(at("cut"), &v);
            /* JSON lines are whole up to any line's end, and without the last line's. */
            bool may = strcmp(ends[e], "jsonl") == 0 && cut > 0 && (b[cut - 1] == '\n' || b[cut] == '\n');
            if (may ? rc != RT_OK : rc != RT_EDATA || !rt_error_get()->text[0])
                fail_msg("%s of %zu bytes cut to %zu: %d, %s", ends[e], size, cut, rc, rt_error_get()->text);
            rt_vectors_close(v);
        }
        free(b);
    }
}

/* What stands behind the rows is nobody's. */
static void test_more_than_promised(void **state) {
    (void)state;
    static const char *const says[] = {[1] = "1 bytes stand behind its 6 vectors",
                                       [2] = "which its first bytes promise",
                                       [3] = "1 bytes stand behind its 6 vectors"};
    for (int e = 1; e < 4; e++) {
        rt_vectors *v;
        write_all(with_end("more", ends[e]), 6, 3, 8);
        int fd = open(with_end("more", ends[e]), O_WRONLY | O_APPEND);
        assert_int_equal(write(fd, "x", 1), 1);
        close(fd);
        refused(rt_vectors_open(with_end("more", ends[e]), &v), RT_EDATA, says[e]);
    }
}

/* Any one byte of the beginning altered: refused, or taken with sizes that the file has. */
static void test_altered_bytes(void **state) {
    (void)state;
    for (int e = 0; e < N_ENDS; e++) {
        char *b;
        size_t size;
        write_all(with_end("whole", ends[e]), 6, 3, 8);
        read_bytes(with_end("whole", ends[e]), &b, &size);
        for (size_t i = 0; i < size; i++) {
            static const unsigned char flips[] = {1, 0x80, 0xff};
            if (i >= 2048 && i < 4096 - 32) continue; /* of .h5: nothing but zeros */
            if (i >= 4300 && i < 8192) continue;
            for (size_t f = 0; f < sizeof flips; f++) {
                rt_vectors *v = NULL;
                b[i] = (char)(b[i] ^ flips[f]);
                write_bytes(at("altered"), b, size);
                if (rt_vectors_open(at("altered"), &v) == RT_OK) {
                    uint64_t values = (uint64_t)rt_vectors_count(v) * (uint64_t)rt_vectors_width(v);
                    assert_true(values * 2 <= size);
                    float *rows = malloc(values * sizeof *rows + 1);
                    rt_status rc = rt_vectors_read(v, 0, rt_vectors_count(v), rows);
                    assert_true(rc == RT_OK || rc == RT_EDATA);
                    for (uint64_t k = 0; rc == RT_OK && k < values; k++) assert_true(isfinite(rows[k]));
                    free(rows);
                }
                rt_vectors_close(v);
                b[i] = (char)(b[i] ^ flips[f]);
            }
        }
        free(b);
    }
}

static void test_huge_counts(void **state) {
    (void)state;
    rt_vectors *v;
    char npy[128];
    static const char *const shapes[][2] = {{"(4000000000, 32768)", "cut off"},
                                            {"(18446744073709551615, 1)", "vectors, expected at most"},
                                            {"(1, 32769)", "expected 1 to"},
                                            {"(1, 0)", "expected 1 to"},
                                            {"(99999999999999999999999, 2)", "header is damaged"},
                                            {"(2,)", "an array of 1 dimensions"},
                                            {"(1, 2, 3)", "an array of 3 dimensions"}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        memset(npy, ' ', sizeof npy);
        memcpy(npy, "\x93NUMPY\x01\x00\x76\x00", 10);
        int n = snprintf(npy + 10, 110, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shapes[i][0]);
        npy[10 + n] = ' ';
        write_bytes(at("huge.npy"), npy, sizeof npy);
        refused(rt_vectors_open(at("huge.npy"), &v), RT_EDATA, shapes[i][1]);
    }
    static const char *const dicts[][2] = {
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }", "holds <f8"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", "fortran_order"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2), }", "header is damaged"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", "header is damaged"},
        {"{'descr': '<f4', 'shape': (1, 2), }", "header is damaged"},
        {"{'descr': '<f4", "header is damaged"}};
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++) {
        memset(npy, ' ', sizeof npy);
        memcpy(npy, "\x93NUMPY\x01\x00\x76\x00", 10);
        memcpy(npy + 10, dicts[i][0], strlen(dicts[i][0]));
        write_bytes(at("huge.npy"), npy, sizeof npy);
        refused(rt_vectors_open(at("huge.npy"), &v), RT_EDATA, dicts[i][1]);
    }
    write_bytes(at("huge.fbin"), "\xff\xff\xff\xff\x00\x80\x00\x00....", 12);
    refused(rt_vectors_open(at("huge.fbin"), &v), RT_EDATA, "4294967295 vectors of 32768");
    char faiss[45] = "IxFI\x00\x80\x00\x00\xff\xff\xff\xff\x00";
    memset(faiss + 33, 0, 12);
    write_bytes(at("huge.faiss"), faiss, sizeof faiss);
    refused(rt_vectors_open(at("huge.faiss"), &v), RT_EDATA, "damaged");
    memcpy(faiss, "IxPQ", 4);
    write_bytes(at("huge.faiss"), faiss, sizeof faiss);
    refused(rt_vectors_open(at("huge.faiss"), &v), RT_EDATA, "of kind \"IxPQ\"");
    /* The .h5 says how many rows in four places; the dataspace's is raised. */
    char *b;
    size_t size;
    write_all(at("huge.h5"), 6, 3, 8);
    read_bytes(at("huge.h5"), &b, &size);
    for (size_t i = 0; i + 16 <= 2048; i++) {
        static const unsigned char dims[16] = {6, 0, 0, 0, 0, 0, 0, 0, 3};
        if (memcmp(b + i, dims, sizeof dims) != 0) continue;
        memset(b + i, 0xff, 7);
        write_bytes(at("huge.h5"), b, size);
        refused(rt_vectors_open(at("huge.h5"), &v), RT_EDATA, "claims");
        free(b);
        b = NULL;
        break;
    }
    assert_null(b);
    refused(rt_vectors_open(at("nowhere.h5"), &v), RT_ENOINPUT, "nowhere.h5");
    refused(rt_vectors_open(folder, &v), RT_EDATA, "not a regular file");
    write_bytes(at("text"), "item_id\ttitle\n", 14);
    refused(rt_vectors_open(at("text"), &v), RT_EDATA, "no file of vectors");
}

static void test_not_finite(void **state) {
    (void)state;
    static const uint32_t values[] = {0x7fc00000, 0x7f800000, 0xff800000, 0x7f800001};
    for (int e = 0; e < 4; e++) {
        char *b;
        size_t size;
        write_all(with_end("nan", ends[e]), 6, 3, 8);
        read_bytes(with_end("nan", ends[e]), &b, &size);
        float wanted = value_of(4, 1);
        char *place = memmem(b + 8, size - 8, &wanted, sizeof wanted);
        assert_non_null(place);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            rt_vectors *v;
            float rows[18];
            memcpy(place, &values[i], 4);
            write_bytes(with_end("nan", ends[e]), b, size);
            ok(rt_vectors_open(with_end("nan", ends[e]), &v));
            refused(rt_vectors_read(v, 0, 6, rows), RT_EDATA, "row 4 holds a value that is not finite");
            ok(rt_vectors_read(v, 0, 4, rows));
            ok(rt_vectors_read(v, 5, 1, rows));
            rt_vectors_close(v);
        }
        free(b);
    }
}

/* --- JSON lines --------------------------------------------------------------------------------------------------- */

static void test_lines(void **state) {
    (void)state;
    static const struct {
        const char *lines, *says; /* NULL: taken, two vectors of two, the second's id is "b" */
    } cases[] = {
        {"{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"b\", \"vector\": [3, 4]}\n", NULL},
        {"{\"id\":\"a\",\"vector\":[1,2]}\r\n\r\n{\"id\":\"b\",\"vector\":[3,4]}", NULL},
        {" {\"vector\" : [1e0,2.0E+0] , \"id\": 7}\n\n\n{\"metadata\": {\"x\": [true, null, \"]\"]}, \"id\": "
         "\"\\u0062\", "
         "\"vector\": [3, 4]}\n",
         NULL},
        {"{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"a\", \"vector\": [3, 4]}\n", "both have the id \"a\""},
        {"{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"b\", \"vector\": [3]}\n",
         ":2: a vector of 1 numbers, the first"},
        {"{\"id\": \"a\", \"vector\": []}\n", "expected a number"},
        {"{\"id\": \"a\", \"vector\": [1, ]}\n", "expected a number"},
        {"{\"id\": \"a\", \"vector\": [1, NaN]}\n", "expected a number"},
        {"{\"id\": \"a\", \"vector\": [01]}\n", "expected a comma"},
        {"{\"id\": \"a\", \"vector\": [.5]}\n", "expected a number"},
        {"{\"id\": \"a\", \"vector\": [0x1p3]}\n", "expected a comma"},
        {"{\"id\": \"a\"}\n", "a line without \"vector\""},
        {"{\"vector\": [1]}\n", "a line without \"id\""},
        {"{\"id\": \"a\", \"id\": \"b\", \"vector\": [1]}\n", "two \"id\""},
        {"{\"id\": \"\", \"vector\": [1]}\n", "an id that is empty"},
        {"{\"id\": \"a\\nb\", \"vector\": [1]}\n", "an id that holds a line break"},
        {"{\"id\": \"a\", \"vector\": [1]} x\n", "the end of the line"},
        {"{\"id\": \"a\\q\", \"vector\": [1]}\n", "an escape"},
        {"{\"id\": \"\\ud800\", \"vector\": [1]}\n", "second half"},
        {"{\"id\": \"\\udc00\", \"vector\": [1]}\n", "second half"},
        {"{\"id\": \"a\n", "the end of a string"},
        {"{}\n", "expected a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_vectors *v;
        float rows[4];
        write_bytes(at("lines.jsonl"), cases[i].lines, strlen(cases[i].lines));
        if (cases[i].says) {
            refused(rt_vectors_open(at("lines.jsonl"), &v), RT_EDATA, cases[i].says);
            continue;
        }
        ok(rt_vectors_open(at("lines.jsonl"), &v));
        assert_int_equal(rt_vectors_find(v, "b", 1), 1);
        ok(rt_vectors_read(v, 0, 2, rows));
        for (int k = 0; k < 4; k++) assert_true(rows[k] == (float)(k + 1));
        rt_vectors_close(v);
    }
    rt_vectors *v;
    float row;
    static const char large[] = "{\"id\": \"a\", \"vector\": [1e39]}\n";
    write_bytes(at("lines.jsonl"), large, sizeof large - 1);
    ok(rt_vectors_open(at("lines.jsonl"), &v));
    refused(rt_vectors_read(v, 0, 1, &row), RT_EDATA, "not finite");
    rt_vectors_close(v);
    char *deep = malloc(1000);
    memset(deep, '[', 1000);
    memcpy(deep, "{\"x\":", 5);
    write_bytes(at("lines.jsonl"), deep, 1000);
    refused(rt_vectors_open(at("lines.jsonl"), &v), RT_EDATA, "within each other");
    free(deep);
    size_t size = (9 << 20) + 1;
    char *endless = calloc(1, size);
    memset(endless, ' ', size - 1);
    endless[0] = '{';
    write_bytes(at("lines.jsonl"), endless, size - 1);
    refused(rt_vectors_open(at("lines.jsonl"), &v), RT_EDATA, "a line of over");
    free(endless);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),          cmocka_unit_test(test_unit_is_told),
        cmocka_unit_test(test_format_is_told),      cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_hdf5_library),        cmocka_unit_test(test_hdf5_of_others),
        cmocka_unit_test(test_faiss_map),           cmocka_unit_test(test_ids_beside),
        cmocka_unit_test(test_cut_at_every_length), cmocka_unit_test(test_altered_bytes),
        cmocka_unit_test(test_more_than_promised),  cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_not_finite),          cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
