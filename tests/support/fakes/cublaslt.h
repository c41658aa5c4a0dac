/* The fake of cuBLASLt: knobs and counts for tests. What it checks stands in cublaslt.c. */
#ifndef RT_FAKE_CUBLASLT_KNOBS_H
#define RT_FAKE_CUBLASLT_KNOBS_H
#include <cublasLt.h>
#include <stdbool.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    bool knows_nothing;         /* the heuristic has no algorithm for anything */
    bool says_so_by_count;      /* ... and returns success with a count of 0 rather than NOT_SUPPORTED */
    bool needs_split;           /* only algorithms without split sums are known: none with COMPUTE_TYPE in the mask */
    size_t workspace_wanted;    /* what its algorithms ask for, at most what is allowed */
    cublasStatus_t failure;     /* what a call returns that fake_fail_call picks; 0: INTERNAL_ERROR */
    uint64_t asked, multiplied; /* calls of the heuristic, products put on streams */
} fake_cublaslt;
fake_cublaslt *fake_cublaslt_settings(void);

#ifdef __cplusplus
}
#endif
#endif
