/* TensorBoard's event file: records of protocol buffers, encoded by hand (tensorflow/core/util/event.proto,
 * core/framework/summary.proto, lib/io/record_writer). */
#include "../base/clock.h"
#include "../base/file.h"
#include "append.h"
#include "track.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    EVENT_WALL_TIME = 1, /* double */
    EVENT_STEP = 2,      /* int64 */
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2, /* float */
    SESSION_STATUS = 1,
    SESSION_START = 1,
};
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct rt_tensorboard {
    int fd;
    char *path;
    uint32_t crc_table[256];
};

/* CRC-32C (Castagnoli), bitwise reversed polynomial. */
static void crc_fill(uint32_t *table) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[i] = c;
    }
}

static uint32_t masked_crc(const uint32_t *table, const void *bytes, size_t size) {
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < size; i++) c = table[(c ^ ((const unsigned char *)bytes)[i]) & 255] ^ c >> 8;
    c = ~c;
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static void put_little(rt_text *out, uint64_t value, int n_bytes) {
    char bytes[8];
    for (int i = 0; i < n_bytes; i++) bytes[i] = (char)(value >> 8 * i & 255);
    rt_text_append(out, bytes, (size_t)n_bytes);
}

static void put_varint(rt_text *out, uint64_t value) {
    for (; value >= 128; value >>= 7) put_little(out, (value & 127) | 128, 1);
    put_little(out, value, 1);
}

static void put_key(rt_text *out, int field, int wire) {
    put_varint(out, (uint64_t)(field << 3 | wire));
}

static void put_bytes(rt_text *out, int field, const char *bytes, size_t size) {
    put_key(out, field, WIRE_BYTES);
    put_varint(out, size);
    rt_text_append(out, bytes, size);
}

static void put_event_head(rt_text *out, double wall_time, uint64_t step) {
    uint64_t bits;
    memcpy(&bits, &wall_time, sizeof bits);
    put_key(out, EVENT_WALL_TIME, WIRE_64);
    put_little(out, bits, 8);
    if (step == 0) return; /* proto3 leaves zeros out */
    put_key(out, EVENT_STEP, WIRE_VARINT);
    put_varint(out, step);
}

static rt_status write_record(rt_tensorboard *tb, const rt_text *event) {
    RT_TRY(rt_text_status(event));
    rt_text record = {0};
    put_little(&record, event->size, 8);
    put_little(&record, masked_crc(tb->crc_table, record.data, record.size), 4);
    rt_text_append(&record, event->data, event->size);
    put_little(&record, masked_crc(tb->crc_table, event->data, event->size), 4);
    rt_status rc = rt_text_status(&record);
    if (rc == RT_OK) rc = rt_append(tb->fd, tb->path, record.data, record.size);
    rt_text_free(&record);
    return rc;
}

/* "events.out.tfevents.<seconds>.<host>.<pid>.<n>": TensorBoard reads files with "tfevents" in their name, in order. */
static rt_status create_file(rt_tensorboard *tb, const char *folder, double now) {
    char host[128];
    if (gethostname(host, sizeof host) != 0 || host[0] == '\0') strcpy(host, "localhost");
    host[sizeof host - 1] = '\0';
    for (int n = 0; n < 1000; n++) {
        rt_text name = {0};
        rt_text_printf(&name, "events.out.tfevents.%010" PRIu64 ".%s.%d.%d", (uint64_t)now, host, (int)getpid(), n);
        free(tb->path);
        tb->path = rt_text_status(&name) == RT_OK ? rt_path_join(folder, name.data) : NULL;
        rt_text_free(&name);
        if (!tb->path) return rt_fail(RT_ENOMEM, "%s: out of memory", folder);
        tb->fd = open(tb->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (tb->fd >= 0) return RT_OK;
        if (errno != EEXIST) break;
    }
    return rt_fail(RT_EIO, "%s: cannot create: %s", tb->path, strerror(errno));
}

rt_status rt_tensorboard_open(const char *folder, rt_tensorboard **out) {
    static const char version[] = "brain.Event:2";
    rt_status rc = RT_OK;
    rt_text event = {0};
    double now = rt_clock_unix();
    *out = NULL;
    rt_tensorboard *tb = calloc(1, sizeof *tb);
    if (!tb) return rt_fail(RT_ENOMEM, "%s: out of memory", folder);
    tb->fd = -1;
    crc_fill(tb->crc_table);
    RT_GO(rt_make_folders(folder));
    RT_GO(create_file(tb, folder, now));
    put_event_head(&event, now, 0);
    put_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
    RT_GO(write_record(tb, &event));
    *out = tb;
    tb = NULL;
done:
    rt_text_free(&event);
    rt_tensorboard_close(tb);
    return rc;
}

rt_status rt_tensorboard_restart(rt_tensorboard *tb, uint64_t step, double wall_time) {
    rt_text event = {0}, session = {0};
    put_key(&session, SESSION_STATUS, WIRE_VARINT);
    put_varint(&session, SESSION_START);
    put_event_head(&event, wall_time, step);
    put_bytes(&event, EVENT_SESSION_LOG, session.data, session.size);
    rt_status rc = rt_text_status(&session);
    if (rc == RT_OK) rc = write_record(tb, &event);
    rt_text_free(&session);
    rt_text_free(&event);
    return rc;
}

rt_status rt_tensorboard_scalar(rt_tensorboard *tb, const char *tag, uint64_t step, double wall_time, float value) {
    rt_text event = {0}, summary = {0}, scalar = {0};
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_bytes(&scalar, VALUE_TAG, tag, strlen(tag));
    put_key(&scalar, VALUE_SIMPLE, WIRE_32);
    put_little(&scalar, bits, 4);
    rt_status rc = rt_text_status(&scalar);
    if (rc != RT_OK) goto done;
    put_bytes(&summary, SUMMARY_VALUE, scalar.data, scalar.size);
    RT_GO(rt_text_status(&summary));
    put_event_head(&event, wall_time, step);
    put_bytes(&event, EVENT_SUMMARY, summary.data, summary.size);
    RT_GO(write_record(tb, &event));
done:
    rt_text_free(&scalar);
    rt_text_free(&summary);
    rt_text_free(&event);
    return rc;
}

void rt_tensorboard_close(rt_tensorboard *tb) {
    if (!tb) return;
    if (tb->fd >= 0) close(tb->fd);
    free(tb->path);
    free(tb);
}
