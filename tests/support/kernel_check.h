/* What tests of ops share: guarded buffers, values that are exact in the backend's dtype, comparison with fp64.
 *
 * Buffers stand between guard zones and are filled with NaN (0xFF bytes: NaN in fp32, fp64 and bf16, -1 in integers),
 * so that an op that reads what nobody wrote, or writes where it may not, is found. Errors are relative L2 norms
 * against an fp64 reference: |got - want| / |want|; a NaN or infinity on either side makes them infinite.
 *
 * A program of op tests has `int main(int argc, char **argv) { return rt_check_main(argc, argv, tests, n_tests); }`:
 * the tests run once for every instruction level that the processor has, each in a process of its own with RECTRAIN_ISA
 * set (oneDNN takes its cap only once), as one cmocka test "isa_<level>". `RECTRAIN_ISA=v3 test_x` runs one level
 * directly.
 */
#ifndef RT_TESTS_KERNEL_CHECK_H
#define RT_TESTS_KERNEL_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rectrain/kernels.h>

typedef struct rt_check rt_check;

/* Opens the CPU backend at `precision` with `threads`, and gives it a guarded workspace for `dims` (exactly what it
 * asks for; NULL: none). Fails the test on error. */
rt_check *rt_check_open(rt_precision precision, int threads, const rt_dims *dims);
rt_backend *rt_check_backend(rt_check *c);
/* Asserts that every guard zone of c is whole, frees all, closes the backend. */
void rt_check_close(rt_check *c);
/* Asserts that every guard zone is whole; `where` goes into the message. */
void rt_check_guards(rt_check *c, const char *where);

/* `bytes` of poison between guard zones, aligned to 256 bytes; freed by rt_check_close. bytes may be 0. */
void *rt_check_buffer(rt_check *c, size_t bytes);
/* n elements of `dtype`, poison. */
void *rt_check_poison(rt_check *c, rt_dtype dtype, size_t n);
/* n elements of dtype: normal values of that deviation from a stream named by `seed`, rounded to dtype. */
void *rt_check_normal(rt_check *c, rt_dtype dtype, size_t n, uint32_t seed, double deviation);
/* A copy of n elements of dtype, as it stands, in a new guarded buffer. */
void *rt_check_copy(rt_check *c, rt_dtype dtype, const void *from, size_t n);
/* n zeroed doubles / the values of n elements of dtype as doubles; freed by rt_check_close, guarded too. */
double *rt_check_doubles(rt_check *c, size_t n);
double *rt_check_widen(rt_check *c, rt_dtype dtype, const void *from, size_t n);
/* Writes doubles into elements of dtype, rounding to nearest even. */
void rt_check_round(rt_dtype dtype, void *to, const double *from, size_t n);
double rt_check_get(rt_dtype dtype, const void *from, size_t i);

/* Relative L2 error; infinite if a value of either side is not finite. 0 / 0 is 0. */
double rt_check_error(rt_dtype dtype, const void *got, const double *want, size_t n);
/* Largest |got - want|; infinite as above. */
double rt_check_max_error(rt_dtype dtype, const void *got, const double *want, size_t n);
/* Asserts rt_check_error <= limit; the message has `what`, the error and the limit. */
void rt_check_close_to(const char *what, rt_dtype dtype, const void *got, const double *want, size_t n, double limit);
/* Asserts that both hold the same n elements of dtype bit for bit. */
void rt_check_same(const char *what, rt_dtype dtype, const void *a, const void *b, size_t n);
/* Asserts that every byte is still poison. */
void rt_check_untouched(const char *what, const void *buffer, size_t bytes);
/* Asserts RT_OK, printing the error record otherwise / asserts that status, and that it left a message. */
void rt_check_ok(rt_status status, const char *what);
void rt_check_fails(rt_status want, rt_status got, const char *what);

/* Unit round-off: 2^-24 for f32, 2^-9 for bf16 (8 bits of significand, rounded to nearest: half of 2^-8). */
double rt_check_roundoff(rt_dtype dtype);
/* Limit for a result that a plain implementation computes as an fp32 sum of `terms` products and rounds once to dtype:
 * 2 x (roundoff(dtype) + 2^-24 sqrt(terms)). Rounding errors of a sum of zero-mean terms grow like the square root of
 * their number; the factor 2 is the project's rule (twice the error of a plain implementation). */
double rt_check_limit(rt_dtype dtype, int64_t terms);

#define rt_check_main(argc, argv, tests, n) rt_check_run((argc), (argv), #tests, (tests), (n))
int rt_check_run(int argc, char **argv, const char *group, const struct CMUnitTest *tests, size_t n);

#endif
