/* The keys of --plan, what stands in for those not given, and the table that comes out. */
#include "doctor_plan.h"
#include "../base/clock.h"
#include "../base/text.h"
#include "setup.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One key of --plan. Units are those of data sheets: Gbit/s of networks, GB/s of memory and of links in a node. */
typedef enum { RANKS, PER_NODE, ROWS, BATCH, TFLOPS, USE, MEMORY, NETWORK, NODE, LATENCY, N_KEYS } key;
static const struct {
    const char *name;
    double low, high;
    bool whole;
    const char *unit, *what;
} keys[N_KEYS] = {
    [RANKS] = {"ranks", 1, 65536, true, "", "processes, one a GPU"},
    [PER_NODE] = {"ranks_per_node", 1, 1024, true, "", "of them on one machine"},
    [ROWS] = {"rows", 3, 512, false, "tokens", "length of a row, the mean"},
    [BATCH] = {"batch", 1, 1e9, true, "rows", "rows of a step, on all ranks together"},
    [TFLOPS] = {"tflops", 1e-6, 1e6, false, "TFLOP/s", "peak of a rank"},
    [USE] = {"use", 0.001, 1, false, "", "share of the peak that training reaches"},
    [MEMORY] = {"hbm_gbps", 1e-3, 1e6, false, "GB/s", "memory of a rank"},
    [NETWORK] = {"gbps", 1e-3, 1e6, false, "Gbit/s", "network of a rank"},
    [NODE] = {"nvlink_gbps", 1e-3, 1e6, false, "GB/s", "links between ranks of one machine, one way"},
    [LATENCY] = {"latency_us", 0, 1e6, false, "us", "one hop of the network"},
};

typedef struct {
    double value[N_KEYS];
    const char *from[N_KEYS]; /* NULL: not known yet */
} plan;

static void stand_in(plan *p, key k, double value, const char *from) {
    if (p->from[k]) return;
    p->value[k] = value;
    p->from[k] = from;
}

static rt_status read_key(plan *p, const char *word, size_t n) {
    const char *equal = memchr(word, '=', n), *names[N_KEYS];
    char name[32] = "", value[64] = "";
    for (int k = 0; k < N_KEYS; k++) names[k] = keys[k].name;
    if (!equal || (size_t)(equal - word) >= sizeof name || n - (size_t)(equal - word) > sizeof value)
        return rt_fail(RT_EUSAGE, "--plan %.*s: expected key=value,..., as in ranks=64,gbps=400",
                       (int)(n < 80 ? n : 80), word);
    memcpy(name, word, (size_t)(equal - word));
    memcpy(value, equal + 1, n - (size_t)(equal - word) - 1);
    for (int k = 0; k < N_KEYS; k++) {
        double x = 0;
        if (strcmp(name, names[k]) != 0) continue;
        if (p->from[k]) return rt_fail(RT_EUSAGE, "--plan: %s given twice", name);
        if (!rt_parse_f64(value, &x) || !(x >= keys[k].low && x <= keys[k].high) || (keys[k].whole && x != floor(x)))
            return rt_fail(RT_EUSAGE, "--plan %s=%s: expected a %snumber from %g to %g", name, value,
                           keys[k].whole ? "whole " : "", keys[k].low, keys[k].high);
        p->value[k] = x;
        p->from[k] = "--plan";
        return RT_OK;
    }
    const char *near = rt_did_you_mean(name, names, N_KEYS);
    if (near) return rt_fail(RT_EUSAGE, "--plan: no key %s; did you mean %s?", name, near);
    rt_text list = {0};
    for (int k = 0; k < N_KEYS; k++) rt_text_printf(&list, "%s%s", k ? ", " : "", names[k]);
    rt_status rc = rt_fail(RT_EUSAGE, "--plan: no key %s; there are %s", name, list.data ? list.data : "");
    rt_text_free(&list);
    return rc;
}

static rt_status read_keys(plan *p, const char *text) {
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        RT_TRY(read_key(p, at, n));
        at += n;
        if (!*at) return RT_OK;
    }
}

/* The model of the configuration; without one BERT-base. */
static rt_status shape_of(rt_setup *s) {
    const rt_config *cfg = s->cfg;
    if (cfg->model.base || cfg->model.vocab) return rt_setup_base(s, cfg->model.base, true);
    s->bert = rt_bert_default();
    s->bert.hidden = cfg->model.hidden, s->bert.layers = cfg->model.layers;
    s->bert.heads = cfg->model.heads, s->bert.ffn = cfg->model.ffn;
    s->bert.vocab = 30522; /* of bert-base-uncased */
    s->labels = calloc(2, sizeof *s->labels);
    if (!s->labels) return rt_fail(RT_ENOMEM, "out of memory for label names");
    s->bert.labels = s->n_labels = 2;
    s->bert.pooling = cfg->model.pooling == RT_CFG_POOLING_MEAN ? RT_POOL_MEAN : RT_POOL_CLS;
    return rt_bert_check(&s->bert);
}

/* The parameter table alone tells the ranges; no memory is taken. */
static rt_status ranges_of(const rt_setup *s, int64_t out[RT_PLAN_RANGES]) {
    const rt_config *cfg = s->cfg;
    const bool layers = cfg->train.freeze.kind == RT_FREEZE_LAYERS;
    rt_objective *objective = NULL;
    rt_param_table table = {0};
    rt_status rc;
    const rt_freeze freeze = {.embeddings = layers || cfg->train.freeze.kind == RT_FREEZE_EMBEDDINGS,
                              .layers = layers ? cfg->train.freeze.layers : 0,
                              .layer_decay = 1,
                              .n_layers = s->bert.layers};
    if (freeze.layers > s->bert.layers)
        return rt_fail(RT_ECONFIG, "train.freeze = %d layers: the model has %d", freeze.layers, s->bert.layers);
    RT_GO(rt_objective_classify_new(&(rt_classify_options){.labels = s->n_labels, .max_micro = 1}, &objective));
    RT_GO(rt_encoder_add_params(&table, &s->bert));
    RT_GO(objective->add_params(objective, &table, &s->bert));
    RT_GO(rt_param_table_finish(&table, &freeze));
    for (int depth = s->bert.layers + 1, i = 0; depth >= 0; depth--, i++) {
        int64_t offset;
        rt_param_span(&table, depth, depth, &offset, &out[i]);
    }
done:
    if (objective) objective->close(objective);
    rt_param_table_free(&table);
    return rc;
}

/* --- what this machine does --------------------------------------------------------------------------------------- */

/* Operations a second at this model's widest product, and bytes a second of a plain copy by the backend's threads: the
 * best of several turns, for others use the machine too. */
static rt_status measure(rt_setup *s, double *flops, double *memory) {
    enum { ROWS_HERE = 512, FLOATS = 1 << 24 };
    const int64_t n = s->bert.ffn, k = s->bert.hidden;
    rt_backend *be = s->be;
    rt_batch batch = {.n_tokens = ROWS_HERE, .bucket = ROWS_HERE};
    double start, elapsed, best = 0, all = 0;
    int turns = 0;
    void *from = NULL, *to = NULL;
    rt_status rc;
    RT_GO(rt_setup_model(s, true, 0, 0, ROWS_HERE));
    RT_GO(rt_model_pack(&s->model, false));
    rt_encoder *e = &s->encoder;
    if (batch.n_tokens > e->sizes.train_tokens) batch.n_tokens = batch.bucket = e->sizes.train_tokens;
    RT_GO(rt_encoder_bind(e, &batch, false));
    const rt_linear_run run = {
        .x = e->eval.layers[0].x, .y = e->eval.layers[0].gelu, .y_dtype = be->act, .rows = batch.n_tokens};
    RT_GO(rt_linear_apply(&s->model, &e->layers[0].ffn_in, &run)); /* makes the primitive */
    RT_GO(be->synchronize(be));
    while (turns < 3 || (all < 0.5 && turns < 256)) {
        start = rt_clock_seconds();
        RT_GO(rt_linear_apply(&s->model, &e->layers[0].ffn_in, &run));
        RT_GO(be->synchronize(be));
        elapsed = rt_clock_seconds() - start;
        if (turns++ == 0 || elapsed < best) best = elapsed;
        all += elapsed;
    }
    *flops = 2.0 * (double)n * (double)k * batch.n_tokens / best;
    RT_GO(be->alloc(be, (size_t)FLOATS * sizeof(float), "a copy", &from));
    RT_GO(be->alloc(be, (size_t)FLOATS * sizeof(float), "a copy", &to));
    for (turns = -1; turns < 4; turns++) { /* the first one touches the pages */
        start = rt_clock_seconds();
        RT_GO(be->convert(be, to, RT_F32, from, RT_F32, FLOATS));
        RT_GO(be->synchronize(be));
        elapsed = rt_clock_seconds() - start;
        if (turns <= 0 || elapsed < best) best = elapsed;
    }
    *memory = 2.0 * sizeof(float) * FLOATS / best;
done:
    if (from) be->release(be, from, (size_t)FLOATS * sizeof(float));
    if (to) be->release(be, to, (size_t)FLOATS * sizeof(float));
    return rc;
}

/* Every key gets a value: of the line, of the configuration, of this machine, or of a data sheet. */
static rt_status complete(plan *p, rt_setup *s, bool *device) {
    const rt_config *cfg = s->cfg;
    static const char sheet[] = "H100's, InfiniBand NDR";
    *device = cfg->run.device != RT_DEVICE_CPU;
    stand_in(p, RANKS, 1, "one process");
    stand_in(p, ROWS, cfg->data.max_length, "data.max_length: rows are shorter");
    stand_in(p, BATCH, cfg->train.batch_size, "train.batch_size");
    if (!p->from[TFLOPS]) {
        double flops = 0, memory = 0;
        RT_TRY(rt_setup_backend(s));
        RT_TRY(measure(s, &flops, &memory));
        *device = !s->be->host_memory;
        stand_in(p, TFLOPS, flops / 1e12, "measured here");
        stand_in(p, MEMORY, memory / 1e9, "measured here: a copy");
    }
    if (*device) {
        stand_in(p, PER_NODE, p->value[RANKS] < 8 ? p->value[RANKS] : 8, "eight GPUs a machine");
        stand_in(p, USE, 0.4, "a guess: BERT at large batches");
        stand_in(p, MEMORY, 3350, sheet);
        stand_in(p, NODE, 450, sheet);
        stand_in(p, NETWORK, 400, sheet);
    } else {
        stand_in(p, PER_NODE,
                 p->from[NETWORK]         ? 1
                 : p->value[RANKS] < 1024 ? p->value[RANKS]
                                          : 1024,
                 p->from[NETWORK] ? "gbps is given" : "all here");
        stand_in(p, USE, 0.7, "a guess: products at 85 %, the rest a fifth on top");
        stand_in(p, MEMORY, 10, "a guess for a core");
        stand_in(p, NODE, p->value[MEMORY] / 4, "a copy in and a copy out");
        stand_in(p, NETWORK, 25, "a guess");
    }
    stand_in(p, LATENCY, 5, "a guess");
    return RT_OK;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    double seconds, exposed;
} line;
enum { N_LINES = 7 };

static void lines_of(const rt_plan_step_time *t, line out[N_LINES]) {
    out[0] = (line){"compute", t->forward + t->backward, t->forward + t->backward};
    out[1] = (line){"adding up gradients", t->sums, t->sums_exposed};
    out[2] = (line){"optimizer", t->optimizer, t->optimizer};
    out[3] = (line){"sending parameters", t->gather, t->gather};
    out[4] = (line){"launches", t->launches, t->launches_exposed};
    out[5] = (line){"input", t->input, t->input_exposed};
    out[6] = (line){"agreement", t->agreement, t->agreement_exposed};
}

typedef struct {
    rt_plan_step_time step;
    double tokens, efficiency, speedup; /* tokens a second of all; against one rank with its rows, with all rows */
    double other;                       /* the step with distributed.shard_optimizer the other way */
} result;

static void compute(const rt_plan_machine *machine, const rt_plan_shape *shape, result *r) {
    rt_plan_machine m = *machine;
    rt_plan_step_time one;
    rt_plan_step_model(machine, shape, &r->step);
    r->tokens = m.batch * m.tokens / r->step.total;
    m.shard = !m.shard;
    rt_plan_step_model(&m, shape, &one);
    r->other = one.total;
    m = *machine;
    m.ranks = 1;
    rt_plan_step_model(&m, shape, &one);
    r->speedup = one.total / r->step.total;
    m.batch = ceil(machine->batch / machine->ranks);
    rt_plan_step_model(&m, shape, &one);
    r->efficiency = one.total / r->step.total * machine->batch / (m.batch * machine->ranks);
}

static void print(rt_text *out, const plan *p, const rt_plan_machine *m, const rt_plan_shape *shape, const result *r) {
    line lines[N_LINES];
    const line *worst = NULL;
    double all = 0;
    lines_of(&r->step, lines);
    for (int i = 0; i < shape->n_ranges; i++) all += (double)shape->ranges[i];
    rt_text_puts(out, "model, not measured\n\n");
    for (int k = 0; k < N_KEYS; k++)
        rt_text_printf(out, "%-15s %10.6g %-8s %s (%s)\n", keys[k].name, p->value[k], keys[k].unit, keys[k].what,
                       p->from[k]);
    rt_text_printf(out, "\n%d layers x %d, %.2f M trained parameters; optimizer %s\n\n", shape->layers, shape->hidden,
                   all / 1e6, m->shard && m->ranks > 1 ? "sharded" : "on every rank");
    rt_text_printf(out, "%-20s %10s %10s %7s\n", "part", "ms", "exposed", "share");
    for (int i = 0; i < N_LINES; i++) {
        const line *l = &lines[i];
        rt_text_printf(out, "%-20s %10.3f %10.3f %5.1f %%\n", l->name, 1e3 * l->seconds, 1e3 * l->exposed,
                       100 * l->exposed / r->step.total);
        if (i > 0 && (!worst || l->exposed > worst->exposed)) worst = l;
    }
    rt_text_printf(out, "%-20s %10s %10.3f\n\n", "step", "", 1e3 * r->step.total);
    rt_text_printf(out, "%.4g tokens/s, %.4g rows/s\n", r->tokens, r->tokens / m->tokens);
    if (m->ranks > 1)
        rt_text_printf(out,
                       "%.1f %% of %d times one rank with its share of the rows; %.3g times one rank with all rows\n"
                       "with the optimizer %s: %.3f ms a step\n",
                       100 * r->efficiency, m->ranks, r->speedup, m->shard ? "on every rank" : "sharded",
                       1e3 * r->other);
    if (worst) rt_text_printf(out, "beyond computing, most of the step goes to: %s\n", worst->name);
}

static void print_json(rt_text *out, const plan *p, const rt_plan_machine *m, const result *r) {
    line lines[N_LINES];
    lines_of(&r->step, lines);
    rt_text_puts(out, "{\n  \"note\": \"model, not measured\"");
    for (int k = 0; k < N_KEYS; k++) {
        rt_text_printf(out, ",\n  \"%s\": {\"value\": %.9g, \"from\": ", keys[k].name, p->value[k]);
        rt_text_json_string(out, p->from[k], strlen(p->from[k]));
        rt_text_puts(out, "}");
    }
    for (int i = 0; i < N_LINES; i++)
        rt_text_printf(out, ",\n  \"%s\": {\"seconds\": %.9g, \"exposed\": %.9g}", lines[i].name, lines[i].seconds,
                       lines[i].exposed);
    rt_text_printf(out,
                   ",\n  \"shard_optimizer\": %s,\n  \"step\": %.9g,\n  \"tokens_per_second\": %.9g,\n  "
                   "\"efficiency\": %.9g,\n  \"speedup\": %.9g\n}\n",
                   m->shard && m->ranks > 1 ? "true" : "false", r->step.total, r->tokens, r->efficiency, r->speedup);
}

rt_status rt_doctor_plan(rt_cli *cli, const rt_config *cfg) {
    rt_setup s = {.cli = cli, .cfg = cfg};
    plan p = {0};
    int64_t ranges[RT_PLAN_RANGES] = {0};
    rt_text out = {0};
    bool device;
    result r;
    rt_status rc;
    RT_GO(read_keys(&p, cli->plan));
    RT_GO(shape_of(&s));
    RT_GO(ranges_of(&s, ranges));
    RT_GO(complete(&p, &s, &device));
    const double *v = p.value;
    const int auto_tokens = cfg->train.micro_batch_tokens > 0 ? cfg->train.micro_batch_tokens : 16384;
    const rt_plan_machine machine = {.ranks = (int)v[RANKS],
                                     .ranks_per_node = (int)v[PER_NODE],
                                     .tokens = v[ROWS],
                                     .batch = v[BATCH],
                                     .micro_tokens = auto_tokens,
                                     .flops = v[TFLOPS] * 1e12,
                                     .use = v[USE],
                                     .memory = v[MEMORY] * 1e9,
                                     .network = v[NETWORK] * 1e9 / 8,
                                     .node = v[NODE] * 1e9,
                                     .latency = v[LATENCY] * 1e-6,
                                     .asynchronous = device,
                                     .sent = cfg->distributed.reduce_dtype == RT_CFG_REDUCE_BF16 ? 2 : 4,
                                     .shard = cfg->distributed.shard_optimizer == RT_CFG_SHARD_YES ||
                                              (cfg->distributed.shard_optimizer == RT_CFG_SHARD_AUTO && device)};
    const rt_plan_shape shape = {.n_ranges = s.bert.layers + 2,
                                 .layers = s.bert.layers,
                                 .hidden = s.bert.hidden,
                                 .ffn = s.bert.ffn,
                                 .first_rows = s.bert.pooling == RT_POOL_CLS,
                                 .ranges = ranges};
    compute(&machine, &shape, &r);
    if (cli->json)
        print_json(&out, &p, &machine, &r);
    else
        print(&out, &p, &machine, &shape, &r);
    RT_GO(rt_text_status(&out));
    RT_GO(rt_cli_write(out.data, out.size));
    rc = rt_cli_flush();
done:
    rt_text_free(&out);
    rt_setup_close(&s);
    return rc;
}
