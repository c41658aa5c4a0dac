/* Attention by cuDNN over the fake: what it may take, that it gives what ours gives, and that whatever it lacks or
 * fails at leaves the work to ours. */
#include "../support/fakes/cudnn_knobs.h"
#include "host_case.h"
#include "sdpa.h"
#include <math.h>
#include <stdio.h>

static const rt_dims dims = {
    .max_tokens = 1024, .max_seqs = 64, .hidden = 64, .heads = 2, .ffn = 128, .labels = 2, .max_len = 512};

enum { LENGTHS = 5, CAPACITY = 8, HEADS = 2 };
/* Where the lengths do not matter they are short: max_len, which the choice looks at, is a bound. */
static const int all_lengths[2][LENGTHS] = {{1, 30, 0, 16, 7}, {1, 300, 17, 64, 257}};

typedef struct {
    rt_check *c;
    rt_cuda_context *cuda;
    rt_batch batch;
    const int *lengths;
    int64_t width, hidden;
    rt_bf16 *qkv; /* on the host */
    void *d_qkv, *d_out, *d_cu;
    double *want;
    rt_attention_forward_args a;
} sdpa_case;

static void reference(sdpa_case *s) {
    const int64_t n = s->hidden, w = s->width;
    double *x = rt_check_widen(s->c, RT_BF16, s->qkv, (size_t)(s->batch.n_tokens * 3 * n)), p[512];
    s->want = rt_check_doubles(s->c, (size_t)(s->batch.n_tokens * n));
    for (int b = 0, first = 0; b < LENGTHS; first += s->lengths[b++])
        for (int i = first; i < first + s->lengths[b]; i++)
            for (int h = 0; h < HEADS; h++) {
                double most = -INFINITY, sum = 0;
                for (int j = 0; j < s->lengths[b]; j++) {
                    p[j] = 0;
                    for (int64_t e = 0; e < w; e++)
                        p[j] += x[i * 3 * n + h * w + e] * x[(first + j) * 3 * n + n + h * w + e];
                    p[j] *= s->a.scale;
                    most = fmax(most, p[j]);
                }
                for (int j = 0; j < s->lengths[b]; j++) sum += p[j] = exp(p[j] - most);
                for (int j = 0; j < s->lengths[b]; j++)
                    for (int64_t e = 0; e < w; e++)
                        s->want[i * n + h * w + e] += p[j] / sum * x[(first + j) * 3 * n + 2 * n + h * w + e];
            }
}

static sdpa_case open_case(int64_t width, uint64_t seed, bool full) {
    sdpa_case s = {.c = rt_check_open(RT_PRECISION_FP32, 1, NULL),
                   .lengths = all_lengths[full],
                   .width = width,
                   .hidden = HEADS * width};
    s.cuda = host_open(RT_PRECISION_BF16, &dims, seed);
    *fake_cudnn_settings() = (fake_cudnn){.workspace = 1024};
    int32_t cu[CAPACITY + 1] = {0};
    for (int b = 0; b < CAPACITY; b++) cu[b + 1] = cu[b] + (b < LENGTHS ? s.lengths[b] : 0);
    s.batch = (rt_batch){.n_tokens = cu[LENGTHS],
                         .bucket = (cu[LENGTHS] + 63) / 64 * 64 + 64,
                         .n_seqs = LENGTHS,
                         .capacity = CAPACITY,
                         .max_len = 300};
    const size_t rows = (size_t)s.batch.bucket;
    s.qkv = rt_check_normal(s.c, RT_BF16, rows * 3 * (size_t)s.hidden, 1, 1);
    s.d_cu = host_device(cu, sizeof cu), s.batch.cu_seqlens = s.d_cu;
    s.d_qkv = host_device(s.qkv, rows * 3 * (size_t)s.hidden * 2);
    s.d_out = host_device(NULL, rows * (size_t)s.hidden * 2);
    const rt_bf16 *q = s.d_qkv;
    s.a = (rt_attention_forward_args){.batch = NULL,
                                      .q = q,
                                      .k = q + s.hidden,
                                      .v = q + 2 * s.hidden,
                                      .q_stride = 3 * s.hidden,
                                      .k_stride = 3 * s.hidden,
                                      .v_stride = 3 * s.hidden,
                                      .out = s.d_out,
                                      .out_stride = s.hidden,
                                      .heads = HEADS,
                                      .head_dim = (int32_t)width,
                                      .scale = 1 / sqrtf((float)width)};
    reference(&s);
    return s;
}

static void close_case(sdpa_case *s) {
    host_wait(s->cuda, "at the end");
    rt_cuda_sdpa_close(s->cuda->sdpa);
    cudaFree(s->d_qkv), cudaFree(s->d_out), cudaFree(s->d_cu);
    host_close(s->cuda);
    rt_check_close(s->c);
}

/* Probabilities and results are both rounded to bf16. Rows beyond the tokens are zero, inputs as they were. */
static void check_result(sdpa_case *s, const char *what) {
    const size_t n = (size_t)(s->batch.n_tokens * s->hidden), all = (size_t)(s->batch.bucket * s->hidden);
    host_wait(s->cuda, what);
    rt_check_close_to(what, RT_BF16, s->d_out, s->want, n, rt_check_limit(RT_BF16, 300) + 2 * 0x1p-9);
    for (size_t i = n; i < all; i++)
        if (rt_check_get(RT_BF16, s->d_out, i) != 0) fail_msg("%s: row beyond the tokens", what);
    assert_memory_equal(s->d_qkv, s->qkv, (size_t)(s->batch.bucket * 3 * s->hidden) * 2);
}

static void forward(sdpa_case *s, const char *what) {
    host_wait(s->cuda, "before");
    memset(s->d_out, 0xFF, (size_t)(s->batch.bucket * s->hidden) * 2);
    s->a.batch = &s->batch;
    rt_check_ok(rt_cuda_attention_forward(&s->cuda->api, &s->a), what);
    check_result(s, what);
}

static void long_sequences_go_to_the_library(void **state) {
    (void)state;
    static const int64_t widths[] = {32, 64, 128};
    char text[160];
    for (int w = 0; w < 3; w++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            sdpa_case s = open_case(widths[w], seed, seed == 1 && w == 1);
            rt_cuda_sdpa_describe(s.cuda->sdpa, text, sizeof text);
            assert_string_equal(text, "cuDNN was not asked for");
            forward(&s, "five sequences");
            rt_cuda_sdpa_describe(s.cuda->sdpa, text, sizeof text);
            assert_string_equal(text, "cuDNN 9.19.0: 1 plans");
            s.batch.n_seqs = CAPACITY; /* as a captured step has it */
            forward(&s, "the capacity's sequences");
            assert_int_equal(fake_cudnn_settings()->executed, 2);
            assert_int_equal(fake_cudnn_settings()->plans, 1); /* of 32 places, of 512 tokens */
            close_case(&s);
        }
}

/* Each shape has a plan; of more than 16 the least recently used gives way and is made again. */
static void plans_are_kept_by_shape(void **state) {
    (void)state;
    sdpa_case s = open_case(64, 1, false);
    s.a.batch = &s.batch;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < (round ? 1 : 20); i++) {
            s.a.heads = 1 + i / 5 % 2, s.a.head_dim = i / 10 ? 32 : 64;
            s.batch.max_len = RT_CUDA_SDPA_LENGTH << i % 5;
            rt_check_ok(rt_cuda_attention_forward(&s.cuda->api, &s.a), "a shape");
            host_wait(s.cuda, "a shape");
            assert_int_equal(fake_cudnn_settings()->plans, round ? 21 : i + 1);
        }
    assert_int_equal(fake_cudnn_settings()->executed, 22);
    close_case(&s);
}

static void what_is_not_for_the_library_comes_to_ours(void **state) {
    (void)state;
    sdpa_case s = open_case(64, 1, false);
    s.a.batch = &s.batch;
    float lse[1];
    assert_true(rt_cuda_sdpa_may(s.cuda, &s.a));
#define NOT(change, back)                                                                                              \
    change;                                                                                                            \
    assert_false(rt_cuda_sdpa_may(s.cuda, &s.a));                                                                      \
    back;                                                                                                              \
    assert_true(rt_cuda_sdpa_may(s.cuda, &s.a))
    NOT(s.a.dropout.p = 0.1f, s.a.dropout.p = 0);
    NOT(s.a.queries = RT_ROWS_FIRST, s.a.queries = RT_ROWS_TOKENS);
    NOT(s.a.lse = lse, s.a.lse = NULL);
    NOT(s.a.head_dim = 48, s.a.head_dim = 64);
    NOT(s.cuda->api.act = RT_F32, s.cuda->api.act = RT_BF16);
    NOT(s.cuda->architecture = 75, s.cuda->architecture = 80);
    NOT(s.batch.max_len = RT_CUDA_SDPA_LENGTH - 1, s.batch.max_len = RT_CUDA_SDPA_LENGTH);
    NOT(s.batch.n_seqs = 0, s.batch.n_seqs = LENGTHS);
    NOT(s.a.q_stride += 4, s.a.q_stride -= 4);
    NOT(s.a.out = (char *)s.a.out + 8, s.a.out = (char *)s.a.out - 8);
    s.batch.max_len = 300;
    /* Too short for it: ours, with the same answer. */
    sdpa_case t = s;
    t.batch.n_seqs = 1, t.batch.max_len = 1, t.batch.n_tokens = 1;
    memset(t.d_out, 0xFF, (size_t)(t.batch.bucket * t.hidden) * 2);
    t.a.batch = &t.batch;
    rt_check_ok(rt_cuda_attention_forward(&t.cuda->api, &t.a), "one token");
    host_wait(s.cuda, "one token");
    assert_int_equal(fake_cudnn_settings()->executed, 0);
    assert_null(s.cuda->sdpa);
    close_case(&s);
}

static void *nothing(const char *name) {
    (void)name;
    return NULL;
}

static void what_the_library_lacks_is_done_by_ours(void **state) {
    (void)state;
    static const struct {
        fake_cudnn settings;
        const char *words;
        int executed, engine;
    } ways[] = {
        {{.knows_nothing = true}, "cuDNN 9.19.0: 0 plans", 0, 0},
        {{.first_is_random = true}, "cuDNN 9.19.0: 1 plans", 1, 1},
        {{.first_has_no_plan = true}, "cuDNN 9.19.0: 1 plans", 1, 1},
        {{.workspace = 1 << 28}, "cuDNN 9.19.0: 1 plans", 0, 0},
        {{.version = 91300}, "cuDNN is not used: version 91300 is older than 91500", 0, 0},
        {{.version = 0}, "cuDNN 9.19.0: 1 plans", 1, 0},
    };
    char text[160];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        sdpa_case s = open_case(32, 1, false);
        *fake_cudnn_settings() = ways[i].settings;
        forward(&s, ways[i].words);
        forward(&s, "again");
        rt_cuda_sdpa_describe(s.cuda->sdpa, text, sizeof text);
        if (strcmp(text, ways[i].words) != 0) fail_msg("'%s', not '%s'", text, ways[i].words);
        assert_int_equal(fake_cudnn_settings()->executed, 2 * ways[i].executed);
        assert_int_equal(fake_cudnn_settings()->engine, ways[i].engine);
        close_case(&s);
    }
    sdpa_case s = open_case(32, 1, false);
    rt_check_ok(rt_cuda_sdpa_open(s.cuda, nothing), "open");
    forward(&s, "no library");
    rt_cuda_sdpa_describe(s.cuda->sdpa, text, sizeof text);
    assert_string_equal(text, "cuDNN is not used: libcudnn.so.9 has no cudnnGetVersion");
    assert_int_equal(fake_cudnn_settings()->executed, 0);
    close_case(&s);
    rt_cuda_sdpa_close(NULL);
}

/* Whatever call fails: ours compute, or, once work may be on the stream, a sentence. Nothing is left behind. */
static void every_call_that_fails(void **state) {
    (void)state;
    int fell_back = 0, told = 0, other_engine = 0;
    for (uint64_t at = 1; at < 1000; at++) {
        sdpa_case s = open_case(32, 0, false);
        s.a.batch = &s.batch;
        rt_check_ok(rt_cuda_sdpa_open(s.cuda, NULL), "open"); /* its calls fail below */
        if (at < 6) {
            rt_cuda_sdpa_close(s.cuda->sdpa);
            s.cuda->sdpa = NULL;
        }
        const uint64_t nth = at < 6 ? at : at - 5, before = fake_fail_call(nth, cudaErrorUnknown);
        const rt_status status = rt_cuda_attention_forward(&s.cuda->api, &s.a);
        const bool reached = fake_fail_call(0, cudaSuccess) - before >= nth;
        if (status == RT_OK) {
            check_result(&s, "a failed call");
            fell_back += fake_cudnn_settings()->executed == 0;
            other_engine += fake_cudnn_settings()->engine;
        } else {
            told++;
            assert_int_equal(status, RT_EINTERNAL);
            assert_non_null(strchr(rt_error_get()->text, ' '));
            cudaGetLastError();
        }
        close_case(&s);
        if (!reached) break;
    }
    /* A handle and a device; eleven tensors, a node, a graph and a heuristic, each made, set and finished, leave it to
     * ours; an engine or its plan to the next engine; two launches and the pack are told. */
    if (fell_back < 80 || other_engine < 5 || told < 7)
        fail_msg("%d fell back, %d took another engine, %d were told", fell_back, other_engine, told);
}

/* --- what the fake notices ------------------------------------------------------------------------------------------
 */

static void noticed(const char *words) {
    const rt_status status = fake_check("planted");
    if (status == RT_OK || !strstr(rt_error_get()->text, words))
        fail_msg("not noticed: %s (%s)", words, status == RT_OK ? "nothing" : rt_error_get()->text);
}

static void planted_faults_are_noticed(void **state) {
    (void)state;
    rt_cuda_context *cuda = host_open(RT_PRECISION_BF16, &dims, 1);
    cudnnBackendDescriptor_t t, o;
    const int64_t four[] = {2, 1, 1, 1}, one = 1, sixteen = 16;
    const cudnnDataType_t type = CUDNN_DATA_INT32;
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &t);
    cudnnBackendFinalize(t);
    noticed("without attribute 901");
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 3, four);
    noticed("attribute 902: type 3, 3 elements");
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, four);
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_VOID_PTR, 4, four);
    noticed("attribute 903: type 6");
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, four);
    cudnnBackendSetAttribute(t, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &t);
    noticed("attribute 801 of a descriptor of type 17");
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one);
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &sixteen);
    rt_check_ok(fake_check("right"), "right");
    assert_int_equal(cudnnBackendFinalize(t), CUDNN_STATUS_SUCCESS);
    cudnnBackendSetAttribute(t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one);
    noticed("after the descriptor was finished");
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, &o);
    static const cudnnBackendAttributeName_t names[] = {
        CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,         CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,         CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,     CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC,
        CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC};
    for (int i = 0; i < 7; i++) cudnnBackendSetAttribute(o, names[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &t);
    cudnnBackendFinalize(o);
    noticed("does not go with the others");
    cudnnBackendExecute(NULL, o, t);
    noticed("a handle that is none");
    assert_int_equal(fake_leaks(NULL, 0) > 0, 1);
    cudnnBackendDestroyDescriptor(t), cudnnBackendDestroyDescriptor(o);
    host_close(cuda);
    /* Offsets that the device made wrong: a total that does not fit what is there. */
    sdpa_case s = open_case(32, 1, false);
    s.a.batch = &s.batch;
    ((int32_t *)s.d_cu)[2] += 4096;
    rt_cuda_attention_forward(&s.cuda->api, &s.a);
    cudaStreamSynchronize(s.cuda->launch.stream);
    noticed("offsets or lengths are wrong");
    close_case(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_sequences_go_to_the_library),
        cmocka_unit_test(plans_are_kept_by_shape),
        cmocka_unit_test(what_is_not_for_the_library_comes_to_ours),
        cmocka_unit_test(what_the_library_lacks_is_done_by_ours),
        cmocka_unit_test(every_call_that_fails),
        cmocka_unit_test(planted_faults_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
