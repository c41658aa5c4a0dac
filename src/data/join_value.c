/* Times, ratings, splits and texts as they are read for a join. */
#include "join_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BILLION = 1000000000 };

int rt_join_time_compare(rt_join_time a, rt_join_time b) {
    if (a.whole != b.whole) return a.whole < b.whole ? -1 : 1;
    return (a.nano > b.nano) - (a.nano < b.nano);
}

void rt_join_time_key(rt_join_time time, unsigned char out[12]) {
    rt_key_u64(out, (uint64_t)time.whole ^ (uint64_t)1 << 63); /* negative ones first */
    for (int i = 0; i < 4; i++) out[8 + i] = (unsigned char)(time.nano >> (24 - 8 * i));
}

void rt_join_time_print(rt_join_time time, rt_text *out) {
    uint64_t whole = time.whole < 0 ? 0 - (uint64_t)time.whole : (uint64_t)time.whole;
    uint32_t nano = time.nano;
    if (time.whole < 0 && nano > 0) { /* -2 and 0.5 are -1.5 */
        whole--;
        nano = BILLION - nano;
    }
    char digits[16];
    rt_text_printf(out, "%s%llu", time.whole < 0 ? "-" : "", (unsigned long long)whole);
    if (nano == 0) return;
    int n = snprintf(digits, sizeof digits, "%09u", (unsigned)nano);
    while (n > 1 && digits[n - 1] == '0') n--;
    rt_text_printf(out, ".%.*s", n, digits);
}

/* --- a cursor over a short text ------------------------------------------------------------------------------------
 */

typedef struct {
    const char *at, *stop;
} view;

static bool take(view *v, char c) {
    if (v->at == v->stop || *v->at != c) return false;
    v->at++;
    return true;
}

static bool take_any(view *v, const char *set) {
    return v->at < v->stop && *v->at && strchr(set, *v->at) ? (v->at++, true) : false;
}

/* least to most digits; *digits (may be NULL): how many there were. */
static bool take_number(view *v, int least, int most, int64_t *value, int *digits) {
    int n = 0;
    *value = 0;
    for (; n < most && v->at < v->stop && *v->at >= '0' && *v->at <= '9'; n++) *value = *value * 10 + (*v->at++ - '0');
    if (digits) *digits = n;
    return n >= least;
}

static bool at_digit(const view *v) {
    return v->at < v->stop && *v->at >= '0' && *v->at <= '9';
}

/* What follows a decimal point, to nine digits; more are skipped. */
static bool take_fraction(view *v, uint32_t *nano) {
    uint32_t value = 0;
    int n = 0;
    for (; at_digit(v); v->at++, n++)
        if (n < 9) value = value * 10 + (uint32_t)(*v->at - '0');
    for (int k = n; k < 9; k++) value *= 10;
    *nano = value;
    return n > 0;
}

static bool parse_plain(view v, rt_join_time *time) {
    bool negative = take(&v, '-');
    if (!take_number(&v, 1, 18, &time->whole, NULL)) return false;
    time->nano = 0;
    if (take(&v, '.') && !take_fraction(&v, &time->nano) && v.at != v.stop) return false;
    if (v.at != v.stop) return false;
    if (negative) {
        time->whole = -time->whole - (time->nano > 0);
        if (time->nano > 0) time->nano = BILLION - time->nano;
    }
    return true;
}

/* 1.5e9, as tables of floats have it. */
static bool parse_float(const char *bytes, size_t size, rt_join_time *time) {
    char text[48];
    double value;
    if (size == 0 || size >= sizeof text || memchr(bytes, 0, size)) return false;
    memcpy(text, bytes, size);
    text[size] = 0;
    if (!strpbrk(text, "eE") || !rt_parse_f64(text, &value) || value >= 9e15 || value <= -9e15) return false;
    time->whole = (int64_t)value;
    double rest = value - (double)time->whole;
    if (rest < 0) {
        time->whole--;
        rest += 1;
    }
    time->nano = (uint32_t)(rest * BILLION);
    if (time->nano >= BILLION) time->nano = BILLION - 1;
    return true;
}

/* Days from 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is a year's last. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day) {
    int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool is_date(int64_t year, int64_t month, int64_t day) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1) return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= lengths[month - 1] + (month == 2 && leap);
}

/* "10:22", "10:22:32", "10:22:32.5", with AM or PM; *seconds of the day. */
static bool take_clock(view *v, int64_t *seconds, uint32_t *nano) {
    int64_t hour, minute, second = 0;
    if (!take_number(v, 1, 2, &hour, NULL) || !take(v, ':') || !take_number(v, 2, 2, &minute, NULL)) return false;
    if (take(v, ':')) {
        if (!take_number(v, 2, 2, &second, NULL)) return false;
        if (take_any(v, ".,") && !take_fraction(v, nano)) return false;
    }
    view after = *v;
    while (take(&after, ' ')) {
    }
    if (take_any(&after, "AaPp")) {
        bool evening = after.at[-1] == 'P' || after.at[-1] == 'p';
        if (!take_any(&after, "Mm") || hour < 1 || hour > 12) return false;
        hour = hour % 12 + (evening ? 12 : 0);
        *v = after;
    }
    if (hour > 23 || minute > 59 || second > 60) return false;
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

/* "Z", "UTC", "+01:00", "-0800", or nothing: UTC. */
static bool take_zone(view *v, int64_t *offset) {
    int64_t hours, minutes = 0;
    *offset = 0;
    while (take(v, ' ')) {
    }
    if (v->at == v->stop || take(v, 'Z')) return true;
    if (v->stop - v->at == 3 && !memcmp(v->at, "UTC", 3)) {
        v->at = v->stop;
        return true;
    }
    if (!take_any(v, "+-")) return false;
    int sign = v->at[-1] == '-' ? -1 : 1;
    if (!take_number(v, 2, 2, &hours, NULL)) return false;
    bool colon = take(v, ':');
    if ((colon || at_digit(v)) && !take_number(v, 2, 2, &minutes, NULL)) return false;
    if (hours > 14 || minutes > 59) return false;
    *offset = sign * (hours * 3600 + minutes * 60);
    return true;
}

/* 2019-11-15 10:22:32, 2019-11-15T10:22:32.5+01:00, 2019/11/15, 11/15/2019 10:22:32 AM. */
static bool parse_calendar(view v, rt_join_time *time) {
    int64_t a, b, c, year, month, day, seconds = 0, offset;
    int digits;
    *time = (rt_join_time){0};
    if (!take_number(&v, 1, 4, &a, &digits) || !take_any(&v, "-/")) return false;
    char separator = v.at[-1];
    if (!take_number(&v, 1, 2, &b, NULL) || !take(&v, separator)) return false;
    bool year_first = digits == 4;
    if (!take_number(&v, year_first ? 1 : 4, year_first ? 2 : 4, &c, NULL)) return false;
    if (!year_first && separator != '/') return false;
    year = year_first ? a : c, month = year_first ? b : a, day = year_first ? c : b;
    if (!is_date(year, month, day)) return false;
    if (take_any(&v, "T ") && !take_clock(&v, &seconds, &time->nano)) return false;
    if (!take_zone(&v, &offset) || v.at != v.stop) return false;
    time->whole = days_since_1970(year, month, day) * 86400 + seconds - offset;
    return true;
}

bool rt_join_time_parse(const char *bytes, size_t size, rt_join_time *time, bool *calendar) {
    while (size > 0 && *bytes == ' ') bytes++, size--;
    while (size > 0 && bytes[size - 1] == ' ') size--;
    view v = {bytes, bytes + size};
    *calendar = false;
    if (parse_plain(v, time) || parse_float(bytes, size, time)) return true;
    *calendar = true;
    return parse_calendar(v, time);
}

/* --- how to split --------------------------------------------------------------------------------------------------
 */

static rt_status bad_rule(const char *text) {
    return rt_fail(RT_EUSAGE,
                   "--split %s: expected shares of the rows, as 80/10/10 or 90/10 (their sum is 100), or the instants "
                   "at which dev and test begin, as 2019-11-14 or 2019-11-14,2019-11-15 or numbers as in the log",
                   text);
}

/* "80/10/10"; not "11/14/2019", whose sum is no 100. */
static bool parse_shares(const char *text, rt_join_rule *rule) {
    double shares[3] = {0}, sum = 0;
    int n = 0;
    const char *p = text;
    for (;; p++) {
        char *end;
        if (n == 3 || *p < '0' || *p > '9') return false;
        shares[n] = strtod(p, &end);
        sum += shares[n++];
        p = end;
        if (*p == 0) break;
        if (*p != '/') return false;
    }
    if (n < 2 || sum < 99.999 || sum > 100.001) return false;
    rule->by_share = true;
    rule->train = shares[0] / sum;
    rule->dev = shares[1] / sum;
    return true;
}

rt_status rt_join_rule_parse(const char *text, rt_join_rule *rule) {
    *rule = (rt_join_rule){0};
    if (parse_shares(text, rule)) return RT_OK;
    const char *comma = strchr(text, ',');
    size_t first = comma ? (size_t)(comma - text) : strlen(text);
    if (!rt_join_time_parse(text, first, &rule->dev_from, &rule->calendar)) return bad_rule(text);
    rule->n_instants = 1;
    if (!comma) return RT_OK;
    bool calendar;
    if (!rt_join_time_parse(comma + 1, strlen(comma + 1), &rule->test_from, &calendar)) return bad_rule(text);
    rule->n_instants = 2;
    if (calendar != rule->calendar) return bad_rule(text);
    if (rt_join_time_compare(rule->dev_from, rule->test_from) >= 0)
        return rt_fail(RT_EUSAGE, "--split %s: test begins after dev: the second instant must be the later one", text);
    return RT_OK;
}

rt_status rt_join_bound_parse(const char *text, const char *flag, rt_join_bound *bound) {
    *bound = (rt_join_bound){.set = true, .strict = *text == '>'};
    const char *number = text + bound->strict + (bound->strict && text[1] == ' ');
    if (!rt_parse_f64(number, &bound->bound))
        return rt_fail(RT_EUSAGE, "%s %s: expected a number, as 4, or with > before it: >2 is more than 2", flag, text);
    return RT_OK;
}

/* --- texts ---------------------------------------------------------------------------------------------------------
 */

bool rt_join_clean(rt_text *out, const char *bytes, size_t size, size_t limit) {
    size_t base = out->size, from = 0;
    bool cut = false;
    for (size_t i = 0; i <= size; i++) {
        unsigned char c = i < size ? (unsigned char)bytes[i] : ' ';
        if (c > ' ' && c != 0x7F) continue;
        if (i > from) {
            if (out->size > base) rt_text_append(out, " ", 1);
            rt_text_append(out, bytes + from, i - from);
        }
        from = i + 1;
        if (out->size - base > limit) break;
    }
    if (out->size - base > limit) {
        size_t end = base + limit;
        while (end > base && ((unsigned char)out->data[end] & 0xC0) == 0x80) end--;
        while (end > base && out->data[end - 1] == ' ') end--;
        out->size = end;
        out->data[end] = 0;
        cut = true;
    }
    return cut;
}

void rt_join_latin1(rt_text *out, const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char utf8[4];
        rt_text_append(out, utf8, (size_t)rt_utf8_encode((unsigned char)bytes[i], utf8));
    }
}

bool rt_join_is_utf8(const char *bytes, size_t size) {
    for (size_t i = 0; i < size;) {
        unsigned code_point;
        bool bad = false;
        i += (size_t)rt_utf8_decode((const unsigned char *)bytes + i, size - i, &code_point, &bad);
        if (bad) return false;
    }
    return true;
}
