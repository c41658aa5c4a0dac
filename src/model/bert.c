#include "bert.h"
#include <rectrain/types.h>

rt_bert rt_bert_default(void) {
    return (rt_bert){.hidden = 768,
                     .layers = 12,
                     .heads = 12,
                     .ffn = 3072,
                     .vocab = 0,
                     .max_positions = 512,
                     .type_vocab = 2,
                     .layer_norm_eps = 1e-12f,
                     .initializer_range = 0.02f,
                     .dropout = 0.1f,
                     .attention_dropout = 0.1f,
                     .head_dropout = -1.0f,
                     .pooling = RT_POOL_CLS,
                     .labels = 0};
}

const char *rt_pooling_name(rt_pooling pooling) {
    static const char *const names[] = {[RT_POOL_CLS] = "cls", [RT_POOL_MEAN] = "mean", [RT_POOL_FIRST] = "first"};
    return names[pooling];
}

static rt_status check_range(const char *field, int value, int low, int high) {
    if (value < low || value > high)
        return rt_fail(RT_ECONFIG, "%s = %d: expected a whole number from %d to %d", field, value, low, high);
    return RT_OK;
}

static rt_status check_rate(const char *field, float value) {
    if (!(value >= 0.0f && value < 1.0f))
        return rt_fail(RT_ECONFIG, "%s = %g: expected 0 <= p < 1", field, (double)value);
    return RT_OK;
}

rt_status rt_bert_check(const rt_bert *b) {
    RT_TRY(check_range("hidden_size", b->hidden, 8, 1 << 15));
    RT_TRY(check_range("num_hidden_layers", b->layers, 1, 1 << 10));
    RT_TRY(check_range("num_attention_heads", b->heads, 1, 256)); /* the dropout counter has 8 bits for a head */
    RT_TRY(check_range("intermediate_size", b->ffn, 8, 1 << 17));
    RT_TRY(check_range("vocab_size", b->vocab, 1, (1 << 24) - 1));
    RT_TRY(check_range("max_position_embeddings", b->max_positions, 3, 1 << 15));
    RT_TRY(check_range("type_vocab_size", b->type_vocab, 1, 1 << 10));
    RT_TRY(check_range("num_labels", b->labels, 0, RT_MAX_LABELS));
    if (b->hidden % b->heads)
        return rt_fail(RT_ECONFIG, "hidden_size = %d is not divisible by num_attention_heads = %d", b->hidden,
                       b->heads);
    if (b->hidden / b->heads % 8)
        return rt_fail(RT_ECONFIG, "hidden_size / num_attention_heads = %d: expected a head size divisible by 8",
                       b->hidden / b->heads);
    if (b->ffn % 8) return rt_fail(RT_ECONFIG, "intermediate_size = %d: expected a multiple of 8", b->ffn);
    if (!(b->layer_norm_eps > 0.0f && b->layer_norm_eps < 1.0f))
        return rt_fail(RT_ECONFIG, "layer_norm_eps = %g: expected 0 < eps < 1", (double)b->layer_norm_eps);
    if (!(b->initializer_range >= 0.0f && b->initializer_range <= 10.0f))
        return rt_fail(RT_ECONFIG, "initializer_range = %g: expected 0 to 10", (double)b->initializer_range);
    RT_TRY(check_rate("hidden_dropout_prob", b->dropout));
    RT_TRY(check_rate("attention_probs_dropout_prob", b->attention_dropout));
    if (b->head_dropout >= 0.0f || b->head_dropout != b->head_dropout)
        RT_TRY(check_rate("classifier_dropout", b->head_dropout));
    return RT_OK;
}
