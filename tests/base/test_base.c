/* Errors, log, arenas, clocks, digests, processor levels. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status.h"

static rt_status leaf(void) {
    return rt_fail(RT_EDATA, "%s:%d: found \"%s\"", "f.tsv", 7, "x");
}
static rt_status middle(void) {
    RT_TRY(leaf());
    return RT_OK;
}
static rt_status top(void) {
    rt_status rc = RT_EIO;
    RT_GO(middle());
done:
    return rc == RT_OK ? rc : rt_fail_context(rc, "in %s", "training");
}

static void errors_carry_message_and_trace(void **state) {
    (void)state;
    rt_error_clear();
    assert_int_equal(top(), RT_EDATA);
    const rt_error *error = rt_error_get();
    assert_int_equal(error->status, RT_EDATA);
    assert_string_equal(error->text, "in training: f.tsv:7: found \"x\"");
    assert_non_null(strstr(error->trace, "leaf() at "));
    assert_non_null(strstr(error->trace, " <- middle() at "));
    rt_fail(RT_EIO, "again: %s\n", error->text); /* an argument may be the record itself */
    assert_string_equal(error->text, "again: in training: f.tsv:7: found \"x\"");
    assert_string_equal(error->trace, "");
}

/* No byte of a half character: each é is there whole or not at all. */
static void check_whole(const char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < 0x80) continue;
        assert_memory_equal(text, "\xc3\xa9", 2);
        text++;
    }
}

static void long_messages_lose_their_middle_at_whole_characters(void **state) {
    (void)state;
    char text[RT_ERROR_TEXT + 100];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 1] = 0;
    const char *got = rt_error_get()->text;
    for (int shift = 0; shift < 4; shift++) { /* every place of the two cuts within a character */
        rt_fail(RT_EDATA, "%.*s%s: no such file%.*s", shift & 1, "x", text, shift / 2, "!");
        assert_in_range(strlen(got), 3900, RT_ERROR_TEXT - 1);
        assert_int_equal(strncmp(got, &"x\xc3\xa9\xc3\xa9"[!(shift & 1)], 4), 0);
        assert_non_null(strstr(got, " bytes left out) ... "));
        assert_non_null(strstr(got, ": no such file"));
        check_whole(got);
    }
    rt_fail(RT_EDATA, "%.*s", RT_ERROR_TEXT - 1, text); /* fits: nothing is left out */
    assert_int_equal(strlen(got), RT_ERROR_TEXT - 1);
    rt_fail(RT_EDATA, "at its end");
    rt_fail_context(RT_EDATA, "%s", text);
    assert_true(strlen(got) < RT_ERROR_TEXT);
    assert_non_null(strstr(got, ": at its end"));
    for (int i = 0; i < 100; i++) rt_trace(RT_EDATA, "some_function(with, arguments)", "file.c", i);
    assert_true(strlen(rt_error_get()->trace) < sizeof rt_error_get()->trace);
}

static void *other_thread(void *out) {
    rt_fail(RT_EIO, "theirs");
    *(rt_error *)out = *rt_error_get();
    return NULL;
}

static void errors_are_per_thread(void **state) {
    (void)state;
    pthread_t thread;
    rt_error theirs;
    rt_fail(RT_EDATA, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &theirs), 0);
    pthread_join(thread, NULL);
    assert_string_equal(rt_error_get()->text, "mine");
    rt_error_set(&theirs);
    rt_error_set(rt_error_get());
    assert_string_equal(rt_error_get()->text, "theirs");
    assert_int_equal(rt_error_get()->status, RT_EIO);
}

static void exit_codes(void **state) {
    (void)state;
    assert_int_equal(rt_exit_code(RT_OK), 0);
    assert_int_equal(rt_exit_code(RT_ECONFIG), 78);
    assert_int_equal(rt_exit_code(RT_ESHAPE), 1);
    assert_int_equal(rt_exit_code(RT_ENOMEM), 69);
}

static void hook(void *context) {
    fputc('|', context);
}

static void log_lines(void **state) {
    (void)state;
    char *out = NULL, *file = NULL;
    size_t out_size = 0, file_size = 0;
    FILE *stream = open_memstream(&out, &out_size), *tee = open_memstream(&file, &file_size);
    rt_log *log = rt_log_open(&(rt_log_options){.stream = stream, .threshold = RT_LOG_INFO});
    assert_non_null(log);
    rt_log_set_hooks(log, hook, hook, stream);
    rt_log_tee(log, tee);
    rt_info(log, "plain %d\nsecond line\n", 1);
    rt_warn(log, "from a file: %s", "\033[2J\a\xff");
    rt_verbose(log, "only in the file");
    rt_log_tee(log, NULL);
    rt_error_log(log, "bad");
    rt_info(NULL, "nowhere");
    rt_log_close(log);
    rt_log_close(NULL);
    rt_log_tee(NULL, NULL);
    fclose(stream);
    fclose(tee);
    assert_string_equal(out, "|plain 1\\nsecond line\n||warning: from a file: \\x1b[2J\\x07\\xff\n||error: bad\n|");
    assert_non_null(strstr(file, " plain 1\\nsecond line\n"));
    assert_non_null(strstr(file, " only in the file\n"));
    assert_null(strstr(file, "bad"));
    free(out);
    free(file);
}

static void arenas_measure_then_bind(void **state) {
    (void)state;
    rt_arena arena = {0};
    for (int pass = 0; pass < 2; pass++) {
        float *a = RT_ARENA_NEW(&arena, float, 3);
        double *b = RT_ARENA_NEW(&arena, double, 100);
        void *none = rt_arena_take(&arena, 0, 8);
        assert_true(rt_arena_ok(&arena));
        assert_int_equal(arena.used, 256 + 1024);
        if (pass == 0) {
            assert_null(a);
            void *pages = NULL;
            assert_int_equal(rt_pages_map(arena.used, "test", &pages), RT_OK);
            arena = (rt_arena){.base = pages, .capacity = arena.used};
        } else {
            assert_ptr_equal((unsigned char *)b - (unsigned char *)a, 256);
            assert_true(a[2] == 0 && b[99] == 0);
            (void)none;
        }
    }
    assert_null(rt_arena_take(&arena, 1, 1));
    assert_false(rt_arena_ok(&arena));
    rt_pages_unmap(arena.base, arena.capacity);
    rt_pages_unmap(NULL, 0);
    arena = (rt_arena){0};
    rt_arena_take(&arena, SIZE_MAX / 2, 3);
    rt_arena_take(&arena, 1, 1);
    assert_int_equal(arena.used, SIZE_MAX);
    assert_false(rt_arena_ok(&arena));
    arena = (rt_arena){0};
    rt_arena_take(&arena, SIZE_MAX - 10, 1);
    assert_false(rt_arena_ok(&arena));
    arena = (rt_arena){0};
    for (int i = 0; i < 3; i++) rt_arena_take(&arena, SIZE_MAX / 2 - 1000, 1);
    assert_false(rt_arena_ok(&arena));
}

static void too_much_memory_is_told(void **state) {
    (void)state;
    void *pages = (void *)1;
    assert_int_equal(rt_pages_map((size_t)1 << 62, "activations", &pages), RT_ENOMEM);
    assert_null(pages);
    assert_non_null(strstr(rt_error_get()->text, "activations: no memory for 4.6 EB"));
    assert_true(rt_memory_total() > 1 << 20);
    assert_true(rt_memory_resident() > 4096);
    assert_true(rt_memory_peak() >= 4096);
}

static void durations(void **state) {
    (void)state;
    const struct {
        double seconds;
        const char *want;
    } cases[] = {{0, "0.0 s"},         {3.14, "3.1 s"},     {9.96, "10 s"},         {42.4, "42 s"},
                 {59.6, "1 min 00 s"}, {185, "3 min 05 s"}, {3599.6, "1 h 00 min"}, {7620, "2 h 07 min"},
                 {-5, "0.0 s"},        {1e300, "for ever"}};
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rt_duration_text(cases[i].seconds, out);
        assert_string_equal(out, cases[i].want);
    }
    assert_true(rt_clock_unix() > 1.6e9);
    double a = rt_clock_seconds();
    assert_true(rt_clock_seconds() >= a);
}

/* XXH3 of nothing, from the published test vectors, and streaming equal to one call. */
static void digests(void **state) {
    (void)state;
    char hex[33];
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
    assert_true(rt_hash64(NULL, 0) == 0x2d06800538d394c2ull);
    rt_digest_hex(rt_hash128(NULL, 0), hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    rt_digest *d = rt_digest_new();
    assert_non_null(d);
    rt_digest_update(d, bytes, 1);
    rt_digest_update(d, bytes + 1, 998);
    rt_digest_update(d, NULL, 0);
    rt_digest128 before = rt_digest_end(d);
    rt_digest_update(d, bytes + 999, 1);
    rt_digest128 a = rt_digest_end(d), b = rt_hash128(bytes, sizeof bytes);
    assert_true(a.high == b.high && a.low == b.low);
    assert_false(before.high == b.high && before.low == b.low);
    rt_digest_free(d);
    rt_digest_free(NULL);
}

static rt_digest128 two_strings(const char *a, const char *b) {
    rt_digest *d = rt_digest_new();
    rt_digest_string(d, a);
    rt_digest_string(d, b);
    rt_digest128 digest = rt_digest_end(d);
    rt_digest_free(d);
    return digest;
}

static void digest_strings_do_not_run_together(void **state) {
    (void)state;
    assert_true(two_strings("ab", "c").low != two_strings("a", "bc").low);
    assert_true(two_strings("", NULL).low != two_strings(NULL, "").low);
    assert_true(two_strings("a", "b").low == two_strings("a", "b").low);
}

static void processor_levels(void **state) {
    (void)state;
    rt_cpu cpu;
    rt_isa isa;
    rt_cpu_detect(&cpu);
    assert_true(cpu.cores >= 1);
    assert_true(strlen(cpu.model) > 0);
    unsetenv("RECTRAIN_ISA");
    assert_int_equal(rt_isa_choose(&cpu, &isa), RT_OK);
    assert_int_equal(isa, cpu.isa);
    cpu.isa = RT_ISA_V3;
    for (int i = 0; i < RT_ISA_COUNT; i++) {
        setenv("RECTRAIN_ISA", rt_isa_name((rt_isa)i), 1);
        assert_int_equal(rt_isa_choose(&cpu, &isa), i <= RT_ISA_V3 ? RT_OK : RT_EUNAVAILABLE);
        if (i <= RT_ISA_V3) assert_int_equal(isa, i);
    }
    setenv("RECTRAIN_ISA", "avx2", 1);
    assert_int_equal(rt_isa_choose(&cpu, &isa), RT_ECONFIG);
    assert_non_null(strstr(rt_error_get()->text, "generic, v2, v3, v4"));
    unsetenv("RECTRAIN_ISA");
    /* The C library answers the same questions. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    rt_cpu_detect(&cpu);
    rt_isa want = RT_ISA_GENERIC;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v2")) want = RT_ISA_V2;
    if (__builtin_cpu_supports("x86-64-v3")) want = RT_ISA_V3;
    if (__builtin_cpu_supports("x86-64-v4")) want = RT_ISA_V4;
    assert_int_equal(cpu.isa, want);
    assert_int_equal(cpu.avx512_bf16, __builtin_cpu_supports("avx512bf16") != 0);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_message_and_trace),
        cmocka_unit_test(long_messages_lose_their_middle_at_whole_characters),
        cmocka_unit_test(errors_are_per_thread),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(log_lines),
        cmocka_unit_test(arenas_measure_then_bind),
        cmocka_unit_test(too_much_memory_is_told),
        cmocka_unit_test(durations),
        cmocka_unit_test(digests),
        cmocka_unit_test(digest_strings_do_not_run_together),
        cmocka_unit_test(processor_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
