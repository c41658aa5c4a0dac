/* Text buffers, numbers, JSON strings, UTF-8, nearest names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "base/text.h"

static void grows_and_stays_terminated(void **state) {
    (void)state;
    rt_text text = {0};
    for (int i = 0; i < 1000; i++) rt_text_printf(&text, "%d,", i);
    assert_int_equal(rt_text_status(&text), RT_OK);
    assert_int_equal(strlen(text.data), text.size);
    assert_int_equal(text.size, 10 * 2 + 90 * 3 + 900 * 4);
    rt_text_clear(&text);
    assert_string_equal(text.data, "");
    rt_text_printf(&text, "%0300d", 7); /* beyond the small buffer inside */
    assert_int_equal(text.size, 300);
    assert_int_equal(text.data[299], '7');
    rt_text_free(&text);
    rt_text_free(&text);
    rt_text_free(NULL);
}

static void lack_of_memory_is_told_once(void **state) {
    (void)state;
    rt_text text = {0};
    rt_text_puts(&text, "kept");
    rt_text_append(&text, "x", SIZE_MAX / 2);
    assert_int_equal(rt_text_status(&text), RT_ENOMEM);
    rt_text_puts(&text, "ignored");
    assert_string_equal(text.data, "kept");
    rt_text_free(&text);
}

/* Every bit pattern must come back: 200,000 random ones, and the ends of the range. */
static void floats_read_back(void **state) {
    (void)state;
    rt_rng rng = rt_rng_make(1, 0, 0);
    const uint32_t ends[] = {0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f800000, 0x3dcccccd};
    for (size_t i = 0; i < 200000; i++) {
        uint32_t bits = i < sizeof ends / sizeof *ends ? ends[i] : rt_rng_u32(&rng), back;
        float value, again;
        memcpy(&value, &bits, 4);
        if (!isfinite(value)) continue;
        rt_text text = {0};
        rt_text_float(&text, value);
        again = strtof(text.data, NULL);
        memcpy(&back, &again, 4);
        assert_int_equal(back, bits);
        rt_text_free(&text);
    }
}

static void doubles_read_back(void **state) {
    (void)state;
    rt_rng rng = rt_rng_make(2, 0, 0);
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = (uint64_t)rt_rng_u32(&rng) << 32 | rt_rng_u32(&rng), back;
        double value, again;
        memcpy(&value, &bits, 8);
        if (!isfinite(value)) continue;
        rt_text text = {0};
        rt_text_double(&text, value);
        again = strtod(text.data, NULL);
        memcpy(&back, &again, 8);
        assert_true(back == bits);
        rt_text_free(&text);
    }
}

static void numbers_are_short(void **state) {
    (void)state;
    rt_text text = {0};
    rt_text_float(&text, 0.1f);
    rt_text_puts(&text, " ");
    rt_text_float(&text, 16777216.0f);
    rt_text_puts(&text, " ");
    rt_text_double(&text, 0.1);
    rt_text_puts(&text, " ");
    rt_text_double(&text, NAN);
    rt_text_puts(&text, " ");
    rt_text_float(&text, -INFINITY);
    const double whole[] = {10, -1500, 1e14, 1e20, -0.0, 2.5e-5};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        rt_text_puts(&text, " ");
        rt_text_double(&text, whole[i]);
    }
    rt_text_puts(&text, " ");
    rt_text_float(&text, 100.0f);
    assert_string_equal(text.data, "0.1 16777216 0.1 nan -inf 10 -1500 100000000000000 1e+20 -0 2.5e-05 100");
    rt_text_free(&text);
}

static void json(const char *bytes, size_t size, const char *want) {
    rt_text text = {0};
    rt_text_json_string(&text, bytes, size);
    assert_string_equal(text.data, want);
    rt_text_free(&text);
}

static void json_strings(void **state) {
    (void)state;
    json("", 0, "\"\"");
    json("a\"b\\c\n\t\r", 8, "\"a\\\"b\\\\c\\n\\t\\r\"");
    json("\x00\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
    json("caf\xc3\xa9 \xf0\x9f\x98\x80", 10, "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"");
    json("a\xff\xc3", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void escapes_what_a_terminal_acts_on(void **state) {
    (void)state;
    rt_text text = {0};
    const char bytes[] = "ok \033[31m\xc2\x9b\xe2\x80\xae\xff\t\xc3\xa9";
    rt_text_escaped(&text, bytes, sizeof bytes - 1, 100);
    assert_string_equal(text.data, "ok \\x1b[31m\\x9b\\u202e\\xff\\t\xc3\xa9");
    rt_text_clear(&text);
    rt_text_escaped(&text, "ab\xc3\xa9xyz", 7, 3); /* the limit falls into a character: it is left out whole */
    assert_string_equal(text.data, "ab... (5 bytes more)");
    rt_text_free(&text);
}

static void edit_distances(void **state) {
    (void)state;
    assert_int_equal(rt_edit_distance("", ""), 0);
    assert_int_equal(rt_edit_distance("abc", ""), 3);
    assert_int_equal(rt_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(rt_edit_distance("clicked", "clikced"), 1); /* a swap is one edit */
    assert_int_equal(rt_edit_distance("ca", "abc"), 3);          /* optimal string alignment, not Damerau: 3, not 2 */
    assert_int_equal(rt_edit_distance("Batch_Size", "batch_size"), 0);
    char long_a[400], long_b[500];
    memset(long_a, 'a', sizeof long_a);
    memset(long_b, 'a', sizeof long_b);
    long_a[399] = long_b[499] = 0;
    assert_int_equal(rt_edit_distance(long_a, long_b), 100);
    const char *const names[] = {"clicked", "history", NULL, "title"};
    assert_string_equal(rt_did_you_mean("click", names, 4), "clicked");
    assert_string_equal(rt_did_you_mean("titel", names, 4), "title");
    assert_null(rt_did_you_mean("price", names, 4));
    assert_null(rt_did_you_mean("x", names, 0));
}

static void strict_numbers(void **state) {
    (void)state;
    long long i = 5;
    double d = 5;
    const char *const bad_i[] = {"", " 1", "1 ", "1.0", "0x10", "--1", "9223372036854775808", "1e3", "+", "nan"};
    const char *const bad_d[] = {"", " 1", "1 ", "0x1p3", "nan", "inf", "1e999", "--1", "1..2", "e5", ".", "1e", "1,5"};
    for (size_t k = 0; k < sizeof bad_i / sizeof *bad_i; k++) assert_false(rt_parse_i64(bad_i[k], &i));
    for (size_t k = 0; k < sizeof bad_d / sizeof *bad_d; k++) assert_false(rt_parse_f64(bad_d[k], &d));
    assert_false(rt_parse_i64(NULL, &i));
    assert_false(rt_parse_f64(NULL, &d));
    assert_true(i == 5 && d == 5);
    assert_true(rt_parse_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(rt_parse_i64("+7", &i) && i == 7);
    assert_true(rt_parse_f64("2e-5", &d) && d == 2e-5);
    assert_true(rt_parse_f64("-.5", &d) && d == -0.5);
    assert_true(rt_parse_f64("1e-320", &d) && d > 0); /* subnormal: small, not an overflow */
}

/* Every code point there is goes out and comes back; the three kinds of bytes that look like one do not. */
static void utf8_round_trip(void **state) {
    (void)state;
    for (unsigned c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        unsigned back;
        bool bad = false;
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        int n = rt_utf8_encode(c, bytes);
        if (rt_utf8_decode((unsigned char *)bytes, (size_t)n, &back, &bad) != n || bad || back != c) fail();
        for (int cut = 1; cut < n; cut++) {
            bad = false;
            if (rt_utf8_decode((unsigned char *)bytes, (size_t)cut, &back, &bad) != 1 || !bad || back != 0xFFFD) fail();
        }
    }
}

static void utf8_refuses(void **state) {
    (void)state;
    const char *const wrong[] = {"\xc0\x80",
                                 "\xc1\xbf",
                                 "\xe0\x9f\xbf",
                                 "\xf0\x8f\xbf\xbf",
                                 "\xed\xa0\x80",
                                 "\xed\xbf\xbf",
                                 "\xf4\x90\x80\x80",
                                 "\xf5\x80\x80\x80",
                                 "\xff",
                                 "\x80",
                                 "\xe2\x28\xa1",
                                 "\xf0\x9f\x28\x80",
                                 "\xf0\x9f\x98\x28",
                                 "\xc3\x28"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        unsigned c = 0;
        bool bad = false;
        assert_int_equal(rt_utf8_decode((const unsigned char *)wrong[i], strlen(wrong[i]), &c, &bad), 1);
        assert_true(bad);
        assert_int_equal(c, 0xFFFD);
    }
    char out[4];
    assert_int_equal(rt_utf8_encode(0xD800, out), 3);
    assert_memory_equal(out, "\xef\xbf\xbd", 3);
    assert_int_equal(rt_utf8_encode(0x110000, out), 3);
    unsigned c;
    bool bad = false;
    assert_int_equal(rt_utf8_decode((const unsigned char *)"", 0, &c, &bad), 1);
    assert_true(bad);
}

static void copies_and_equality(void **state) {
    (void)state;
    char *copy = rt_strndup("abcdef", 3);
    assert_string_equal(copy, "abc");
    free(copy);
    copy = rt_strndup("ab", 9);
    assert_string_equal(copy, "ab");
    free(copy);
    assert_true(rt_streq(NULL, NULL));
    assert_false(rt_streq(NULL, ""));
    assert_true(rt_streq("a", "a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(lack_of_memory_is_told_once),
        cmocka_unit_test(floats_read_back),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(escapes_what_a_terminal_acts_on),
        cmocka_unit_test(edit_distances),
        cmocka_unit_test(strict_numbers),
        cmocka_unit_test(utf8_round_trip),
        cmocka_unit_test(utf8_refuses),
        cmocka_unit_test(copies_and_equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
