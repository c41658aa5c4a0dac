/* Valid HDF5 files, made by libhdf5, that are no checkpoints: each is refused with a sentence that names what it is. */
#include "cases.h"
#include <hdf5.h>

typedef enum {
    CONTROL, /* as a checkpoint, but for its digest: all checks before that pass */
    NEWEST,
    USER_BLOCK,
    EXTERNAL_STORAGE,
    SOFT_LINK,
    EXTERNAL_LINK,
    HARD_LINK_TWICE,
    CHUNKED,
    COMPRESSED,
    COMPACT,
    VIRTUAL,
    BIG_END_FIRST,
    DOUBLES,
    INTEGERS,
    RANK_0,
    RANK_3,
    NOT_STORED,
    HUGE_SHAPE,
    GROWING,
    EXTRA_GROUP,
    EXTRA_ATTRIBUTE,
    NO_CHECKSUM,
    NO_FORMAT,
    NEXT_VERSION,
    GROUP_AS_TENSOR,
    NO_MODEL,
    STATE_ALONE,
    COMMITTED_TYPE,
    N_KINDS
} kind;

static const char *const says[N_KINDS] = {
    [CONTROL] = "digest does not match",
    [NEWEST] = "superblock version",
    [USER_BLOCK] = "not an HDF5 file",
    [EXTERNAL_STORAGE] = "external storage",
    [SOFT_LINK] = "symbolic link",
    [EXTERNAL_LINK] = "link",
    [HARD_LINK_TWICE] = "2 names",
    [CHUNKED] = "in chunks",
    [COMPRESSED] = "filters",
    [COMPACT] = "compact",
    [VIRTUAL] = "",
    [BIG_END_FIRST] = "big-endian",
    [DOUBLES] = "floating point numbers of 8 bytes",
    [INTEGERS] = "whole numbers of 4 bytes",
    [RANK_0] = "no dimension",
    [RANK_3] = "3 dimensions",
    [NOT_STORED] = "beyond the end",
    [HUGE_SHAPE] = "",
    [GROWING] = "may grow",
    [EXTRA_GROUP] = "/extra, which no checkpoint has",
    [EXTRA_ATTRIBUTE] = "attributes that no checkpoint has",
    [NO_CHECKSUM] = "lacks its checksum",
    [NO_FORMAT] = "no checkpoint of rectrain",
    [NEXT_VERSION] = "version 2",
    [GROUP_AS_TENSOR] = "is a group",
    [NO_MODEL] = "lacks /model",
    [STATE_ALONE] = "come together",
    [COMMITTED_TYPE] = "shares parts",
};

static void attribute(hid_t object, const char *name, hid_t type, const void *value) {
    hid_t space = H5Screate(H5S_SCALAR), a = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0 && H5Awrite(a, type, value) >= 0);
    H5Aclose(a), H5Sclose(space);
}

static void text_attribute(hid_t object, const char *name, const char *value) {
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(value));
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    attribute(object, name, type, value);
    H5Tclose(type);
}

static hid_t tensor_space(kind k) {
    hsize_t dims[3] = {4, 8, 2}, most[2] = {H5S_UNLIMITED, 8}, huge[2] = {(hsize_t)1 << 31, (hsize_t)1 << 31};
    if (k == RANK_0) return H5Screate(H5S_SCALAR);
    if (k == RANK_3) return H5Screate_simple(3, dims, NULL);
    if (k == HUGE_SHAPE) return H5Screate_simple(2, huge, NULL);
    return H5Screate_simple(2, dims, k == GROWING ? most : NULL);
}

static void tensor_layout(kind k, hid_t create, hid_t space) {
    hsize_t chunk[2] = {2, 8};
    H5Pset_obj_track_times(create, 0);
    if (k == CHUNKED || k == COMPRESSED || k == GROWING || k == HUGE_SHAPE) H5Pset_chunk(create, 2, chunk);
    if (k == COMPRESSED) H5Pset_shuffle(create);
    if (k == COMPACT) H5Pset_layout(create, H5D_COMPACT);
    if (k == VIRTUAL) H5Pset_virtual(create, space, "/etc/passwd", "x", space);
    if (k == EXTERNAL_STORAGE) H5Pset_external(create, "/etc/passwd", 0, 4 * 8 * 4);
    if (k != NOT_STORED && k != CHUNKED && k != COMPRESSED && k != GROWING && k != HUGE_SHAPE)
        H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
}

static void put_tensor(kind k, hid_t file, hid_t group) {
    hid_t type = H5Tcopy(k == BIG_END_FIRST ? H5T_IEEE_F32BE
                         : k == DOUBLES     ? H5T_IEEE_F64LE
                         : k == INTEGERS    ? H5T_STD_I32LE
                                            : H5T_IEEE_F32LE);
    hid_t space = tensor_space(k), create = H5Pcreate(H5P_DATASET_CREATE), d;
    uint64_t sum = 0;
    tensor_layout(k, create, space);
    if (k == COMMITTED_TYPE) H5Tcommit2(file, "type", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    d = H5Dcreate2(group, "w", type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(d >= 0);
    if (k != NO_CHECKSUM) attribute(d, "xxh3", H5T_STD_U64LE, &sum);
    if (k == EXTRA_ATTRIBUTE) attribute(d, "note", H5T_STD_U64LE, &sum);
    H5Dclose(d), H5Pclose(create), H5Sclose(space), H5Tclose(type);
}

static void put_members(kind k, hid_t file) {
    hid_t group = -1;
    if (k != NO_MODEL) group = H5Gcreate2(file, "model", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (k == GROUP_AS_TENSOR)
        H5Gclose(H5Gcreate2(group, "w", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    else if (k == SOFT_LINK)
        H5Lcreate_soft("/elsewhere", group, "w", H5P_DEFAULT, H5P_DEFAULT);
    else if (k == EXTERNAL_LINK)
        H5Lcreate_external("/etc/passwd", "/", group, "w", H5P_DEFAULT, H5P_DEFAULT);
    else if (k != NO_MODEL)
        put_tensor(k, file, group);
    if (k == HARD_LINK_TWICE) H5Lcreate_hard(group, "w", group, "x", H5P_DEFAULT, H5P_DEFAULT);
    if (k == EXTRA_GROUP) H5Gclose(H5Gcreate2(file, "extra", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    if (k == STATE_ALONE) {
        hsize_t n = 3;
        uint64_t sum = 0;
        hid_t space = H5Screate_simple(1, &n, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
        hid_t d = H5Dcreate2(file, "state", H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
        attribute(d, "xxh3", H5T_STD_U64LE, &sum);
        H5Dclose(d), H5Pclose(create), H5Sclose(space);
    }
    if (group >= 0) H5Gclose(group);
}

static void make_file(kind k, const char *path) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
    int version = k == NEXT_VERSION ? 2 : 1;
    H5Pset_libver_bounds(access, k == NEWEST ? H5F_LIBVER_LATEST : H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
    if (k == USER_BLOCK) H5Pset_userblock(create, 512);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    assert_true(file >= 0);
    if (k != NO_FORMAT) text_attribute(file, "format", "rectrain");
    attribute(file, "version", H5T_STD_I32LE, &version);
    text_attribute(file, "digest", "00000000000000000000000000000000");
    put_members(k, file);
    assert_true(H5Fclose(file) >= 0);
    H5Pclose(access), H5Pclose(create);
}

static void each_kind_is_refused(void **state) {
    (void)state;
    for (kind k = CONTROL; k < N_KINDS; k++) {
        rt_checkpoint *c = NULL;
        rt_verify_summary s;
        make_file(k, at("k.h5"));
        rt_status rc = rt_checkpoint_open(at("k.h5"), &c);
        if (rc != RT_EDATA || !strstr(rt_error_get()->text, says[k]))
            fail_msg("kind %d: status %d, \"%s\"; expected it to say \"%s\"", (int)k, rc, rt_error_get()->text,
                     says[k]);
        assert_null(c);
        assert_int_equal(rt_checkpoint_verify(at("k.h5"), &s), RT_EDATA);
    }
}

/* What we write, libhdf5 reads. */
static void libhdf5_reads_ours(void **state) {
    (void)state;
    tiny t;
    float out[210];
    uint64_t sum = 0;
    make_tiny(&t, true);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    hid_t file = H5Fopen(at("a.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t d = H5Dopen2(file, "/model/bert.encoder.layer.0.output.dense.weight", H5P_DEFAULT);
    assert_true(d >= 0);
    assert_true(H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
    assert_memory_equal(out, t.c, sizeof t.c);
    hid_t a = H5Aopen(d, "xxh3", H5P_DEFAULT);
    assert_true(H5Aread(a, H5T_NATIVE_UINT64, &sum) >= 0);
    assert_true(sum == rt_hash64(t.c, sizeof t.c));
    H5Aclose(a), H5Dclose(d);
    d = H5Dopen2(file, "/config.json", H5P_DEFAULT);
    assert_int_equal(H5Dget_storage_size(d), 22);
    H5Dclose(d), H5Fclose(file);
}

int main(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {TEST(each_kind_is_refused), TEST(libhdf5_reads_ours)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
