/* Which device computes: run.device, run.precision, run.threads. */
#include "../base/plugin.h"
#include "ranks.h"
#include "setup.h"
#include <rectrain/kernels.h>

typedef rt_status (*open_function)(const rt_backend_options *, rt_backend **);

static const char *precision_name(rt_precision precision) {
    return precision == RT_PRECISION_BF16 ? "bf16" : precision == RT_PRECISION_TF32 ? "tf32" : "fp32";
}

const rt_plugin_spec rt_setup_cuda_plugin = {
    .file = "rectrain-cuda.so", .abi_symbol = "rt_cuda_abi", .abi = RT_KERNELS_ABI, .entry = "rt_cuda_backend_open"};

rt_status rt_setup_open_cuda(const rt_backend_options *options, rt_backend **out, char **plugin) {
    rt_plugin_entry entry;
    *out = NULL;
    RT_TRY(rt_plugin_open(&rt_setup_cuda_plugin, &entry, plugin));
    return ((open_function)entry)(options, out);
}

/* Of several ranks on this node each takes the GPU of its number; one process takes the first. */
static int device_number(const rt_setup *s) {
    return s->launch.size > 1 ? s->launch.local_rank : -1;
}

/* auto: bf16 where the GPU computes it (RT_ECONFIG: it does not). */
static rt_status open_cuda(rt_setup *s, const char **why) {
    const rt_config_precision wanted = s->cfg->run.precision;
    const bool chooses =
        wanted != RT_CFG_PRECISION_FP32 && wanted != RT_CFG_PRECISION_TF32 && wanted != RT_CFG_PRECISION_BF16;
    rt_backend_options options = {.precision = wanted == RT_CFG_PRECISION_FP32   ? RT_PRECISION_FP32
                                               : wanted == RT_CFG_PRECISION_TF32 ? RT_PRECISION_TF32
                                                                                 : RT_PRECISION_BF16,
                                  .device = device_number(s)};
    *why = chooses ? "auto: the GPU computes bf16" : "as configured";
    rt_status rc = rt_setup_open_cuda(&options, &s->be, NULL);
    if (chooses && rc == RT_ECONFIG) {
        options.precision = RT_PRECISION_FP32;
        *why = "auto: the GPU has no bf16 units";
        rc = rt_setup_open_cuda(&options, &s->be, NULL);
    }
    s->precision = options.precision;
    return rc;
}

static rt_status open_cpu(rt_setup *s, const char **why) {
    const bool bf16 = rt_cpu_has_bf16();
    *why = "as configured";
    switch (s->cfg->run.precision) {
    case RT_CFG_PRECISION_FP32:
        s->precision = RT_PRECISION_FP32;
        break;
    case RT_CFG_PRECISION_TF32:
        s->precision = RT_PRECISION_TF32;
        break;
    case RT_CFG_PRECISION_BF16:
        s->precision = RT_PRECISION_BF16;
        break;
    default:
        s->precision = bf16 ? RT_PRECISION_BF16 : RT_PRECISION_FP32;
        *why = bf16 ? "auto: the processor computes bf16" : "auto: the processor has no bf16 units";
    }
    int threads = s->cfg->run.threads ? s->cfg->run.threads : rt_cli_ranks_threads(&s->launch);
    return rt_cpu_backend_open(&(rt_backend_options){.precision = s->precision, .threads = threads, .device = -1},
                               &s->be);
}

rt_status rt_setup_backend(rt_setup *s) {
    const rt_config_device device = s->cfg->run.device;
    const char *why;
    rt_status rc = device == RT_DEVICE_CPU ? RT_EUNAVAILABLE : open_cuda(s, &why);
    if (rc != RT_OK && device == RT_DEVICE_CUDA) return rt_fail_context(rc, "run.device = cuda");
    if (rc != RT_OK) {
        if (device == RT_DEVICE_AUTO) {
            /* Most machines have no GPU, and need not hear of it; -v and doctor tell. */
            rt_verbose(s->cli->log, "run.device = auto takes the CPU: %s", rt_error_get()->text);
            rt_error_clear();
        }
        RT_TRY(open_cpu(s, &why));
    }
    RT_TRY(rt_cli_ranks_open(s->cli, s->cfg, &s->launch, s->be, &s->comm));
    rt_info(s->cli->log, "%s, precision %s (%s)", s->be->description, precision_name(s->precision), why);
    return RT_OK;
}
