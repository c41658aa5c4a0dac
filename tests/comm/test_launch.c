/* Who started this process: the variables of three launchers, and what contradicts itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include "comm/launch.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"OMPI_COMM_WORLD_SIZE",
                                    "OMPI_COMM_WORLD_RANK",
                                    "OMPI_COMM_WORLD_LOCAL_RANK",
                                    "OMPI_COMM_WORLD_LOCAL_SIZE",
                                    "SLURM_JOB_ID",
                                    "SLURM_STEP_ID",
                                    "SLURM_PROCID",
                                    "SLURM_NTASKS",
                                    "SLURM_LOCALID",
                                    "SLURM_NODEID",
                                    "SLURM_STEP_TASKS_PER_NODE",
                                    "SLURM_CPUS_PER_TASK",
                                    "SLURM_STEP_NODELIST",
                                    "SLURM_JOB_NODELIST",
                                    "PMIX_RANK",
                                    "RANK",
                                    "WORLD_SIZE",
                                    "LOCAL_RANK",
                                    "LOCAL_WORLD_SIZE",
                                    "MASTER_ADDR",
                                    "MASTER_PORT",
                                    "TORCHELASTIC_RUN_ID",
                                    "TORCHELASTIC_USE_AGENT_STORE",
                                    "RECTRAIN_RUN_TOKEN"};

/* The environment holds these pairs, "NAME=value", and none of the others. */
static rt_status detect(rt_launch *l, const char *const *pairs) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unsetenv(names[i]);
    for (; *pairs; pairs++) {
        char name[64];
        size_t n = strcspn(*pairs, "=");
        memcpy(name, *pairs, n), name[n] = 0;
        setenv(name, *pairs + n + 1, 1);
    }
    return rt_launch_detect(l);
}
#define DETECT(l, ...) detect(l, (const char *const[]){__VA_ARGS__, NULL})

static void alone(void **state) {
    (void)state;
    rt_launch l;
    assert_int_equal(detect(&l, (const char *const[]){NULL}), RT_OK);
    assert_int_equal(l.launcher, RT_LAUNCH_ALONE);
    assert_int_equal(l.size, 1);
    assert_string_equal(l.warning, "");
    /* A batch script of Slurm is one process, whatever its job has. */
    assert_int_equal(DETECT(&l, "SLURM_JOB_ID=7", "SLURM_NTASKS=4", "SLURM_PROCID=0"), RT_OK);
    assert_int_equal(l.size, 1);
    assert_non_null(strstr(l.warning, "srun --mpi=pmix"));
    /* Some platforms number the processes of a node. */
    assert_int_equal(DETECT(&l, "RANK=3"), RT_OK);
    assert_int_equal(l.size, 1);
    assert_non_null(strstr(l.warning, "RANK = 3"));
}

static void openmpi(void **state) {
    (void)state;
    rt_launch l;
    assert_int_equal(DETECT(&l, "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_LOCAL_RANK=1",
                            "OMPI_COMM_WORLD_LOCAL_SIZE=2", "SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_PROCID=0",
                            "SLURM_NTASKS=1"),
                     RT_OK); /* mpirun inside a job of Slurm: mpirun counts */
    assert_int_equal(l.launcher, RT_LAUNCH_OPENMPI);
    assert_int_equal(l.rank, 3);
    assert_int_equal(l.size, 4);
    assert_int_equal(l.local_rank, 1);
    assert_int_equal(l.local_size, 2);
    assert_true(l.pmix);
}

static void slurm(void **state) {
    (void)state;
    rt_launch l;
    assert_int_equal(DETECT(&l, "SLURM_JOB_ID=4251234", "SLURM_STEP_ID=2", "SLURM_PROCID=5", "SLURM_NTASKS=8",
                            "SLURM_LOCALID=1", "SLURM_STEP_NODELIST=gpu[03-05,09],login1"),
                     RT_OK);
    assert_int_equal(l.launcher, RT_LAUNCH_SLURM);
    assert_int_equal(l.rank, 5);
    assert_int_equal(l.size, 8);
    assert_int_equal(l.local_rank, 1);
    assert_false(l.pmix);
    assert_string_equal(l.address, "gpu03");
    assert_int_equal(l.port, 16234);
    assert_string_equal(l.token, "slurm 4251234.2");
    assert_int_equal(l.cpus, 0);
    assert_int_equal(DETECT(&l, "SLURM_JOB_ID=7", "SLURM_STEP_ID=2", "SLURM_PROCID=0", "SLURM_NTASKS=2",
                            "SLURM_JOB_NODELIST=n1", "PMIX_RANK=0", "MASTER_ADDR=10.0.0.1", "MASTER_PORT=999",
                            "RECTRAIN_RUN_TOKEN=secret", "SLURM_CPUS_PER_TASK=12"),
                     RT_OK);
    assert_true(l.pmix);
    assert_int_equal(l.cpus, 12);
    assert_string_equal(l.address, "10.0.0.1");
    assert_int_equal(l.port, 999);
    assert_string_equal(l.token, "own secret");
}

/* So that ranks of one node share its processors, and meet on it alone. */
static void slurm_tasks_of_a_node(void **state) {
    (void)state;
    rt_launch l;
    static const struct {
        const char *list, *node;
        int local_size;
    } cases[] = {
        {"2", "0", 2},           {"2(x3),1", "0", 2}, {"2(x3),1", "2", 2}, {"2(x3),1", "3", 1}, {"1,5", "1", 5},
        {"2(x3),1", "4", 0},     {"2(x", "0", 0},     {"2(x3", "0", 0},    {"0", "0", 0},       {"many", "0", 0},
        {"99999999999", "0", 0}, {"2;3", "0", 0},     {"2(x0),3", "0", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char list[64], node[64];
        snprintf(list, sizeof list, "SLURM_STEP_TASKS_PER_NODE=%s", cases[i].list);
        snprintf(node, sizeof node, "SLURM_NODEID=%s", cases[i].node);
        assert_int_equal(DETECT(&l, "SLURM_JOB_ID=7", "SLURM_STEP_ID=0", "SLURM_PROCID=5", "SLURM_NTASKS=7",
                                "SLURM_LOCALID=0", "SLURM_STEP_NODELIST=n[1-4]", list, node),
                         RT_OK);
        assert_int_equal(l.local_size, cases[i].local_size);
    }
}

static void torchrun(void **state) {
    (void)state;
    rt_launch l;
    assert_int_equal(DETECT(&l, "RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=2", "MASTER_ADDR=localhost",
                            "MASTER_PORT=29500", "TORCHELASTIC_RUN_ID=abc", "TORCHELASTIC_USE_AGENT_STORE=True"),
                     RT_OK);
    assert_int_equal(l.launcher, RT_LAUNCH_TORCHRUN);
    assert_int_equal(l.rank, 1);
    assert_int_equal(l.port, 29501); /* the agent's store sits on 29500 */
    assert_string_equal(l.token, "torchrun abc");
    assert_int_equal(DETECT(&l, "RANK=0", "WORLD_SIZE=1"), RT_OK); /* alone: no address needed */
    assert_int_equal(l.size, 1);
}

static void contradictions(void **state) {
    (void)state;
    rt_launch l;
    static const struct {
        const char *pairs[7], *says;
    } bad[] = {
        {{"RANK=2", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=1"}, "rank 2 of 2"},
        {{"RANK=x", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=1"}, "RANK = x: expected a number"},
        {{"RANK=0", "WORLD_SIZE=99999999999999999999"}, "WORLD_SIZE = 9999"},
        {{"RANK=0", "WORLD_SIZE=2"}, "MASTER_ADDR is not"},
        {{"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a"}, "MASTER_PORT"},
        {{"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=70000"}, "MASTER_PORT = 70000"},
        {{"RANK=1", "WORLD_SIZE=4", "LOCAL_RANK=3", "MASTER_ADDR=a", "MASTER_PORT=1"}, "counted per node"},
        {{"RANK=1", "WORLD_SIZE=4", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=8", "MASTER_ADDR=a", "MASTER_PORT=1"},
         "local rank 1 of 8"},
        {{"OMPI_COMM_WORLD_SIZE=2"}, "OMPI_COMM_WORLD_RANK"},
        {{"SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=2", "SLURM_JOB_NODELIST=;rm"}, "expected node names"},
        {{"SLURM_STEP_ID=0", "SLURM_PROCID=0", "SLURM_NTASKS=0"}, "SLURM_NTASKS = 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(detect(&l, bad[i].pairs), RT_ECONFIG);
        if (!strstr(rt_error_get()->text, bad[i].says)) fail_msg("case %zu says: %s", i, rt_error_get()->text);
    }
}

static void node_lists(void **state) {
    (void)state;
    static const char *const lists[][2] = {{"n1", "n1"},           {"n1,n2", "n1"},
                                           {"gpu[3-5]", "gpu3"},   {"gpu[007,9]", "gpu007"},
                                           {"a-b.c_d", "a-b.c_d"}, {"x[1]", "x1"}};
    static const char *const bad[] = {"", "gpu[", "gpu[a]", "gpu[1", "a b", "gpu[1x]", "[", "$(x)", "\n"};
    char name[16], small[4];
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        assert_true(rt_launch_first_node(lists[i][0], name, sizeof name));
        assert_string_equal(name, lists[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rt_launch_first_node(bad[i], name, sizeof name));
    assert_false(rt_launch_first_node("abcd", small, sizeof small));
    assert_false(rt_launch_first_node("a[1234]", small, sizeof small));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),      cmocka_unit_test(openmpi),
        cmocka_unit_test(slurm),      cmocka_unit_test(slurm_tasks_of_a_node),
        cmocka_unit_test(torchrun),   cmocka_unit_test(contradictions),
        cmocka_unit_test(node_lists),
    };
    return cmocka_run_group_tests_name("launch", tests, NULL, NULL);
}
