/* Many threads: one model for all of them, and a model for each; the bits are those of one thread alone. Run by
 * `make asan` and `make tsan` as every unit test is. */
#include "model.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 12, ROWS = 40 };

static words texts[THREADS][ROWS];
static rectrain_pair pairs[THREADS][ROWS];
static float wanted[THREADS][2 * ROWS];
static int32_t wanted_ids[THREADS][12];

typedef struct {
    int number;
    rectrain_model *model; /* NULL: loads its own, again and again */
    const char *path;
    int failures;
} user;

static void check(user *u, rectrain_model *m) {
    float p[2 * ROWS];
    int32_t ids[12] = {0}, types[12];
    size_t n;
    u->failures += rectrain_predict(m, pairs[u->number], ROWS, p, NULL) != RECTRAIN_OK;
    u->failures += memcmp(p, wanted[u->number], sizeof p) != 0;
    u->failures += rectrain_tokenize(m, &pairs[u->number][0], ids, types, 12, &n) != RECTRAIN_OK;
    u->failures += memcmp(ids, wanted_ids[u->number], sizeof ids) != 0;
    u->failures += strcmp(rectrain_label(m, 1), "yes") != 0;
    /* An error of this thread, among successes of the others. */
    char part[16];
    snprintf(part, sizeof part, "room for %d", u->number);
    u->failures += rectrain_tokenize(m, &pairs[u->number][0], ids, NULL, (size_t)u->number, &n) != RECTRAIN_EINVAL;
    u->failures += !strstr(rectrain_error(), part);
}

static void *use(void *context) {
    user *u = context;
    for (int round = 0; round < ROUNDS; round++) {
        rectrain_model *m = u->model;
        rectrain_options options = RECTRAIN_OPTIONS_INIT;
        options.precision = RECTRAIN_PRECISION_FP32;
        options.threads = 1;
        if (!m && rectrain_load(u->path, &options, &m) != RECTRAIN_OK) {
            u->failures++;
            continue;
        }
        check(u, m);
        if (!u->model) rectrain_free(m);
    }
    return NULL;
}

static void run(rectrain_model *shared) {
    pthread_t threads[THREADS];
    user users[THREADS];
    for (int i = 0; i < THREADS; i++) {
        users[i] = (user){i, shared, in_folder("two.h5"), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].failures, 0);
    }
}

static void test_one_model_for_all(void **state) {
    (void)state;
    rectrain_model *m = load("two.h5");
    run(m);
    rectrain_free(m);
}

static void test_a_model_for_each(void **state) {
    (void)state;
    run(NULL);
}

static int set_up(void **state) {
    if (make_model_folder(state)) return -1;
    write_model("two.h5", (model_kind){.labels = 2});
    rectrain_model *m = load("two.h5");
    size_t n;
    for (int i = 0; i < THREADS; i++) {
        make_rows((uint32_t)(1000 * i), ROWS, texts[i], pairs[i]);
        assert_int_equal(rectrain_predict(m, pairs[i], ROWS, wanted[i], NULL), RECTRAIN_OK);
        assert_int_equal(rectrain_tokenize(m, &pairs[i][0], wanted_ids[i], NULL, 12, &n), RECTRAIN_OK);
    }
    rectrain_free(m);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_model_for_all),
        cmocka_unit_test(test_a_model_for_each),
    };
    return cmocka_run_group_tests(tests, set_up, drop_model_folder);
}
