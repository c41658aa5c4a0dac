/* /state of last.h5: what a resumed run needs besides tensors, as JSON with fixed key order (same state, same bytes).
 */
#ifndef RT_CLI_RUN_STATE_H
#define RT_CLI_RUN_STATE_H
#include "../base/digest.h"
#include "../base/text.h"
#include "../train/train.h"

typedef struct {
    rt_train_state train;
    uint32_t epoch, step_in_epoch;       /* of the next step; told for people, derived from step */
    int micro_batch_tokens;              /* as resolved */
    double class_weights[RT_MAX_LABELS]; /* resolved; n_class_weights 0: none */
    int n_class_weights;
    char data_digest[33], vocab_digest[33], meaning_digest[33], gemm_digest[33];
    int tokenizer_version;
} rt_run_state;

void rt_run_state_write(const rt_run_state *state, const char *const *labels, int n_labels, rt_text *out);
/* RT_EDATA names the file and key of what is missing or out of range. */
rt_status rt_run_state_parse(const char *json, size_t size, const char *name, rt_run_state *out);

#endif
