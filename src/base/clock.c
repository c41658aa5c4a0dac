/* Clocks and spans of time for people. */
#include "clock.h"
#include <math.h>
#include <stdio.h>
#include <time.h>

static double rt_clock_read(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double rt_clock_seconds(void) {
    return rt_clock_read(CLOCK_MONOTONIC);
}
double rt_clock_unix(void) {
    return rt_clock_read(CLOCK_REALTIME);
}

void rt_duration_text(double seconds, char out[32]) {
    if (!(seconds >= 0)) seconds = 0; /* NaN too */
    if (seconds < 9.95) {
        snprintf(out, 32, "%.1f s", seconds);
    } else if (seconds < 59.5) {
        snprintf(out, 32, "%.0f s", seconds);
    } else if (seconds < 3599.5) {
        int s = (int)lround(seconds);
        snprintf(out, 32, "%d min %02d s", s / 60, s % 60);
    } else if (seconds < 1e12) {
        long long m = llround(seconds / 60);
        snprintf(out, 32, "%lld h %02d min", m / 60, (int)(m % 60));
    } else {
        snprintf(out, 32, "for ever");
    }
}
