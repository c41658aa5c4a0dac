/* Attention against fp64, for packed sequences of every kind of length, both kinds of queries, with and without
 * dropout; its gradients also against differences of its own forward pass. */
#include "op_case.h"

typedef struct {
    const char *name;
    int lengths[12], n_seqs, heads, dim;
    rt_rows queries;
    float p;
} attention_case;

/* One case's tensors. Rows of q, k, v, out and their gradients have 8 elements of poison after them. */
typedef struct {
    rt_batch batch;
    size_t rows, tokens, width, stride;
    void *q, *k, *v, *dout;          /* dense */
    float *qf, *kf, *vf, *doutf;     /* the same as floats */
    rt_attention_backward_args args; /* args.f: the forward's */
} attention_data;

static attention_data make(rt_check *c, const attention_case *a, rt_dtype act, double deviation) {
    attention_data d = {.batch = case_batch(c, a->lengths, a->n_seqs, 50, 2)};
    d.tokens = (size_t)d.batch.n_tokens;
    d.rows = a->queries == RT_ROWS_FIRST ? (size_t)a->n_seqs : d.tokens;
    d.width = (size_t)(a->heads * a->dim), d.stride = d.width + 8;
    d.q = rt_check_normal(c, act, d.rows * d.width, 1, deviation);
    d.k = rt_check_normal(c, act, d.tokens * d.width, 2, deviation);
    d.v = rt_check_normal(c, act, d.tokens * d.width, 3, 1);
    d.dout = rt_check_normal(c, act, d.rows * d.width, 4, 1);
    d.qf = case_floats(c, act, d.q, d.rows * d.width), d.kf = case_floats(c, act, d.k, d.tokens * d.width);
    d.vf = case_floats(c, act, d.v, d.tokens * d.width), d.doutf = case_floats(c, act, d.dout, d.rows * d.width);
    d.args.f = (rt_attention_forward_args){
        .queries = a->queries,
        .q = case_spread(c, act, d.q, d.rows, d.width, d.stride),
        .k = case_spread(c, act, d.k, d.tokens, d.width, d.stride),
        .v = case_spread(c, act, d.v, d.tokens, d.width, d.stride),
        .q_stride = (int64_t)d.stride,
        .k_stride = (int64_t)d.stride,
        .v_stride = (int64_t)d.stride,
        .out = rt_check_poison(c, act, d.rows * d.stride),
        .out_stride = (int64_t)d.stride,
        .lse = rt_check_poison(c, RT_F32, d.rows * (size_t)a->heads),
        .heads = a->heads,
        .head_dim = a->dim,
        .scale = 1.0f / sqrtf((float)a->dim),
        .dropout = case_dropout(c, a->p, 8 * 5 + RT_SITE_ATTENTION_PROBS),
    };
    d.args.dout = case_spread(c, act, d.dout, d.rows, d.width, d.stride);
    d.args.dq = rt_check_poison(c, act, d.rows * d.stride);
    d.args.dk = rt_check_poison(c, act, d.tokens * d.stride);
    d.args.dv = rt_check_poison(c, act, d.tokens * d.stride);
    d.args.dq_stride = d.args.dk_stride = d.args.dv_stride = (int64_t)d.stride;
    return d;
}

static rt_dims dims_for(const attention_case *a) {
    rt_dims dims = {.max_seqs = a->n_seqs, .hidden = a->heads * a->dim, .heads = a->heads, .training = true};
    for (int b = 0; b < a->n_seqs; b++) {
        dims.max_tokens += a->lengths[b];
        if (a->lengths[b] > dims.max_len) dims.max_len = a->lengths[b];
    }
    return dims;
}

static void run_both(rt_check *c, attention_data *d, const char *name) {
    rt_backend *be = rt_check_backend(c);
    d->args.f.batch = &d->batch;
    rt_check_ok(be->attention_forward(be, &d->args.f), name);
    rt_check_ok(be->attention_backward(be, &d->args), name);
    rt_check_guards(c, name);
}

static void check_gaps(const attention_data *d, rt_dtype act, const void *tensor, size_t rows, const char *what) {
    size_t size = rt_dtype_size(act);
    for (size_t r = 0; r < rows; r++)
        rt_check_untouched(what, (const char *)tensor + (r * d->stride + d->width) * size, 8 * size);
}

static void check_case(const attention_case *a, rt_precision precision) {
    rt_dims dims = dims_for(a);
    rt_check *c = rt_check_open(precision, 2, &dims);
    rt_dtype act = rt_check_backend(c)->act;
    attention_data d = make(c, a, act, 1);
    run_both(c, &d, a->name);
    const rt_attention_forward_args *f = &d.args.f;
    size_t nq = d.rows * d.width, nk = d.tokens * d.width, nl = d.rows * (size_t)a->heads;

    double *out = rt_check_doubles(c, nq), *lse = rt_check_doubles(c, nl);
    float *plain_out = case_zeros(c, nq), *plain_lse = case_zeros(c, nl);
    exact_attention(&d.batch, a->queries, a->heads, a->dim, f->scale, &f->dropout, d.qf, d.kf, d.vf, out, lse);
    plain_attention(&d.batch, a->queries, a->heads, a->dim, f->scale, &f->dropout, d.qf, d.kf, d.vf, plain_out,
                    plain_lse);
    void *got = case_gather(c, act, f->out, d.rows, d.width, d.stride);
    case_check(c, "out", act, got, out, plain_out, nq);
    case_check(c, "lse", RT_F32, f->lse, lse, plain_lse, nl);

    double *dq = rt_check_doubles(c, nq), *dk = rt_check_doubles(c, nk), *dv = rt_check_doubles(c, nk);
    float *pq = case_zeros(c, nq), *pk = case_zeros(c, nk), *pv = case_zeros(c, nk);
    exact_attention_gradient(&d.batch, a->queries, a->heads, a->dim, f->scale, &f->dropout, d.qf, d.kf, d.vf, d.doutf,
                             NULL, NULL, dq, dk, dv);
    plain_attention_gradient(&d.batch, a->queries, a->heads, a->dim, f->scale, &f->dropout, d.qf, d.kf, d.vf, d.doutf,
                             case_floats(c, act, got, nq), f->lse, pq, pk, pv);
    case_check(c, "dq", act, case_gather(c, act, d.args.dq, d.rows, d.width, d.stride), dq, pq, nq);
    case_check(c, "dk", act, case_gather(c, act, d.args.dk, d.tokens, d.width, d.stride), dk, pk, nk);
    case_check(c, "dv", act, case_gather(c, act, d.args.dv, d.tokens, d.width, d.stride), dv, pv, nk);
    check_gaps(&d, act, f->out, d.rows, "behind out");
    check_gaps(&d, act, d.args.dq, d.rows, "behind dq");
    check_gaps(&d, act, d.args.dk, d.tokens, "behind dk");
    check_gaps(&d, act, d.args.dv, d.tokens, "behind dv");
    rt_check_close(c);
}

static const attention_case cases[] = {
    {"one token", {2, 1}, 2, 1, 8, RT_ROWS_TOKENS, 0},
    {"mixed, 64", {1, 2, 15, 16, 17, 48, 127, 128, 11}, 9, 2, 64, RT_ROWS_TOKENS, 0},
    {"mixed, 64, dropout", {128, 1, 48, 17, 127, 2, 16, 15, 3}, 9, 2, 64, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 32, dropout", {1, 2, 15, 16, 17, 48, 127, 128}, 8, 3, 32, RT_ROWS_TOKENS, 0.3f},
    {"mixed, 8, dropout", {1, 2, 15, 16, 17, 48, 127, 128}, 8, 5, 8, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 24", {5, 2, 15, 33, 31, 64}, 6, 3, 24, RT_ROWS_TOKENS, 0.1f},
    {"mixed, 128, dropout", {17, 48, 1, 100}, 4, 2, 128, RT_ROWS_TOKENS, 0.1f},
    {"long", {512, 3, 300}, 3, 1, 64, RT_ROWS_TOKENS, 0.1f},
    {"first", {1, 2, 15, 16, 17, 48, 127, 128, 512}, 9, 2, 64, RT_ROWS_FIRST, 0},
    {"first, dropout", {512, 1, 2, 15, 16, 17, 48, 127, 128}, 9, 4, 32, RT_ROWS_FIRST, 0.1f},
    {"first, an empty sequence", {4, 0, 20}, 3, 2, 16, RT_ROWS_FIRST, 0.1f},
};

static void agrees_with_fp64(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) {
            print_message("%s, %s\n", cases[i].name, p ? "bf16" : "fp32");
            check_case(&cases[i], case_precisions[p]);
        }
}

/* Scores of +-10^4: exponentials of differences only. */
static void survives_large_scores(void **state) {
    (void)state;
    attention_case a = {"large scores", {48, 7, 1}, 3, 2, 32, RT_ROWS_TOKENS, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    attention_data d = make(c, &a, RT_F32, 60);
    run_both(c, &d, a.name);
    const rt_attention_forward_args *f = &d.args.f;
    size_t n = d.rows * d.width;
    double *out = rt_check_doubles(c, n), largest = 0;
    double *lse = rt_check_doubles(c, d.rows * 2);
    float *plain = case_zeros(c, n);
    exact_attention(&d.batch, a.queries, 2, 32, f->scale, &f->dropout, d.qf, d.kf, d.vf, out, lse);
    plain_attention(&d.batch, a.queries, 2, 32, f->scale, &f->dropout, d.qf, d.kf, d.vf, plain, NULL);
    for (size_t i = 0; i < d.rows * 2; i++) largest = fmax(largest, fabs(lse[i]));
    assert_true(largest > 5e3);
    case_check(c, "out", RT_F32, case_gather(c, RT_F32, f->out, d.rows, d.width, d.stride), out, plain, n);
    void *gradients[3] = {d.args.dq, d.args.dk, d.args.dv};
    for (int t = 0; t < 3; t++) { /* finite: against a reference of zeros the largest error is a number */
        void *dense = case_gather(c, RT_F32, gradients[t], d.tokens, d.width, d.stride);
        assert_true(rt_check_max_error(RT_F32, dense, rt_check_doubles(c, n), n) < 1e6);
    }
    rt_check_close(c);
}

/* NaN in one query stays in its row and head; in one value it reaches its sequence and channel alone. */
static void shows_nan(void **state) {
    (void)state;
    attention_case a = {"nan", {17, 5}, 2, 2, 16, RT_ROWS_TOKENS, 0};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    attention_data d = make(c, &a, RT_F32, 1);
    rt_backend *be = rt_check_backend(c);
    d.args.f.batch = &d.batch;
    ((float *)d.args.f.q)[3 * d.stride + 16 + 4] = NAN;  /* token 3, head 1 */
    ((float *)d.args.f.v)[20 * d.stride + 5] = INFINITY; /* sequence 1, head 0, channel 5 */
    rt_check_ok(be->attention_forward(be, &d.args.f), "attention_forward");
    for (size_t r = 0; r < d.rows; r++)
        for (size_t i = 0; i < d.width; i++) {
            bool bad = (r == 3 && i >= 16) || (r >= 17 && i == 5);
            assert_int_equal(bad, !isfinite(((float *)d.args.f.out)[r * d.stride + i]));
        }
    rt_check_close(c);
}

static double dot(const double *a, const void *b, rt_dtype dtype, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * rt_check_get(dtype, b, i);
    return sum;
}

/* L(x) = sum of dout x out along a random direction e: the central difference of L is the gradient's product with e, up
 * to h^2 (estimated by halving h: the difference of the two quotients is 3/4 of the first one's error) and up to the
 * rounding of L's terms, at most 2^-22 of each, divided by 2 h. */
static void differences_agree(void **state) {
    (void)state;
    for (int queries = 0; queries < 2; queries++) {
        attention_case a = {"differences", {9, 33, 1, 16}, 4, 2, 32, (rt_rows)queries, 0.2f};
        rt_dims dims = dims_for(&a);
        rt_check *c = rt_check_open(RT_PRECISION_FP32, 1, &dims);
        rt_backend *be = rt_check_backend(c);
        attention_data d = make(c, &a, RT_F32, 1);
        run_both(c, &d, a.name);
        rt_attention_forward_args f = d.args.f;
        const void *dense[3] = {d.q, d.k, d.v}, *gradients[3] = {d.args.dq, d.args.dk, d.args.dv};
        double *weight = rt_check_widen(c, RT_F32, d.dout, d.rows * d.width);
        for (int t = 0; t < 3; t++) {
            size_t rows = t == 0 ? d.rows : d.tokens, n = rows * d.width;
            double *e = rt_check_widen(c, RT_F32, rt_check_normal(c, RT_F32, n, 90 + (uint32_t)t, 1), n);
            double *x = rt_check_widen(c, RT_F32, dense[t], n), quotient[2], terms = 0;
            for (int half = 0; half < 2; half++) {
                double h = half ? 0.005 : 0.01, loss[2];
                for (int side = 0; side < 2; side++) {
                    float *moved = rt_check_poison(c, RT_F32, n);
                    for (size_t i = 0; i < n; i++) moved[i] = (float)(x[i] + (side ? h : -h) * e[i]);
                    const float *spread = case_spread(c, RT_F32, moved, rows, d.width, d.stride);
                    f.q = t == 0 ? spread : d.args.f.q, f.k = t == 1 ? spread : d.args.f.k;
                    f.v = t == 2 ? spread : d.args.f.v;
                    rt_check_ok(be->attention_forward(be, &f), "attention_forward");
                    const float *out = case_gather(c, RT_F32, f.out, d.rows, d.width, d.stride);
                    loss[side] = dot(weight, out, RT_F32, d.rows * d.width);
                    terms = 0;
                    for (size_t i = 0; i < d.rows * d.width; i++) terms += fabs(weight[i] * (double)out[i]);
                }
                quotient[half] = (loss[1] - loss[0]) / (2 * h);
            }
            double want = dot(e, case_gather(c, RT_F32, gradients[t], rows, d.width, d.stride), RT_F32, n);
            double limit = fabs(quotient[0] - quotient[1]) + 0x1p-22 * terms / 0.01;
            if (!(fabs(quotient[1] - want) <= limit) || !(limit < 0.1 * fabs(want) + 0.1))
                fail_msg("tensor %d: gradient %.6g, differences %.6g and %.6g, limit %.3g", t, want, quotient[0],
                         quotient[1], limit);
        }
        rt_check_close(c);
    }
}

/* The first query of a sequence is the same sum, whoever else is asked for. */
static void first_is_a_row_of_tokens(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        attention_case a = {"first", {3, 48, 1, 130, 17}, 5, 3, 32, RT_ROWS_TOKENS, 0.1f};
        rt_dims dims = dims_for(&a);
        rt_check *c = rt_check_open(case_precisions[p], 2, &dims);
        rt_backend *be = rt_check_backend(c);
        size_t size = rt_dtype_size(be->act);
        attention_data d = make(c, &a, be->act, 1);
        run_both(c, &d, a.name);
        rt_attention_forward_args f = d.args.f;
        char *q = rt_check_poison(c, be->act, 5 * d.stride);
        for (int b = 0; b < 5; b++)
            memcpy(q + (size_t)b * d.stride * size, (const char *)f.q + (size_t)d.batch.cu_seqlens[b] * d.stride * size,
                   d.width * size);
        f.q = q, f.queries = RT_ROWS_FIRST, f.out = rt_check_poison(c, be->act, 5 * d.stride);
        f.lse = rt_check_poison(c, RT_F32, 15);
        rt_check_ok(be->attention_forward(be, &f), "attention_forward");
        for (int b = 0; b < 5; b++) {
            size_t row = (size_t)d.batch.cu_seqlens[b];
            rt_check_same("out", be->act, (char *)f.out + (size_t)b * d.stride * size,
                          (char *)d.args.f.out + row * d.stride * size, d.width);
            for (int h = 0; h < 3; h++)
                rt_check_same("lse", RT_F32, f.lse + h * 5 + b, d.args.f.lse + (size_t)h * d.rows + row, 1);
        }
        rt_check_close(c);
    }
}

/* The same bytes again, on any number of threads. */
static void is_deterministic(void **state) {
    (void)state;
    attention_case a = {"deterministic", {100, 7, 48, 1, 17, 130}, 6, 2, 64, RT_ROWS_TOKENS, 0.1f};
    rt_dims dims = dims_for(&a);
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        rt_check *c = rt_check_open(case_precisions[p], 1, &dims);
        rt_dtype act = rt_check_backend(c)->act;
        attention_data one = make(c, &a, act, 1);
        run_both(c, &one, "1 thread");
        for (int threads = 1; threads <= 3; threads++) {
            rt_check *other = rt_check_open(case_precisions[p], threads, &dims);
            attention_data d = make(other, &a, act, 1);
            run_both(other, &d, "more threads");
            size_t n = d.tokens * d.stride;
            rt_check_same("out", act, d.args.f.out, one.args.f.out, n);
            rt_check_same("lse", RT_F32, d.args.f.lse, one.args.f.lse, d.rows * 2);
            rt_check_same("dq", act, d.args.dq, one.args.dq, n);
            rt_check_same("dk", act, d.args.dk, one.args.dk, n);
            rt_check_same("dv", act, d.args.dv, one.args.dv, n);
            rt_check_close(other);
        }
        rt_check_close(c);
    }
}

static void takes_an_empty_batch(void **state) {
    (void)state;
    attention_case a = {"empty", {0}, 0, 2, 16, RT_ROWS_TOKENS, 0.1f};
    rt_dims dims = dims_for(&a);
    dims.max_len = 4;
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    attention_data d = make(c, &a, RT_F32, 1);
    run_both(c, &d, a.name);
    rt_check_close(c);
}

/* In evaluation: no lse, a workspace that was asked for without training. */
static void needs_no_lse_in_evaluation(void **state) {
    (void)state;
    attention_case a = {"evaluation", {48, 5}, 2, 2, 32, RT_ROWS_TOKENS, 0};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    attention_data d = make(c, &a, RT_F32, 1);
    run_both(c, &d, a.name);
    dims.training = false;
    rt_check *eval = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_attention_forward_args f = d.args.f;
    f.lse = NULL, f.out = rt_check_poison(eval, RT_F32, d.rows * d.stride), f.dropout.state = NULL;
    rt_check_ok(rt_check_backend(eval)->attention_forward(rt_check_backend(eval), &f), "attention_forward");
    rt_check_same("out", RT_F32, f.out, d.args.f.out, d.rows * d.stride);
    rt_check_close(eval);
    rt_check_close(c);
}

static void refuses_wrong_shapes(void **state) {
    (void)state;
    attention_case a = {"shapes", {48, 5}, 2, 2, 32, RT_ROWS_TOKENS, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    attention_data d = make(c, &a, RT_F32, 1);
    d.args.f.batch = &d.batch;
    int32_t backwards[3] = {0, 60, 53}, beyond[3] = {0, 48, 54};
    rt_batch wrong[2] = {d.batch, d.batch};
    wrong[0].cu_seqlens = backwards, wrong[1].cu_seqlens = beyond;
#define REFUSES(change)                                                                                                \
    do {                                                                                                               \
        rt_attention_backward_args x = d.args;                                                                         \
        change;                                                                                                        \
        rt_check_fails(RT_ESHAPE, be->attention_backward(be, &x), #change);                                            \
        rt_check_fails(RT_ESHAPE, be->attention_forward(be, &x.f), #change);                                           \
    } while (0)
    REFUSES(x.f.head_dim = 12);
    REFUSES(x.f.head_dim = 0);
    REFUSES(x.f.heads = 0);
    REFUSES(x.f.heads = 300);
    REFUSES(x.f.q_stride = 63);
    REFUSES(x.f.out_stride = 63);
    REFUSES(x.f.scale = NAN);
    REFUSES(x.f.dropout.p = 1);
    REFUSES(x.f.dropout.p = NAN);
    REFUSES(x.f.dropout.state = NULL);
    REFUSES(x.f.batch = &wrong[0]);
    REFUSES(x.f.batch = &wrong[1]);
    rt_attention_backward_args x = d.args;
    x.dk_stride = 8;
    rt_check_fails(RT_ESHAPE, be->attention_backward(be, &x), "dk_stride");
    x = d.args, x.f.lse = NULL;
    rt_check_fails(RT_ESHAPE, be->attention_backward(be, &x), "lse");
    rt_check_untouched("out", d.args.f.out, d.rows * d.stride * 4);
    rt_check_untouched("dk", d.args.dk, d.tokens * d.stride * 4);
    rt_check_close(c);
    dims.max_len = 4; /* a workspace for shorter sequences */
    c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    be = rt_check_backend(c);
    attention_case longer = {"longer", {512}, 1, 2, 32, RT_ROWS_TOKENS, 0};
    d = make(c, &longer, RT_F32, 1);
    d.args.f.batch = &d.batch;
    rt_check_fails(RT_ESHAPE, be->attention_forward(be, &d.args.f), "workspace");
    rt_check_close(c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(survives_large_scores),
        cmocka_unit_test(shows_nan),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(first_is_a_row_of_tokens),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(takes_an_empty_batch),
        cmocka_unit_test(needs_no_lse_in_evaluation),
        cmocka_unit_test(refuses_wrong_shapes),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
