/* The contrastive loss on scores: softmax over the texts of a batch, what is masked, and the gradient. Host memory and
 * plain mathematics; contrastive.c gives it blocks of scores and takes their gradients.
 *
 * B rows (clicked pairs), N documents: the B texts b of the rows, then the negatives, column by column. With unit
 * vectors q, d and s_ij = scale q_i d_j - [log_share_j] (documents 0 .. B - 1 alone have a share):
 *
 *   l_i = ln sum_j exp s_ij - s_ii              over the documents j that are not masked for i
 *   symmetric: l_i = half of that and of  ln sum_k exp s_ki - s_ii  over the rows k that are not masked for i
 *   loss = sum_i w_i l_i
 *
 * Oord, Li, Vinyals 2018 (InfoNCE); Henderson et al. 2017 (multiple negatives); Yi et al. 2019 (log share). Masked for
 * row i: a missing negative; where asked for, a document j != i of the same item or text as i's, or a click of i's
 * user.
 */
#ifndef RT_OBJECTIVE_CONTRAST_H
#define RT_OBJECTIVE_CONTRAST_H
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int rows, documents; /* B, N >= B */
    double scale;
    bool symmetric, mask_clicked;
    const float *weights;          /* [B] w_i */
    const uint64_t *users, *items; /* [B] */
    const uint64_t *texts;         /* [N] */
    const unsigned char *missing;  /* [N] 1: a negative that the row has not */
    const float *log_share;        /* [B] or NULL */
    double *row_lse, *column_lse;  /* [B] results of rt_contrast_rows, rt_contrast_columns_end */
    double *column_max;            /* [B] scratch; column_lse is the sum until then */
    double *losses;                /* [B] l_i without w_i */
} rt_contrast;

/* Scores of rows first .. first + n - 1 against all documents lie in tiles of RT_CONTRAST_TILE columns (the last may be
 * narrower): column j of row first + r at tile(j) [r * width(tile) + j % RT_CONTRAST_TILE], tile after tile. */
enum { RT_CONTRAST_TILE = 4096 };
static inline int rt_contrast_width(const rt_contrast *c, int tile) {
    int left = c->documents - tile * RT_CONTRAST_TILE;
    return left < RT_CONTRAST_TILE ? left : RT_CONTRAST_TILE;
}
static inline float *rt_contrast_tile(float *scores, int n, int tile) {
    return scores + (int64_t)tile * n * RT_CONTRAST_TILE;
}

/* Cosines become s_ij, -infinity where masked. */
void rt_contrast_scores(const rt_contrast *c, float *scores, int first, int n);
/* row_lse and the forward half of losses of these rows. */
void rt_contrast_rows(const rt_contrast *c, const float *scores, int first, int n);
/* Symmetric: begin, the blocks of rows in order, end: column_lse, and losses get their other half. */
void rt_contrast_columns_begin(const rt_contrast *c);
void rt_contrast_columns(const rt_contrast *c, const float *scores, int first, int n);
void rt_contrast_columns_end(const rt_contrast *c);
/* s_ij become dloss / dcosine. Symmetric: after the columns' end. */
void rt_contrast_gradient(const rt_contrast *c, float *scores, int first, int n);
/* sum_i w_i l_i, in row order. */
double rt_contrast_loss(const rt_contrast *c);

/* y = x / |x|, lengths in fp64, [n, width]; norms [n]. A row of zeros stays. y may be x. */
void rt_contrast_normalise(const float *x, float *y, double *norms, int n, int width);
/* dx = (dy - (dy y) y) / |x|; 0 for a row of zeros. dx may be dy. */
void rt_contrast_normalise_backward(const float *y, const double *norms, const float *dy, float *dx, int n, int width);

#endif
