/* The host plane and the watch, with real processes: what they agree on, and what they say of a rank that dies, stands
 * still, gives up, or is none of theirs. */
#include "ranks.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* --- what ranks agree on ---------------------------------------------------------------------------------------- */

static rt_status collectives(rank_world *w, int rank) {
    rt_comm *c;
    uint32_t flags = 1u << rank;
    double values[2] = {rank + 1.0, 1e16 * (rank == 1) - 1e16 * (rank == 2)};
    char text[16] = "", block[8];
    size_t sizes[RANKS_MAX];
    void *all;
    RT_TRY(ranks_open(w, rank, &c));
    RT_TRY(c->agree(c, &flags));
    RT_TRY(c->sum_f64(c, values, 2));
    if (rank == 0) strcpy(text, "from zero");
    RT_TRY(c->bcast(c, text, sizeof text));
    int n = snprintf(block, sizeof block, "%.*s", rank, "abcdef");
    RT_TRY(c->gather(c, block, (size_t)n, &all, sizes));
    if (rank == 0) w->rank[0].value[4] = memcmp(all, "aababc", 6) == 0 && sizes[0] == 0 && sizes[3] == 3;
    free(all);
    RT_TRY(c->barrier(c));
    RT_TRY(rt_comm_same(c, "meaning", "abc"));
    w->rank[rank].value[0] = flags, w->rank[rank].value[1] = values[0], w->rank[rank].value[2] = values[1];
    w->rank[rank].value[3] = strcmp(text, "from zero") == 0;
    c->close(c, RT_OK);
    return RT_OK;
}

static void agreement(void **state) {
    (void)state;
    rank_world *w = ranks_new(4, 20);
    ranks_run(w, collectives, 30);
    ranks_all_ok(w);
    for (int r = 0; r < 4; r++) {
        assert_true(w->rank[r].value[0] == 15);
        assert_true(w->rank[r].value[1] == 10);
        assert_true(w->rank[r].value[2] == 0); /* 0 + 1e16 - 1e16 + 0, in this order */
        assert_true(w->rank[r].value[3] == 1);
    }
    assert_true(w->rank[0].value[4] == 1);
    ranks_free(w);
}

static rt_status another_meaning(rank_world *w, int rank) {
    rt_comm *c;
    RT_TRY(ranks_open(w, rank, &c));
    rt_status rc = rt_comm_same(c, "meaning", rank == 2 ? "def" : "abc");
    c->close(c, rc);
    return rc;
}

static void differing(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, 20);
    ranks_run(w, another_meaning, 30);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(w->rank[r].status, RT_ECONFIG);
        assert_non_null(strstr(w->rank[r].error, "rank 2 on "));
        assert_non_null(strstr(w->rank[r].error, "another meaning (def) than rank 0"));
    }
    ranks_free(w);
}

static rt_status out_of_step(rank_world *w, int rank) {
    rt_comm *c;
    uint32_t flags = 0;
    double value = 1;
    RT_TRY(ranks_open(w, rank, &c));
    rt_status rc = rank ? c->agree(c, &flags) : c->bcast(c, &value, sizeof value);
    if (rc == RT_OK) rc = c->barrier(c);
    c->close(c, rc);
    return rc;
}

static void steps_are_counted(void **state) {
    (void)state;
    rank_world *w = ranks_new(2, 2);
    ranks_run(w, out_of_step, 20);
    assert_true(w->rank[0].status != RT_OK || w->rank[1].status != RT_OK);
    ranks_free(w);
}

static rt_status one_too_many(rank_world *w, int rank) {
    rt_comm *c;
    RT_TRY(ranks_open(w, rank, &c));
    rt_comm_note(c, "counting", (uint64_t)rank);
    rt_status rc = c->barrier(c);
    uint32_t flags = 0;
    size_t sizes[RANKS_MAX];
    void *all = NULL;
    if (rc == RT_OK) rc = rank ? c->bcast(c, &flags, 4) : c->gather(c, &flags, 4, &all, sizes);
    free(all);
    rt_error why = *rt_error_get();
    c->close(c, rc);
    rt_error_set(&why);
    return rc;
}

/* All wait, none moves: the watch ends it and says where each stands. */
static void deadlock(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, 1);
    ranks_run(w, one_too_many, 30);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(w->rank[r].status, RT_EINTERNAL);
        if (!strstr(w->rank[r].error, "wait for each other: rank 0 at step 0, counting; rank 1 at step 1"))
            fail_msg("rank %d says: %s", r, w->rank[r].error);
    }
    ranks_free(w);
}

/* --- what rank 0 says while it waits ---------------------------------------------------------------------------- */

static rank_world *told_in;
static void take_waiting(void *context, const char *what) {
    if (context != &told_in || told_in->rank[0].error[0]) return;
    snprintf(told_in->rank[0].error, sizeof told_in->rank[0].error, "%s", what);
    told_in->started = 1; /* the others may end their work */
}

/* The last rank works, as the first of another node does that has to tokenise, until rank 0 has said so. */
static rt_status work_while_others_wait(rank_world *w, int rank) {
    rt_comm *c;
    rt_launch l = ranks_launch(w, rank);
    l.local_rank = rank / 2, l.local_size = 2;
    told_in = w;
    rt_comm_options o = {.timeout = w->timeout, .listener = rank ? -1 : w->listener, .waiting = take_waiting};
    o.context = &told_in;
    RT_TRY(rt_comm_tcp(&l, &o, &c));
    double until = rt_clock_seconds() + 60;
    while (rank == w->size - 1 && w->started == 0 && rt_clock_seconds() < until) {
        rt_comm_note(c, "tokenising data.train", 0);
        usleep(1000);
    }
    rt_status rc = c->barrier(c);
    c->close(c, rc);
    return rc;
}

static void waiting_is_told(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, 5);
    ranks_run(w, work_while_others_wait, 90);
    for (int r = 0; r < 3; r++) assert_int_equal(w->rank[r].status, RT_OK);
    if (strncmp(w->rank[0].error, "waiting for rank 2 on ", 22) != 0 ||
        !strstr(w->rank[0].error, " (tokenising data.train)") || strchr(w->rank[0].error, ','))
        fail_msg("%s", w->rank[0].error);
    ranks_free(w);
}

/* --- who may come ----------------------------------------------------------------------------------------------- */

static rt_status come(rank_world *w, int rank) {
    rt_comm *c;
    RT_TRY(ranks_open(w, rank, &c));
    rt_status rc = c->barrier(c);
    rt_error why = *rt_error_get();
    c->close(c, rc);
    rt_error_set(&why);
    return rc;
}

static void missing_rank(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, 1);
    ranks_start(w, 0, come);
    ranks_start(w, 1, come);
    close(w->listener);
    ranks_wait(w, 0, 20);
    ranks_wait(w, 1, 20);
    assert_int_equal(w->rank[0].status, RT_EUNAVAILABLE);
    assert_non_null(strstr(w->rank[0].error, "of 3 ranks, 1 did not come within 1 s"));
    assert_non_null(strstr(w->rank[0].error, "rank 2;"));
    ranks_free(w);
}

/* Bytes of a stranger: nothing, noise, a frame of a terabyte, a hello with another token. */
static void knock(int port, int how) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    unsigned char noise[4096];
    memset(noise, 0xA5, sizeof noise);
    struct {
        uint32_t magic, kind;
        uint64_t size;
    } huge = {0x4e525452, RT_CHANNEL_HOST, UINT64_C(1) << 40}, right = {0x4e525452, RT_CHANNEL_HOST, sizeof(rt_hello)};
    rt_hello hello = {
        .version = RT_WIRE_VERSION, .channel = RT_CHANNEL_HOST, .rank = 1, .size = 2, .token = "another run"};
    ssize_t sent = 0;
    if (how == 1) sent = write(fd, noise, sizeof noise);
    if (how == 2) sent = write(fd, &huge, sizeof huge);
    if (how == 3) sent = write(fd, &right, sizeof right) + write(fd, &hello, sizeof hello);
    assert_true(sent >= 0);
    if (how) usleep(20000); /* it is looked at before it is gone */
    close(fd);
}

static void strangers(void **state) {
    (void)state;
    rank_world *w = ranks_new(2, 20);
    for (int how = 0; how < 4; how++) knock(w->port, how);
    ranks_run(w, come, 30);
    ranks_all_ok(w);
    ranks_free(w);
    w = ranks_new(2, 1); /* a rank of another run is one too */
    w->token[1] = "yesterday's run";
    ranks_run(w, come, 20);
    assert_int_equal(w->rank[0].status, RT_EUNAVAILABLE);
    assert_non_null(strstr(w->rank[0].error, "of strangers refused"));
    assert_int_not_equal(w->rank[1].status, RT_OK);
    ranks_free(w);
}

static rt_status wrong_size(rank_world *w, int rank) {
    rt_comm *c;
    rt_launch l = ranks_launch(w, rank);
    if (rank) l.size = 3;
    RT_TRY(rt_comm_tcp(&l, &(rt_comm_options){.timeout = w->timeout, .listener = rank ? -1 : w->listener}, &c));
    c->close(c, RT_OK);
    return RT_OK;
}

static void another_size(void **state) {
    (void)state;
    rank_world *w = ranks_new(2, 2);
    ranks_run(w, wrong_size, 20);
    assert_int_equal(w->rank[0].status, RT_ECONFIG);
    assert_non_null(strstr(w->rank[0].error, "rank 1 of 3, but rank 0 knows of 2"));
    ranks_free(w);
}

/* --- who is to blame -------------------------------------------------------------------------------------------- */

enum { TIMEOUT = 2 };

/* Steps of a run; rank 2 meets its fate at step 5. */
static rt_status steps(rank_world *w, int rank, void (*fate)(rank_world *, rt_comm *)) {
    rt_comm *c;
    rt_status rc = RT_OK;
    RT_TRY(ranks_open(w, rank, &c));
    for (uint64_t step = 0; rc == RT_OK && step < 1000; step++) {
        uint32_t flags = 0;
        rt_comm_note(c, "adding up gradients", step);
        if (rank == 2 && step == 5) {
            rc = c->barrier(c); /* what was noted has reached rank 0 */
            usleep(TIMEOUT * 150000);
            w->started = rt_clock_seconds();
            fate(w, c);
        } else if (step == 5) {
            rc = c->barrier(c);
        }
        if (rc == RT_OK) rc = c->agree(c, &flags);
    }
    rt_error why = *rt_error_get();
    c->close(c, rc);
    rt_error_set(&why);
    return rc;
}

static void dies(rank_world *w, rt_comm *c) {
    (void)w, (void)c;
    raise(SIGKILL);
}
static void stands_still(rank_world *w, rt_comm *c) {
    (void)w, (void)c;
    for (;;) sleep(1);
}
static void is_stopped(rank_world *w, rt_comm *c) {
    (void)w, (void)c;
    raise(SIGSTOP);
}
static void gives_up(rank_world *w, rt_comm *c) {
    (void)w;
    c->abort(c, RT_EIO, "train.tsv: no space left on device");
    rt_fail(RT_EIO, "train.tsv: no space left on device");
    c->close(c, RT_EIO);
    _exit(0);
}
static rt_status with_death(rank_world *w, int rank) {
    return steps(w, rank, dies);
}
static rt_status with_still(rank_world *w, int rank) {
    return steps(w, rank, stands_still);
}
static rt_status with_stop(rank_world *w, int rank) {
    return steps(w, rank, is_stopped);
}
static rt_status with_giving_up(rank_world *w, int rank) {
    return steps(w, rank, gives_up);
}

/* All others end within the timeout, name rank 2, its step and what it did. */
static void check_blame(rank_body body, rt_status status, const char *what, bool kill_it) {
    rank_world *w = ranks_new(4, TIMEOUT);
    for (int r = 0; r < 4; r++) ranks_start(w, r, body);
    close(w->listener);
    for (int r = 0; r < 4; r++)
        if (r != 2) ranks_wait(w, r, 30);
    if (kill_it) kill(w->pid[2], SIGKILL);
    ranks_wait(w, 2, 30);
    for (int r = 0; r < 4; r++) {
        if (r == 2) continue;
        assert_int_equal(w->rank[r].status, status);
        if (!strstr(w->rank[r].error, "rank 2 on ") || !strstr(w->rank[r].error, what))
            fail_msg("rank %d says: %s; expected rank 2 ... %s", r, w->rank[r].error, what);
        /* The machine may be busy: twice the timeout is still far from for ever. */
        if (!(w->rank[r].seconds < 2 * TIMEOUT)) fail_msg("rank %d took %.1f s", r, w->rank[r].seconds);
    }
    ranks_free(w);
}

static void death(void **state) {
    (void)state;
    check_blame(with_death, RT_EUNAVAILABLE, "died; last heard of at step 5, adding up gradients", false);
}
static void standing_still(void **state) {
    (void)state;
    check_blame(with_still, RT_EUNAVAILABLE, "has not moved for", true);
}
static void stopped(void **state) {
    (void)state;
    check_blame(with_stop, RT_EUNAVAILABLE, "has not answered for", true);
}
static void giving_up(void **state) {
    (void)state;
    check_blame(with_giving_up, RT_EIO, "ended: train.tsv: no space left", false);
}

static rt_status zero_dies(rank_world *w, int rank) {
    rt_comm *c;
    RT_TRY(ranks_open(w, rank, &c));
    rt_status rc = c->barrier(c);
    if (rank == 0) {
        w->started = rt_clock_seconds();
        raise(SIGKILL);
    }
    for (int i = 0; rc == RT_OK && i < 100; i++) rc = c->barrier(c);
    rt_error why = *rt_error_get();
    c->close(c, rc);
    rt_error_set(&why);
    return rc;
}

static void death_of_zero(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, TIMEOUT);
    ranks_run(w, zero_dies, 30);
    for (int r = 1; r < 3; r++) {
        assert_int_equal(w->rank[r].status, RT_EUNAVAILABLE);
        if (!strstr(w->rank[r].error, "rank 0 ")) fail_msg("rank %d says: %s", r, w->rank[r].error);
    }
    ranks_free(w);
}

/* A main thread that never comes back to look: the watch has the last word. */
static void end_process(const rt_error *why) {
    _exit(strstr(why->text, "rank 1 on ") ? 42 : 43);
}

static rt_status deaf(rank_world *w, int rank) {
    rt_comm *c;
    rt_launch l = ranks_launch(w, rank);
    RT_TRY(rt_comm_tcp(
        &l, &(rt_comm_options){.timeout = 1, .listener = rank ? -1 : w->listener, .last_resort = end_process}, &c));
    RT_TRY(c->barrier(c));
    if (rank == 1) raise(SIGKILL);
    for (int i = 0; i < 300; i++) {
        usleep(100000);
        rt_comm_note(c, "deaf", 0);
    }
    return RT_OK;
}

static void last_resort(void **state) {
    (void)state;
    rank_world *w = ranks_new(3, 1);
    ranks_run(w, deaf, 30);
    for (int r = 0; r < 3; r += 2) {
        assert_true(WIFEXITED(w->wait_status[r]));
        assert_int_equal(WEXITSTATUS(w->wait_status[r]), 42);
    }
    ranks_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreement),    cmocka_unit_test(differing),       cmocka_unit_test(steps_are_counted),
        cmocka_unit_test(missing_rank), cmocka_unit_test(strangers),       cmocka_unit_test(another_size),
        cmocka_unit_test(death),        cmocka_unit_test(standing_still),  cmocka_unit_test(stopped),
        cmocka_unit_test(giving_up),    cmocka_unit_test(death_of_zero),   cmocka_unit_test(last_resort),
        cmocka_unit_test(deadlock),     cmocka_unit_test(waiting_is_told),
    };
    return cmocka_run_group_tests_name("comm", tests, NULL, NULL);
}
