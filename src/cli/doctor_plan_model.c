/* The time of a step, from what it must compute, move and send. Nothing here is measured; where the numbers come from:
 *
 * Compute: 2 operations a multiply-add; a layer is 4 h^2 + 2 h f of them a token and 2 h L for attention over L tokens,
 *   forward; backward is twice that. With pooling = cls the last layer runs K and V alone on all tokens (encoder.h).
 * Sums: a ring of k ranks moves (k - 1) / k of the bytes through each link, once to add up and once more to spread the
 *   sums (Patarasuk and Yuan 2009), in k - 1 hops each way. Nodes first add up inside, then each rank of a node sums
 * its 1 / k of them across. Across nodes NCCL takes a double binary tree for all-reduce (log2 of the nodes in hops) but
 * a ring for the reduce and broadcast that shards are made of, and each piece of a shard adds a hop to the pipeline.
 * Overlap: a range's sum begins when backward has passed it and the sum before it has ended, in the last micro-batch
 *   alone (step.c). The embeddings are done last: their sum is never hidden. A layer is taken as one, though its
 *   feed-forward leaves before its attention. A CPU's sums take the very cores that compute, so none is hidden, and all
 *   of the word table is taken to travel.
 * Optimizer: Adam reads and writes 28 bytes an element, its norm reads 4; of shards each rank does 1 / n, but copies
 * the parameters to where they travel and back, 8 bytes an element. Then new parameters go to all: bytes as half a sum.
 * Launches: about 36 kernels a layer and micro-batch, forward and backward, 2.5 us each on the host; the device waits
 *   only where it is done sooner.
 * Input: each rank draws the rows of the whole step, 0.28 us each, and reads its own from the cache, 2.6 us each
 *   (PERFORMANCE.md).
 * Agreement: two rounds a step (signals, loss) around rank 0 over TCP, 30 us there and back and 2 us for each rank that
 *   rank 0 reads and answers. */
#include "doctor_plan.h"
#include <math.h>

static const double launch_seconds = 2.5e-6, kernels_a_layer = 36, draw_seconds = 0.28e-6, read_seconds = 2.6e-6,
                    round_seconds = 30e-6, answer_seconds = 2e-6, block = 65536;

/* Hops inside a node are a fraction of one between nodes. */
static double local_latency(const rt_plan_machine *m) {
    return m->latency / 4;
}

/* One way of a sum: adding up, or spreading. `pieces`: of shards; 0 for an all-reduce. */
static double one_way(const rt_plan_machine *m, double bytes, double pieces) {
    const double k = m->ranks < m->ranks_per_node ? m->ranks : m->ranks_per_node, nodes = ceil(m->ranks / k);
    double hops = nodes - 1;
    if (m->ranks < 2) return 0;
    if (pieces == 0 && nodes > 2) hops = ceil(log2(nodes));
    double inside = (k - 1) / k * bytes / m->node + (k - 1) * local_latency(m);
    double across = (nodes - 1) / nodes * bytes / k / m->network + hops * m->latency;
    return inside + (nodes > 1 ? across : 0) + pieces * (nodes > 1 ? m->latency : local_latency(m));
}

static double sum_range(const rt_plan_machine *m, double elements, double all) {
    if (!m->shard) return 2 * one_way(m, m->sent * elements, 0);
    const double shard = fmax(all / m->ranks, block);
    return one_way(m, m->sent * elements, ceil(elements / shard));
}

/* Operations of one layer, forward, for `tokens` in `rows` rows. */
static double layer_flops(const rt_plan_shape *s, const rt_plan_machine *m, double tokens, double rows, bool first) {
    const double h = s->hidden, f = s->ffn,
                 own = 2 * h * h + 2 * h * f + 2 * h * m->tokens; /* q, out, ffn, attention */
    return 2 * (2 * h * h * tokens + own * (first ? rows : tokens));
}

static double positive(double x) {
    return x > 0 ? x : 0;
}

/* When the last sum ends, after the end of backward. */
static double exposed(const rt_plan_machine *m, const rt_plan_shape *s, const double *backward, double all,
                      double *busy) {
    double now = 0, free_at = 0;
    for (int i = 0; i < s->n_ranges; i++) {
        now += backward[i];
        if (s->ranges[i] == 0) continue;
        double takes = sum_range(m, (double)s->ranges[i], all);
        *busy += takes;
        free_at = fmax(free_at, now) + takes;
    }
    return m->asynchronous ? positive(free_at - now) : *busy;
}

void rt_plan_step_model(const rt_plan_machine *m, const rt_plan_shape *s, rt_plan_step_time *t) {
    const double rows = ceil(m->batch / m->ranks), tokens = rows * m->tokens, speed = m->flops * m->use;
    const double micros = fmax(1, ceil(tokens / m->micro_tokens));
    double all = 0, backward[RT_PLAN_RANGES] = {0};
    *t = (rt_plan_step_time){0};
    int lowest = 0; /* below it nothing learns, so backward ends there */
    for (int i = 0; i < s->n_ranges; i++) {
        all += (double)s->ranges[i];
        if (s->ranges[i]) lowest = i;
    }
    for (int l = 0; l < s->layers; l++) {
        double forward = layer_flops(s, m, tokens, rows, l == 0 && s->first_rows) / speed;
        t->forward += forward;
        if (1 + l > lowest) continue;
        t->backward += 2 * forward;
        backward[1 + l] = 2 * forward / micros; /* the last micro-batch: what sums can hide behind */
    }
    t->sums_exposed = m->ranks > 1 ? exposed(m, s, backward, all, &t->sums) : 0;
    const bool shard = m->shard && m->ranks > 1;
    t->optimizer = (shard ? 32 * all / m->ranks + 8 * all : 32 * all) / m->memory;
    t->gather = shard ? one_way(m, 4 * all, m->ranks) : 0;
    const double device = t->forward + t->backward + t->sums_exposed + t->optimizer + t->gather;
    t->input = draw_seconds * m->batch + read_seconds * rows;
    t->agreement = m->ranks > 1 ? 2 * (round_seconds + answer_seconds * (m->ranks - 1)) : 0;
    t->launches = m->asynchronous ? launch_seconds * kernels_a_layer * s->layers * micros : 0;
    /* Beside a device the host is a second line: what it takes longer than the device is seen, input first. */
    double left = m->asynchronous ? device : 0;
    t->launches_exposed = positive(t->launches - left);
    left = positive(left - t->launches);
    t->input_exposed = positive(t->input - left);
    left = positive(left - t->input);
    t->agreement_exposed = positive(t->agreement - left);
    t->total = device + t->launches_exposed + t->input_exposed + t->agreement_exposed;
}
