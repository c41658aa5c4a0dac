/* What a packed file may make its reader allocate. */
#include "../../src/data/input.h"
#include "files.h"
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* A frame that says neither how long its content is nor that it is short, so its window counts. */
static size_t packed(const char *text, size_t size, int window_log, unsigned char *out, size_t room) {
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_inBuffer from = {text, size, 0};
    ZSTD_outBuffer to = {out, room, 0};
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log)));
    assert_false(ZSTD_isError(ZSTD_compressStream2(z, &to, &from, ZSTD_e_flush)));
    assert_int_equal(ZSTD_compressStream2(z, &to, &from, ZSTD_e_end), 0);
    ZSTD_freeCCtx(z);
    return to.pos;
}

static rt_status read_all(const char *path, size_t *n) {
    char bytes[64];
    size_t got = 0;
    rt_input *in;
    rt_status rc = rt_input_open(path, &in);
    *n = 0;
    do {
        if (rc == RT_OK) rc = rt_input_read(in, bytes, sizeof bytes, &got);
        *n += got;
    } while (rc == RT_OK && got);
    rt_input_close(in);
    return rc;
}

static void a_window_fits_the_file(void **state) {
    (void)state;
    enum { ROOM = 3 << 20 };
    unsigned char *out = calloc(1, ROOM);
    size_t n, size = packed("x\ty\n", 4, 25, out, ROOM);
    assert_int_equal(read_all(write_bytes("a.zst", out, size), &n), RT_OK);
    assert_int_equal(n, 4);
    /* 64 MiB for a file of a few bytes; 32 MiB and 60 MiB are more than twice its size. */
    size = packed("x\ty\n", 4, 26, out, ROOM);
    assert_int_equal(read_all(write_bytes("a.zst", out, size), &n), RT_EIO);
    assert_non_null(strstr(rt_error_get()->text, "a.zst: zstd data that take a window beyond 32 MiB"));
    /* The same frame, and one behind it that is passed over: 3 MiB allow 64. */
    unsigned skipped = ROOM - (unsigned)size - 8;
    memcpy(out + size, "\x50\x2A\x4D\x18", 4);
    for (int i = 0; i < 4; i++) out[size + 4 + i] = (unsigned char)(skipped >> 8 * i);
    assert_int_equal(read_all(write_bytes("a.zst", out, ROOM), &n), RT_OK);
    assert_int_equal(n, 4);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_window_fits_the_file)};
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
