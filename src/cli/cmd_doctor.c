/* rectrain doctor: what this machine can do, and why not more. Reads the machine, changes nothing. */
#include "../base/cpu.h"
#include "../base/file.h"
#include "args.h"
#include "doctor_plan.h"
#include "ranks.h"
#include "setup.h"
#include <dirent.h>
#include <dnnl.h>
#include <errno.h>
#include <hdf5.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>

/* One line of the report, or one member of the JSON object. */
typedef struct {
    rt_text out;
    bool json, any;
} report;

static void say(report *r, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(report *r, const char *key, const char *format, ...) {
    char value[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (r->json) {
        rt_text_puts(&r->out, r->any ? ",\n  " : "{\n  ");
        rt_text_json_string(&r->out, key, strlen(key));
        rt_text_puts(&r->out, ": ");
        rt_text_json_string(&r->out, value, strlen(value));
    } else {
        rt_text_printf(&r->out, "%-20s ", key);
        rt_text_escaped(&r->out, value, strlen(value), sizeof value);
        rt_text_puts(&r->out, "\n");
    }
    r->any = true;
}

/* --- processor and memory ----------------------------------------------------------------------------------------- */

static void processor(report *r) {
    rt_cpu cpu;
    rt_isa isa = RT_ISA_GENERIC;
    rt_text lower = {0};
    rt_cpu_detect(&cpu);
    say(r, "processor", "%s, %d core%s to use (affinity and quota counted)", cpu.model, cpu.cores,
        cpu.cores == 1 ? "" : "s");
    for (int i = 0; i < (int)cpu.isa; i++) rt_text_printf(&lower, "%s%s", i ? ", " : "", rt_isa_name((rt_isa)i));
    if (rt_isa_choose(&cpu, &isa) != RT_OK)
        say(r, "instruction level", "%s", rt_error_get()->text);
    else if (isa != cpu.isa)
        say(r, "instruction level", "%s, forced by RECTRAIN_ISA; without it %s", rt_isa_name(isa),
            rt_isa_name(cpu.isa));
    else
        say(r, "instruction level", "%s, the highest here; RECTRAIN_ISA can force %s (slower; also caps oneDNN)",
            rt_isa_name(isa), lower.size ? lower.data : "nothing lower");
    if (isa < RT_ISA_V4 && (cpu.avx512_bf16 || cpu.amx_bf16))
        say(r, "bf16", "the processor computes it, but level %s keeps it off", rt_isa_name(isa));
    else if (cpu.avx512_bf16 || cpu.amx_bf16)
        say(r, "bf16", "in hardware (%s%s%s); run.precision = auto takes it", cpu.avx512_bf16 ? "AVX512_BF16" : "",
            cpu.avx512_bf16 && cpu.amx_bf16 ? ", " : "", cpu.amx_bf16 ? "AMX" : "");
    else
        say(r, "bf16",
            "not in hardware: no AVX512_BF16, no AMX. run.precision = auto takes fp32; bf16 works, widened to "
            "fp32, and is slow");
    say(r, "tf32", "not on a processor; takes an NVIDIA GPU from sm_80 on");
    rt_text_free(&lower);
}

static bool number_in(const char *path, const char *label, double *out) {
    char line[256];
    bool found = false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, label, strlen(label)) != 0) continue;
        char *end;
        *out = strtod(line + strlen(label), &end);
        found = end != line + strlen(label);
    }
    fclose(f);
    return found;
}

static void memory(report *r) {
    double total = 0, available = 0, limit = 0;
    number_in("/proc/meminfo", "MemTotal:", &total);
    number_in("/proc/meminfo", "MemAvailable:", &available);
    bool limited = number_in("/sys/fs/cgroup/memory.max", "", &limit) ||
                   number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", "", &limit);
    limited = limited && limit > 0 && limit < total * 1024;
    if (limited)
        say(r, "memory", "%.1f GB, %.1f GB available, limited to %.1f GB by the control group", total / 1e6,
            available / 1e6, limit / 1e9);
    else
        say(r, "memory", "%.1f GB, %.1f GB available", total / 1e6, available / 1e6);
}

/* --- libraries and plugins ---------------------------------------------------------------------------------------- */

static void libraries(report *r) {
    const dnnl_version_t *d = dnnl_version();
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    say(r, "oneDNN", "%d.%d.%d", d->major, d->minor, d->patch);
    say(r, "HDF5", "%u.%u.%u", major, minor, release);
    say(r, "other libraries", "jansson %s, utf8proc %s, xxHash %u.%u.%u, libini_config", JANSSON_VERSION,
        utf8proc_version(), XXH_versionNumber() / 10000, XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100);
}

/* Found, looked at and loaded as by a run, and told in the same words. */
static void mpi(report *r) {
    char *path = NULL;
    rt_plugin_entry entry = NULL;
    if (rt_plugin_open(&rt_cli_mpi_plugin, &entry, &path) == RT_OK)
        say(r, "MPI", "%s loads", path);
    else
        say(r, "MPI", "%s; ranks that srun or mpirun start cannot meet by MPI", rt_error_get()->text);
    rt_error_clear();
    free(path);
}

/* Every GPU, by opening it: what a run would do. */
static void gpus(report *r) {
    char *path = NULL, key[32];
    rt_backend *be = NULL;
    int n = 0;
    for (; n < 64; n++) {
        rt_backend_options options = {.precision = RT_PRECISION_BF16, .device = n};
        char *found = NULL;
        rt_status rc = rt_setup_open_cuda(&options, &be, &found);
        const bool bf16 = rc == RT_OK;
        if (found && !path)
            path = found;
        else
            free(found);
        if (rc == RT_ECONFIG) {
            options.precision = RT_PRECISION_FP32;
            rc = rt_setup_open_cuda(&options, &be, NULL);
        }
        if (rc != RT_OK) break;
        if (n == 0) say(r, "CUDA", "%s loads; run.device = auto takes the GPU", path ? path : "the plugin");
        snprintf(key, sizeof key, "GPU %d", n);
        const char *name = strstr(be->description, ": "); /* "GPU 0: " is the key already */
        say(r, key, "%s; %s", name ? name + 2 : be->description,
            bf16 ? "fp32, tf32, bf16; run.precision = auto takes bf16" : "fp32 alone; run.precision = auto takes it");
        be->close(be);
    }
    if (n == 0) {
        const char *text = rt_error_get()->text;
        const bool named = !path || !strncmp(text, path, strlen(path)); /* it does not even load */
        say(r, "CUDA", "%s%s%s; run.device = auto takes the CPU", named ? "" : path,
            named ? "" : " loads, but: ", text);
        if (access("/dev/nvidiactl", F_OK) == 0)
            say(r, "NVIDIA driver", "/dev/nvidiactl is there");
        else
            say(r, "NVIDIA driver", "/dev/nvidiactl: %s", strerror(errno));
    }
    rt_error_clear();
    free(path);
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

static void hub_cache(report *r) {
    static const char *const ways[][2] = {
        {"HF_HUB_CACHE", ""}, {"HF_HOME", "/hub"}, {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(ways[i][0]);
        if (!value || !*value) continue;
        rt_text folder = {0}, names = {0};
        rt_text_printf(&folder, "%s%s", value, ways[i][1]);
        DIR *dir = folder.data ? opendir(folder.data) : NULL;
        int n = 0, error = errno;
        for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
            if (strncmp(e->d_name, "models--", 8) != 0) continue;
            if (n++ < 8) rt_text_printf(&names, "%s%s", n > 1 ? ", " : "", e->d_name + 8);
        }
        if (!dir)
            say(r, "model cache", "%s (%s): %s", folder.data ? folder.data : "", ways[i][0], strerror(error));
        else
            say(r, "model cache", "%s (%s): %d model%s%s%s", folder.data, ways[i][0], n, n == 1 ? "" : "s",
                n ? ": " : "", names.data ? names.data : "");
        if (dir) closedir(dir);
        rt_text_free(&folder);
        rt_text_free(&names);
        return;
    }
    say(r, "model cache", "none: HF_HUB_CACHE, HF_HOME and HOME are unset");
}

static void config_folders(report *r, const char *program) {
    const char *path = getenv("RECTRAIN_CONFIG_PATH");
    char *home = rt_path_dirname(program);
    rt_text list = {0};
    if (path && *path) rt_text_printf(&list, "%s (RECTRAIN_CONFIG_PATH), ", path);
    static const char *const beside[] = {"../share/rectrain/configs", "../configs"};
    for (size_t i = 0; home && i < 2; i++) {
        char *folder = rt_path_join(home, beside[i]);
        if (folder && rt_is_folder(folder)) {
            char *real = realpath(folder, NULL);
            rt_text_printf(&list, "%s, ", real ? real : folder);
            free(real);
        }
        free(folder);
    }
    rt_text_puts(&list, "the current folder");
    say(r, "configurations in", "%s", list.data ? list.data : "");
    rt_text_free(&list);
    free(home);
}

static void variables(report *r, const char *const *environment) {
    rt_text list = {0};
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, "RECTRAIN_", 9)) rt_text_printf(&list, "%s%s", list.size ? " " : "", *environment);
    if (list.size) say(r, "variables", "%s", list.data);
    rt_text_free(&list);
}

/* With --config: the run's model is built on the run's device, as training would, and what that takes is told. */
static void plan(report *r, rt_cli *cli, const rt_config *cfg) {
    rt_setup s = {.cli = cli, .cfg = cfg};
    rt_text memory = {0};
    rt_status rc;
    RT_GO(rt_setup_base(&s, cfg->model.base, true));
    RT_GO(rt_setup_backend(&s));
    RT_GO(rt_setup_model(&s, true, 0, 0, cfg->train.micro_batch_tokens));
    rt_setup_memory_text(&s, &memory);
    RT_GO(rt_text_status(&memory));
    say(r, "the run's device", "%s", s.be->description);
    say(r, "the run's memory", "%s; train.micro_batch_tokens is %d", memory.data, s.micro_tokens);
done:
    if (rc != RT_OK) say(r, "the run", "%s", rt_error_get()->text);
    rt_error_clear();
    rt_text_free(&memory);
    rt_setup_close(&s);
}

rt_status rt_cmd_doctor(rt_cli *cli) {
    report r = {.json = cli->json};
    rt_config *cfg = NULL;
    struct utsname system;
    rt_status rc;
    RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg)); /* a wrong --set or variable is told here too */
    if (cli->plan) {
        rc = rt_doctor_plan(cli, cfg);
        goto done;
    }
    say(&r, "rectrain", RT_VERSION " (%s)", cli->program);
    if (uname(&system) == 0) say(&r, "system", "%s %s %s", system.sysname, system.release, system.machine);
    processor(&r);
    memory(&r);
    libraries(&r);
    gpus(&r);
    mpi(&r);
    hub_cache(&r);
    config_folders(&r, cli->program);
    variables(&r, cli->environment);
    if (cli->config) plan(&r, cli, cfg);
    if (cli->json) rt_text_puts(&r.out, "\n}\n");
    RT_GO(rt_text_status(&r.out));
    RT_GO(rt_cli_write(r.out.data, r.out.size));
    rc = rt_cli_flush();
done:
    rt_text_free(&r.out);
    rt_config_free(cfg);
    return rc;
}
