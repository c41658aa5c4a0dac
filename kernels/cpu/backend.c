/* The CPU backend: opening and closing, memory, workspace. */
#include "../../src/base/arena.h"
#include "gemm.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rt_status cpu_alloc(rt_backend *backend, size_t bytes, const char *what, void **out) {
    (void)backend;
    return rt_pages_map(bytes, what, out); /* zeroed, and pages are aligned to more than 256 bytes */
}

static void cpu_release(rt_backend *backend, void *pointer, size_t bytes) {
    (void)backend;
    if (pointer) rt_pages_unmap(pointer, bytes);
}

static rt_status cpu_copy(rt_backend *backend, void *to, const void *from, size_t bytes) {
    (void)backend;
    if (bytes) memcpy(to, from, bytes);
    return RT_OK;
}

static rt_status cpu_zero(rt_backend *backend, void *pointer, size_t bytes) {
    (void)backend;
    if (bytes) memset(pointer, 0, bytes);
    return RT_OK;
}

static rt_status cpu_convert(rt_backend *backend, void *to, rt_dtype to_dtype, const void *from, rt_dtype from_dtype,
                             size_t n) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    if (n > INT64_MAX) return rt_fail(RT_ESHAPE, "convert: %zu elements", n);
    cpu->ops.convert(cpu, to, to_dtype, from, from_dtype, (int64_t)n);
    return RT_OK;
}

/* There is one order here: everything is done on return. */
static rt_status cpu_convert_on(rt_backend *backend, void *stream, void *to, rt_dtype to_dtype, const void *from,
                                rt_dtype from_dtype, size_t n) {
    (void)stream;
    return cpu_convert(backend, to, to_dtype, from, from_dtype, n);
}

static rt_status cpu_synchronize(rt_backend *backend) {
    (void)backend;
    return RT_OK;
}

/* Uploads, marks: what is asked for is done on return. */
static rt_status cpu_alloc_host(rt_backend *backend, size_t bytes, const char *what, void **out) {
    return cpu_alloc(backend, bytes, what, out);
}

static rt_status cpu_slot(rt_backend *backend, int slot) {
    (void)backend;
    return slot >= 0 && slot < RT_UPLOAD_SLOTS ? RT_OK : rt_fail(RT_ESHAPE, "upload slot %d", slot);
}

static rt_status cpu_upload_start(rt_backend *backend, int slot, void *to, const void *from, size_t bytes) {
    RT_TRY(cpu_slot(backend, slot));
    return cpu_copy(backend, to, from, bytes);
}

static rt_status cpu_write(rt_backend *backend, void *to, const void *from, size_t bytes) {
    if (bytes > RT_WRITE_MAX || bytes % 4) return rt_fail(RT_ESHAPE, "write: %zu bytes", bytes);
    return cpu_copy(backend, to, from, bytes);
}

static rt_status cpu_mark(rt_backend *backend, int mark) {
    (void)backend;
    return mark >= 0 && mark < RT_MARKS ? RT_OK : rt_fail(RT_ESHAPE, "mark %d", mark);
}

static size_t cpu_workspace_bytes(rt_backend *backend, const rt_dims *dims) {
    const rt_cpu_context *cpu = rt_cpu_of(backend);
    size_t most = rt_cpu_need_linear(cpu, dims), need;
#define X(name)                                                                                                        \
    need = cpu->ops.need_##name(dims, cpu->threads);                                                                   \
    if (need > most) most = need;
    RT_CPU_NEEDS(X)
#undef X
    return (most + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
}

static rt_status cpu_set_workspace(rt_backend *backend, const rt_dims *dims, void *workspace, size_t bytes) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    const size_t need = cpu_workspace_bytes(backend, dims);
    if (bytes < need || (!workspace && need) || (uintptr_t)workspace % RT_ALIGN)
        return rt_fail(RT_ESHAPE, "workspace: %zu bytes at %p; these sizes need %zu, aligned to %d", bytes, workspace,
                       need, RT_ALIGN);
    cpu->dims = *dims;
    cpu->workspace = workspace;
    cpu->workspace_bytes = bytes;
    return RT_OK;
}

rt_status rt_cpu_scratch(rt_backend *backend, size_t bytes, const char *op, void **out) {
    rt_cpu_context *cpu = rt_cpu_of(backend);
    if (bytes > cpu->workspace_bytes)
        return rt_fail(RT_ESHAPE, "%s: needs %zu bytes of workspace, has %zu: sizes beyond those of set_workspace", op,
                       bytes, cpu->workspace_bytes);
    *out = cpu->workspace;
    return RT_OK;
}

static void cpu_close(rt_backend *backend) {
    if (!backend) return;
    rt_cpu_context *cpu = rt_cpu_of(backend);
    rt_gemm_close(cpu->gemm);
    free(cpu);
}

static bool multiplies_bf16(const rt_cpu *cpu, rt_isa isa) {
    return isa == RT_ISA_V4 && (cpu->avx512_bf16 || cpu->amx_bf16);
}

bool rt_cpu_has_bf16(void) {
    rt_cpu cpu;
    rt_isa isa;
    rt_cpu_detect(&cpu);
    if (rt_isa_choose(&cpu, &isa) != RT_OK) {
        rt_error_clear(); /* opening the backend will say it */
        return false;
    }
    return multiplies_bf16(&cpu, isa);
}

static void describe(rt_cpu_context *cpu, const rt_cpu *chip) {
    char library[32];
    const char *reason = "";
    rt_gemm_describe(cpu->gemm, library, sizeof library);
    if (cpu->api.precision == RT_PRECISION_BF16)
        reason = cpu->native_bf16 ? " (multiplied in hardware)" : " (no hardware for it: widened to fp32, slow)";
    else if (multiplies_bf16(chip, cpu->isa))
        reason = " (the hardware has bf16 too)";
    snprintf(cpu->api.description, sizeof cpu->api.description, "%s, %d thread%s, level %s, %s%s, %s",
             chip->model[0] ? chip->model : "CPU", cpu->threads, cpu->threads == 1 ? "" : "s", rt_isa_name(cpu->isa),
             cpu->api.precision == RT_PRECISION_BF16 ? "bf16" : "fp32", reason, library);
}

static void fill_table(rt_cpu_context *cpu) {
    rt_backend *api = &cpu->api;
    api->abi = RT_KERNELS_ABI;
    api->name = "cpu";
    api->host_memory = true;
    api->alloc = cpu_alloc;
    api->release = cpu_release;
    api->upload = cpu_copy;
    api->download = cpu_copy;
    api->zero = cpu_zero;
    api->convert = cpu_convert;
    api->convert_on = cpu_convert_on;
    api->synchronize = cpu_synchronize;
    api->alloc_host = cpu_alloc_host;
    api->release_host = cpu_release;
    api->upload_wait = api->upload_use = api->upload_done = cpu_slot;
    api->upload_start = cpu_upload_start;
    api->write = cpu_write;
    api->download_start = cpu_copy;
    api->mark = api->wait = cpu_mark;
    api->workspace_bytes = cpu_workspace_bytes;
    api->set_workspace = cpu_set_workspace;
    api->packed_bytes = rt_cpu_packed_bytes;
    api->pack = rt_cpu_pack;
    api->linear_forward = rt_cpu_linear_forward;
    api->linear_backward = rt_cpu_linear_backward;
#define X(name, args) api->name = cpu->ops.name;
    RT_CPU_OPS(X)
#undef X
    api->close = cpu_close;
}

rt_status rt_cpu_backend_open(const rt_backend_options *options, rt_backend **out) {
    *out = NULL;
    if (options->precision != RT_PRECISION_FP32 && options->precision != RT_PRECISION_BF16)
        return rt_fail(RT_ECONFIG,
                       "run.precision = tf32: TF32 units are in NVIDIA GPUs from Ampere on; on the CPU use fp32 "
                       "or bf16 (or auto, which chooses)");
    if (options->threads < 0)
        return rt_fail(RT_ECONFIG, "run.threads = %d: at least 1, or 0 for all cores this process may use",
                       options->threads);
    rt_cpu chip;
    rt_isa isa;
    rt_cpu_detect(&chip);
    RT_TRY(rt_isa_choose(&chip, &isa));
    rt_status rc = RT_ENOMEM;
    rt_cpu_context *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return rt_fail(RT_ENOMEM, "no memory for the CPU backend (%zu bytes)", sizeof *cpu);
    cpu->isa = isa;
    cpu->api.precision = options->precision;
    cpu->api.act = options->precision == RT_PRECISION_BF16 ? RT_BF16 : RT_F32;
    cpu->native_bf16 = multiplies_bf16(&chip, isa);
    cpu->threads = options->threads ? options->threads : chip.cores;
    if (cpu->threads > omp_get_thread_limit()) cpu->threads = omp_get_thread_limit();
    if (cpu->threads < 1) cpu->threads = 1;
    omp_set_dynamic(0); /* the same number of threads every time, or the bytes would change */
    const rt_cpu_ops *ops = rt_cpu_ops_find(isa, cpu->api.act);
    if (!ops) {
        rc = rt_fail(RT_EUNAVAILABLE, "this build has no kernels for level %s", rt_isa_name(isa));
        goto done;
    }
    cpu->ops = *ops;
    RT_GO(rt_gemm_open(isa, isa < chip.isa, cpu->threads, &cpu->gemm));
    fill_table(cpu);
    describe(cpu, &chip);
    *out = &cpu->api;
    cpu = NULL;
done:
    if (cpu) cpu_close(&cpu->api);
    return rc;
}
