#include "contrast.h"
#include <math.h>
#include <stddef.h>

static int tiles(const rt_contrast *c) {
    return (c->documents + RT_CONTRAST_TILE - 1) / RT_CONTRAST_TILE;
}

/* Row r of a tile of a block of n rows. */
static const float *row_of(const rt_contrast *c, const float *scores, int n, int tile, int r) {
    return rt_contrast_tile((float *)scores, n, tile) + (int64_t)r * rt_contrast_width(c, tile);
}

static bool masked(const rt_contrast *c, int i, int j) {
    if (c->missing[j]) return true;
    if (!c->mask_clicked || i == j) return false;
    if (c->texts[j] == c->texts[i]) return true;
    return j < c->rows && (c->items[j] == c->items[i] || c->users[j] == c->users[i]);
}

void rt_contrast_scores(const rt_contrast *c, float *scores, int first, int n) {
    const float scale = (float)c->scale;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < n; r++)
        for (int t = 0; t < tiles(c); t++) {
            float *s = (float *)row_of(c, scores, n, t, r);
            const int from = t * RT_CONTRAST_TILE, width = rt_contrast_width(c, t);
            for (int k = 0; k < width; k++) s[k] *= scale;
            if (c->log_share)
                for (int k = 0; k < width && from + k < c->rows; k++) s[k] -= c->log_share[from + k];
            for (int k = 0; k < width; k++)
                if (masked(c, first + r, from + k)) s[k] = -INFINITY;
        }
}

/* NaN must come through: it never is the larger one, so the sum of the exponentials has to show it. */
static double log_sum_exp(const rt_contrast *c, const float *scores, int n, int r) {
    float max = -INFINITY;
    double sum = 0;
    for (int t = 0; t < tiles(c); t++) {
        const float *s = row_of(c, scores, n, t, r);
        for (int k = 0; k < rt_contrast_width(c, t); k++) max = s[k] > max ? s[k] : max;
    }
    for (int t = 0; t < tiles(c); t++) {
        const float *s = row_of(c, scores, n, t, r);
        for (int k = 0; k < rt_contrast_width(c, t); k++) sum += (double)expf(s[k] - max);
    }
    return (double)max + log(sum);
}

static double own_score(const rt_contrast *c, const float *scores, int first, int n, int r) {
    const int i = first + r;
    return (double)row_of(c, scores, n, i / RT_CONTRAST_TILE, r)[i % RT_CONTRAST_TILE];
}

void rt_contrast_rows(const rt_contrast *c, const float *scores, int first, int n) {
    const double share = c->symmetric ? 0.5 : 1.0;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < n; r++) {
        c->row_lse[first + r] = log_sum_exp(c, scores, n, r);
        c->losses[first + r] = share * (c->row_lse[first + r] - own_score(c, scores, first, n, r));
    }
}

void rt_contrast_columns_begin(const rt_contrast *c) {
    for (int j = 0; j < c->rows; j++) c->column_max[j] = -INFINITY, c->column_lse[j] = 0;
}

/* The sum so far is of exp(s - max so far): a new maximum scales it. A masked score adds nothing. */
void rt_contrast_columns(const rt_contrast *c, const float *scores, int first, int n) {
    const double half = 0.5;
#pragma omp parallel for schedule(static)
    for (int j = 0; j < c->rows; j++) {
        const int t = j / RT_CONTRAST_TILE, width = rt_contrast_width(c, t);
        const float *column = row_of(c, scores, n, t, 0) + j % RT_CONTRAST_TILE;
        double max = c->column_max[j], sum = c->column_lse[j];
        for (int r = 0; r < n; r++) {
            const double s = (double)column[(int64_t)r * width];
            if (s == -INFINITY) continue;
            if (s > max) sum *= exp(max - s), max = s;
            sum += exp(s - max);
        }
        c->column_max[j] = max;
        c->column_lse[j] = sum;
        if (j >= first && j < first + n) c->losses[j] -= half * (double)column[(int64_t)(j - first) * width];
    }
}

void rt_contrast_columns_end(const rt_contrast *c) {
    for (int j = 0; j < c->rows; j++) {
        c->column_lse[j] = c->column_max[j] + log(c->column_lse[j]);
        c->losses[j] += 0.5 * c->column_lse[j];
    }
}

void rt_contrast_gradient(const rt_contrast *c, float *scores, int first, int n) {
    const double share = c->symmetric ? 0.5 : 1.0;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < n; r++) {
        const int i = first + r;
        const float lse = (float)c->row_lse[i], weight = (float)(share * c->scale * (double)c->weights[i]);
        for (int t = 0; t < tiles(c); t++) {
            float *s = (float *)row_of(c, scores, n, t, r);
            const int from = t * RT_CONTRAST_TILE, width = rt_contrast_width(c, t);
            int both = !c->symmetric ? 0 : c->rows - from < width ? c->rows - from : width;
            if (both < 0) both = 0;
            for (int k = 0; k < both; k++) {
                const float of_column = (float)(share * c->scale * (double)c->weights[from + k]);
                s[k] = weight * expf(s[k] - lse) + of_column * expf(s[k] - (float)c->column_lse[from + k]);
            }
            for (int k = both; k < width; k++) s[k] = weight * expf(s[k] - lse);
        }
        float *own = (float *)row_of(c, scores, n, i / RT_CONTRAST_TILE, r) + i % RT_CONTRAST_TILE;
        *own -= (float)(c->scale * (double)c->weights[i]);
    }
}

double rt_contrast_loss(const rt_contrast *c) {
    double sum = 0;
    for (int i = 0; i < c->rows; i++) sum += (double)c->weights[i] * c->losses[i];
    return sum;
}

void rt_contrast_normalise(const float *x, float *y, double *norms, int n, int width) {
#pragma omp parallel for schedule(static) if (n > 1)
    for (int i = 0; i < n; i++) {
        const float *from = x + (int64_t)i * width;
        float *to = y + (int64_t)i * width;
        double squares = 0;
        for (int k = 0; k < width; k++) squares += (double)from[k] * (double)from[k];
        norms[i] = sqrt(squares);
        const double factor = squares == 0 ? 0 : 1 / norms[i];
        for (int k = 0; k < width; k++) to[k] = (float)((double)from[k] * factor);
    }
}

void rt_contrast_normalise_backward(const float *y, const double *norms, const float *dy, float *dx, int n, int width) {
#pragma omp parallel for schedule(static) if (n > 1)
    for (int i = 0; i < n; i++) {
        const float *unit = y + (int64_t)i * width, *from = dy + (int64_t)i * width;
        float *to = dx + (int64_t)i * width;
        double along = 0;
        for (int k = 0; k < width; k++) along += (double)unit[k] * (double)from[k];
        const double factor = norms[i] == 0 ? 0 : 1 / norms[i];
        for (int k = 0; k < width; k++) to[k] = (float)(((double)from[k] - along * (double)unit[k]) * factor);
    }
}
