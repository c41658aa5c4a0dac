/* residual + dropout(x + bias), LayerNorm, and their gradients against fp64. */
#include "op_case.h"

typedef struct {
    const char *name;
    int lengths[12], n_seqs, hidden;
    rt_rows rows;
    float p;
    bool bias;
} norm_case;

static const norm_case cases[] = {
    {"narrow", {1, 2, 15}, 3, 8, RT_ROWS_TOKENS, 0, true},
    {"narrow, dropout", {1, 2, 15}, 3, 8, RT_ROWS_TOKENS, 0.3f, false},
    {"24 wide", {17, 1, 40}, 3, 24, RT_ROWS_TOKENS, 0.1f, true},
    {"384 wide", {1, 2, 15, 16, 17, 48}, 6, 384, RT_ROWS_TOKENS, 0.1f, true},
    {"768 wide", {48, 1, 127, 128}, 4, 768, RT_ROWS_TOKENS, 0.1f, true},
    {"many blocks", {512, 512, 512, 512, 300}, 5, 32, RT_ROWS_TOKENS, 0.1f, true},
    {"first", {5, 1, 48, 2}, 4, 312, RT_ROWS_FIRST, 0.1f, true},
};

static rt_dims dims_for(const norm_case *a) {
    return (rt_dims){
        .max_tokens = 4096, .max_seqs = a->n_seqs, .max_len = 512, .hidden = a->hidden, .heads = 1, .training = true};
}

typedef struct {
    rt_batch batch;
    size_t rows, n; /* rows, and elements of an activation */
    void *x, *residual, *dy;
    float *bias, *gamma, *beta;
    rt_residual_norm_forward_args f;
    rt_residual_norm_backward_args b;
} norm_data;

/* Means far from 0 beside the deviation, so that a one-pass variance would show. */
static norm_data make(rt_check *c, const norm_case *a, rt_dtype act) {
    norm_data d = {.batch = case_batch(c, a->lengths, a->n_seqs, 40, 2)};
    size_t width = (size_t)a->hidden;
    d.rows = (size_t)(a->rows == RT_ROWS_FIRST ? d.batch.n_seqs : d.batch.n_tokens);
    d.n = d.rows * width;
    d.x = rt_check_normal(c, act, d.n, 1, 1);
    double *shifted = rt_check_widen(c, act, rt_check_normal(c, act, d.n, 2, 1), d.n);
    for (size_t i = 0; i < d.n; i++) shifted[i] += 20;
    d.residual = rt_check_poison(c, act, d.n);
    rt_check_round(act, d.residual, shifted, d.n);
    d.dy = rt_check_normal(c, act, d.n, 3, 1);
    d.bias = rt_check_normal(c, RT_F32, width, 4, 0.5);
    d.gamma = rt_check_normal(c, RT_F32, width, 5, 1), d.beta = rt_check_normal(c, RT_F32, width, 6, 1);
    d.f = (rt_residual_norm_forward_args){.rows = a->rows,
                                          .x = rt_check_copy(c, act, d.x, d.n),
                                          .bias = a->bias ? d.bias : NULL,
                                          .residual = d.residual,
                                          .gamma = d.gamma,
                                          .beta = d.beta,
                                          .eps = 1e-12f,
                                          .dropout = case_dropout(c, a->p, 8 * 3 + RT_SITE_FEED_FORWARD),
                                          .y = rt_check_poison(c, act, d.n),
                                          .mean = rt_check_poison(c, RT_F32, d.rows),
                                          .rstd = rt_check_poison(c, RT_F32, d.rows),
                                          .hidden = a->hidden};
    d.b = (rt_residual_norm_backward_args){.rows = a->rows,
                                           .z = d.f.x,
                                           .mean = d.f.mean,
                                           .rstd = d.f.rstd,
                                           .gamma = d.gamma,
                                           .dropout = d.f.dropout,
                                           .dy = d.dy,
                                           .dresidual = rt_check_poison(c, act, d.n),
                                           .dx = rt_check_poison(c, act, d.n),
                                           .dbias = rt_check_poison(c, RT_F32, width),
                                           .dgamma = rt_check_poison(c, RT_F32, width),
                                           .dbeta = rt_check_poison(c, RT_F32, width),
                                           .hidden = a->hidden};
    return d;
}

static void run_both(rt_check *c, norm_data *d, const char *what) {
    rt_backend *be = rt_check_backend(c);
    d->f.batch = d->b.batch = &d->batch;
    rt_check_ok(be->residual_norm_forward(be, &d->f), what);
    rt_check_ok(be->residual_norm_backward(be, &d->b), what);
    rt_check_guards(c, what);
}

static void check_case(const norm_case *a, rt_precision precision) {
    rt_dims dims = dims_for(a);
    rt_check *c = rt_check_open(precision, 2, &dims);
    rt_dtype act = rt_check_backend(c)->act;
    norm_data d = make(c, a, act);
    run_both(c, &d, a->name);
    const float *x = case_floats(c, act, d.x, d.n), *residual = case_floats(c, act, d.residual, d.n);
    double *z = rt_check_doubles(c, d.n), *y = rt_check_doubles(c, d.n);
    double *mean = rt_check_doubles(c, d.rows), *rstd = rt_check_doubles(c, d.rows);
    float *pz = case_zeros(c, d.n), *py = case_zeros(c, d.n), *pm = case_zeros(c, d.rows), *pr = case_zeros(c, d.rows);
    exact_residual_norm(&d.batch, a->rows, x, d.f.bias, residual, d.gamma, d.beta, 1e-12f, &d.f.dropout, a->hidden, z,
                        y, mean, rstd);
    plain_residual_norm(&d.batch, a->rows, x, d.f.bias, residual, d.gamma, d.beta, 1e-12f, &d.f.dropout, a->hidden, pz,
                        py, pm, pr);
    case_check(c, "z", act, d.f.x, z, pz, d.n);
    case_check(c, "y", act, d.f.y, y, py, d.n);
    case_check(c, "mean", RT_F32, d.f.mean, mean, pm, d.rows);
    case_check(c, "rstd", RT_F32, d.f.rstd, rstd, pr, d.rows);

    size_t width = (size_t)a->hidden;
    const float *saved = case_floats(c, act, d.f.x, d.n), *dy = case_floats(c, act, d.dy, d.n);
    double *dr = rt_check_doubles(c, d.n), *dx = rt_check_doubles(c, d.n), *sums = rt_check_doubles(c, 3 * width);
    float *pdr = case_zeros(c, d.n), *pdx = case_zeros(c, d.n), *psums = case_zeros(c, 3 * width);
    exact_residual_norm_gradient(&d.batch, a->rows, saved, d.f.mean, d.f.rstd, d.gamma, &d.f.dropout, dy, a->hidden, dr,
                                 dx, sums, sums + width, sums + 2 * width);
    plain_residual_norm_gradient(&d.batch, a->rows, saved, d.f.mean, d.f.rstd, d.gamma, &d.f.dropout, dy, a->hidden,
                                 pdr, pdx, psums, psums + width, psums + 2 * width);
    case_check(c, "dresidual", act, d.b.dresidual, dr, pdr, d.n);
    case_check(c, "dx", act, d.b.dx, dx, pdx, d.n);
    float *got[3] = {d.b.dbias, d.b.dgamma, d.b.dbeta};
    const char *names[3] = {"dbias", "dgamma", "dbeta"};
    for (size_t i = 0; i < 3; i++) case_check(c, names[i], RT_F32, got[i], sums + i * width, psums + i * width, width);

    /* Again, added: twice the sums. dy may be dresidual. */
    rt_residual_norm_backward_args again = d.b;
    again.accumulate = 1, again.dresidual = rt_check_copy(c, act, d.dy, d.n), again.dy = again.dresidual;
    again.dx = rt_check_poison(c, act, d.n);
    rt_check_ok(rt_check_backend(c)->residual_norm_backward(rt_check_backend(c), &again), "accumulate");
    rt_check_same("dresidual over dy", act, again.dresidual, d.b.dresidual, d.n);
    rt_check_same("dx", act, again.dx, d.b.dx, d.n);
    for (size_t i = 0; i < 3 * width; i++) sums[i] *= 2, psums[i] *= 2;
    for (size_t i = 0; i < 3; i++) case_check(c, names[i], RT_F32, got[i], sums + i * width, psums + i * width, width);

    /* Without the parameters' gradients, and with y over the residual. */
    rt_residual_norm_backward_args bare = again;
    bare.dbias = bare.dgamma = bare.dbeta = NULL, bare.dresidual = rt_check_poison(c, act, d.n), bare.dy = d.dy;
    rt_check_ok(rt_check_backend(c)->residual_norm_backward(rt_check_backend(c), &bare), "no parameters");
    rt_check_same("dresidual alone", act, bare.dresidual, d.b.dresidual, d.n);
    rt_residual_norm_forward_args over = d.f;
    over.x = rt_check_copy(c, act, d.x, d.n), over.y = rt_check_copy(c, act, d.residual, d.n), over.residual = over.y;
    rt_check_ok(rt_check_backend(c)->residual_norm_forward(rt_check_backend(c), &over), "y over residual");
    rt_check_same("y over residual", act, over.y, d.f.y, d.n);
    rt_check_close(c);
}

static void agrees_with_fp64(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t p = 0; p < COUNT(case_precisions); p++) {
            print_message("%s, %s\n", cases[i].name, p ? "bf16" : "fp32");
            check_case(&cases[i], case_precisions[p]);
        }
}

/* Central differences of L = sum of dy x y along a random direction of x, bias, residual and of the parameters. The
 * limit: h^2 as halving h shows it, and the rounding of L's terms over h (see test_attention.c). */
static void differences_agree(void **state) {
    (void)state;
    norm_case a = {"differences", {9, 1, 16}, 3, 64, RT_ROWS_TOKENS, 0.2f, true};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    norm_data d = make(c, &a, RT_F32);
    for (size_t i = 0; i < d.n; i++) ((float *)d.residual)[i] -= 20; /* the shift would only cost digits here */
    run_both(c, &d, a.name);
    const float *points[5] = {d.x, d.bias, d.residual, d.gamma, d.beta};
    const float *gradients[5] = {d.b.dx, d.b.dbias, d.b.dresidual, d.b.dgamma, d.b.dbeta};
    size_t sizes[5] = {d.n, 64, d.n, 64, 64};
    for (int t = 0; t < 5; t++) {
        const float *e = rt_check_normal(c, RT_F32, sizes[t], 50 + (uint32_t)t, 1);
        double quotient[2], terms = 0, want = 0;
        for (size_t i = 0; i < sizes[t]; i++) want += (double)gradients[t][i] * (double)e[i];
        for (int half = 0; half < 2; half++) {
            double h = half ? 0.005 : 0.01, loss[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                float *moved = rt_check_poison(c, RT_F32, sizes[t]);
                for (size_t i = 0; i < sizes[t]; i++)
                    moved[i] = (float)((double)points[t][i] + (side ? h : -h) * (double)e[i]);
                rt_residual_norm_forward_args f = d.f;
                f.x = rt_check_copy(c, RT_F32, t == 0 ? moved : d.x, d.n);
                f.bias = t == 1 ? moved : d.bias, f.residual = t == 2 ? moved : d.residual;
                f.gamma = t == 3 ? moved : d.gamma, f.beta = t == 4 ? moved : d.beta;
                f.y = rt_check_poison(c, RT_F32, d.n);
                rt_check_ok(be->residual_norm_forward(be, &f), "forward");
                terms = 0;
                for (size_t i = 0; i < d.n; i++) {
                    double term = (double)((float *)f.y)[i] * (double)((float *)d.dy)[i];
                    loss[side] += term, terms += fabs(term);
                }
            }
            quotient[half] = (loss[1] - loss[0]) / (2 * h);
        }
        double limit = fabs(quotient[0] - quotient[1]) + 0x1p-22 * terms / 0.01;
        if (!(fabs(quotient[1] - want) <= limit) || !(limit < 0.1 * fabs(want) + 0.1))
            fail_msg("tensor %d: gradient %.6g, differences %.6g and %.6g, limit %.3g", t, want, quotient[0],
                     quotient[1], limit);
    }
    rt_check_close(c);
}

/* The same bytes, activations and column sums, for any number of threads. */
static void is_deterministic(void **state) {
    (void)state;
    norm_case a = {"threads", {100, 7, 48, 1, 17, 130}, 6, 96, RT_ROWS_TOKENS, 0.1f, true};
    rt_dims dims = dims_for(&a);
    for (size_t p = 0; p < COUNT(case_precisions); p++) {
        rt_check *c = rt_check_open(case_precisions[p], 1, &dims);
        rt_dtype act = rt_check_backend(c)->act;
        norm_data one = make(c, &a, act);
        run_both(c, &one, "1 thread");
        for (int threads = 1; threads <= 5; threads += 2) {
            rt_check *other = rt_check_open(case_precisions[p], threads, &dims);
            norm_data d = make(other, &a, act);
            run_both(other, &d, "more threads");
            rt_check_same("y", act, d.f.y, one.f.y, d.n);
            rt_check_same("dx", act, d.b.dx, one.b.dx, d.n);
            rt_check_same("dbias", RT_F32, d.b.dbias, one.b.dbias, 96);
            rt_check_same("dgamma", RT_F32, d.b.dgamma, one.b.dgamma, 96);
            rt_check_same("dbeta", RT_F32, d.b.dbeta, one.b.dbeta, 96);
            rt_check_close(other);
        }
        rt_check_close(c);
    }
}

static void takes_an_empty_batch(void **state) {
    (void)state;
    norm_case a = {"empty", {0}, 0, 16, RT_ROWS_TOKENS, 0.1f, true};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    norm_data d = make(c, &a, RT_F32);
    run_both(c, &d, "accumulate 0");
    float *zeros = case_zeros(c, 16);
    rt_check_same("dbias", RT_F32, d.b.dbias, zeros, 16);
    rt_check_same("dgamma", RT_F32, d.b.dgamma, zeros, 16);
    rt_check_same("dbeta", RT_F32, d.b.dbeta, zeros, 16);
    d.b.dgamma = d.gamma, d.b.accumulate = 1;
    float *before = rt_check_copy(c, RT_F32, d.gamma, 16);
    run_both(c, &d, "accumulate 1");
    rt_check_same("dgamma, left", RT_F32, d.b.dgamma, before, 16);
    rt_check_close(c);
}

static void shows_nan_and_refuses_wrong_shapes(void **state) {
    (void)state;
    norm_case a = {"nan", {3, 2}, 2, 16, RT_ROWS_TOKENS, 0, true};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    norm_data d = make(c, &a, RT_F32);
    ((float *)d.f.x)[2 * 16 + 3] = NAN;
    run_both(c, &d, a.name);
    for (size_t i = 0; i < d.n; i++) {
        assert_int_equal(i / 16 == 2, isnan(((float *)d.f.y)[i]) != 0);
        assert_int_equal(i / 16 == 2, isnan(((float *)d.b.dx)[i]) != 0);
    }
    for (size_t i = 0; i < 16; i++) assert_true(isnan(d.b.dgamma[i]));
    rt_residual_norm_forward_args f = d.f;
    f.hidden = 12;
    rt_check_fails(RT_ESHAPE, be->residual_norm_forward(be, &f), "width");
    f = d.f, f.dropout.p = 1.5f;
    rt_check_fails(RT_ESHAPE, be->residual_norm_forward(be, &f), "dropout");
    rt_residual_norm_backward_args b = d.b;
    b.hidden = 0;
    rt_check_fails(RT_ESHAPE, be->residual_norm_backward(be, &b), "width");
    b = d.b, b.hidden = 1024;
    rt_check_fails(RT_ESHAPE, be->residual_norm_backward(be, &b), "workspace");
    rt_check_close(c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),
        cmocka_unit_test(differences_agree),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(takes_an_empty_batch),
        cmocka_unit_test(shows_nan_and_refuses_wrong_shapes),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
