/* A network for ranks of one machine: preloaded, it withholds the end of each MPI_Iallreduce, MPI_Ireduce and
 * MPI_Ibcast until a link would have carried it, one transfer after the other. Each rank has such a link of its own; a
 * ring's bytes go over it: 2 (k - 1) / k of a sum's that all of k ranks get, (k - 1) / k where one gets it or one gives
 * it.
 *
 *   SLOW_LINK_GBPS   gigabits a second; 0 or not set: no limit
 *   SLOW_LINK_US     latency of a transfer, microseconds
 *   SLOW_LINK_LOG    a path; what happened goes to PATH.RANK, a line a begin and an end, sums at last:
 *                    begin NUMBER BYTES SECONDS QUESTIONS (since the begin before) / end NUMBER SECONDS /
 *                    all TRANSFERS BYTES LINK WAITED (seconds that the link was busy; that the host did nothing but
 * ask)
 *
 * A request that the caller holds is the address of an entry here, so that MPI may use its own anew as soon as it is
 * done: this wants an MPI whose requests are pointers, as Open MPI's are. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FLIGHTS = 4096 };
/* Questions that follow each other within this are a host that waits. */
static const double AT_ONCE = 1e-3;

typedef struct {
    MPI_Request real;
    double due;
    long number;
    int used, done;
} flight;

static flight flights[FLIGHTS];
static FILE *out;
static double latency, seconds_a_byte, free_at, busy, waited, asked;
static long transfers, bytes_sent, questions;
static int ranks;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double number(const char *name) {
    const char *text = getenv(name);
    return text ? strtod(text, NULL) : 0;
}

static void open_link(void) {
    const char *path = getenv("SLOW_LINK_LOG");
    const double gbps = number("SLOW_LINK_GBPS");
    int rank = 0;
    if (ranks) return;
    PMPI_Comm_size(MPI_COMM_WORLD, &ranks);
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    latency = 1e-6 * number("SLOW_LINK_US");
    seconds_a_byte = gbps > 0 ? 8 / (1e9 * gbps) : 0;
    char name[4096];
    if (path && snprintf(name, sizeof name, "%s.%d", path, rank) < (int)sizeof name) out = fopen(name, "w");
}

/* On the link, `share` of the bytes; the request becomes an entry of ours. */
static int depart(int code, MPI_Request *request, int count, MPI_Datatype type, double share) {
    int size = 0, at = 0;
    if (code != MPI_SUCCESS) return code;
    while (at < FLIGHTS && flights[at].used) at++;
    if (at == FLIGHTS) {
        fprintf(stderr, "slow_link: more than %d transfers under way\n", FLIGHTS);
        abort();
    }
    PMPI_Type_size(type, &size);
    const double begin = now(), bytes = share * (double)size * (double)count;
    const double takes = latency + bytes * seconds_a_byte;
    free_at = (free_at > begin ? free_at : begin) + takes;
    busy += takes, bytes_sent += (long)bytes;
    flights[at] = (flight){.real = *request, .due = free_at, .number = ++transfers, .used = 1};
    if (out) fprintf(out, "begin %ld %.0f %.6f %ld\n", transfers, bytes, begin, questions);
    *request = (MPI_Request)(void *)&flights[at];
    asked = 0, questions = 0;
    return code;
}

int MPI_Iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request) {
    open_link();
    return depart(PMPI_Iallreduce(from, to, n, type, op, comm, request), request, n, type, 2.0 * (ranks - 1) / ranks);
}

int MPI_Ireduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, int root, MPI_Comm comm,
                MPI_Request *request) {
    open_link();
    return depart(PMPI_Ireduce(from, to, n, type, op, root, comm, request), request, n, type,
                  1.0 * (ranks - 1) / ranks);
}

int MPI_Ibcast(void *data, int n, MPI_Datatype type, int root, MPI_Comm comm, MPI_Request *request) {
    open_link();
    return depart(PMPI_Ibcast(data, n, type, root, comm, request), request, n, type, 1.0 * (ranks - 1) / ranks);
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status) {
    flight *f = (flight *)(void *)*request;
    if (f < flights || f >= flights + FLIGHTS) return PMPI_Test(request, flag, status);
    int code = MPI_SUCCESS;
    if (!f->done) code = PMPI_Test(&f->real, &f->done, status);
    const double t = now();
    if (asked > 0 && t - asked < AT_ONCE) waited += t - asked;
    asked = t;
    questions++;
    *flag = f->done && t >= f->due;
    if (!*flag) return code;
    if (out) fprintf(out, "end %ld %.6f\n", f->number, t);
    f->used = 0;
    *request = MPI_REQUEST_NULL;
    return code;
}

int MPI_Finalize(void) {
    if (out) {
        fprintf(out, "all %ld %ld %.6f %.6f\n", transfers, bytes_sent, busy, waited);
        fclose(out);
        out = NULL;
    }
    return PMPI_Finalize();
}
