/* The contrastive loss on scores against its definition written out in fp64, and its gradient against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include "objective/contrast.h"
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 6000 };

typedef struct {
    rt_contrast c;
    double *cosines; /* [B, N] */
    float weights[MOST], log_share[MOST];
    uint64_t users[MOST], items[MOST], texts[MOST];
    unsigned char missing[MOST];
    double row_lse[MOST], column_lse[MOST], column_max[MOST], losses[MOST];
} example;

static uint32_t draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static double uniform(uint32_t *state) {
    return draw(state) / 16777216.0;
}

/* Few users and items, so that much is masked; of the negatives every fifth is missing. */
static example *make(int rows, int documents, uint32_t seed) {
    example *e = calloc(1, sizeof *e);
    assert_non_null(e);
    e->cosines = malloc((size_t)rows * (size_t)documents * sizeof *e->cosines);
    assert_non_null(e->cosines);
    for (int i = 0; i < rows; i++) {
        e->weights[i] = (float)((0.5 + uniform(&seed)) / rows);
        e->users[i] = 1 + draw(&seed) % (uint32_t)(2 * rows);
        e->items[i] = 1 + draw(&seed) % (uint32_t)(2 * rows);
        e->log_share[i] = (float)log(0.01 + uniform(&seed));
    }
    for (int j = 0; j < documents; j++) {
        e->texts[j] = 1 + draw(&seed) % (uint32_t)(3 * documents);
        e->missing[j] = j >= rows && draw(&seed) % 5 == 0;
    }
    for (int64_t k = 0; k < (int64_t)rows * documents; k++) e->cosines[k] = 2 * uniform(&seed) - 1;
    e->c = (rt_contrast){.rows = rows,
                         .documents = documents,
                         .scale = 5,
                         .mask_clicked = true,
                         .weights = e->weights,
                         .users = e->users,
                         .items = e->items,
                         .texts = e->texts,
                         .missing = e->missing,
                         .row_lse = e->row_lse,
                         .column_lse = e->column_lse,
                         .column_max = e->column_max,
                         .losses = e->losses};
    return e;
}

static void drop(example *e) {
    free(e->cosines);
    free(e);
}

static bool hidden(const example *e, int i, int j) {
    const int rows = e->c.rows;
    if (e->missing[j]) return true;
    if (!e->c.mask_clicked || i == j) return false;
    bool same = e->texts[i] == e->texts[j];
    if (j < rows) same = same || e->items[i] == e->items[j] || e->users[i] == e->users[j];
    return same;
}

static double score(const example *e, int i, int j) {
    double s = e->c.scale * e->cosines[(int64_t)i * e->c.documents + j];
    return e->c.log_share && j < e->c.rows ? s - (double)e->log_share[j] : s;
}

/* The formula of contrast.h, as it stands there. */
static double reference(const example *e) {
    double loss = 0;
    for (int i = 0; i < e->c.rows; i++) {
        double row = 0, column = 0;
        for (int j = 0; j < e->c.documents; j++)
            if (!hidden(e, i, j)) row += exp(score(e, i, j));
        for (int k = 0; k < e->c.rows; k++)
            if (!hidden(e, k, i)) column += exp(score(e, k, i));
        double l = log(row) - score(e, i, i);
        if (e->c.symmetric) l = 0.5 * l + 0.5 * (log(column) - score(e, i, i));
        loss += (double)e->weights[i] * l;
    }
    return loss;
}

/* Cosines of a block, tile after tile. */
static float *block(const example *e, int first, int n) {
    float *scores = malloc((size_t)n * (size_t)e->c.documents * sizeof *scores);
    assert_non_null(scores);
    for (int r = 0; r < n; r++)
        for (int j = 0; j < e->c.documents; j++) {
            const int t = j / RT_CONTRAST_TILE;
            rt_contrast_tile(scores, n, t)[(int64_t)r * rt_contrast_width(&e->c, t) + j % RT_CONTRAST_TILE] =
                (float)e->cosines[(int64_t)(first + r) * e->c.documents + j];
        }
    return scores;
}

/* Loss and gradient [B, N] by blocks of `rows` rows. */
static double run(const example *e, int rows, float *gradient) {
    const rt_contrast *c = &e->c;
    for (int pass = 0; pass < 2; pass++) {
        if (!pass && c->symmetric) rt_contrast_columns_begin(c);
        for (int first = 0; first < c->rows; first += rows) {
            const int n = c->rows - first < rows ? c->rows - first : rows;
            float *scores = block(e, first, n);
            rt_contrast_scores(c, scores, first, n);
            if (!pass) rt_contrast_rows(c, scores, first, n);
            if (!pass && c->symmetric) rt_contrast_columns(c, scores, first, n);
            if (pass) rt_contrast_gradient(c, scores, first, n);
            for (int r = 0; pass && gradient && r < n; r++)
                for (int j = 0; j < c->documents; j++) {
                    const int t = j / RT_CONTRAST_TILE;
                    gradient[(int64_t)(first + r) * c->documents + j] =
                        rt_contrast_tile(scores, n, t)[(int64_t)r * rt_contrast_width(c, t) + j % RT_CONTRAST_TILE];
                }
            free(scores);
        }
        if (!pass && c->symmetric) rt_contrast_columns_end(c);
    }
    return rt_contrast_loss(c);
}

static void near(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance)) fail_msg("%.9g, expected %.9g within %.2g", got, wanted, tolerance);
}

/* Scores are rounded to fp32: of size 5 x 1 that is 3e-7 each, and a mean of them is off by no more. */
static void check(example *e, int rows) {
    const int64_t n = (int64_t)e->c.rows * e->c.documents;
    float *gradient = malloc((size_t)n * sizeof *gradient);
    assert_non_null(gradient);
    double sum = 0;
    for (int i = 0; i < e->c.rows; i++) sum += (double)e->weights[i];
    near(run(e, rows, gradient), reference(e), 1e-6 * sum);
    /* Central differences of the fp64 formula: h^2 x the third derivative (125 w) and rounding of 1e-16 / h. */
    const double h = 1e-4;
    for (int64_t k = 0; k < n; k += n / 97 + 1) {
        const double was = e->cosines[k];
        e->cosines[k] = was + h;
        const double up = reference(e);
        e->cosines[k] = was - h;
        const double down = reference(e);
        e->cosines[k] = was;
        near((double)gradient[k], (up - down) / (2 * h), 1e-5 * e->c.scale * sum / e->c.rows + 1e-11);
    }
    free(gradient);
}

static void the_formula(void **state) {
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        example *e = make(23, variant & 4 ? 69 : 23, 7 + (uint32_t)variant);
        e->c.symmetric = variant & 1;
        e->c.log_share = variant & 2 ? e->log_share : NULL;
        check(e, 23);
        check(e, 5); /* whatever the blocks */
        e->c.mask_clicked = false;
        check(e, 23);
        drop(e);
    }
}

/* More documents than a tile has columns. */
static void several_tiles(void **state) {
    (void)state;
    example *e = make(40, RT_CONTRAST_TILE + 1000, 3);
    e->c.symmetric = true;
    for (int j = 40; j < e->c.documents; j++) e->missing[j] = j % 2 == 0;
    check(e, 40);
    check(e, 17);
    drop(e);
}

/* Blocks change no bit of the loss of one direction; threads none at all. */
static void the_same_bits(void **state) {
    (void)state;
    example *e = make(300, 600, 11);
    const double whole = run(e, 300, NULL), cut = run(e, 64, NULL);
    assert_memory_equal(&whole, &cut, sizeof whole);
    drop(e);
}

/* Alone in its batch a row has nothing to be told from. */
static void one_row(void **state) {
    (void)state;
    example *e = make(1, 1, 5);
    float gradient = 1;
    near(run(e, 1, &gradient), 0, 1e-7);
    near((double)gradient, 0, 1e-6);
    drop(e);
}

static void nan_comes_through(void **state) {
    (void)state;
    example *e = make(9, 9, 5);
    e->cosines[9 * 4 + 2] = NAN;
    assert_true(isnan(run(e, 9, NULL)));
    drop(e);
}

static void lengths(void **state) {
    (void)state;
    enum { N = 7, W = 24 };
    float x[N * W], y[N * W], dy[N * W], dx[N * W];
    double norms[N];
    uint32_t seed = 9;
    for (int i = 0; i < N * W; i++)
        x[i] = i / W == 3 ? 0 : (float)(4 * uniform(&seed) - 2), dy[i] = (float)uniform(&seed);
    rt_contrast_normalise(x, y, norms, N, W);
    rt_contrast_normalise_backward(y, norms, dy, dx, N, W);
    for (int i = 0; i < N; i++) {
        double squares = 0;
        for (int k = 0; k < W; k++) squares += (double)y[i * W + k] * (double)y[i * W + k];
        near(squares, i == 3 ? 0 : 1, 1e-6);
        for (int k = 0; k < W; k++) { /* d(dy y)/dx by differences in fp64 */
            double f[2];
            for (int side = 0; side < 2; side++) {
                double length = 0, along = 0;
                for (int m = 0; m < W; m++) {
                    double v = (double)x[i * W + m] + (m == k ? (side ? 1e-6 : -1e-6) : 0);
                    length += v * v, along += v * (double)dy[i * W + m];
                }
                f[side] = along / sqrt(length);
            }
            near((double)dx[i * W + k], i == 3 ? 0 : (f[1] - f[0]) / 2e-6, 1e-5);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_formula), cmocka_unit_test(several_tiles),     cmocka_unit_test(the_same_bits),
        cmocka_unit_test(one_row),     cmocka_unit_test(nan_comes_through), cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
