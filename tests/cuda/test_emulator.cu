/* The emulator's own tests: faults planted in kernels must be found, and named; shuffles, votes, tensor-core and
 * ldmatrix layouts are checked against plain C++. */
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <device.cuh>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}
#include "tests/support/cuemu/cuemu.h"

static void says(rt_status status, const char *words) {
    if (status != RT_EINTERNAL) fail_msg("status %d instead of %d (%s)", (int)status, (int)RT_EINTERNAL, words);
    if (!std::strstr(rt_error_get()->text, words)) fail_msg("\"%s\" does not say \"%s\"", rt_error_get()->text, words);
    rt_error_clear();
}
static void sound(rt_status status) {
    if (status != RT_OK) fail_msg("%s", rt_error_get()->text);
}

template <typename T> struct device_array {
    T *p;
    explicit device_array(size_t n) : p((T *)cuemu_alloc(n * sizeof(T))) {}
    ~device_array() { cuemu_free(p); }
    device_array(const device_array &) = delete;
    T &operator[](size_t i) { return p[i]; }
};

static __global__ void where_am_i(int *out) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * 64 + thread] = (int)(block * 64 + thread);
}

static void indices_are_complete(void **) {
    for (unsigned seed = 0; seed < 3; seed++) {
        cuemu_seed(seed);
        device_array<int> out(24 * 64);
        sound(rt_launch(where_am_i, dim3(2, 3, 4), dim3(8, 4, 2), 0, nullptr, out.p));
        for (int i = 0; i < 24 * 64; i++) assert_int_equal(out[(size_t)i], i);
        assert_int_equal(cuemu_last_launch().blocks, 24);
        assert_int_equal(cuemu_last_launch().threads, 24 * 64);
    }
}

/* Reverses 64 numbers through shared memory; without its barrier it reads what may not be there yet. */
template <bool BARRIER> static __global__ void reverse(int *data) {
    RT_SHARED(int, tile, 64);
    tile[threadIdx.x] = data[threadIdx.x];
    if (BARRIER) __syncthreads();
    data[threadIdx.x] = tile[63 - threadIdx.x];
}

static void missing_barrier_is_caught(void **) {
    for (unsigned seed = 0; seed < 5; seed++) {
        cuemu_seed(seed);
        device_array<int> data(64);
        for (int i = 0; i < 64; i++) data[(size_t)i] = i;
        sound(rt_launch((reverse<true>), dim3(1), dim3(64), 0, nullptr, data.p));
        for (int i = 0; i < 64; i++) assert_int_equal(data[(size_t)i], 63 - i);
        assert_int_equal(cuemu_last_launch().barriers, 1);
        /* Within one warp too, where hardware of old would have got away with it. */
        rt_status status = rt_launch((reverse<false>), dim3(1), dim3(64), 0, nullptr, data.p);
        assert_non_null(
            std::strstr(rt_error_get()->text, "test_emulator.cu: kernel (reverse<false>), block (0, 0, 0)"));
        says(status, "race: thread");
    }
}

static __global__ void half_a_barrier() {
    if (threadIdx.x < 32) __syncthreads();
}
static __global__ void two_places(int *out) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}
static __global__ void half_a_shuffle(int *out) {
    if (threadIdx.x % 32 != 5) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
static __global__ void shuffle_against_barrier(int *out) {
    if (threadIdx.x % 32 == 7)
        __syncthreads();
    else
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
static __global__ void masks_disagree(int *out) {
    out[threadIdx.x] = __shfl_sync(threadIdx.x < 16 ? 0x0000ffffu : 0xfffffffeu, 1, 1);
}

static void divergence_is_reported(void **) {
    device_array<int> out(64);
    for (unsigned seed = 0; seed < 5; seed++) {
        cuemu_seed(seed);
        says(rt_launch(half_a_barrier, dim3(1), dim3(64), 0, nullptr), "has left the kernel");
        says(rt_launch(two_places, dim3(1), dim3(64), 0, nullptr, out.p), "a barrier at two places");
        says(rt_launch(half_a_shuffle, dim3(1), dim3(64), 0, nullptr, out.p), "has left");
        says(rt_launch(shuffle_against_barrier, dim3(1), dim3(64), 0, nullptr, out.p), "never meet");
        says(rt_launch(masks_disagree, dim3(1), dim3(32), 0, nullptr, out.p), "has left");
    }
}

static __global__ void outside_shared(int *out, int at) {
    RT_SHARED(int, tile, 32);
    RT_SHARED_DYNAMIC(int, more);
    tile[threadIdx.x] = 1;
    more[threadIdx.x] = 2;
    __syncthreads();
    out[threadIdx.x] = at < 0 ? more[-at] : tile[at];
}

static void shared_arrays_have_ends(void **) {
    device_array<int> out(32);
    sound(rt_launch(outside_shared, dim3(1), dim3(32), 128, nullptr, out.p, 31));
    assert_int_equal(out[0], 1);
    sound(rt_launch(outside_shared, dim3(1), dim3(32), 128, nullptr, out.p, -31));
    assert_int_equal(out[0], 2);
    says(rt_launch(outside_shared, dim3(1), dim3(32), 128, nullptr, out.p, 32), "index 32 of a shared array of 32");
    says(rt_launch(outside_shared, dim3(1), dim3(32), 128, nullptr, out.p, -32), "index 32 of a shared array of 32");
    says(rt_launch(outside_shared, dim3(1), dim3(33), 128, nullptr, out.p, 0), "a block of 33 threads");
    says(rt_launch(outside_shared, dim3(0), dim3(32), 128, nullptr, out.p, 0), "a grid of 0");
}

static __global__ void stale(float *out, bool writes) {
    RT_SHARED(float, tile, 32);
    if (writes) tile[threadIdx.x] = 3;
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x];
}

static void shared_memory_is_poison_at_first(void **) {
    device_array<float> out(32);
    sound(rt_launch(stale, dim3(2), dim3(32), 0, nullptr, out.p, true));
    assert_true(out[5] == 3);
    sound(rt_launch(stale, dim3(2), dim3(32), 0, nullptr, out.p, false));
    for (size_t i = 0; i < 32; i++) assert_true(std::isnan(out[i]));
}

/* Blocks that add to one place in turn: right in any order for integers, and the order shows where it matters. */
static __global__ void count(int *total, int *order, int *next) {
    if (threadIdx.x == 0) {
        atomicAdd(total, (int)blockIdx.x);
        order[atomicAdd(next, 1)] = (int)blockIdx.x;
    }
}

static void order_of_blocks_depends_on_the_seed(void **) {
    int first[40], differ = 0;
    for (unsigned seed = 0; seed < 4; seed++) {
        cuemu_seed(seed);
        device_array<int> total(1), order(40), next(1);
        total[0] = next[0] = 0;
        sound(rt_launch(count, dim3(40), dim3(32), 0, nullptr, total.p, order.p, next.p));
        assert_int_equal(total[0], 780);
        for (int i = 0; i < 40; i++) {
            if (seed == 0) assert_int_equal(order[(size_t)i], i);
            if (seed == 1) first[i] = order[(size_t)i];
            if (seed == 2) differ += order[(size_t)i] != first[i];
        }
    }
    assert_true(differ > 10);
}

/* A race that no shared array sees: the last thread to write wins. Shuffling shows it. */
static __global__ void last_one_wins(int *out) {
    *out = (int)threadIdx.x;
}

static void race_in_global_memory_shows(void **) {
    int winners[8], different = 0;
    for (unsigned seed = 0; seed < 8; seed++) {
        cuemu_seed(seed);
        device_array<int> out(1);
        sound(rt_launch(last_one_wins, dim3(1), dim3(256), 0, nullptr, out.p));
        winners[seed] = out[0];
        different += seed > 0 && winners[seed] != winners[0];
    }
    assert_true(different >= 6);
}

/* Between lanes of a warp __syncwarp is enough, and needed. */
template <bool SYNC> static __global__ void neighbours(int *out) {
    RT_SHARED(int, tile, 64);
    tile[threadIdx.x] = (int)threadIdx.x;
    if (SYNC) __syncwarp();
    out[threadIdx.x] = tile[threadIdx.x ^ 1];
}
static __global__ void other_warp(int *out) {
    RT_SHARED(int, tile, 64);
    tile[threadIdx.x] = (int)threadIdx.x;
    __syncwarp();
    out[threadIdx.x] = tile[threadIdx.x ^ 32];
}
/* Read, then written by another thread. */
static __global__ void overwritten(int *out) {
    RT_SHARED(int, tile, 64);
    tile[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = tile[63 - threadIdx.x];
    tile[threadIdx.x] = 0;
}

static void races_are_found(void **) {
    device_array<int> out(64);
    for (unsigned seed = 0; seed < 5; seed++) {
        cuemu_seed(seed);
        sound(rt_launch((neighbours<true>), dim3(1), dim3(64), 0, nullptr, out.p));
        for (int i = 0; i < 64; i++) assert_int_equal(out[(size_t)i], i ^ 1);
        says(rt_launch((neighbours<false>), dim3(1), dim3(64), 0, nullptr, out.p), "race");
        says(rt_launch(other_warp, dim3(1), dim3(64), 0, nullptr, out.p), "race");
        says(rt_launch(overwritten, dim3(1), dim3(64), 0, nullptr, out.p), "race");
    }
}

static __global__ void poke(char *data, long at) {
    data[at] = 1;
}

/* Runs the launch in a child: 0 if it lived, 1 if the sanitizer (or, without it, the guard zone) spoke. */
static int finds(char *data, long at) {
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        rt_status status = rt_launch(poke, dim3(1), dim3(32), 0, nullptr, data, at);
        _exit(status != RT_OK || cuemu_check_guards("child") != RT_OK);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void out_of_bounds_is_caught(void **) {
    device_array<char> data(100);
    assert_int_equal(finds(data.p, 0), 0);
    assert_int_equal(finds(data.p, 99), 0);
    assert_int_equal(finds(data.p, 100), 1);
    assert_int_equal(finds(data.p, -1), 1);
}

static __global__ void shuffles(int *out) {
    int lane = (int)threadIdx.x;
    out[lane] = __shfl_sync(0xffffffffu, lane * 10, 7);
    out[32 + lane] = __shfl_xor_sync(0xffffffffu, lane, 5);
    out[64 + lane] = __shfl_down_sync(0xffffffffu, lane, 3);
    out[96 + lane] = __shfl_up_sync(0xffffffffu, lane, 3);
    out[128 + lane] = (int)__ballot_sync(0xffffffffu, lane % 3 == 0);
    out[160 + lane] = __shfl_sync(0xffffffffu, lane, 2, 8);
    if (lane < 8) out[192 + lane] = __shfl_xor_sync(0xffu, lane, 4);
    out[224 + lane] = (int)__shfl_xor_sync(0xffffffffu, (double)lane, 16);
}

static void shuffles_and_votes(void **) {
    for (unsigned seed = 0; seed < 3; seed++) {
        cuemu_seed(seed);
        device_array<int> out(256);
        sound(rt_launch(shuffles, dim3(1), dim3(32), 0, nullptr, out.p));
        for (int l = 0; l < 32; l++) {
            size_t i = (size_t)l;
            assert_int_equal(out[i], 70);
            assert_int_equal(out[32 + i], l ^ 5);
            assert_int_equal(out[64 + i], l < 29 ? l + 3 : l);
            assert_int_equal(out[96 + i], l >= 3 ? l - 3 : l);
            assert_int_equal((uint32_t)out[128 + i], 0x49249249u);
            assert_int_equal(out[160 + i], l / 8 * 8 + 2);
            if (l < 8) assert_int_equal(out[192 + i], l ^ 4);
            assert_int_equal(out[224 + i], l ^ 16);
        }
    }
}

/* D = A B with A and B brought from shared memory by ldmatrix (A as it is, B [16, 8] turned), as attention will. */
template <bool BF16> static __global__ void product(const uint16_t *a, const uint16_t *b, float *d) {
    RT_SHARED(uint16_t, left, 16 * 16);
    RT_SHARED(uint16_t, right, 16 * 8);
    int lane = (int)threadIdx.x;
    rt_copy_async16(&left[8 * lane], a + 8 * lane);
    if (lane < 16) rt_copy_async16(&right[8 * lane], b + 8 * lane);
    rt_copy_commit();
    rt_copy_wait<0>();
    __syncwarp();
    uint32_t ra[4], rb[4];
    rt_ldmatrix4(ra, &left[lane % 16 * 16 + lane / 16 * 8]);
    rt_ldmatrix4_turned(rb, &right[lane % 16 * 8]);
    float c[4] = {1, 2, 3, 4};
    uint32_t half[2] = {rb[0], rb[1]};
    if (BF16)
        rt_mma_bf16(c, ra, half);
    else
        rt_mma_f16(c, ra, half);
    int g = lane / 4, t = lane % 4;
    d[g * 8 + 2 * t] = c[0], d[g * 8 + 2 * t + 1] = c[1];
    d[(g + 8) * 8 + 2 * t] = c[2], d[(g + 8) * 8 + 2 * t + 1] = c[3];
}

/* Small whole numbers: exact in both types, so every place is its own and no tolerance is needed. */
static void tensor_core_layouts(void **) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        cuemu_seed((uint64_t)bf16 + 1);
        device_array<uint16_t> a(256), b(128);
        device_array<float> d(128);
        float left[256], right[128];
        /* Bits of small whole numbers: bf16 is the upper half of fp32; fp16 has 10 bits of fraction, bias 15. */
        auto bits = [&](float x) {
            uint32_t u = rt_bits_of(x);
            if (bf16 || x == 0) return (uint16_t)(u >> 16);
            return (uint16_t)((u >> 16 & 0x8000) | ((u >> 23 & 255) - 112) << 10 | (u >> 13 & 1023));
        };
        for (int i = 0; i < 256; i++) left[i] = (float)(i * 7 % 23 - 11), a[(size_t)i] = bits(left[i]);
        for (int i = 0; i < 128; i++) right[i] = (float)(i * 5 % 19 - 9), b[(size_t)i] = bits(right[i]);
        if (bf16)
            sound(rt_launch((product<true>), dim3(1), dim3(32), 0, nullptr, a.p, b.p, d.p));
        else
            sound(rt_launch((product<false>), dim3(1), dim3(32), 0, nullptr, a.p, b.p, d.p));
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) {
                float want = (float)((i < 8 ? 1 : 3) + j % 2);
                for (int k = 0; k < 16; k++) want += left[i * 16 + k] * right[k * 8 + j];
                assert_true(d[(size_t)(i * 8 + j)] == want);
            }
    }
}

static __global__ void copies(const float *from, float *out, bool waits, bool meets) {
    RT_SHARED(float, tile, 128);
    rt_copy_async16(&tile[4 * threadIdx.x], from + 4 * threadIdx.x);
    rt_copy_commit();
    if (waits) rt_copy_wait<0>();
    if (meets) __syncthreads();
    out[threadIdx.x] = tile[127 - threadIdx.x];
    __syncthreads();
    if (!waits) rt_copy_wait<0>();
}

static void asynchronous_copies_land_late(void **) {
    device_array<float> from(128), out(32);
    for (size_t i = 0; i < 128; i++) from[i] = (float)i;
    sound(rt_launch(copies, dim3(1), dim3(32), 0, nullptr, from.p, out.p, true, true));
    for (size_t i = 0; i < 32; i++) assert_true(out[i] == (float)(127 - i));
    sound(rt_launch(copies, dim3(1), dim3(32), 0, nullptr, from.p, out.p, false, true));
    for (size_t i = 0; i < 32; i++) assert_true(std::isnan(out[i]));
    says(rt_launch(copies, dim3(1), dim3(32), 0, nullptr, from.p, out.p, true, false), "race");
}

static __global__ void wide(float *data, int shift) {
    rt_store16(data + 4 * threadIdx.x, rt_load16(data + shift));
}

static void wide_accesses_are_aligned(void **) {
    device_array<float> data(132);
    for (size_t i = 0; i < 132; i++) data[i] = (float)i;
    sound(rt_launch(wide, dim3(1), dim3(32), 0, nullptr, data.p, 128));
    assert_true(data[4] == 128 && data[127] == 131);
    says(rt_launch(wide, dim3(1), dim3(32), 0, nullptr, data.p, 1), "a load of 16 bytes");
}

static void bfloat16_rounds_to_even(void **) {
    for (uint32_t high = 0; high < 65536; high++) {
        static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
        for (uint32_t l : low) {
            bool nan = (high & 0x7fff) > 0x7f80 || ((high & 0x7fff) == 0x7f80 && l);
            uint32_t up = l > 0x8000 || (l == 0x8000 && (high & 1));
            uint32_t got = rt_pack_bf16(rt_float_of(high << 16 | l), 1.0f);
            assert_int_equal(got >> 16, 0x3f80);
            if (nan)
                assert_true((got & 0x7fff) > 0x7f80);
            else
                assert_int_equal(got & 0xffff, high + up);
        }
    }
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indices_are_complete),
        cmocka_unit_test(missing_barrier_is_caught),
        cmocka_unit_test(divergence_is_reported),
        cmocka_unit_test(shared_arrays_have_ends),
        cmocka_unit_test(shared_memory_is_poison_at_first),
        cmocka_unit_test(order_of_blocks_depends_on_the_seed),
        cmocka_unit_test(race_in_global_memory_shows),
        cmocka_unit_test(races_are_found),
        cmocka_unit_test(out_of_bounds_is_caught),
        cmocka_unit_test(shuffles_and_votes),
        cmocka_unit_test(tensor_core_layouts),
        cmocka_unit_test(asynchronous_copies_land_late),
        cmocka_unit_test(wide_accesses_are_aligned),
        cmocka_unit_test(bfloat16_rounds_to_even),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
