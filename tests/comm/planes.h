/* One suite for every data plane: what the ranks add up and share must be there, whole or in shards, as fp32 or as
 * bf16. Called by all ranks of a communicator whose plane is attached, with memory of that plane for PLANES_N floats.
 */
#ifndef TEST_COMM_PLANES_H
#define TEST_COMM_PLANES_H
#include "comm/bf16.h"
#include "comm/comm.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* More ranges than a plane keeps under way at once; none of a round length. */
enum { PLANES_N = 5000, PLANES_RANGES = 20, PLANES_RANKS = 8 };
typedef enum { PLANES_WHOLE, PLANES_SPARSE, PLANES_SHARDS, PLANES_GATHER, PLANES_PASSES } planes_pass;
/* What comm->sparse_from and sparse_count name: neither end is a range's or a block's. */
enum { PLANES_FROM = 1003, PLANES_END = 4821 };

typedef struct {
    float *memory;
    rt_status (*put)(void *context, float *memory, const float *values); /* [PLANES_N] */
    rt_status (*get)(void *context, float *values, const float *memory);
    void *context;
} planes_memory;

/* Whole numbers, whose sums fp32 holds in any order; for bf16 numbers that it does not hold. */
static inline float planes_value(bool narrow, planes_pass pass, int rank, int64_t i) {
    /* Blocks of one rank alone, of both, and of none; the last element, of rank 1 alone. */
    if (pass == PLANES_SPARSE && i >= PLANES_FROM && i < PLANES_END && i / 128 % 16 != rank && i / 128 % 16 != 8 &&
        !(i == PLANES_END - 1 && rank == 1))
        return 0;
    if (!narrow) return (float)((i + 1) * (rank + 1));
    if (i == 3 && rank == 0) return NAN;
    if (i == 4 && rank == 1) return INFINITY;
    return (float)(sin(0.7 * (double)i + 1.9 * rank) * exp2((double)(i % 40) - 20));
}

static inline uint32_t planes_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* With u = 2^-8, half of what the last of eight bits is worth: each of R parts is rounded (u of its size), and so is
 * each of the R - 1 sums, none of which is larger than all parts together, grown by at most (1 + u)^R. */
static inline rt_status planes_narrow(int size, planes_pass pass, int64_t i, float got) {
    const double u = 0x1p-8;
    double sum = 0, sizes = 0;
    for (int r = 0; r < size; r++) {
        double x = planes_value(true, pass, r, i);
        sum += x, sizes += fabs(x);
    }
    if (isnan(sum) || isinf(sum)) {
        if (isnan(sum) ? isnan(got) : got == (float)sum) return RT_OK;
        return rt_fail(RT_EINTERNAL, "value %lld: %g, want %g", (long long)i, (double)got, sum);
    }
    if (!(fabs(got - sum) <= size * u * pow(1 + u, size) * sizes))
        return rt_fail(RT_EINTERNAL, "value %lld: %.9g, want %.9g", (long long)i, (double)got, sum);
    if (planes_bits(got) & 0xFFFF)
        return rt_fail(RT_EINTERNAL, "value %lld: %.9g is no bf16", (long long)i, (double)got);
    if (size != 2) return RT_OK;
    /* Two parts leave no order to choose, so the bits are known. */
    float want = rt_bf16_to(rt_bf16_from(rt_bf16_to(rt_bf16_from(planes_value(true, pass, 0, i))) +
                                         rt_bf16_to(rt_bf16_from(planes_value(true, pass, 1, i)))));
    return planes_bits(got) == planes_bits(want) ? RT_OK
                                                 : rt_fail(RT_EINTERNAL, "value %lld: %.9g, want %.9g to the bit",
                                                           (long long)i, (double)got, (double)want);
}

static inline rt_status planes_look(const rt_comm *comm, planes_pass pass, const float *values) {
    const int64_t low = pass == PLANES_SHARDS ? comm->shards[comm->rank] : 0,
                  high = pass == PLANES_SHARDS ? comm->shards[comm->rank + 1] : PLANES_N;
    for (int64_t i = low; i < high; i++) {
        float want = 0;
        for (int r = 0; r < comm->size; r++) want += planes_value(false, pass, r, i);
        if (!comm->narrow && values[i] != want)
            return rt_fail(RT_EINTERNAL, "pass %d, value %lld: %g", (int)pass, (long long)i, (double)values[i]);
        if (comm->narrow) RT_TRY(planes_narrow(comm->size, pass, i, values[i]));
    }
    return RT_OK;
}

static inline rt_status planes_once(rt_comm *comm, const planes_memory *m, planes_pass pass, float *values) {
    /* Sparse ones are worth a look where they are many; a range comes after them. */
    const int ranges = pass == PLANES_SPARSE ? 2 : PLANES_RANGES;
    int64_t at[PLANES_RANGES + 1];
    for (int i = 0; i <= ranges; i++) at[i] = (int64_t)PLANES_N * i * i / (ranges * ranges);
    if (pass == PLANES_SPARSE) at[1] = PLANES_FROM - 100;
    for (int64_t i = 0; i < PLANES_N; i++) values[i] = planes_value(comm->narrow, pass, comm->rank, i);
    RT_TRY(m->put(m->context, m->memory, values));
    for (int i = ranges - 1; i >= 0; i--) {
        RT_TRY(comm->reduce_start(comm, m->memory, at[i], at[i + 1] - at[i]));
        /* One rank hears the answer of all before the next range comes, the others do not ask. */
        for (int n = 0; pass == PLANES_SPARSE && comm->rank == 0 && n < 100; n++, usleep(1000))
            RT_TRY(comm->poll(comm));
    }
    RT_TRY(comm->wait_all(comm));
    if (pass == PLANES_GATHER) RT_TRY(comm->all_gather(comm, m->memory, comm->shards, sizeof *values));
    return m->get(m->context, values, m->memory);
}

/* All ranks have rank 0's bits. */
static inline rt_status planes_same(rt_comm *comm, const float *values, float *scratch) {
    memcpy(scratch, values, PLANES_N * sizeof *values);
    RT_TRY(comm->bcast(comm, scratch, PLANES_N * sizeof *values));
    return memcmp(values, scratch, PLANES_N * sizeof *values) == 0
               ? RT_OK
               : rt_fail(RT_EINTERNAL, "rank %d has other bits than rank 0", comm->rank);
}

/* Every pass twice: the second time has the first's bits. */
static inline rt_status planes_check(rt_comm *comm, const planes_memory *m) {
    static float values[PLANES_N], again[PLANES_N];
    int64_t shards[PLANES_RANKS + 1];
    rt_status rc = RT_OK;
    comm->sparse_from = PLANES_FROM, comm->sparse_count = PLANES_END - PLANES_FROM;
    for (int r = 0; r <= comm->size; r++) shards[r] = (int64_t)PLANES_N * r * r / (comm->size * comm->size);
    for (int pass = 0; pass < PLANES_PASSES; pass++) {
        comm->shards = pass < PLANES_SHARDS ? NULL : shards;
        RT_GO(planes_once(comm, m, (planes_pass)pass, values));
        RT_GO(planes_look(comm, (planes_pass)pass, values));
        RT_GO(planes_once(comm, m, (planes_pass)pass, again));
        const int64_t low = pass == PLANES_SHARDS ? shards[comm->rank] : 0,
                      high = pass == PLANES_SHARDS ? shards[comm->rank + 1] : PLANES_N;
        if (memcmp(values + low, again + low, (size_t)(high - low) * sizeof *values) != 0)
            RT_GO(rt_fail(RT_EINTERNAL, "pass %d: other bits the second time", pass));
        if (pass != PLANES_SHARDS) RT_GO(planes_same(comm, values, again));
    }
done:
    comm->shards = NULL; /* not the communicator's own */
    return rc;
}

#endif
