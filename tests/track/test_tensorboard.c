/* The event file, read back by a reader of records and protocol buffers written apart from the writer. */
#include "base/file.h"
#include "track/track.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t crc32c(const unsigned char *p, size_t n) {
    uint32_t c = 0xffffffffu;
    while (n--) {
        c ^= *p++;
        for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0x82f63b78u & (0u - (c & 1)));
    }
    return ~c;
}

static uint32_t mask(uint32_t c) {
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

static uint64_t little(const unsigned char *p, int n) {
    uint64_t v = 0;
    for (int i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

typedef struct {
    double wall_time;
    uint64_t step;
    char version[32], tag[32];
    float value;
    bool has_value, starts_session;
} event;

static uint64_t varint(const unsigned char **p) {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char b = *(*p)++;
        v |= (uint64_t)(b & 127) << shift;
        if (!(b & 128)) return v;
    }
}

/* A message: calls itself for the nested ones, by `depth`: 0 event, 1 summary, 2 value, 3 session log. */
static void parse(const unsigned char *p, const unsigned char *end, int depth, event *e) {
    while (p < end) {
        uint64_t key = varint(&p);
        int field = (int)(key >> 3), wire = (int)(key & 7);
        if (wire == 1) {
            assert_true(depth == 0 && field == 1);
            uint64_t bits = little(p, 8);
            memcpy(&e->wall_time, &bits, 8);
            p += 8;
        } else if (wire == 5) {
            assert_true(depth == 2 && field == 2);
            uint32_t bits = (uint32_t)little(p, 4);
            memcpy(&e->value, &bits, 4);
            e->has_value = true;
            p += 4;
        } else if (wire == 0) {
            uint64_t v = varint(&p);
            if (depth == 0 && field == 2)
                e->step = v;
            else if (depth == 3 && field == 1)
                e->starts_session = v == 1;
            else
                fail_msg("varint field %d at depth %d", field, depth);
        } else {
            assert_int_equal(wire, 2);
            uint64_t n = varint(&p);
            assert_true(n <= (uint64_t)(end - p));
            if (depth == 0 && field == 3)
                memcpy(e->version, p, n);
            else if (depth == 0 && field == 5)
                parse(p, p + n, 1, e);
            else if (depth == 0 && field == 7)
                parse(p, p + n, 3, e);
            else if (depth == 1 && field == 1)
                parse(p, p + n, 2, e);
            else if (depth == 2 && field == 1)
                memcpy(e->tag, p, n);
            else
                fail_msg("bytes field %d at depth %d", field, depth);
            p += n;
        }
    }
    assert_true(p == end);
}

static int read_events(const char *path, event *events, int most) {
    char *data;
    size_t size, at = 0;
    int n = 0;
    assert_int_equal(rt_file_read(path, 1 << 20, &data, &size), RT_OK);
    const unsigned char *bytes = (const unsigned char *)data;
    while (at < size) {
        assert_true(n < most && at + 12 <= size);
        uint64_t length = little(bytes + at, 8);
        assert_int_equal(little(bytes + at + 8, 4), mask(crc32c(bytes + at, 8)));
        assert_true(at + 16 + length <= size);
        const unsigned char *payload = bytes + at + 12;
        assert_int_equal(little(payload + length, 4), mask(crc32c(payload, length)));
        memset(&events[n], 0, sizeof events[n]);
        parse(payload, payload + length, 0, &events[n++]);
        at += 16 + length;
    }
    free(data);
    return n;
}

static void test_events(void **state) {
    (void)state;
    assert_int_equal(crc32c((const unsigned char *)"123456789", 9), 0xe3069283u); /* the known answer of CRC-32C */
    char top[] = "/tmp/rt-tb-XXXXXX", folder[64], path[400] = "";
    assert_non_null(mkdtemp(top));
    snprintf(folder, sizeof folder, "%s/tensorboard", top);
    rt_tensorboard *tb, *second;
    assert_int_equal(rt_tensorboard_open(folder, &tb), RT_OK); /* makes the folder */
    assert_int_equal(rt_tensorboard_scalar(tb, "train/loss", 10, 1700000000.25, 0.6931472f), RT_OK);
    assert_int_equal(rt_tensorboard_scalar(tb, "dev/auc", 0, 1700000001, -1.0f), RT_OK);
    assert_int_equal(rt_tensorboard_scalar(tb, "x", UINT64_C(1) << 40, 2, 0.0f), RT_OK);
    assert_int_equal(rt_tensorboard_restart(tb, 300, 3), RT_OK);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) == 0)
            snprintf(path, sizeof path, "%s/%.300s", folder, entry->d_name);
    closedir(dir);
    event e[8];
    assert_int_equal(read_events(path, e, 8), 5); /* all there before the file is closed */
    assert_string_equal(e[0].version, "brain.Event:2");
    assert_true(e[0].wall_time > 1.6e9 && !e[0].has_value);
    assert_string_equal(e[1].tag, "train/loss");
    assert_true(e[1].step == 10 && e[1].wall_time == 1700000000.25 && e[1].value == 0.6931472f);
    assert_string_equal(e[2].tag, "dev/auc");
    assert_true(e[2].step == 0 && e[2].value == -1.0f);
    assert_true(e[3].step == UINT64_C(1) << 40 && e[3].has_value && e[3].value == 0);
    assert_true(e[4].step == 300 && e[4].starts_session);
    /* A second writer in the same second takes a name of its own. */
    assert_int_equal(rt_tensorboard_open(folder, &second), RT_OK);
    rt_tensorboard_close(second);
    assert_int_equal(read_events(path, e, 8), 5);
    rt_tensorboard_close(tb);
    rt_tensorboard_close(NULL);
    int files = 0;
    dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%.300s", folder, entry->d_name);
        unlink(path);
        files++;
    }
    closedir(dir);
    assert_int_equal(files, 2);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(top), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
