/* rectrain doctor --plan: how long a step would take on ranks that are not here. */
#ifndef RT_CLI_DOCTOR_PLAN_H
#define RT_CLI_DOCTOR_PLAN_H
#include "cli.h"

/* Ranges of gradients: a model has at most so many layers, and two more. */
enum { RT_PLAN_RANGES = 1026 };

/* What a rank computes on and how ranks reach each other. Bytes and operations a second; seconds. */
typedef struct {
    int ranks, ranks_per_node;
    double tokens, batch; /* of a row; rows of a step over all ranks */
    int micro_tokens;
    double flops, use;    /* the peak, and the share of it that a whole forward and backward reach */
    double memory;        /* bytes read or written */
    double network, node; /* bytes that a rank sends to another node, to its own */
    double latency;       /* one hop between nodes */
    bool asynchronous;    /* a device beside its host: transfers and the host's own work go on while it computes */
    double sent;          /* bytes of an element of the gradient as it travels: distributed.reduce_dtype */
    bool shard;           /* distributed.shard_optimizer */
} rt_plan_machine;

/* The model as the step sees it: trainables in the order in which their gradients are done. */
typedef struct {
    int n_ranges, layers, hidden, ffn;
    bool first_rows;       /* the last layer runs on first rows alone */
    const int64_t *ranges; /* [n_ranges] elements: head, layers from the top, embeddings; 0 where frozen */
} rt_plan_shape;

typedef struct {
    double forward, backward;     /* of all micro-batches */
    double launches, sums, input; /* as long as they take; what of it delays the step: */
    double launches_exposed, sums_exposed, input_exposed;
    double gather, optimizer;
    double agreement, agreement_exposed;
    double total;
} rt_plan_step_time;

void rt_plan_step_model(const rt_plan_machine *machine, const rt_plan_shape *shape, rt_plan_step_time *out);
rt_status rt_doctor_plan(rt_cli *cli, const rt_config *cfg);

#endif
