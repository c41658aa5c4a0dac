/* Linked into test programs that run over a planted fault: one failure is all that is asked for, so the program ends at
 * the first, and RECTRAIN_TEST_ONLY=PATTERN runs the tests of such names alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* after those, as it wants */
#include <cmocka.h>

static void __attribute__((constructor)) choose(void) {
    const char *only = getenv("RECTRAIN_TEST_ONLY");
    if (only) cmocka_set_test_filter(only);
}

/* In the place of cmocka's own, which every assertion that fails calls once it has said why. */
void _fail(const char *const file, const int line) {
    fprintf(stderr, "NOTICED at %s:%d\n", file, line);
    fflush(NULL);
    _exit(1);
}
