/* Small string helpers: copies, strict numbers, nearest names, UTF-8. */
#include "text.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

char *rt_strndup(const char *s, size_t n) {
    size_t size = strnlen(s, n);
    char *copy = malloc(size + 1);
    if (!copy) return NULL;
    memcpy(copy, s, size);
    copy[size] = 0;
    return copy;
}

char *rt_strdup(const char *s) {
    return rt_strndup(s, strlen(s));
}

bool rt_streq(const char *a, const char *b) {
    if (!a || !b) return a == b;
    return strcmp(a, b) == 0;
}

/* Names longer than this are compared by their beginnings: nobody mistypes a longer one by accident. */
#define RT_EDIT_MAX 127

int rt_edit_distance(const char *a, const char *b) {
    int rows[3][RT_EDIT_MAX + 1];
    size_t long_a = strlen(a), long_b = strlen(b);
    int n = (int)(long_a > RT_EDIT_MAX ? RT_EDIT_MAX : long_a), m = (int)(long_b > RT_EDIT_MAX ? RT_EDIT_MAX : long_b);
    int *two = rows[0], *one = rows[1], *now = rows[2];
    for (int j = 0; j <= m; j++) one[j] = two[j] = j;
    for (int i = 1; i <= n; i++) {
        int a0 = tolower((unsigned char)a[i - 1]), a1 = i > 1 ? tolower((unsigned char)a[i - 2]) : -1;
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int b0 = tolower((unsigned char)b[j - 1]), b1 = j > 1 ? tolower((unsigned char)b[j - 2]) : -1;
            int best = one[j - 1] + (a0 != b0);
            if (one[j] + 1 < best) best = one[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a0 == b1 && a1 == b0 && two[j - 2] + 1 < best) best = two[j - 2] + 1;
            now[j] = best;
        }
        int *spare = two;
        two = one;
        one = now;
        now = spare;
    }
    size_t rest_a = long_a - (size_t)n, rest_b = long_b - (size_t)m;
    size_t rest = rest_a > rest_b ? rest_a - rest_b : rest_b - rest_a;
    return one[m] + (rest > 1000000 ? 1000000 : (int)rest);
}

const char *rt_did_you_mean(const char *found, const char *const *names, int n) {
    const char *best = NULL;
    int best_distance = 0;
    for (int i = 0; i < n; i++) {
        if (!names[i]) continue;
        size_t length = strlen(names[i]), own = strlen(found);
        if (own > length) length = own;
        int distance = rt_edit_distance(found, names[i]);
        if ((size_t)distance * 3 > length) continue;
        if (!best || distance < best_distance) best = names[i], best_distance = distance;
    }
    return best;
}

bool rt_parse_i64(const char *s, long long *out) {
    char *end;
    if (!s || !(isdigit((unsigned char)s[0]) || ((s[0] == '-' || s[0] == '+') && isdigit((unsigned char)s[1]))))
        return false;
    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (errno != 0 || *end) return false;
    *out = value;
    return true;
}

bool rt_parse_f64(const char *s, double *out) {
    char *end;
    if (!s || !s[0]) return false;
    /* Digits, sign, point, exponent alone: no blanks, hexadecimals, "nan" or "inf", which strtod would take. */
    if (s[strspn(s, "+-.0123456789eE")] || !strpbrk(s, "0123456789")) return false;
    errno = 0;
    double value = strtod(s, &end);
    if (*end || !isfinite(value)) return false;
    *out = value;
    return true;
}

int rt_utf8_decode(const unsigned char *s, size_t n, unsigned *code_point, bool *bad) {
    unsigned c = n > 0 ? s[0] : 0;
    if (n > 0 && c < 0x80) {
        *code_point = c;
        return 1;
    }
    int length = c >= 0xC2 && c <= 0xDF ? 2 : c >= 0xE0 && c <= 0xEF ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (length > 0 && (size_t)length <= n) {
        /* The second byte's range shuts out overlong forms, surrogates and what lies beyond U+10FFFF. */
        unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        unsigned value = c & (0x7Fu >> length);
        bool good = s[1] >= low && s[1] <= high;
        for (int i = 1; i < length; i++) {
            good = good && (s[i] & 0xC0) == 0x80;
            value = value << 6 | (s[i] & 0x3Fu);
        }
        if (good) {
            *code_point = value;
            return length;
        }
    }
    *code_point = 0xFFFD;
    *bad = true;
    return 1;
}

int rt_utf8_encode(unsigned code_point, char out[4]) {
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) code_point = 0xFFFD;
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

size_t rt_json_memory(const char *bytes, size_t size) {
    /* What malloc gives for jansson's structs on 64 bits: a value 32, a key's pair 80 and its bucket 16, a string 48 on
     * top, a list's slot 16, an empty list 128, an empty object with its first buckets 224. */
    size_t commas = 0, keys = 0, strings = 0, lists = 0, objects = 0;
    for (size_t i = 0; i < size; i++) {
        switch (bytes[i]) {
        case '"':
            strings++;
            for (i++; i < size && bytes[i] != '"'; i++) i += bytes[i] == '\\';
            break;
        case ',':
            commas++;
            break;
        case ':':
            keys++;
            break;
        case '[':
            lists++;
            break;
        case '{':
            objects++;
            break;
        default:
            break;
        }
    }
    size_t texts = strings > keys ? strings - keys : 0, slots = commas > keys ? commas - keys : 0;
    return 32 * (commas + 1) + 96 * keys + 48 * texts + 16 * slots + 128 * lists + 224 * objects;
}
