#include "train.h"
#include <math.h>

double rt_schedule_lr(rt_schedule schedule, double peak, uint64_t step, uint64_t warmup, uint64_t total) {
    if (step < warmup) return peak * ((double)step / (double)warmup);
    if (schedule == RT_SCHEDULE_CONSTANT) return peak;
    if (step >= total) return 0.0;
    uint64_t span = total > warmup ? total - warmup : 1;
    if (schedule == RT_SCHEDULE_LINEAR) return peak * ((double)(total - step) / (double)span);
    return peak * 0.5 * (1.0 + cos(M_PI * ((double)(step - warmup) / (double)span)));
}

uint64_t rt_schedule_warmup_steps(double warmup, uint64_t total) {
    if (!(warmup > 0)) return 0;
    return warmup < 1 ? (uint64_t)(warmup * (double)total) : (uint64_t)warmup;
}

bool rt_every_due(rt_every every, uint64_t a, uint64_t b, uint32_t steps_per_epoch) {
    if (!(every.value > 0) || every.unit == RT_EVERY_MINUTES) return false;
    double period = every.unit == RT_EVERY_EPOCHS ? every.value * steps_per_epoch : every.value;
    if (period < 1) period = 1;
    return floor((double)b / period) > floor((double)a / period);
}
