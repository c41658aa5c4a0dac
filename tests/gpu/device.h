/* What programs for a real GPU share: the plugin's backend, or the sentence why there is none. */
#ifndef RT_TESTS_GPU_DEVICE_H
#define RT_TESTS_GPU_DEVICE_H
#include <base/plugin.h>
#include <rectrain/kernels.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* One backend a precision, open until the program's end. RT_EUNAVAILABLE: no plugin, driver or GPU. */
rt_status device_backend(rt_precision precision, rt_backend **out);
/* Runs the tests; without a GPU names each as skipped and returns 0, or 69 where RECTRAIN_GPU_REQUIRED is set. */
int device_main(const char *group, const struct CMUnitTest *tests, size_t n);

#endif
