/* Rank 0's own name may be unknown for the first seconds: it is waited for, told once, and not for ever. The name
 * service of this test forgets names for a while. */
#include "ranks.h"
#include <dlfcn.h>
#include <netdb.h>

static int unknown_for, asked;

/* In place of the C library's. */
int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out) {
    typedef int function(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    static function *real;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (asked++ < unknown_for) return EAI_NONAME;
    return real(name, service, hints, out);
}

static int told;
static char words[RT_ERROR_TEXT];
static void await(void *context, const char *what) {
    assert_ptr_equal(context, words);
    told++;
    snprintf(words, sizeof words, "%s", what);
}

static void known_after_a_while(void **state) {
    (void)state;
    asked = told = 0, unknown_for = 3;
    assert_int_equal(rt_wire_resolve("127.0.0.1", rt_clock_seconds() + 60, NULL, await, words), RT_OK);
    assert_int_equal(asked, 4);
    assert_int_equal(told, 1);
    assert_string_equal(words, "rank 0's address 127.0.0.1: Name or service not known");
    /* Nothing is said of a name that is known. */
    asked = told = 0, unknown_for = 0;
    assert_int_equal(rt_wire_resolve("127.0.0.1", rt_clock_seconds() + 60, NULL, await, words), RT_OK);
    assert_int_equal(told, 0);
}

static void never_known(void **state) {
    (void)state;
    asked = told = 0, unknown_for = 1000000;
    assert_int_equal(rt_wire_resolve("rank0.cluster", rt_clock_seconds() + 0.3, NULL, await, words), RT_EUNAVAILABLE);
    assert_int_equal(told, 1);
    assert_true(asked >= 2);
    const char *said = rt_error_get()->text;
    if (!strstr(said, "rank 0's address rank0.cluster: Name or service not known") || !strstr(said, "MASTER_ADDR"))
        fail_msg("%s", said);
}

static bool at_once(void) {
    return true;
}

static void a_signal_ends_it(void **state) {
    (void)state;
    asked = 0, unknown_for = 1000000;
    assert_int_equal(rt_wire_resolve("rank0.cluster", rt_clock_seconds() + 600, at_once, NULL, NULL), RT_ESTOPPED);
}

/* The whole meeting, both ranks without a name at first. */
static rt_status meet(rank_world *w, int rank) {
    rt_comm *c;
    rt_launch l = ranks_launch(w, rank);
    asked = told = 0, unknown_for = 2;
    RT_TRY(rt_comm_tcp(&l, &(rt_comm_options){.timeout = 60, .listener = -1, .await = await, .context = words}, &c));
    w->rank[rank].value[0] = told;
    RT_TRY(c->barrier(c));
    c->close(c, RT_OK);
    return RT_OK;
}

static void ranks_meet(void **state) {
    (void)state;
    unknown_for = 0;
    rank_world *w = ranks_new(2, 60);
    close(w->listener); /* rank 0 listens itself, on the port that was free */
    ranks_start(w, 0, meet);
    ranks_start(w, 1, meet);
    ranks_wait(w, 0, 60);
    ranks_wait(w, 1, 60);
    ranks_all_ok(w);
    assert_true(w->rank[0].value[0] == 1 && w->rank[1].value[0] == 0);
    ranks_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_after_a_while), cmocka_unit_test(never_known),
                                       cmocka_unit_test(a_signal_ends_it), cmocka_unit_test(ranks_meet)};
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
