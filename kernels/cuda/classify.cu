/* The loss of a classifier, its gradient and probabilities: a few numbers a row, in fp64, so that loss and gradient are
 * those of the CPU to the last digits.
 *
 * classify: one block of 256 threads, a thread a row, 256 rows at a time; thread 0 adds the rows' losses in row order.
 *   shared   2,048 bytes
 *   bytes    a row: reads 4 K + 8, writes 4 K (dlogits) + 4 K (probs) + 4
 *   work     K exp, one log, in fp64: latency of one block, about 10 microseconds for 256 rows (an estimate) */
#include "common.cuh"

struct classify_params {
    const float *logits, *row_scale;
    const int32_t *targets;
    double smoothing;
    double *loss;
    float *row_loss, *probs, *dlogits;
    int32_t rows, labels;
    bool with_labels;
};

/* ln(1 + e^x), for any x. */
static __device__ __forceinline__ double softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static __device__ double binary_row(float x, double target, float weight, float *prob, float *gradient) {
    const double small = exp(-fabs((double)x)), p = (x < 0 ? small : 1) / (1 + small);
    if (prob) *prob = (float)p;
    if (gradient) *gradient = (float)((double)weight * (p - target));
    return softplus((double)x) - target * (double)x;
}

static __device__ double softmax_row(const float *z, int labels, int label, double smoothing, float weight,
                                     float *probs, float *gradient) {
    double top = -INFINITY, mean = 0, sum = 0;
    for (int k = 0; k < labels; k++)
        if ((double)z[k] > top) top = (double)z[k]; /* NaN loses here and then shows in the sum */
    for (int k = 0; k < labels; k++) sum += exp((double)z[k] - top);
    const double log_sum = log(sum) + top;
    for (int k = 0; k < labels; k++) {
        const double p = exp((double)z[k] - top) / sum;
        if (probs) probs[k] = (float)p;
        if (gradient)
            gradient[k] = (float)((double)weight * (p - (k == label ? 1 - smoothing : 0) - smoothing / labels));
        mean += (log_sum - (double)z[k]) / labels;
    }
    if (label < 0) return 0;
    const double own = log_sum - (double)z[label];
    return smoothing > 0 ? (1 - smoothing) * own + smoothing * mean : own; /* 0 x infinity would be NaN */
}

static __global__ void __launch_bounds__(256, 1) classify_kernel(classify_params a) {
    RT_SHARED(double, terms, 256);
    double total = 0;
    for (int32_t first = 0; first < a.rows; first += 256) {
        const int32_t b = first + (int32_t)threadIdx.x;
        double term = 0;
        if (b < a.rows) {
            const int64_t at = (int64_t)b * a.labels;
            float *probs = a.probs ? a.probs + at : NULL;
            float *gradient = a.dlogits && a.with_labels ? a.dlogits + at : NULL;
            const float weight = a.with_labels ? a.row_scale[b] : 0;
            int32_t label = a.with_labels ? a.targets[b] : -1;
            /* No such label: only a row without weight may be so, else the loss shows it. */
            const bool none = a.with_labels && (label < 0 || label > (a.labels == 1 ? 1 : a.labels - 1));
            if (none) label = a.labels == 1 ? 0 : -1;
            double loss =
                a.labels == 1
                    ? binary_row(a.logits[at], label * (1 - a.smoothing) + a.smoothing / 2, weight, probs, gradient)
                    : softmax_row(a.logits + at, a.labels, label, a.smoothing, weight, probs, gradient);
            if (none) loss = weight == 0 ? 0 : (double)NAN;
            if (a.with_labels && a.row_loss) a.row_loss[b] = (float)loss;
            term = (double)weight * loss;
        }
        terms[threadIdx.x] = term;
        __syncthreads();
        if (threadIdx.x == 0)
            for (int32_t i = 0; i < 256 && first + i < a.rows; i++) total += terms[i];
        __syncthreads();
    }
    if (threadIdx.x == 0 && a.loss && a.with_labels) *a.loss = total;
}

extern "C" rt_status rt_cuda_classify_launch(const rt_cuda_launch *l, const rt_classify_args *a) {
    if (a->labels < 1) return rt_fail(RT_ESHAPE, "classify: %d labels; at least 1 is needed", a->labels);
    if (!(a->smoothing >= 0 && a->smoothing <= 1))
        return rt_fail(RT_ESHAPE, "classify: label smoothing %g; 0 to 1 is possible", (double)a->smoothing);
    if (a->batch->n_seqs < 0) return rt_fail(RT_ESHAPE, "classify: a batch of %d sequences", a->batch->n_seqs);
    classify_params p = {a->logits,        a->batch->row_scale, a->batch->labels, (double)a->smoothing,
                         a->loss,          a->row_loss,         a->probs,         a->dlogits,
                         a->batch->n_seqs, a->labels,           a->with_labels};
    return rt_launch(classify_kernel, dim3(1), dim3(256), 0, l->stream, p);
}
