/* What kind of BERT: sizes and constants of config.json, and what rectrain adds (pooling, labels). Plain data: model
 * knows no file; src/checkpoint reads and writes it. */
#ifndef RT_MODEL_BERT_H
#define RT_MODEL_BERT_H
#include "../base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* What stands for a text: CLS, the first token through BERT's pooler (tanh), below a classifier; MEAN of all tokens;
 * FIRST, the first token as it leaves the last layer: the cls pooling of encoders that give vectors, and no pooler. */
typedef enum { RT_POOL_CLS, RT_POOL_MEAN, RT_POOL_FIRST } rt_pooling;
/* "cls", "mean", "first": as config.json's rectrain.pooling has it. */
const char *rt_pooling_name(rt_pooling pooling);

#define RT_MAX_LABELS 1024

typedef struct {
    int hidden, layers, heads, ffn;       /* hidden_size, num_hidden_layers, num_attention_heads, intermediate_size */
    int vocab, max_positions, type_vocab; /* vocab_size, max_position_embeddings, type_vocab_size */
    float layer_norm_eps, initializer_range;
    float dropout;           /* hidden_dropout_prob */
    float attention_dropout; /* attention_probs_dropout_prob */
    float head_dropout;      /* classifier_dropout; negative: null, dropout's */
    rt_pooling pooling;
    int labels; /* K; 0: no head */
} rt_bert;

/* BertConfig's defaults (Devlin et al. 2018: 12 x 768, eps 1e-12, range 0.02, dropout 0.1), vocabulary and labels 0. */
rt_bert rt_bert_default(void);
/* RT_ECONFIG naming the field: sizes positive and below 2^24, hidden divisible by heads and by 8, head size a multiple
 * of 8, ffn a multiple of 8, dropouts in [0, 1). */
rt_status rt_bert_check(const rt_bert *bert);

#endif
