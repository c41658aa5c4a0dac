/* What the device's memory holds: the plan's line, and how large micro-batches may be. */
#include "../base/arena.h"
#include "../base/plugin.h"
#include "setup.h"

typedef rt_status (*memory_function)(rt_backend *, size_t *left, size_t *total);

/* The machine's for the CPU; a GPU's own, which its plugin knows. */
static size_t memory_of(const rt_setup *s) {
    rt_plugin_spec spec = rt_setup_cuda_plugin;
    rt_plugin_entry entry;
    size_t left = 0, total = 0;
    if (s->be->host_memory) return rt_memory_total();
    spec.entry = "rt_cuda_memory";
    if (rt_plugin_open(&spec, &entry, NULL) == RT_OK && ((memory_function)entry)(s->be, &left, &total) == RT_OK)
        return total;
    rt_error_clear();
    return 0;
}

static int64_t tokens_in(const rt_setup *s, size_t bytes) {
    return s->bytes_activations_per_1000 ? (int64_t)(bytes / (s->bytes_activations_per_1000 / 1000 + 1)) / 64 * 64 : 0;
}

/* train.micro_batch_tokens = auto: a quarter of the machine's memory after what the model itself needs, for others live
 * there too; of a GPU's three quarters; 512 to 16,384. A function of total memory and model size alone. */
int rt_setup_auto_tokens(const rt_setup *s) {
    const size_t total = memory_of(s), model = s->model.bytes_params + s->model.bytes_train;
    const size_t left = total > model ? total - model : 0;
    const int64_t tokens = tokens_in(s, s->be->host_memory ? left / 4 : left / 4 * 3);
    return tokens < 512 ? 512 : tokens > 16384 ? 16384 : (int)tokens;
}

void rt_setup_memory_text(const rt_setup *s, rt_text *out) {
    const double mib = 1048576.0;
    const size_t total = memory_of(s),
                 taken = s->model.bytes_params + s->model.bytes_train + s->model.bytes_packed + s->bytes_workspace;
    rt_text_printf(
        out,
        "parameters %.0f MiB, gradients and moments %.0f, packed weights %.0f, activations %.0f a 1,000 tokens "
        "(at most %.0f), workspace %.0f",
        (double)s->model.bytes_params / mib, (double)s->model.bytes_train / mib, (double)s->model.bytes_packed / mib,
        (double)s->bytes_activations_per_1000 / mib, (double)s->bytes_activations / mib,
        (double)s->bytes_workspace / mib);
    /* A GPU's driver keeps some hundred MiB for itself. */
    const size_t kept = s->be->host_memory ? 0 : (size_t)512 << 20;
    if (s->bytes_activations_per_1000 && total > taken + kept)
        rt_text_printf(out, "; of %.1f GiB, so micro-batches of up to %lld tokens fit", (double)total / mib / 1024,
                       (long long)tokens_in(s, total - taken - kept));
}
