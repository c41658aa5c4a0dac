/* One thread that does the jobs of many, one after another. A model's matrix work runs here, whoever asks: so its
 * OpenMP team exists once rather than once a caller, a caller's own OpenMP settings and locale stay as they are, and a
 * call from inside a caller's parallel region still has its threads. */
#ifndef RT_API_WORKER_H
#define RT_API_WORKER_H
#include "../base/status.h"

typedef struct rt_worker rt_worker;

/* RT_ENOMEM, RT_EUNAVAILABLE (the system gave no thread). */
rt_status rt_worker_start(rt_worker **out);
/* Ends the thread; nobody may be inside rt_worker_run. NULL-safe. */
void rt_worker_stop(rt_worker *worker);
/* Runs job(context) on the worker's thread and waits for it; the job's status and error record become this thread's.
 * May be called by many threads at once; not from within a job. */
rt_status rt_worker_run(rt_worker *worker, rt_status (*job)(void *context), void *context);

#endif
