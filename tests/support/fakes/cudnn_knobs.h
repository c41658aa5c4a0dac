/* The fake of cuDNN: knobs and counts for tests. What it checks stands in cudnn.c. */
#ifndef RT_FAKE_CUDNN_KNOBS_H
#define RT_FAKE_CUDNN_KNOBS_H
#include <cudnn.h>
#include <stdbool.h>

typedef struct {
    size_t version;           /* 0: 91900 */
    bool knows_nothing;       /* the heuristic has no engine */
    bool first_is_random;     /* the first of its two engines is not deterministic */
    bool first_has_no_plan;   /* ... cannot be planned */
    int64_t workspace;        /* what a plan asks for */
    cudnnStatus_t failure;    /* what a call returns that fake_fail_call picks; 0: INTERNAL_ERROR */
    uint64_t plans, executed; /* plans made, calls put on streams */
    int engine;               /* of the last call: 0 or 1 */
} fake_cudnn;
fake_cudnn *fake_cudnn_settings(void);

#endif
