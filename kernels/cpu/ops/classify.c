/* The loss of a classifier. A few numbers a row: plain loops in fp64, on one thread, so that the loss is summed in row
 * order and does not depend on the instruction level. */
#include "op.h"
#include "token_walk.h"
#include <math.h>

/* ln(1 + e^x), for any x. */
static inline double softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* One row; its gradient (times `weight`) and probabilities where wanted. The loss is that of label 1 with probability
 * sigmoid(x): t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x. */
static double binary_row(float x, double target, float weight, float *prob, float *gradient) {
    double small = exp(-fabs((double)x)), p = (x < 0 ? small : 1) / (1 + small);
    if (prob) *prob = (float)p;
    if (gradient) *gradient = (float)((double)weight * (p - target));
    return softplus((double)x) - target * (double)x;
}

static double softmax_row(const float *z, int labels, int label, double smoothing, float weight, float *probs,
                          float *gradient) {
    double top = -INFINITY, mean = 0;
    for (int k = 0; k < labels; k++)
        if ((double)z[k] > top) top = (double)z[k]; /* NaN loses here and then shows in the sum */
    double sum = exp((double)z[0] - top);
    for (int k = 1; k < labels; k++) sum += exp((double)z[k] - top);
    double log_sum = log(sum) + top;
    for (int k = 0; k < labels; k++) {
        double p = exp((double)z[k] - top) / sum;
        if (probs) probs[k] = (float)p;
        if (gradient)
            gradient[k] = (float)((double)weight * (p - (k == label ? 1 - smoothing : 0) - smoothing / labels));
        mean += (log_sum - (double)z[k]) / labels;
    }
    if (label < 0) return 0;
    double own = log_sum - (double)z[label];
    return smoothing > 0 ? (1 - smoothing) * own + smoothing * mean : own; /* 0 x infinity would be NaN */
}

static rt_status check(const rt_classify_args *a) {
    RT_TRY(rt_check_sequences(a->batch, "classify"));
    if (a->labels < 1) return rt_fail(RT_ESHAPE, "classify: %d labels; at least 1 is needed", a->labels);
    if (!(a->smoothing >= 0 && a->smoothing <= 1))
        return rt_fail(RT_ESHAPE, "classify: label smoothing %g; 0 to 1 is possible", (double)a->smoothing);
    int most = a->labels == 1 ? 1 : a->labels - 1;
    for (int b = 0; a->with_labels && b < a->batch->n_seqs; b++)
        if (a->batch->labels[b] < 0 || a->batch->labels[b] > most)
            return rt_fail(RT_ESHAPE, "classify: sequence %d has label %d; 0 to %d are possible", b,
                           a->batch->labels[b], most);
    return RT_OK;
}

rt_status RT_OP(rt_cpu_classify)(rt_backend *backend, const rt_classify_args *a) {
    (void)backend;
    RT_TRY(check(a));
    double total = 0, smoothing = (double)a->smoothing;
    for (int64_t b = 0; b < a->batch->n_seqs; b++) {
        const float *z = a->logits + b * a->labels;
        float *probs = a->probs ? a->probs + b * a->labels : NULL;
        float *gradient = a->dlogits && a->with_labels ? a->dlogits + b * a->labels : NULL;
        int label = a->with_labels ? a->batch->labels[b] : -1;
        float weight = a->with_labels ? a->batch->row_scale[b] : 0;
        double loss = a->labels == 1
                          ? binary_row(z[0], label * (1 - smoothing) + smoothing / 2, weight, probs, gradient)
                          : softmax_row(z, a->labels, label, smoothing, weight, probs, gradient);
        if (!a->with_labels) continue;
        if (a->row_loss) a->row_loss[b] = (float)loss;
        total += (double)weight * loss;
    }
    if (a->loss && a->with_labels) *a->loss = total;
    return RT_OK;
}
