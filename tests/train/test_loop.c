/* The loop around steps, with hooks that write down what they are asked: lines, evaluations, saves, stops. The diary is
 * text, one word an event, so that an order can be read. */
#include "rig.h"

typedef struct {
    rig r;
    rt_text diary;
    const double *metrics; /* [..] what the evaluations return, NaN too */
    int n_evals;
    bool lower;              /* smaller metrics are better */
    int stop_eval;           /* this evaluation (from 1) is ended by a signal, once */
    uint64_t stop_at;        /* a signal that wants a stop is there after this step, once */
    uint64_t save_at;        /* one that wants a checkpoint */
    uint64_t poison_at;      /* the weights become infinite before this step */
    rt_train_state saved;    /* as of the last save of last.h5 */
    double loss, grad_norm;  /* of the last line */
    uint64_t seqs, tokens;   /* sums of lines */
    float *params_at_poison; /* what they were, poison included */
} book;

static rt_status on_event(void *context, const rt_train_event *e) {
    book *b = context;
    if (b->poison_at && e->step + 1 == b->poison_at) {
        int row = rt_param_find(&b->r.table, "classifier.bias");
        rt_model_direct(&b->r.model, row, RT_BUFFER_PARAMS)[0] = INFINITY;
        free(b->params_at_poison);
        b->params_at_poison = rig_copy(b->r.model.params, b->r.table.n_params);
    }
    if (!e->line) return RT_OK;
    rt_text_printf(&b->diary, "line%llu%s ", (unsigned long long)e->step, e->loss_known ? "" : "?");
    assert_true(isfinite(e->loss)); /* what was skipped is no part of the mean */
    b->loss = e->loss;
    b->seqs += e->seqs;
    b->tokens += e->tokens;
    return RT_OK;
}

static rt_status on_eval(void *context, rt_train_state *s, double *metric, bool *higher) {
    book *b = context;
    assert_true(s->eval_due);
    if (++b->n_evals == b->stop_eval) {
        b->stop_eval = 0;
        b->n_evals--;
        return rt_fail(RT_ESTOPPED, "a signal");
    }
    rt_text_printf(&b->diary, "eval%llu ", (unsigned long long)s->step);
    *metric = b->metrics ? b->metrics[b->n_evals - 1] : (double)b->n_evals;
    *higher = !b->lower;
    return RT_OK;
}

static rt_status on_save(void *context, const rt_train_state *s, rt_save_kind kind) {
    book *b = context;
    static const char *const names[] = {[RT_SAVE_BEST] = "best", [RT_SAVE_LAST] = "last", [RT_SAVE_NUMBERED] = "step"};
    rt_text_printf(&b->diary, "%s%llu ", names[kind], (unsigned long long)s->step);
    if (kind == RT_SAVE_LAST) b->saved = *s;
    return RT_OK;
}

static uint32_t signals(void *context) {
    book *b = context;
    uint64_t step = b->r.state.step;
    if (b->stop_at && step >= b->stop_at) return b->stop_at = 0, RT_SIGNAL_STOP;
    if (b->save_at && step >= b->save_at) return b->save_at = 0, RT_SIGNAL_SAVE;
    return 0;
}

/* Ten rows, four a step: three steps an epoch; four epochs. */
static void open_book(book *b, const rt_train_settings *settings) {
    memset(b, 0, sizeof *b);
    rig_options o = {.rows = rig_rows, .dropout = 0.1f, .settings = *settings, .total_steps = 12};
    o.settings.batch_size = 4;
    o.settings.learning_rate = 1e-3;
    rig_open(&b->r, &o);
    b->r.job.hooks = (rt_train_hooks){b, on_event, on_eval, on_save, signals};
}

static void close_book(book *b) {
    rig_close(&b->r);
    rt_text_free(&b->diary);
    free(b->params_at_poison);
}

#define DIARY(b, want) assert_string_equal((b)->diary.data ? (b)->diary.data : "", want)

static const rt_train_settings usual = {.keep_best = true,
                                        .eval_every = {1, RT_EVERY_EPOCHS},
                                        .checkpoint_every = {4, RT_EVERY_STEPS},
                                        .line_every = {5, RT_EVERY_STEPS}};
#define USUAL_DIARY "eval3 best3 step4 last4 line5 eval6 best6 step8 last8 eval9 best9 line10 line12 eval12 best12 "

static void order_of_things(void **state) {
    (void)state;
    book b;
    open_book(&b, &usual);
    ok(rt_train(&b.r.job));
    DIARY(&b, USUAL_DIARY);
    assert_int_equal(b.seqs, 40); /* every row once an epoch, none lost between lines */
    assert_int_equal(b.r.state.step, 12);
    assert_int_equal(b.r.state.adam_step, 12);
    assert_false(b.r.state.eval_due);
    close_book(&b);
}

static void lines_hold_means(void **state) {
    (void)state;
    book every, third;
    rt_train_settings s = {.line_every = {1, RT_EVERY_STEPS}};
    open_book(&every, &s);
    every.r.job.hooks.on_eval = NULL;
    every.r.state.total_steps = 3;
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += rig_step(&every.r).loss;
    s.line_every.value = 3;
    open_book(&third, &s);
    third.r.job.hooks.on_eval = NULL;
    third.r.state.total_steps = 3;
    ok(rt_train(&third.r.job));
    DIARY(&third, "line3 ");
    assert_true(third.loss == sum / 3); /* the same numbers in the same order */
    close_book(&every);
    close_book(&third);
}

static void best_by_metric(void **state) {
    (void)state;
    const double metrics[] = {0.6, NAN, 0.5, 0.7};
    for (int lower = 0; lower <= 1; lower++) {
        book b;
        open_book(&b, &(rt_train_settings){.keep_best = true, .eval_every = {1, RT_EVERY_EPOCHS}});
        b.metrics = metrics;
        b.lower = lower;
        ok(rt_train(&b.r.job));
        DIARY(&b,
              lower ? "eval3 best3 eval6 eval9 best9 line12 eval12 " : "eval3 best3 eval6 eval9 line12 eval12 best12 ");
        assert_true(b.r.state.best_metric == (lower ? 0.5 : 0.7));
        assert_int_equal(b.r.state.best_step, lower ? 9 : 12);
        assert_int_equal(b.r.state.stale_evals, lower ? 1 : 0);
        close_book(&b);
    }
    book b; /* a tie is no improvement; without keep_best nothing is saved, the best is still known */
    const double ties[] = {0.6, 0.6, 0.6, 0.6};
    open_book(&b, &(rt_train_settings){.eval_every = {1, RT_EVERY_EPOCHS}});
    b.metrics = ties;
    ok(rt_train(&b.r.job));
    DIARY(&b, "eval3 eval6 eval9 line12 eval12 ");
    assert_int_equal(b.r.state.best_step, 3);
    close_book(&b);
}

static void early_stopping(void **state) {
    (void)state;
    const double metrics[] = {0.6, 0.7, 0.7, NAN, 1, 1};
    book b;
    open_book(&b, &(rt_train_settings){.patience = 2, .eval_every = {2, RT_EVERY_STEPS}});
    b.metrics = metrics;
    ok(rt_train(&b.r.job));
    /* a line before the evaluation that may be, and here is, the last */
    DIARY(&b, "eval2 eval4 eval6 line8 eval8 ");
    assert_true(b.r.state.stopped_early);
    assert_int_equal(b.r.state.step, 8);
    assert_int_equal(b.r.state.best_step, 4);
    ok(rt_train(&b.r.job)); /* a stopped run stays stopped */
    assert_int_equal(b.r.state.step, 8);
    close_book(&b);
}

/* Stopped after any step, or in any evaluation, and gone on with: the same diary less the saves of the stops, the same
 * weights. */
static void stopped_anywhere(void **state) {
    (void)state;
    book whole;
    open_book(&whole, &usual);
    ok(rt_train(&whole.r.job));
    for (int at = 1; at <= 12 + 4; at++) {
        book b;
        char mark[32];
        open_book(&b, &usual);
        if (at <= 12)
            b.stop_at = (uint64_t)at;
        else
            b.stop_eval = at - 12;
        assert_int_equal(rt_train(&b.r.job), RT_ESTOPPED);
        assert_int_equal(b.saved.eval_due, at > 12);
        assert_memory_equal(&b.saved, &b.r.state, sizeof b.saved);
        uint64_t step = b.r.state.step;
        assert_int_equal(step, at <= 12 ? at : 3 * (at - 12));
        /* The save of the stop, unless one was due anyway. */
        snprintf(mark, sizeof mark, "last%llu ", (unsigned long long)step);
        size_t n = strlen(mark);
        assert_true(b.diary.size >= n && strcmp(b.diary.data + b.diary.size - n, mark) == 0);
        if (step % 4 || step == 12) b.diary.data[b.diary.size -= n] = 0;
        /* An evaluation that will run again stands where the checkpoint of that step has its place. */
        ok(rt_train(&b.r.job));
        DIARY(&b, USUAL_DIARY);
        assert_int_equal(b.seqs, 40);
        assert_memory_equal(b.r.model.params, whole.r.model.params, (size_t)whole.r.table.n_params * sizeof(float));
        assert_memory_equal(b.r.model.v, whole.r.model.v, (size_t)whole.r.table.n_trainables * sizeof(float));
        close_book(&b);
    }
    close_book(&whole);
}

static void saved_by_signal(void **state) {
    (void)state;
    book b;
    open_book(&b, &(rt_train_settings){.checkpoint_every = {4, RT_EVERY_STEPS}});
    b.r.job.hooks.on_eval = NULL;
    b.save_at = 3;
    ok(rt_train(&b.r.job));
    DIARY(&b, "last3 step4 last4 step8 last8 line12 ");
    close_book(&b);
    open_book(&b, &(rt_train_settings){.checkpoint_every = {4, RT_EVERY_STEPS}});
    b.r.job.hooks.on_eval = NULL;
    b.save_at = 4; /* one is due: once is enough */
    ok(rt_train(&b.r.job));
    DIARY(&b, "step4 last4 step8 last8 line12 ");
    close_book(&b);
}

static void check_nonfinite_stops(bool ahead, double line_every, const char *diary) {
    book b;
    open_book(&b, &(rt_train_settings){
                      .stop_on_nonfinite = true, .ahead = ahead, .line_every = {line_every, RT_EVERY_STEPS}});
    b.r.job.hooks.on_eval = NULL;
    b.poison_at = 3;
    assert_int_equal(rt_train(&b.r.job), RT_EDATA);
    DIARY(&b, diary);
    assert_non_null(strstr(rt_error_get()->text, "step 2: loss"));
    assert_non_null(strstr(rt_error_get()->text, "train.on_nonfinite = skip"));
    assert_int_equal(b.saved.step, 2);
    assert_int_equal(b.saved.adam_step, 2);
    assert_memory_equal(b.r.model.params, b.params_at_poison, (size_t)b.r.table.n_params * sizeof(float));
    close_book(&b);
}

static void nonfinite_stops(void **state) {
    (void)state;
    check_nonfinite_stops(false, 1, "line1 line2 last2 ");
    check_nonfinite_stops(false, 5, "last2 ");
    check_nonfinite_stops(true, 1, "line1 line2 last2 ");
    check_nonfinite_stops(true, 5, "last2 "); /* learnt when step 3 is under way, which then changes nothing */
}

static void check_nonfinite_is_skipped(bool ahead, double line_every, const char *diary) {
    book b;
    open_book(&b, &(rt_train_settings){.ahead = ahead, .line_every = {line_every, RT_EVERY_STEPS}});
    b.r.job.hooks.on_eval = NULL;
    b.poison_at = 10;
    ok(rt_train(&b.r.job));
    DIARY(&b, diary);
    assert_int_equal(b.r.state.skipped_steps, 3);
    assert_int_equal(b.r.state.adam_step, 9);
    assert_int_equal(b.seqs, 40);
    assert_memory_equal(b.r.model.params, b.params_at_poison, (size_t)b.r.table.n_params * sizeof(float));
    close_book(&b);
}

static void nonfinite_is_skipped(void **state) {
    (void)state;
    const char *diary = "line2 line4 line6 line8 line10 line12? "; /* no step of the last line has a loss */
    check_nonfinite_is_skipped(false, 2, diary);
    check_nonfinite_is_skipped(true, 2, diary);
    check_nonfinite_is_skipped(true, 12, "line12 ");
}

/* Results read a step late: the same steps, lines, evaluations and checkpoints. */
static void ahead(void **state) {
    (void)state;
    book now, late;
    rt_train_settings s = usual;
    open_book(&now, &s);
    s.ahead = true;
    open_book(&late, &s);
    ok(rt_train(&now.r.job));
    ok(rt_train(&late.r.job));
    DIARY(&now, USUAL_DIARY);
    DIARY(&late, USUAL_DIARY);
    assert_true(late.loss == now.loss && late.grad_norm == now.grad_norm);
    assert_int_equal(late.seqs, now.seqs);
    assert_int_equal(late.tokens, now.tokens);
    assert_int_equal(late.r.state.adam_step, 12);
    assert_memory_equal(late.r.model.params, now.r.model.params, (size_t)now.r.table.n_params * sizeof(float));
    close_book(&now);
    close_book(&late);
}

/* A hook that fails ends the run with its status. */
static rt_status full_disk(void *context, const rt_train_state *s, rt_save_kind kind) {
    (void)context, (void)s, (void)kind;
    return rt_fail(RT_EIO, "last.h5: no space");
}

static void failing_save(void **state) {
    (void)state;
    book b;
    open_book(&b, &usual);
    b.r.job.hooks.on_save = full_disk;
    assert_int_equal(rt_train(&b.r.job), RT_EIO);
    assert_string_equal(rt_error_get()->text, "last.h5: no space");
    assert_int_equal(b.r.state.step, 3); /* the first best.h5 */
    close_book(&b);
}

static void nothing_to_do(void **state) {
    (void)state;
    book b;
    open_book(&b, &usual);
    b.r.state.step = 12;
    ok(rt_train(&b.r.job));
    DIARY(&b, "");
    close_book(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_things),
        cmocka_unit_test(lines_hold_means),
        cmocka_unit_test(best_by_metric),
        cmocka_unit_test(early_stopping),
        cmocka_unit_test(stopped_anywhere),
        cmocka_unit_test(saved_by_signal),
        cmocka_unit_test(nonfinite_stops),
        cmocka_unit_test(failing_save),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(nonfinite_is_skipped),
        cmocka_unit_test(ahead),
    };
    return cmocka_run_group_tests_name("loop", tests, make_folder, drop_folder);
}
