/* Clocks. */
#ifndef RT_BASE_CLOCK_H
#define RT_BASE_CLOCK_H

double rt_clock_seconds(void);                       /* monotonic */
double rt_clock_unix(void);                          /* wall clock, seconds since 1970 */
void rt_duration_text(double seconds, char out[32]); /* "42 s", "3 min 05 s", "2 h 07 min" */

#endif
