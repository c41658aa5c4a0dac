/* Attention's launchers: checks, and which of the kernels serves. bf16 goes to tensor cores (attention_forward.cu,
 * attention_backward.cu), fp32 and tf32 to plain FMA (attention_plain.cu), one query a sequence to a kernel that reads
 * each key and value once (attention_first.cu). Which tile sizes run hangs on batch->max_len, the host's bound; how
 * long a sequence is, the kernels read on the device. */
#include "attention.cuh"

static rt_status check(const rt_attention_forward_args *f, const char *op) {
    const int64_t width = (int64_t)f->heads * f->head_dim;
    const rt_batch *batch = f->batch;
    if (f->head_dim != 32 && f->head_dim != 64 && f->head_dim != 128)
        return rt_fail(RT_ESHAPE, "%s: heads of width %d; 32, 64 and 128 are possible on a GPU", op, f->head_dim);
    if (f->heads < 1 || f->heads > 256) return rt_fail(RT_ESHAPE, "%s: %d heads; 1 to 256 are possible", op, f->heads);
    const int64_t strides[] = {f->q_stride, f->k_stride, f->v_stride, f->out_stride};
    for (int64_t stride : strides)
        if (stride < width || stride % 8)
            return rt_fail(
                RT_ESHAPE,
                "%s: row strides q %lld, k %lld, v %lld, out %lld; at least heads x width = %lld each, and a "
                "multiple of 8",
                op, (long long)f->q_stride, (long long)f->k_stride, (long long)f->v_stride, (long long)f->out_stride,
                (long long)width);
    if (f->queries != RT_ROWS_TOKENS && f->queries != RT_ROWS_FIRST)
        return rt_fail(RT_ESHAPE, "%s: queries %d; all tokens (0) or first ones (1) are possible", op, (int)f->queries);
    if (!(f->scale > 0)) return rt_fail(RT_ESHAPE, "%s: scale %g; a positive one is needed", op, (double)f->scale);
    RT_TRY(rt_check_rows(batch, 8, &f->dropout, op)); /* the batch and the dropout; widths were looked at */
    if (batch->max_len < (batch->n_tokens > 0) || batch->max_len > RT_ATTENTION_MOST)
        return rt_fail(RT_ESHAPE, "%s: max_len %d for %d tokens; 1 to %d are possible", op, batch->max_len,
                       batch->n_tokens, (int)RT_ATTENTION_MOST);
    if ((int64_t)batch->n_seqs * f->heads > INT32_MAX - RT_ATTENTION_TAILS)
        return rt_fail(RT_ESHAPE, "%s: %d sequences of %d heads are more than one launch holds", op, batch->n_seqs,
                       f->heads);
    RT_CHECK_ALIGNED(op, f->q, f->k, f->v, f->out);
    return RT_OK;
}

static attention_params params_of(const rt_attention_forward_args *f) {
    attention_params p = {};
    p.places = rt_places_of(f->batch, f->queries);
    p.mask = rt_mask_of(&f->dropout);
    p.q = f->q, p.k = f->k, p.v = f->v, p.out = f->out, p.lse = f->lse;
    p.q_stride = f->q_stride, p.k_stride = f->k_stride, p.v_stride = f->v_stride, p.out_stride = f->out_stride;
    p.rows = rt_rows_of(f->batch, f->queries), p.bucket = f->batch->bucket;
    p.heads = f->heads, p.sharing = f->heads, p.scale = f->scale;
    return p;
}

extern "C" rt_status rt_cuda_attention_forward_launch(const rt_cuda_launch *l, const rt_attention_forward_args *f) {
    RT_TRY(check(f, "attention_forward"));
    const attention_params p = params_of(f);
    if (f->queries == RT_ROWS_FIRST) return attention_forward_first(l, p, f->head_dim);
    if (p.bucket == 0) return RT_OK;
    return l->act == RT_BF16 ? attention_forward_bf16(l, p, f->head_dim, f->batch->max_len)
                             : attention_forward_plain(l, p, f->head_dim, f->batch->max_len);
}

extern "C" rt_status rt_cuda_attention_backward_launch(const rt_cuda_launch *l, const rt_attention_backward_args *a) {
    const rt_attention_forward_args *f = &a->f;
    const int64_t width = (int64_t)f->heads * f->head_dim, strides[] = {a->dq_stride, a->dk_stride, a->dv_stride};
    RT_TRY(check(f, "attention_backward"));
    for (int64_t stride : strides)
        if (stride < width || stride % 8)
            return rt_fail(RT_ESHAPE,
                           "attention_backward: row strides dq %lld, dk %lld, dv %lld; at least heads x width = %lld "
                           "each, and a multiple of 8",
                           (long long)a->dq_stride, (long long)a->dk_stride, (long long)a->dv_stride, (long long)width);
    if (f->batch->n_seqs && !f->lse)
        return rt_fail(RT_ESHAPE, "attention_backward: no log-sum-exp; the forward pass must save it");
    RT_CHECK_ALIGNED("attention_backward", a->dout, a->dq, a->dk, a->dv);
    attention_params p = params_of(f);
    p.dout = a->dout, p.dq = a->dq, p.dk = a->dk, p.dv = a->dv;
    p.dq_stride = a->dq_stride, p.dk_stride = a->dk_stride, p.dv_stride = a->dv_stride;
    if (f->queries == RT_ROWS_FIRST) return attention_backward_first(l, p, f->head_dim);
    if (p.bucket == 0) return RT_OK;
    return l->act == RT_BF16 ? attention_backward_bf16(l, p, f->head_dim, f->batch->max_len)
                             : attention_backward_plain(l, p, f->head_dim, f->batch->max_len);
}
