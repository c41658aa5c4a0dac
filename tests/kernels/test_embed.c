/* Embeddings, their LayerNorm and dropout, and the gradients of the three tables, against fp64. */
#include "op_case.h"

typedef struct {
    const char *name;
    int lengths[12], n_seqs, hidden, vocab;
    float p;
} embed_case;

static const embed_case cases[] = {
    {"narrow", {1, 2, 15}, 3, 8, 5, 0},
    {"dropout", {1, 2, 15, 16, 17, 48}, 6, 24, 30, 0.3f},
    {"768 wide", {48, 1, 127, 128, 2}, 5, 768, 200, 0.1f},
    {"one word often", {512, 300, 512}, 3, 64, 3, 0.1f},
};
enum { POSITIONS = 512, TYPES = 2 };

static rt_dims dims_for(const embed_case *a) {
    return (rt_dims){.max_tokens = 4096,
                     .max_seqs = a->n_seqs,
                     .max_len = POSITIONS,
                     .hidden = a->hidden,
                     .heads = 1,
                     .vocab = a->vocab,
                     .max_positions = POSITIONS,
                     .type_vocab = TYPES,
                     .training = true};
}

typedef struct {
    rt_batch batch;
    size_t tokens, n, width;
    void *dy; /* as given to the op, which writes over its own copy */
    rt_embed_forward_args f;
    rt_embed_backward_args b;
} embed_data;

static embed_data make(rt_check *c, const embed_case *a, rt_dtype act) {
    embed_data d = {.batch = case_batch(c, a->lengths, a->n_seqs, a->vocab, 2), .width = (size_t)a->hidden};
    d.tokens = (size_t)d.batch.n_tokens, d.n = d.tokens * d.width;
    size_t vocab = (size_t)a->vocab;
    d.dy = rt_check_normal(c, act, d.n, 7, 1);
    d.f = (rt_embed_forward_args){.word = rt_check_normal(c, RT_F32, vocab * d.width, 1, 1),
                                  .position = rt_check_normal(c, RT_F32, POSITIONS * d.width, 2, 0.5),
                                  .type = rt_check_normal(c, RT_F32, TYPES * d.width, 3, 0.5),
                                  .gamma = rt_check_normal(c, RT_F32, d.width, 4, 1),
                                  .beta = rt_check_normal(c, RT_F32, d.width, 5, 1),
                                  .eps = 1e-12f,
                                  .dropout = case_dropout(c, a->p, RT_SITE_EMBEDDINGS),
                                  .y = rt_check_poison(c, act, d.n),
                                  .mean = rt_check_poison(c, RT_F32, d.tokens),
                                  .rstd = rt_check_poison(c, RT_F32, d.tokens),
                                  .hidden = a->hidden};
    d.b = (rt_embed_backward_args){.word = d.f.word,
                                   .position = d.f.position,
                                   .type = d.f.type,
                                   .gamma = d.f.gamma,
                                   .mean = d.f.mean,
                                   .rstd = d.f.rstd,
                                   .dropout = d.f.dropout,
                                   .dy = rt_check_copy(c, act, d.dy, d.n),
                                   .dword = rt_check_poison(c, RT_F32, vocab * d.width),
                                   .dposition = rt_check_poison(c, RT_F32, POSITIONS * d.width),
                                   .dtype = rt_check_poison(c, RT_F32, TYPES * d.width),
                                   .dgamma = rt_check_poison(c, RT_F32, d.width),
                                   .dbeta = rt_check_poison(c, RT_F32, d.width),
                                   .vocab = a->vocab,
                                   .max_positions = POSITIONS,
                                   .type_vocab = TYPES,
                                   .hidden = a->hidden};
    return d;
}

static void run_both(rt_check *c, embed_data *d, const char *what) {
    rt_backend *be = rt_check_backend(c);
    d->f.batch = d->b.batch = &d->batch;
    rt_check_ok(be->embed_forward(be, &d->f), what);
    rt_check_ok(be->embed_backward(be, &d->b), what);
    rt_check_guards(c, what);
}

/* What the tables are summed from is the gradient of the sum as it is stored. */
static float as_bf16(float x) {
    rt_bf16 bits;
    double wide = (double)x;
    rt_check_round(RT_BF16, &bits, &wide, 1);
    return (float)rt_check_get(RT_BF16, &bits, 0);
}

static void check_case(const embed_case *a, rt_precision precision) {
    rt_dims dims = dims_for(a);
    rt_check *c = rt_check_open(precision, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    rt_dtype act = be->act;
    embed_data d = make(c, a, act);
    run_both(c, &d, a->name);
    double *y = rt_check_doubles(c, d.n), *mean = rt_check_doubles(c, d.tokens), *rstd = rt_check_doubles(c, d.tokens);
    float *py = case_zeros(c, d.n), *pm = case_zeros(c, d.tokens), *pr = case_zeros(c, d.tokens);
    exact_embed(&d.batch, d.f.word, d.f.position, d.f.type, d.f.gamma, d.f.beta, 1e-12f, &d.f.dropout, a->hidden, y,
                mean, rstd);
    plain_embed(&d.batch, d.f.word, d.f.position, d.f.type, d.f.gamma, d.f.beta, 1e-12f, &d.f.dropout, a->hidden, py,
                pm, pr);
    case_check(c, "y", act, d.f.y, y, py, d.n);
    case_check(c, "mean", RT_F32, d.f.mean, mean, pm, d.tokens);
    case_check(c, "rstd", RT_F32, d.f.rstd, rstd, pr, d.tokens);

    size_t sizes[5] = {(size_t)a->vocab * d.width, POSITIONS * d.width, TYPES * d.width, d.width, d.width};
    double *sum = rt_check_doubles(c, d.n), *exact[5];
    float *psum = case_zeros(c, d.n), *plain[5];
    for (int t = 0; t < 5; t++) exact[t] = rt_check_doubles(c, sizes[t]), plain[t] = case_zeros(c, sizes[t]);
    const float *dy = case_floats(c, act, d.dy, d.n);
    exact_embed_gradient(&d.batch, d.f.word, d.f.position, d.f.type, d.f.gamma, d.f.mean, d.f.rstd, &d.f.dropout, dy,
                         a->hidden, NULL, sum, exact[0], exact[1], exact[2], exact[3], exact[4]);
    plain_embed_gradient(&d.batch, d.f.word, d.f.position, d.f.type, d.f.gamma, d.f.mean, d.f.rstd, &d.f.dropout, dy,
                         a->hidden, act == RT_BF16 ? as_bf16 : NULL, psum, plain[0], plain[1], plain[2], plain[3],
                         plain[4]);
    case_check(c, "dsum", act, d.b.dy, sum, psum, d.n);
    float *got[5] = {d.b.dword, d.b.dposition, d.b.dtype, d.b.dgamma, d.b.dbeta};
    const char *names[5] = {"dword", "dposition", "dtype", "dgamma", "dbeta"};
    for (int t = 0; t < 5; t++) case_check(c, names[t], RT_F32, got[t], exact[t], plain[t], sizes[t]);

    /* Added to what is there: twice the limit of one sum. Rows that no token has stay as they are. */
    for (int t = 0; t < 5; t++) {
        for (size_t i = 0; i < sizes[t]; i++) plain[t][i] *= 2, exact[t][i] *= 2;
    }
    d.b.dy = rt_check_copy(c, act, d.dy, d.n), d.b.accumulate = 1;
    rt_check_ok(be->embed_backward(be, &d.b), "accumulate");
    for (int t = 0; t < 5; t++) case_check(c, names[t], RT_F32, got[t], exact[t], plain[t], sizes[t]);

    /* Any table may be left out. */
    d.b.dy = rt_check_copy(c, act, d.dy, d.n);
    d.b.dword = d.b.dposition = d.b.dtype = d.b.dgamma = d.b.dbeta = NULL;
    d.batch.sorted_tokens = NULL;
    rt_check_ok(be->embed_backward(be, &d.b), "no tables");
    case_check(c, "dsum", act, d.b.dy, sum, psum, d.n);
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

/* Central differences of L = sum of dy x y along a random direction of each table and of gamma and beta; limits as in
 * test_attention.c. */
static void differences_agree(void **state) {
    (void)state;
    embed_case a = {"differences", {9, 1, 16}, 3, 64, 12, 0.2f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    embed_data d = make(c, &a, RT_F32);
    run_both(c, &d, a.name);
    const float *points[5] = {d.f.word, d.f.position, d.f.type, d.f.gamma, d.f.beta};
    const float *gradients[5] = {d.b.dword, d.b.dposition, d.b.dtype, d.b.dgamma, d.b.dbeta};
    size_t sizes[5] = {12 * 64, POSITIONS * 64, TYPES * 64, 64, 64};
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
                rt_embed_forward_args f = d.f;
                f.word = t == 0 ? moved : f.word, f.position = t == 1 ? moved : f.position;
                f.type = t == 2 ? moved : f.type, f.gamma = t == 3 ? moved : f.gamma, f.beta = t == 4 ? moved : f.beta;
                f.y = rt_check_poison(c, RT_F32, d.n);
                rt_check_ok(be->embed_forward(be, &f), "forward");
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

/* The same bytes for any number of threads; also where threads outnumber words. */
static void is_deterministic(void **state) {
    (void)state;
    for (size_t p = 0; p < COUNT(case_precisions); p++)
        for (int vocab = 2; vocab < 100; vocab += 60) {
            embed_case a = {"threads", {100, 7, 48, 1, 17, 130}, 6, 96, vocab, 0.1f};
            rt_dims dims = dims_for(&a);
            rt_check *c = rt_check_open(case_precisions[p], 1, &dims);
            rt_dtype act = rt_check_backend(c)->act;
            embed_data one = make(c, &a, act);
            run_both(c, &one, "1 thread");
            for (int threads = 1; threads <= 7; threads += 3) {
                rt_check *other = rt_check_open(case_precisions[p], threads, &dims);
                embed_data d = make(other, &a, act);
                run_both(other, &d, "more threads");
                rt_check_same("y", act, d.f.y, one.f.y, d.n);
                rt_check_same("dsum", act, d.b.dy, one.b.dy, d.n);
                rt_check_same("dword", RT_F32, d.b.dword, one.b.dword, (size_t)vocab * 96);
                rt_check_same("dposition", RT_F32, d.b.dposition, one.b.dposition, POSITIONS * 96);
                rt_check_same("dtype", RT_F32, d.b.dtype, one.b.dtype, TYPES * 96);
                rt_check_same("dgamma", RT_F32, d.b.dgamma, one.b.dgamma, 96);
                rt_check_close(other);
            }
            rt_check_close(c);
        }
}

static void takes_an_empty_batch(void **state) {
    (void)state;
    embed_case a = {"empty", {0}, 0, 16, 9, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    embed_data d = make(c, &a, RT_F32);
    run_both(c, &d, "accumulate 0");
    float *zeros = case_zeros(c, POSITIONS * 16);
    rt_check_same("dword", RT_F32, d.b.dword, zeros, 9 * 16);
    rt_check_same("dposition", RT_F32, d.b.dposition, zeros, POSITIONS * 16);
    rt_check_same("dtype", RT_F32, d.b.dtype, zeros, TYPES * 16);
    rt_check_same("dgamma", RT_F32, d.b.dgamma, zeros, 16);
    rt_check_close(c);
}

static void refuses_wrong_shapes(void **state) {
    (void)state;
    embed_case a = {"shapes", {30, 5}, 2, 16, 9, 0.1f};
    rt_dims dims = dims_for(&a);
    rt_check *c = rt_check_open(RT_PRECISION_FP32, 2, &dims);
    rt_backend *be = rt_check_backend(c);
    embed_data d = make(c, &a, RT_F32);
    d.f.batch = d.b.batch = &d.batch;
    rt_embed_forward_args f = d.f;
    f.hidden = 20;
    rt_check_fails(RT_ESHAPE, be->embed_forward(be, &f), "width");
#define REFUSES(change)                                                                                                \
    do {                                                                                                               \
        rt_embed_backward_args x = d.b;                                                                                \
        rt_batch batch = d.batch;                                                                                      \
        x.batch = &batch;                                                                                              \
        change;                                                                                                        \
        rt_check_fails(RT_ESHAPE, be->embed_backward(be, &x), #change);                                                \
    } while (0)
    REFUSES(x.hidden = 12);
    REFUSES(x.vocab = 4);
    REFUSES(x.max_positions = 29);
    REFUSES(x.type_vocab = 1);
    REFUSES(x.dropout.p = -0.1f);
    REFUSES(batch.sorted_tokens = NULL);
    REFUSES(batch.n_tokens = 34);
    int32_t sorted[35] = {0};
    sorted[7] = 35;
    REFUSES(batch.sorted_tokens = sorted);
    rt_check_untouched("dword", d.b.dword, 9 * 16 * 4);
    rt_check_close(c);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_fp64),     cmocka_unit_test(differences_agree),
        cmocka_unit_test(is_deterministic),     cmocka_unit_test(takes_an_empty_batch),
        cmocka_unit_test(refuses_wrong_shapes),
    };
    return rt_check_main(argc, argv, tests, COUNT(tests));
}
