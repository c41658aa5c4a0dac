/* safetensors: what is valid is read to the bit, what is not is refused with a sentence. */
#include "cases.h"
#include "checkpoint/safetensors.h"
#include <math.h>

/* A file of this header (its length may lie) and n data bytes, which count up from 0. */
static void put(const char *name, const char *header, uint64_t claimed, size_t n) {
    rt_text t = {0};
    for (int i = 0; i < 8; i++) rt_text_append(&t, &(char){(char)(claimed >> (8 * i))}, 1);
    rt_text_puts(&t, header);
    for (size_t i = 0; i < n; i++) rt_text_append(&t, &(char){(char)i}, 1);
    put_file(name, t.data, t.size);
    rt_text_free(&t);
}

static rt_status open_header(const char *header, size_t n) {
    rt_safetensors f;
    put("x.safetensors", header, strlen(header), n);
    rt_status rc = rt_safetensors_open(at("x.safetensors"), &f);
    if (rc == RT_OK) rt_safetensors_close(&f);
    return rc;
}

static void valid(void **state) {
    (void)state;
    assert_int_equal(open_header("{}", 0), RT_OK);
    assert_int_equal(open_header("  {} ", 0), RT_OK);
    assert_int_equal(open_header("{\"__metadata__\":{\"format\":\"pt\"}}   ", 0), RT_OK);
    assert_int_equal(open_header("{\"a\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", 16), RT_OK);
    assert_int_equal(open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4), RT_OK);
    assert_int_equal(open_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[0,0]}}", 0), RT_OK);
    assert_int_equal(open_header("{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]},"
                                 "\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
                                 5),
                     RT_OK);
}

static void malformed(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {"", 0, "malformed JSON"},
        {"{", 0, "malformed JSON"},
        {"[]", 0, "expected a JSON object"},
        {"\xff", 0, "malformed JSON"},
        {"{} x", 0, "malformed JSON"},
        {"{\"a\":1}", 0, "not described"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype"},
        {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype \"Q4\""},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "malformed shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "malformed shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "another size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "cut off"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "its tensors take 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, "belong to none"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
         6, "overlaps"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,4],\"data_offsets\":[0,0]}}", 0, "more elements"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "another size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,4]}}", 4, "malformed JSON"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
        {"{\"__metadata__\":[]}", 0, "__metadata__"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(open_header(cases[i].header, cases[i].data), RT_EDATA, cases[i].says);
}

static void header_lengths(void **state) {
    (void)state;
    rt_safetensors f;
    put_text("x.safetensors", "");
    assert_fails(rt_safetensors_open(at("x.safetensors"), &f), RT_EDATA, "too few");
    put_text("x.safetensors", "1234567");
    assert_fails(rt_safetensors_open(at("x.safetensors"), &f), RT_EDATA, "too few");
    static const uint64_t lengths[] = {3, 100000000, 100000001, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        put("x.safetensors", "{}", lengths[i], 0);
        assert_fails(rt_safetensors_open(at("x.safetensors"), &f), RT_EDATA, "claims a header");
    }
    assert_fails(rt_safetensors_open(at("none"), &f), RT_ENOINPUT, "none");
    assert_fails(rt_safetensors_open(folder, &f), RT_EDATA, "not a regular file");
}

/* All 65,536 halves: an f16 is exact in f32, so its value follows from sign, exponent and mantissa alone. */
static void halves(void **state) {
    (void)state;
    enum { ALL = 65536 };
    rt_text t = {0};
    rt_safetensors f;
    const char *header = "{\"h\":{\"dtype\":\"F16\",\"shape\":[256,256],\"data_offsets\":[0,131072]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[65536],\"data_offsets\":[131072,262144]}}";
    for (int i = 0; i < 8; i++) rt_text_append(&t, &(char){(char)((uint64_t)strlen(header) >> (8 * i))}, 1);
    rt_text_puts(&t, header);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < ALL; i++) rt_text_append(&t, (char[]){(char)i, (char)(i >> 8)}, 2);
    put_file("h.safetensors", t.data, t.size);
    rt_text_free(&t);
    float *out = malloc(ALL * sizeof *out);
    assert_int_equal(rt_safetensors_open(at("h.safetensors"), &f), RT_OK);
    assert_int_equal(rt_safetensors_read(&f, 0, out), RT_OK);
    for (int i = 0; i < ALL; i++) {
        int exponent = i >> 10 & 31, mantissa = i & 1023;
        if (exponent == 31 && mantissa) {
            assert_true(isnan(out[i]));
            continue;
        }
        double value = exponent == 31 ? INFINITY
                       : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                      : ldexp(mantissa, -24);
        assert_true(out[i] == (float)(i & 0x8000 ? -value : value) && !!signbit(out[i]) == !!(i & 0x8000));
    }
    assert_int_equal(rt_safetensors_read(&f, 1, out), RT_OK);
    for (int i = 0; i < ALL; i++) {
        uint32_t bits;
        memcpy(&bits, &out[i], 4);
        assert_int_equal(bits, (uint32_t)i << 16);
    }
    rt_safetensors_close(&f);
    free(out);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {TEST(valid), TEST(malformed), TEST(header_lengths), TEST(halves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
