#include "worker.h"
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct rt_worker {
    pthread_t thread;
    pthread_mutex_t turn; /* held by the caller whose job it is */
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    rt_status (*job)(void *); /* NULL: none waits */
    void *context;
    rt_status status;
    rt_error error; /* of a job that failed */
    bool done, stop;
};

static void *work(void *argument) {
    rt_worker *w = argument;
    /* Numbers in files are written with a point, whatever language the process speaks. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain) uselocale(plain);
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (!w->job) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        rt_status status = w->job(w->context);
        pthread_mutex_lock(&w->lock);
        w->status = status;
        if (status != RT_OK) w->error = *rt_error_get();
        w->job = NULL;
        w->done = true;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    if (plain) {
        uselocale(LC_GLOBAL_LOCALE);
        freelocale(plain);
    }
    return NULL;
}

/* The thread inherits the mask, so that no signal of the process is delivered to it or to the team it makes. */
static int create(rt_worker *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

rt_status rt_worker_start(rt_worker **out) {
    *out = NULL;
    rt_worker *w = calloc(1, sizeof *w);
    if (!w) return rt_fail(RT_ENOMEM, "out of memory for a thread");
    pthread_mutex_init(&w->turn, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    int error = create(w);
    if (error) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        pthread_mutex_destroy(&w->turn);
        free(w);
        return rt_fail(RT_EUNAVAILABLE, "the system gives no thread: %s", strerror(error));
    }
    *out = w;
    return RT_OK;
}

void rt_worker_stop(rt_worker *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->turn);
    free(w);
}

rt_status rt_worker_run(rt_worker *w, rt_status (*job)(void *context), void *context) {
    pthread_mutex_lock(&w->turn);
    pthread_mutex_lock(&w->lock);
    w->job = job;
    w->context = context;
    w->done = false;
    pthread_cond_broadcast(&w->changed);
    while (!w->done) pthread_cond_wait(&w->changed, &w->lock);
    rt_status status = w->status;
    if (status != RT_OK) rt_error_set(&w->error);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_unlock(&w->turn);
    return status;
}
