/* The worker: every job on its one thread, errors handed back, nothing of the caller's thread touched. */
#include "api/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <langinfo.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

typedef struct {
    pthread_t thread;
    int runs, inside, overlaps;
    char radix;
    int own_locale, blocked;
} seen;

static rt_status look(void *context) {
    seen *s = context;
    sigset_t mask;
    s->thread = pthread_self();
    s->overlaps += s->inside++ != 0;
    s->runs++;
    s->radix = nl_langinfo(RADIXCHAR)[0];
    s->own_locale = uselocale((locale_t)0) != LC_GLOBAL_LOCALE;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    s->blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) && sigismember(&mask, SIGCHLD);
    s->inside--;
    return RT_OK;
}

static rt_status refuse(void *context) {
    return rt_fail(RT_EDATA, "refused: %s", (const char *)context);
}

static void test_job_runs_elsewhere(void **state) {
    (void)state;
    rt_worker *w;
    seen s = {0};
    sigset_t mask;
    assert_int_equal(rt_worker_start(&w), RT_OK);
    assert_int_equal(rt_worker_run(w, look, &s), RT_OK);
    assert_false(pthread_equal(s.thread, pthread_self()));
    assert_int_equal(s.radix, '.');
    assert_true(s.own_locale);
    assert_true(s.blocked);
    /* The caller's own mask and locale are as they were. */
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
    assert_true(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    rt_worker_stop(w);
}

static void test_error_comes_back(void **state) {
    (void)state;
    rt_worker *w;
    seen s = {0};
    assert_int_equal(rt_worker_start(&w), RT_OK);
    rt_error_clear();
    assert_int_equal(rt_worker_run(w, refuse, "too late"), RT_EDATA);
    assert_string_equal(rt_error_get()->text, "refused: too late");
    assert_int_equal(rt_error_get()->status, RT_EDATA);
    assert_int_equal(rt_worker_run(w, look, &s), RT_OK);
    rt_worker_stop(w);
}

static void test_stop_without_a_job(void **state) {
    (void)state;
    rt_worker *w;
    rt_worker_stop(NULL);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(rt_worker_start(&w), RT_OK);
        rt_worker_stop(w);
    }
}

enum { CALLERS = 4, JOBS = 500 };
typedef struct {
    rt_worker *worker;
    seen *shared;
    int failures;
} caller;

static void *call(void *context) {
    caller *c = context;
    for (int i = 0; i < JOBS; i++) {
        c->failures += rt_worker_run(c->worker, look, c->shared) != RT_OK;
        /* Each caller gets its own error, whoever else runs a job at that moment. */
        char own[32] = "caller 0";
        own[7] = (char)('0' + i % 10);
        c->failures += rt_worker_run(c->worker, refuse, own) != RT_EDATA;
        c->failures += strcmp(rt_error_get()->text + 9, own) != 0;
    }
    return NULL;
}

static void test_many_callers(void **state) {
    (void)state;
    seen s = {0};
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    rt_worker *w;
    assert_int_equal(rt_worker_start(&w), RT_OK);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){w, &s, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].failures, 0);
    }
    rt_worker_stop(w);
    assert_int_equal(s.runs, CALLERS * JOBS);
    assert_int_equal(s.overlaps, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_runs_elsewhere),
        cmocka_unit_test(test_error_comes_back),
        cmocka_unit_test(test_stop_without_a_job),
        cmocka_unit_test(test_many_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
