/* The ops once more, in their plainest form, for tests. Included twice: with REAL = double this is the reference, with
 * REAL = float the plain implementation whose error gives the tolerance. NAME(x) makes the two sets of names. All
 * inputs are f32 arrays that hold exactly what the op is given; results are REAL and unrounded. Any result may be NULL.
 * No include guard, on purpose. */
#include "reference_mask.h"
#include <stdlib.h>
#include <string.h>

static inline REAL NAME(dropped)(int keep, REAL x, const rt_dropout *d) {
    if (d->p == 0.0f) return x;
    return keep ? x / ((REAL)1 - (REAL)d->p) : (REAL)0;
}

static inline REAL NAME(exponential)(REAL x) {
    return sizeof(REAL) == 8 ? (REAL)exp((double)x) : (REAL)expf((float)x);
}
static inline REAL NAME(logarithm)(REAL x) {
    return sizeof(REAL) == 8 ? (REAL)log((double)x) : (REAL)logf((float)x);
}
static inline REAL NAME(root)(REAL x) {
    return sizeof(REAL) == 8 ? (REAL)sqrt((double)x) : (REAL)sqrtf((float)x);
}

/* Row r of a tensor with one row a token, or one a sequence, lies at (sequence, position). */
static inline void NAME(place)(const rt_batch *batch, rt_rows rows, int64_t r, int *sequence, int *position) {
    if (rows == RT_ROWS_FIRST) {
        *sequence = (int)r, *position = 0;
        return;
    }
    int b = 0;
    while (r >= batch->cu_seqlens[b + 1]) b++;
    *sequence = b, *position = (int)(r - batch->cu_seqlens[b]);
}

/* q [rows, A D], k, v [T, A D]; out [rows, A D], lse [A, rows]. */
static inline void NAME(attention)(const rt_batch *batch, rt_rows queries, int heads, int dim, float scale,
                                   const rt_dropout *drop, const float *q, const float *k, const float *v, REAL *out,
                                   REAL *lse) {
    int64_t width = (int64_t)heads * dim, rows = queries == RT_ROWS_FIRST ? batch->n_seqs : batch->n_tokens;
    REAL *p = malloc(512 * sizeof *p);
    for (int b = 0; b < batch->n_seqs; b++) {
        int64_t first = batch->cu_seqlens[b];
        int len = (int)(batch->cu_seqlens[b + 1] - first), n = queries == RT_ROWS_FIRST ? 1 : len;
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < n; i++) {
                int64_t row = queries == RT_ROWS_FIRST ? b : first + i;
                REAL top = 0, sum = 0;
                for (int j = 0; j < len; j++) {
                    REAL s = 0;
                    for (int d = 0; d < dim; d++)
                        s += (REAL)q[row * width + h * dim + d] * (REAL)k[(first + j) * width + h * dim + d];
                    p[j] = s * (REAL)scale;
                    if (j == 0 || p[j] > top) top = p[j];
                }
                for (int j = 0; j < len; j++) sum += p[j] = NAME(exponential)(p[j] - top);
                if (lse) lse[h * rows + row] = len ? top + NAME(logarithm)(sum) : (REAL)0;
                for (int j = 0; j < len; j++)
                    p[j] = NAME(dropped)(ref_keep_attention(drop, batch->example_id[b], h, i, j), p[j] / sum, drop);
                for (int d = 0; d < dim; d++) {
                    REAL o = 0;
                    for (int j = 0; j < len; j++) o += p[j] * (REAL)v[(first + j) * width + h * dim + d];
                    if (out) out[row * width + h * dim + d] = o;
                }
            }
    }
    free(p);
}

/* saved_out, saved_lse: what the op's forward kept, for the plain implementation (delta = sum of dout out); with NULL
 * both are recomputed exactly. dq [rows, A D], dk, dv [T, A D]. */
static inline void NAME(attention_gradient)(const rt_batch *batch, rt_rows queries, int heads, int dim, float scale,
                                            const rt_dropout *drop, const float *q, const float *k, const float *v,
                                            const float *dout, const float *saved_out, const float *saved_lse, REAL *dq,
                                            REAL *dk, REAL *dv) {
    int64_t width = (int64_t)heads * dim, rows = queries == RT_ROWS_FIRST ? batch->n_seqs : batch->n_tokens;
    REAL *p = malloc(512 * sizeof *p), *dp = malloc(512 * sizeof *dp);
    REAL *lse = malloc(((size_t)(rows * heads) + 1) * sizeof *lse);
    NAME(attention)(batch, queries, heads, dim, scale, drop, q, k, v, NULL, lse);
    for (int64_t i = 0; saved_lse && i < rows * heads; i++) lse[i] = (REAL)saved_lse[i];
    memset(dk, 0, (size_t)(batch->n_tokens * width) * sizeof *dk);
    memset(dv, 0, (size_t)(batch->n_tokens * width) * sizeof *dv);
    memset(dq, 0, (size_t)(rows * width) * sizeof *dq);
    for (int b = 0; b < batch->n_seqs; b++) {
        int64_t first = batch->cu_seqlens[b];
        int len = (int)(batch->cu_seqlens[b + 1] - first), n = queries == RT_ROWS_FIRST ? 1 : len;
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < n && len; i++) {
                int64_t row = queries == RT_ROWS_FIRST ? b : first + i, at = row * width + h * dim;
                REAL delta = 0;
                for (int j = 0; j < len; j++) {
                    int64_t key = (first + j) * width + h * dim;
                    int keep = ref_keep_attention(drop, batch->example_id[b], h, i, j);
                    REAL s = 0, g = 0;
                    for (int d = 0; d < dim; d++) {
                        s += (REAL)q[at + d] * (REAL)k[key + d];
                        g += (REAL)dout[at + d] * (REAL)v[key + d];
                    }
                    p[j] = NAME(exponential)(s * (REAL)scale - lse[h * rows + row]);
                    dp[j] = NAME(dropped)(keep, g, drop);
                    if (!saved_out) delta += p[j] * dp[j];
                    for (int d = 0; d < dim; d++) dv[key + d] += NAME(dropped)(keep, p[j], drop) * (REAL)dout[at + d];
                }
                for (int d = 0; saved_out && d < dim; d++) delta += (REAL)dout[at + d] * (REAL)saved_out[at + d];
                for (int j = 0; j < len; j++) {
                    int64_t key = (first + j) * width + h * dim;
                    REAL ds = p[j] * (dp[j] - delta) * (REAL)scale;
                    for (int d = 0; d < dim; d++) {
                        dq[at + d] += ds * (REAL)k[key + d];
                        dk[key + d] += ds * (REAL)q[at + d];
                    }
                }
            }
    }
    free(p), free(dp), free(lse);
}

/* One row of LayerNorm: y, and what backward keeps. */
static inline void NAME(norm_row)(const REAL *z, const float *gamma, const float *beta, float eps, int64_t n, REAL *y,
                                  REAL *mean, REAL *rstd) {
    REAL sum = 0, square = 0;
    for (int64_t c = 0; c < n; c++) sum += z[c];
    *mean = sum / (REAL)n;
    for (int64_t c = 0; c < n; c++) square += (z[c] - *mean) * (z[c] - *mean);
    *rstd = (REAL)1 / NAME(root)(square / (REAL)n + (REAL)eps);
    for (int64_t c = 0; c < n; c++) y[c] = (REAL)gamma[c] * (z[c] - *mean) * *rstd + (REAL)beta[c];
}

/* dz of one row of LayerNorm; adds the row's share to dgamma and dbeta. */
static inline void NAME(norm_row_gradient)(const REAL *z, REAL mean, REAL rstd, const float *gamma, const REAL *dy,
                                           int64_t n, REAL *dz, REAL *dgamma, REAL *dbeta) {
    REAL a = 0, b = 0;
    for (int64_t c = 0; c < n; c++) {
        REAL x = (z[c] - mean) * rstd, g = dy[c] * (REAL)gamma[c];
        a += g, b += g * x;
        dgamma[c] += dy[c] * x, dbeta[c] += dy[c];
    }
    for (int64_t c = 0; c < n; c++) {
        REAL x = (z[c] - mean) * rstd, g = dy[c] * (REAL)gamma[c];
        dz[c] = rstd * (g - a / (REAL)n - x * b / (REAL)n);
    }
}

static inline void NAME(residual_norm)(const rt_batch *batch, rt_rows rows, const float *x, const float *bias,
                                       const float *residual, const float *gamma, const float *beta, float eps,
                                       const rt_dropout *drop, int64_t hidden, REAL *z, REAL *y, REAL *mean,
                                       REAL *rstd) {
    int64_t n = rows == RT_ROWS_FIRST ? batch->n_seqs : batch->n_tokens;
    for (int64_t r = 0; r < n; r++) {
        int b, position;
        NAME(place)(batch, rows, r, &b, &position);
        for (int64_t c = 0; c < hidden; c++) {
            REAL v = (REAL)x[r * hidden + c] + (bias ? (REAL)bias[c] : 0);
            z[r * hidden + c] = (REAL)residual[r * hidden + c] +
                                NAME(dropped)(ref_keep_hidden(drop, batch->example_id[b], position, c), v, drop);
        }
        NAME(norm_row)(z + r * hidden, gamma, beta, eps, hidden, y + r * hidden, mean + r, rstd + r);
    }
}

static inline void NAME(residual_norm_gradient)(const rt_batch *batch, rt_rows rows, const float *z, const float *mean,
                                                const float *rstd, const float *gamma, const rt_dropout *drop,
                                                const float *dy, int64_t hidden, REAL *dresidual, REAL *dx, REAL *dbias,
                                                REAL *dgamma, REAL *dbeta) {
    int64_t n = rows == RT_ROWS_FIRST ? batch->n_seqs : batch->n_tokens;
    REAL *zr = malloc((size_t)hidden * sizeof *zr), *dyr = malloc((size_t)hidden * sizeof *dyr);
    for (int64_t r = 0; r < n; r++) {
        int b, position;
        NAME(place)(batch, rows, r, &b, &position);
        for (int64_t c = 0; c < hidden; c++) zr[c] = (REAL)z[r * hidden + c], dyr[c] = (REAL)dy[r * hidden + c];
        NAME(norm_row_gradient)
        (zr, (REAL)mean[r], (REAL)rstd[r], gamma, dyr, hidden, dresidual + r * hidden, dgamma, dbeta);
        for (int64_t c = 0; c < hidden; c++) {
            REAL g = NAME(dropped)(ref_keep_hidden(drop, batch->example_id[b], position, c), dresidual[r * hidden + c],
                                   drop);
            dx[r * hidden + c] = g;
            dbias[c] += g;
        }
    }
    free(zr), free(dyr);
}

static inline void NAME(embed)(const rt_batch *batch, const float *word, const float *position, const float *type,
                               const float *gamma, const float *beta, float eps, const rt_dropout *drop, int64_t hidden,
                               REAL *y, REAL *mean, REAL *rstd) {
    REAL *sum = malloc((size_t)hidden * sizeof *sum);
    for (int b = 0; b < batch->n_seqs; b++)
        for (int64_t t = batch->cu_seqlens[b]; t < batch->cu_seqlens[b + 1]; t++) {
            int64_t at = t - batch->cu_seqlens[b];
            for (int64_t c = 0; c < hidden; c++)
                sum[c] = (REAL)word[batch->input_ids[t] * hidden + c] + (REAL)position[at * hidden + c] +
                         (REAL)type[batch->types[t] * hidden + c];
            NAME(norm_row)(sum, gamma, beta, eps, hidden, y + t * hidden, mean + t, rstd + t);
            for (int64_t c = 0; c < hidden; c++)
                y[t * hidden + c] =
                    NAME(dropped)(ref_keep_hidden(drop, batch->example_id[b], (int)at, c), y[t * hidden + c], drop);
        }
    free(sum);
}

/* Adds to the tables' and parameters' gradients. `store` rounds one element of the gradient of the sum to what the op
 * keeps of it (NULL: exact). */
static inline void NAME(embed_gradient)(const rt_batch *batch, const float *word, const float *position,
                                        const float *type, const float *gamma, const float *mean, const float *rstd,
                                        const rt_dropout *drop, const float *dy, int64_t hidden, REAL (*store)(REAL),
                                        REAL *dsum, REAL *dword, REAL *dposition, REAL *dtype, REAL *dgamma,
                                        REAL *dbeta) {
    REAL *sum = malloc((size_t)hidden * sizeof *sum), *g = malloc((size_t)hidden * sizeof *g);
    for (int b = 0; b < batch->n_seqs; b++)
        for (int64_t t = batch->cu_seqlens[b]; t < batch->cu_seqlens[b + 1]; t++) {
            int64_t at = t - batch->cu_seqlens[b], id = batch->input_ids[t], ty = batch->types[t];
            for (int64_t c = 0; c < hidden; c++) {
                sum[c] = (REAL)word[id * hidden + c] + (REAL)position[at * hidden + c] + (REAL)type[ty * hidden + c];
                g[c] = NAME(dropped)(ref_keep_hidden(drop, batch->example_id[b], (int)at, c), (REAL)dy[t * hidden + c],
                                     drop);
            }
            NAME(norm_row_gradient)
            (sum, (REAL)mean[t], (REAL)rstd[t], gamma, g, hidden, dsum + t * hidden, dgamma, dbeta);
            for (int64_t c = 0; c < hidden; c++) {
                REAL d = dsum[t * hidden + c];
                if (store) d = store(d);
                dword[id * hidden + c] += d, dposition[at * hidden + c] += d, dtype[ty * hidden + c] += d;
            }
        }
    free(sum), free(g);
}

static inline REAL NAME(softplus)(REAL x) {
    REAL a = x > 0 ? x : -x;
    REAL tail = sizeof(REAL) == 8 ? (REAL)log1p(exp((double)-a)) : (REAL)log1pf(expf((float)-a));
    return (x > 0 ? x : 0) + tail;
}

/* One row; the gradient is without row_scale. */
static inline REAL NAME(classify_row)(const float *z, int labels, int label, float smoothing, REAL *probs,
                                      REAL *gradient) {
    REAL e = (REAL)smoothing;
    if (labels == 1) {
        REAL x = (REAL)z[0], target = (REAL)label * (1 - e) + e / 2;
        REAL p = x >= 0 ? 1 / (1 + NAME(exponential)(-x)) : NAME(exponential)(x) / (1 + NAME(exponential)(x));
        probs[0] = p;
        gradient[0] = p - target;
        return target * NAME(softplus)(-x) + (1 - target) * NAME(softplus)(x);
    }
    REAL top = (REAL)z[0], sum = 0, mean = 0;
    for (int k = 1; k < labels; k++)
        if ((REAL)z[k] > top) top = (REAL)z[k];
    for (int k = 0; k < labels; k++) sum += NAME(exponential)((REAL)z[k] - top);
    REAL log_sum = NAME(logarithm)(sum);
    for (int k = 0; k < labels; k++) {
        probs[k] = NAME(exponential)((REAL)z[k] - top) / sum;
        gradient[k] = probs[k] - (k == label ? 1 - e : 0) - e / (REAL)labels;
        mean += (log_sum - ((REAL)z[k] - top)) / (REAL)labels;
    }
    return (1 - e) * (log_sum - ((REAL)z[label] - top)) + e * mean;
}
