/* Damage and malice, byte by byte: nothing altered is ever accepted, nothing crashes. */
#include "cases.h"
#include "checkpoint/h5_schema.h"
#include <fcntl.h>

/* Opens from memory as the program does from a file: schema, digest, seal. */
typedef struct {
    unsigned char *data;
    size_t size;
} memory;

static rt_status read_memory(void *context, uint64_t place, void *out, size_t size) {
    const memory *m = context;
    assert_true(place <= m->size && size <= m->size - place);
    memcpy(out, m->data + place, size);
    return RT_OK;
}

static rt_status open_memory(const memory *m, bool trust) {
    rt_h5_schema schema;
    rt_h5_bytes bytes = {read_memory, (void *)m, m->size, "altered.h5"};
    rt_status rc = rt_h5_schema_read(&bytes, trust, &schema);
    if (rc == RT_OK) rt_h5_schema_free(&schema);
    return rc;
}

static memory make_image(bool moments) {
    tiny t;
    memory m;
    make_tiny(&t, moments);
    assert_int_equal(rt_checkpoint_write(at("a.h5"), &t.contents), RT_OK);
    m.data = (unsigned char *)get_file("a.h5", &m.size);
    return m;
}

static bool is_data(const rt_h5_schema *s, uint64_t place) {
    for (int i = 0; i < s->n_extents; i++)
        if (place >= s->extents[i].at && place < s->extents[i].at + s->extents[i].size) return true;
    return false;
}

/* Every byte of the description under several changes; also with digest and seal out of the way, so that the parser
 * itself meets each damage: it may then accept (nothing reads unused bytes) but not crash. */
static void every_byte_of_the_description(void **state) {
    (void)state;
    static const unsigned char masks[] = {0x01, 0x02, 0x10, 0x80, 0xff};
    memory m = make_image(true);
    rt_h5_schema schema;
    rt_h5_bytes bytes = {read_memory, &m, m.size, "altered.h5"};
    assert_int_equal(rt_h5_schema_read(&bytes, false, &schema), RT_OK);
    assert_true(schema.sealed);
    for (size_t i = 0; i < m.size; i++) {
        if (is_data(&schema, i)) continue;
        for (size_t k = 0; k < sizeof masks; k++) {
            m.data[i] ^= masks[k];
            rt_status found = open_memory(&m, false);
            if (found != RT_EDATA) fail_msg("byte %zu ^ %02x: status %d", i, masks[k], found);
            open_memory(&m, true);
            m.data[i] ^= masks[k];
        }
        unsigned char keep = m.data[i];
        m.data[i] = 0;
        if (keep) assert_int_equal(open_memory(&m, false), RT_EDATA);
        m.data[i] = keep;
    }
    rt_h5_schema_free(&schema);
    free(m.data);
}

/* Words of addresses, sizes and counts, set to what breaks arithmetic. */
static void every_word_extreme(void **state) {
    (void)state;
    static const uint64_t extremes[] = {
        UINT64_MAX, UINT64_MAX - 7, INT64_MAX, (uint64_t)1 << 63, 0x7fffffff, 0xffffffff, (uint64_t)1 << 40, 0, 1};
    memory m = make_image(false);
    for (size_t i = 0; i + 8 <= m.size && i < 12000; i += 2) {
        unsigned char keep[8];
        memcpy(keep, m.data + i, 8);
        for (size_t k = 0; k < sizeof extremes / sizeof *extremes; k++) {
            memcpy(m.data + i, &extremes[k], 8);
            open_memory(&m, true);
        }
        memcpy(m.data + i, keep, 8);
    }
    free(m.data);
}

static void every_truncation(void **state) {
    (void)state;
    memory m = make_image(false), cut;
    for (cut.size = 0; cut.size < m.size; cut.size++) {
        cut.data = malloc(cut.size + 1); /* of its own size, so that a sanitizer sees a read beyond it */
        memcpy(cut.data, m.data, cut.size);
        assert_int_equal(open_memory(&cut, false), RT_EDATA);
        free(cut.data);
    }
    cut.size = m.size + 1;
    cut.data = calloc(1, cut.size);
    memcpy(cut.data, m.data, m.size);
    assert_int_equal(open_memory(&cut, false), RT_EDATA);
    free(cut.data);
    free(m.data);
}

/* Damage in data: the file opens, the tensor that is hit is refused by name, the others are read; verify finds it. */
static void every_byte_of_data(void **state) {
    (void)state;
    memory m = make_image(true);
    rt_h5_schema schema;
    rt_h5_bytes bytes = {read_memory, &m, m.size, "altered.h5"};
    rt_verify_summary summary;
    assert_int_equal(rt_h5_schema_read(&bytes, false, &schema), RT_OK);
    int fd = open(at("a.h5"), O_RDWR);
    assert_true(fd >= 0);
    for (int i = 0; i < schema.n_extents; i++) {
        for (uint64_t k = 0; k < schema.extents[i].size; k += 3) {
            uint64_t place = schema.extents[i].at + k;
            unsigned char changed = m.data[place] ^ (unsigned char)(1 << (k % 8));
            assert_int_equal(pwrite(fd, &changed, 1, (off_t)place), 1);
            assert_fails(rt_checkpoint_verify(at("a.h5"), &summary), RT_EDATA, "does not match its checksum");
            assert_int_equal(pwrite(fd, &m.data[place], 1, (off_t)place), 1);
        }
    }
    assert_int_equal(rt_checkpoint_verify(at("a.h5"), &summary), RT_OK);

    rt_checkpoint *c;
    float out[256];
    const rt_h5_tensor *row = rt_h5_schema_find(&schema, RT_SECTION_MODEL, "classifier.weight");
    unsigned char changed = m.data[row->at] ^ 4;
    assert_int_equal(pwrite(fd, &changed, 1, (off_t)row->at), 1);
    assert_int_equal(rt_checkpoint_open(at("a.h5"), &c), RT_OK);
    assert_fails(rt_checkpoint_read(c, RT_SECTION_MODEL, row->name, 2, row->shape, out), RT_EDATA,
                 "/model/classifier.weight");
    assert_int_equal(rt_checkpoint_read(c, RT_SECTION_MODEL, "classifier.bias", 1, (int64_t[]){2}, out), RT_OK);
    /* a file that shrinks under an open checkpoint is an error, not a signal */
    assert_int_equal(ftruncate(fd, (off_t)row->at), 0);
    assert_fails(rt_checkpoint_read(c, RT_SECTION_MODEL, row->name, 2, row->shape, out), RT_EDATA, "cut off");
    rt_checkpoint_close(c);
    close(fd);
    rt_h5_schema_free(&schema);
    free(m.data);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {TEST(every_byte_of_the_description), TEST(every_word_extreme),
                                       TEST(every_truncation), TEST(every_byte_of_data)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
