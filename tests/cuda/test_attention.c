/* Attention's CUDA kernels in the emulator: the CPU op's own tests where they fit (heads of 32, 64, 128), and what is
 * the GPU's own: every tile size, both forms of backward, q, k and v as columns of one tensor, results beside the
 * CPU's. */
#include "emulated.h"
/* The op's own tests */
#include "../kernels/test_attention.c"
#include "../support/cuemu/cuemu.h"
#include "launch.h"
#undef main

/* max_len chooses the tile: 16, 32, 64 or 128 keys at once, or 64 at a time (128 channels: from 65 keys on). */
static const attention_case gpu_cases[] = {
    {"one token, 64", {1, 1}, 2, 3, 64, RT_ROWS_TOKENS, 0.1f},
    {"titles, 32", {11, 16, 1, 15, 2}, 5, 5, 32, RT_ROWS_TOKENS, 0.1f},
    {"titles, 64", {11, 16, 1, 15, 2}, 5, 6, 64, RT_ROWS_TOKENS, 0.3f},
    {"titles, 128", {9, 16, 1}, 3, 3, 128, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 32", {28, 32, 1, 17, 31, 16}, 6, 3, 32, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 64", {28, 32, 1, 17, 31, 16}, 6, 3, 64, RT_ROWS_TOKENS, 0},
    {"pairs, 64, dropout", {28, 32, 1, 17, 31, 16}, 6, 2, 64, RT_ROWS_TOKENS, 0.1f},
    {"pairs, 128", {28, 32, 1, 17}, 4, 3, 128, RT_ROWS_TOKENS, 0.1f},
    {"longer, 32", {50, 64, 3, 33}, 4, 2, 32, RT_ROWS_TOKENS, 0.1f},
    {"longer, 64", {63, 64, 1, 33, 48}, 5, 2, 64, RT_ROWS_TOKENS, 0.1f},
    {"longer, 128", {50, 64, 3, 33}, 4, 2, 128, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 32", {1, 2, 15, 16, 17, 48, 127, 128}, 8, 3, 32, RT_ROWS_TOKENS, 0.3f},
    {"mixed, 64", {1, 2, 15, 16, 17, 48, 127, 128, 11}, 9, 2, 64, RT_ROWS_TOKENS, 0},
    {"mixed, 64, dropout", {128, 1, 48, 17, 127, 2, 16, 15, 3}, 9, 2, 64, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 128", {17, 48, 1, 65, 128, 100}, 6, 2, 128, RT_ROWS_TOKENS, 0.1f},
    {"long, 32", {200, 3, 512}, 3, 1, 32, RT_ROWS_TOKENS, 0.1f},
    {"long, 64", {512, 3, 300}, 3, 1, 64, RT_ROWS_TOKENS, 0.1f},
    {"long, 64, no dropout", {1, 129, 192}, 3, 1, 64, RT_ROWS_TOKENS, 0},
    {"long, 128", {512, 1, 129}, 3, 1, 128, RT_ROWS_TOKENS, 0.1f},
    {"first, 32", {512, 1, 2, 15, 16, 17, 48, 127, 128}, 9, 4, 32, RT_ROWS_FIRST, 0.1f},
    {"first, 64", {1, 2, 15, 16, 17, 48, 127, 128, 512}, 9, 2, 64, RT_ROWS_FIRST, 0},
    {"first, 64, dropout", {3, 0, 28, 512, 9}, 5, 3, 64, RT_ROWS_FIRST, 0.1f},
    {"first, 128", {40, 1, 0, 300}, 4, 3, 128, RT_ROWS_FIRST, 0.2f},
};

static void gpu_agrees_with_fp64(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(gpu_cases); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) {
            print_message("%s, %s\n", gpu_cases[i].name, p ? "bf16" : "fp32");
            check_case(&gpu_cases[i], case_precisions[p]);
        }
}

/* fp32 beside the CPU's op: each is a sum of at most 512 products of probabilities that come from 64 more. */
static void results_equal_the_cpu(void **state) {
    (void)state;
    for (int queries = 0; queries < 2; queries++) {
        attention_case a = {"beside the CPU", {90, 1, 28, 140}, 4, 2, 64, (rt_rows)queries, 0.1f};
        rt_dims dims = dims_for(&a);
        rt_check *c = rt_check_open(RT_PRECISION_FP32, 4, &dims), *host = cpu_open(RT_PRECISION_FP32, &dims);
        attention_data gpu = make(c, &a, RT_F32, 1), cpu = make(host, &a, RT_F32, 1);
        run_both(c, &gpu, a.name);
        cpu.args.f.batch = &cpu.batch;
        rt_check_ok(cpu_backend(host)->attention_forward(cpu_backend(host), &cpu.args.f), "attention_forward");
        rt_check_ok(cpu_backend(host)->attention_backward(cpu_backend(host), &cpu.args), "attention_backward");
        const void *mine[] = {gpu.args.f.out, gpu.args.dq, gpu.args.dk, gpu.args.dv};
        const void *other[] = {cpu.args.f.out, cpu.args.dq, cpu.args.dk, cpu.args.dv};
        for (int i = 0; i < 4; i++) {
            const size_t rows = i < 2 ? gpu.rows : gpu.tokens, n = rows * gpu.width;
            const double *want =
                rt_check_widen(c, RT_F32, case_gather(c, RT_F32, other[i], rows, gpu.width, gpu.stride), n);
            rt_check_close_to("tensor", RT_F32, case_gather(c, RT_F32, mine[i], rows, gpu.width, gpu.stride), want, n,
                              rt_check_limit(RT_F32, 512 + 64));
        }
        cpu_close(host);
        rt_check_close(c);
    }
}

/* NaN in one query stays in its row and head; in one value it reaches its sequence and channel alone: what is beyond a
 * sequence, and zero, is multiplied with nobody's infinity. */
static void gpu_shows_nan(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        attention_case a = {"nan", {17, 5}, 2, 2, 32, RT_ROWS_TOKENS, 0};
        rt_dims dims = dims_for(&a);
        rt_check *c = rt_check_open(case_precisions[p], 2, &dims);
        rt_backend *be = rt_check_backend(c);
        attention_data d = make(c, &a, be->act, 1);
        d.args.f.batch = &d.batch;
        const double nan = NAN, infinity = INFINITY;
        rt_check_round(be->act, (char *)d.args.f.q + (3 * d.stride + 32 + 4) * rt_dtype_size(be->act), &nan, 1);
        rt_check_round(be->act, (char *)d.args.f.v + (20 * d.stride + 5) * rt_dtype_size(be->act), &infinity, 1);
        rt_check_ok(be->attention_forward(be, &d.args.f), "attention_forward");
        for (size_t r = 0; r < d.rows; r++)
            for (size_t i = 0; i < d.width; i++) {
                bool bad = (r == 3 && i >= 32) || (r >= 17 && i == 5);
                assert_int_equal(bad, !isfinite(rt_check_get(be->act, d.args.f.out, r * d.stride + i)));
            }
        rt_check_close(c);
    }
}

/* The first query of a sequence is the same sum in another order: both within the rule of fp64's result, so no further
 * apart than two of its limits. */
static void gpu_first_is_a_row_of_tokens(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        attention_case a = {"first", {3, 48, 1, 130, 17}, 5, 3, 32, RT_ROWS_TOKENS, 0.1f};
        rt_dims dims = dims_for(&a);
        rt_check *c = rt_check_open(case_precisions[p], 2, &dims);
        rt_backend *be = rt_check_backend(c);
        const size_t size = rt_dtype_size(be->act);
        attention_data d = make(c, &a, be->act, 1);
        run_both(c, &d, a.name);
        rt_attention_forward_args f = d.args.f;
        char *q = rt_check_poison(c, be->act, 5 * d.stride), *rows = rt_check_poison(c, be->act, 5 * d.width);
        for (int b = 0; b < 5; b++) {
            const size_t from = (size_t)d.batch.cu_seqlens[b] * d.stride * size;
            memcpy(q + (size_t)b * d.stride * size, (const char *)f.q + from, d.width * size);
            memcpy(rows + (size_t)b * d.width * size, (const char *)d.args.f.out + from, d.width * size);
        }
        f.q = q, f.queries = RT_ROWS_FIRST, f.out = rt_check_poison(c, be->act, 5 * d.stride);
        f.lse = rt_check_poison(c, RT_F32, 15);
        rt_check_ok(be->attention_forward(be, &f), "attention_forward");
        rt_check_close_to("out", be->act, case_gather(c, be->act, f.out, 5, d.width, d.stride),
                          rt_check_widen(c, be->act, rows, 5 * d.width), 5 * d.width, 2 * rt_check_limit(be->act, 130));
        for (int i = 0; i < 15; i++)
            assert_true(fabsf(f.lse[i] - d.args.f.lse[(size_t)(i / 5) * d.rows + (size_t)d.batch.cu_seqlens[i % 5]]) <
                        1e-5f);
        rt_check_close(c);
    }
}

/* No row at all, with room for some: rows beyond are looked at by the emulated backend. */
static void gpu_takes_an_empty_batch(void **state) {
    (void)state;
    for (int queries = 0; queries < 2; queries++)
        for (size_t p = 0; p < COUNT(case_precisions); p++)
            for (int seed = 1; seed < 3; seed++) {
                attention_case a = {"empty", {0}, 0, 2, 64, (rt_rows)queries, 0.1f};
                rt_dims dims = dims_for(&a);
                dims.max_len = 4;
                rt_check *c = rt_check_open(case_precisions[p], seed, &dims);
                attention_data d = make(c, &a, rt_check_backend(c)->act, 1);
                run_both(c, &d, a.name);
                rt_check_close(c);
            }
}

/* q, k and v as columns of one tensor, and their gradients too, as the model has them; twenty orders, one result. */
static void takes_columns_of_one_tensor(void **state) {
    (void)state;
    enum { HEADS = 2, DIM = 64, WIDTH = HEADS * DIM, ROWS = 28 + 9 + 70 };
    for (int longest = 0; longest < 2; longest++) {
        static const int sizes[2][4] = {{28, 9, 28, 5}, {28, 9, 70, 0}};
        rt_check *c = rt_check_open(RT_PRECISION_BF16, 1, NULL);
        rt_batch batch = case_batch(c, sizes[longest], longest ? 3 : 4, 50, 2);
        const size_t rows = (size_t)batch.n_tokens, n = rows * 3 * WIDTH;
        rt_bf16 *qkv = rt_check_normal(c, RT_BF16, n, 1, 1), *dout = rt_check_normal(c, RT_BF16, rows * WIDTH, 2, 1);
        rt_bf16 *device[4]; /* qkv, its gradient, out, dout */
        const size_t room = (size_t)batch.bucket;
        for (int i = 0; i < 4; i++) device[i] = cuemu_alloc(room * (i < 2 ? 3 : 1) * WIDTH * 2);
        memcpy(device[0], qkv, n * 2), memcpy(device[3], dout, rows * WIDTH * 2);
        float *lse = cuemu_alloc(room * HEADS * 4);
        rt_dropout drop = case_dropout(c, 0.1f, 8 * 2 + RT_SITE_ATTENTION_PROBS);
        rt_attention_backward_args a = {.f = {.batch = &batch,
                                              .q = device[0],
                                              .k = device[0] + WIDTH,
                                              .v = device[0] + 2 * WIDTH,
                                              .q_stride = 3 * WIDTH,
                                              .k_stride = 3 * WIDTH,
                                              .v_stride = 3 * WIDTH,
                                              .out = device[2],
                                              .out_stride = WIDTH,
                                              .lse = lse,
                                              .heads = HEADS,
                                              .head_dim = DIM,
                                              .scale = 0.125f,
                                              .dropout = drop},
                                        .dout = device[3],
                                        .dq = device[1],
                                        .dk = device[1] + WIDTH,
                                        .dv = device[1] + 2 * WIDTH,
                                        .dq_stride = 3 * WIDTH,
                                        .dk_stride = 3 * WIDTH,
                                        .dv_stride = 3 * WIDTH};
        rt_cuda_launch l = {.act = RT_BF16, .processors = 1};
        rt_bf16 *first = rt_check_poison(c, RT_BF16, room * 3 * WIDTH);
        for (unsigned seed = 0; seed < 20; seed++) {
            cuemu_seed(seed);
            memset(device[1], 0xFF, room * 3 * WIDTH * 2);
            rt_check_ok(rt_cuda_attention_forward_launch(&l, &a.f), "attention_forward");
            rt_check_ok(rt_cuda_attention_backward_launch(&l, &a), "attention_backward");
            rt_check_ok(cuemu_check_guards("attention"), "guards");
            if (seed == 0) memcpy(first, device[1], room * 3 * WIDTH * 2);
            rt_check_same("gradients", RT_BF16, device[1], first, room * 3 * WIDTH);
        }
        double *want[3];
        float *plain[3], *parts[3];
        for (int i = 0; i < 3; i++) {
            want[i] = rt_check_doubles(c, rows * WIDTH), plain[i] = case_zeros(c, rows * WIDTH);
            parts[i] =
                case_floats(c, RT_BF16, case_gather(c, RT_BF16, qkv + i * WIDTH, rows, WIDTH, 3 * WIDTH), rows * WIDTH);
        }
        const float *doutf = case_floats(c, RT_BF16, dout, rows * WIDTH);
        const float *outf = case_floats(c, RT_BF16, device[2], rows * WIDTH);
        float *dense = rt_check_poison(c, RT_F32, rows * HEADS);
        for (size_t h = 0; h < HEADS; h++) memcpy(dense + h * rows, lse + h * room, rows * 4);
        exact_attention_gradient(&batch, RT_ROWS_TOKENS, HEADS, DIM, 0.125f, &drop, parts[0], parts[1], parts[2], doutf,
                                 NULL, NULL, want[0], want[1], want[2]);
        plain_attention_gradient(&batch, RT_ROWS_TOKENS, HEADS, DIM, 0.125f, &drop, parts[0], parts[1], parts[2], doutf,
                                 outf, dense, plain[0], plain[1], plain[2]);
        for (int i = 0; i < 3; i++)
            case_check(c,
                       i == 0   ? "dq"
                       : i == 1 ? "dk"
                                : "dv",
                       RT_BF16, case_gather(c, RT_BF16, device[1] + i * WIDTH, rows, WIDTH, 3 * WIDTH), want[i],
                       plain[i], rows * WIDTH);
        for (int i = 0; i < 4; i++) cuemu_free(device[i]);
        cuemu_free(lse);
        rt_check_close(c);
    }
}

/* A refused launch reads no memory, so the host's will do. */
static void gpu_refuses_wrong_shapes(void **state) {
    (void)state;
    attention_case a = {"shapes", {48, 5}, 2, 2, 32, RT_ROWS_TOKENS, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_BF16, 2, &dims);
    attention_data d = make(c, &a, RT_BF16, 1);
    d.args.f.batch = &d.batch;
    rt_cuda_launch l = {.act = RT_BF16, .processors = 1};
    rt_batch wrong[4] = {d.batch, d.batch, d.batch, d.batch};
    wrong[0].max_len = 513, wrong[1].max_len = 0, wrong[2].bucket = 8, wrong[3].n_seqs = wrong[3].capacity = 1 << 30;
#define GPU_REFUSES(change)                                                                                            \
    do {                                                                                                               \
        rt_attention_backward_args x = d.args;                                                                         \
        change;                                                                                                        \
        rt_check_fails(RT_ESHAPE, rt_cuda_attention_backward_launch(&l, &x), #change);                                 \
        rt_check_fails(RT_ESHAPE, rt_cuda_attention_forward_launch(&l, &x.f), #change);                                \
    } while (0)
#define GPU_REFUSES_BACKWARD(change)                                                                                   \
    do {                                                                                                               \
        rt_attention_backward_args x = d.args;                                                                         \
        change;                                                                                                        \
        rt_check_fails(RT_ESHAPE, rt_cuda_attention_backward_launch(&l, &x), #change);                                 \
    } while (0)
    GPU_REFUSES(x.f.head_dim = 16);
    GPU_REFUSES(x.f.head_dim = 48);
    GPU_REFUSES(x.f.head_dim = 0);
    GPU_REFUSES(x.f.heads = 0);
    GPU_REFUSES(x.f.heads = 300);
    GPU_REFUSES(x.f.q_stride = 63);
    GPU_REFUSES(x.f.k_stride = 76);
    GPU_REFUSES(x.f.v_stride = 0);
    GPU_REFUSES(x.f.out_stride = 56);
    GPU_REFUSES(x.f.scale = NAN);
    GPU_REFUSES(x.f.scale = 0);
    GPU_REFUSES(x.f.queries = (rt_rows)2);
    GPU_REFUSES(x.f.dropout.p = 1);
    GPU_REFUSES(x.f.dropout.p = NAN);
    GPU_REFUSES(x.f.dropout.state = NULL);
    for (int i = 0; i < 4; i++) GPU_REFUSES(x.f.batch = &wrong[i]);
    GPU_REFUSES(x.f.k = (const char *)x.f.k + 8);
    GPU_REFUSES(x.f.out = (char *)x.f.out + 2);
    GPU_REFUSES_BACKWARD(x.dk_stride = 8);
    GPU_REFUSES_BACKWARD(x.dq_stride = 76);
    GPU_REFUSES_BACKWARD(x.f.lse = NULL);
    GPU_REFUSES_BACKWARD(x.dq = (char *)x.dq + 2);
    GPU_REFUSES_BACKWARD(x.dout = (const char *)x.dout + 4);
    rt_check_untouched("out", d.args.f.out, d.rows * d.stride * 2);
    rt_check_untouched("dk", d.args.dk, d.tokens * d.stride * 2);
    rt_check_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpu_agrees_with_fp64),
        cmocka_unit_test(survives_large_scores),
        cmocka_unit_test(gpu_shows_nan),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(gpu_first_is_a_row_of_tokens),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(gpu_takes_an_empty_batch),
        cmocka_unit_test(needs_no_lse_in_evaluation),
        cmocka_unit_test(results_equal_the_cpu),
        cmocka_unit_test(takes_columns_of_one_tensor),
        cmocka_unit_test(gpu_refuses_wrong_shapes),
    };
    return emulated_main(tests, COUNT(tests));
}
