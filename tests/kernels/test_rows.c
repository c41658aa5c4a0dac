/* The first row or the mean of the rows of a sequence, and the way back, against fp64. */
#include "op_case.h"

typedef rt_status (*forward_op)(rt_backend *, const rt_rows_forward_args *);
typedef rt_status (*backward_op)(rt_backend *, const rt_rows_backward_args *);

static const int lengths[] = {1, 2, 15, 16, 17, 48, 0, 127, 128, 512};
static const int widths[] = {8, 24, 64, 312, 768};

typedef struct {
    rt_check *c;
    rt_backend *be;
    rt_dtype act;
    rt_batch batch;
    size_t width, tokens;
} rows_case;

static rows_case open_case(rt_precision precision, int width, int threads) {
    rt_dims dims = {.max_tokens = 1024, .max_seqs = 10, .max_len = 512, .hidden = width, .heads = 1, .training = true};
    rows_case r = {.c = rt_check_open(precision, threads, &dims), .width = (size_t)width};
    r.be = rt_check_backend(r.c), r.act = r.be->act;
    r.batch = case_batch(r.c, lengths, COUNT(lengths), 10, 2);
    r.tokens = (size_t)r.batch.n_tokens;
    return r;
}

static void check_case(rt_precision precision, int width, bool mean) {
    rows_case r = open_case(precision, width, 2);
    size_t n = r.tokens * r.width, m = COUNT(lengths) * r.width;
    forward_op forward = mean ? r.be->mean_rows_forward : r.be->select_rows_forward;
    backward_op backward = mean ? r.be->mean_rows_backward : r.be->select_rows_backward;
    void *x = rt_check_normal(r.c, r.act, n, 1, 1), *dy = rt_check_normal(r.c, r.act, m, 2, 1);
    void *add = rt_check_normal(r.c, r.act, n, 3, 1), *y = rt_check_poison(r.c, r.act, m);
    void *dx = rt_check_poison(r.c, r.act, n), *dx_added = rt_check_poison(r.c, r.act, n);
    rt_check_ok(forward(r.be, &(rt_rows_forward_args){.batch = &r.batch, .x = x, .y = y, .hidden = width}), "forward");
    rt_rows_backward_args b = {.batch = &r.batch, .dy = dy, .dx = dx, .hidden = width};
    rt_check_ok(backward(r.be, &b), "backward");
    b.dx = dx_added, b.dx_add = add;
    rt_check_ok(backward(r.be, &b), "backward, added");
    b.dx = rt_check_copy(r.c, r.act, add, n), b.dx_add = b.dx;
    rt_check_ok(backward(r.be, &b), "backward, added in place");
    rt_check_guards(r.c, "rows");
    rt_check_same("in place", r.act, b.dx, dx_added, n);

    double *wy = rt_check_doubles(r.c, m), *wx = rt_check_doubles(r.c, n), *wa = rt_check_doubles(r.c, n);
    float *py = case_zeros(r.c, m), *px = case_zeros(r.c, n), *pa = case_zeros(r.c, n);
    for (size_t b0 = 0; b0 < COUNT(lengths); b0++)
        for (int t = r.batch.cu_seqlens[b0]; t < r.batch.cu_seqlens[b0 + 1]; t++)
            for (size_t i = 0; i < r.width; i++) {
                size_t at = (size_t)t * r.width + i, to = b0 * r.width + i;
                double value = rt_check_get(r.act, x, at), g = rt_check_get(r.act, dy, to);
                bool takes_part = mean || t == r.batch.cu_seqlens[b0];
                int divisor = mean ? lengths[b0] : 1;
                if (takes_part) wy[to] += value / divisor, py[to] += (float)value;
                if (takes_part && t == r.batch.cu_seqlens[b0 + 1] - 1) py[to] /= (float)divisor;
                wx[at] = takes_part ? g / divisor : 0, px[at] = takes_part ? (float)g / (float)divisor : 0;
                wa[at] = wx[at] + rt_check_get(r.act, add, at);
                pa[at] = px[at] + (float)rt_check_get(r.act, add, at);
            }
    case_check(r.c, "y", r.act, y, wy, py, m);
    case_check(r.c, "dx", r.act, dx, wx, px, n);
    case_check(r.c, "dx, added", r.act, dx_added, wa, pa, n);
    for (size_t i = 0; i < r.width; i++) assert_true(rt_check_get(r.act, y, 6 * r.width + i) == 0);
    rt_check_close(r.c);
}

static void agrees_with_fp64(void **state) {
    (void)state;
    for (size_t w = 0; w < COUNT(widths); w++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) {
            check_case(case_precisions[p], widths[w], false);
            check_case(case_precisions[p], widths[w], true);
        }
}

/* Selected rows are copies: no rounding may touch them. */
static void selects_exactly(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        rows_case r = open_case(case_precisions[p], 64, 2);
        size_t size = rt_dtype_size(r.act);
        char *x = rt_check_normal(r.c, r.act, r.tokens * 64, 1, 1), *y = rt_check_poison(r.c, r.act, 640);
        rt_rows_forward_args f = {.batch = &r.batch, .x = x, .y = y, .hidden = 64};
        rt_check_ok(r.be->select_rows_forward(r.be, &f), "select");
        for (size_t b = 0; b < COUNT(lengths); b++)
            if (lengths[b])
                rt_check_same("row", r.act, y + b * 64 * size, x + (size_t)r.batch.cu_seqlens[b] * 64 * size, 64);
        rt_check_close(r.c);
    }
}

static void is_deterministic(void **state) {
    (void)state;
    rows_case one = open_case(RT_PRECISION_BF16, 312, 1);
    void *x = rt_check_normal(one.c, one.act, one.tokens * 312, 1, 1), *y = rt_check_poison(one.c, one.act, 3120);
    rt_rows_forward_args f = {.batch = &one.batch, .x = x, .y = y, .hidden = 312};
    rt_check_ok(one.be->mean_rows_forward(one.be, &f), "mean");
    for (int threads = 2; threads < 6; threads++) {
        rows_case r = open_case(RT_PRECISION_BF16, 312, threads);
        f.y = rt_check_poison(r.c, r.act, 3120);
        rt_check_ok(r.be->mean_rows_forward(r.be, &f), "mean");
        rt_check_same("y", r.act, f.y, y, 3120);
        rt_check_close(r.c);
    }
    rt_check_close(one.c);
}

static void takes_an_empty_batch_and_refuses_wrong_shapes(void **state) {
    (void)state;
    rows_case r = open_case(RT_PRECISION_FP32, 8, 2);
    rt_batch empty = case_batch(r.c, lengths, 0, 10, 2), wrong = r.batch;
    char nothing[4] = {0};
    rt_rows_forward_args f = {.batch = &empty, .x = nothing, .y = nothing, .hidden = 8};
    rt_rows_backward_args b = {.batch = &empty, .dy = nothing, .dx = nothing, .hidden = 8};
    rt_check_ok(r.be->select_rows_forward(r.be, &f), "empty");
    rt_check_ok(r.be->mean_rows_forward(r.be, &f), "empty");
    rt_check_ok(r.be->select_rows_backward(r.be, &b), "empty");
    rt_check_ok(r.be->mean_rows_backward(r.be, &b), "empty");
    f.hidden = b.hidden = 12;
    rt_check_fails(RT_ESHAPE, r.be->select_rows_forward(r.be, &f), "width");
    rt_check_fails(RT_ESHAPE, r.be->mean_rows_forward(r.be, &f), "width");
    rt_check_fails(RT_ESHAPE, r.be->select_rows_backward(r.be, &b), "width");
    rt_check_fails(RT_ESHAPE, r.be->mean_rows_backward(r.be, &b), "width");
    wrong.n_tokens++;
    f.hidden = b.hidden = 8, f.batch = b.batch = &wrong;
    rt_check_fails(RT_ESHAPE, r.be->mean_rows_forward(r.be, &f), "tokens");
    rt_check_fails(RT_ESHAPE, r.be->mean_rows_backward(r.be, &b), "tokens");
    rt_check_close(r.c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(selects_exactly),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(takes_an_empty_batch_and_refuses_wrong_shapes),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
