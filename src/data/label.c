#include "label.h"
#include "../base/text.h"
#include <math.h>
#include <string.h>

static bool is(const rt_field *f, const char *s) {
    return f->size == strlen(s) && !memcmp(f->bytes, s, f->size);
}

/* "7", "7.", "7.00": what integers look like after a detour through a column of floats. */
static int integer(const rt_field *f) {
    size_t i = 0;
    int value = 0;
    for (; i < f->size && f->bytes[i] >= '0' && f->bytes[i] <= '9'; i++) {
        if (i == 6) return -1;
        value = value * 10 + (f->bytes[i] - '0');
    }
    if (i == 0 || (i > 1 && f->bytes[0] == '0')) return -1;
    if (i < f->size && f->bytes[i] == '.')
        for (i++; i < f->size && f->bytes[i] == '0';) i++;
    return i == f->size ? value : -1;
}

int rt_label_parse(const rt_field *field, const char *const *labels, int n_labels) {
    if (field->missing) return -1;
    /* The one name of a single label names the score, not a value. */
    for (int k = 0; k < n_labels && n_labels > 1 && labels; k++)
        if (is(field, labels[k])) return k;
    int values = n_labels <= 1 ? 2 : n_labels, value = integer(field);
    if (value >= 0) return value < values ? value : -1;
    if (values != 2) return -1;
    if (is(field, "true") || is(field, "True") || is(field, "TRUE")) return 1;
    if (is(field, "false") || is(field, "False") || is(field, "FALSE")) return 0;
    return -1;
}

bool rt_weight_parse(const rt_field *field, float *out) {
    char text[64];
    double value;
    if (field->missing || field->size == 0 || field->size >= sizeof text || memchr(field->bytes, 0, field->size))
        return false;
    memcpy(text, field->bytes, field->size);
    text[field->size] = 0;
    if (!rt_parse_f64(text, &value) || value < 0 || value > 3.4028234663852886e38) return false;
    *out = (float)value + 0.0f; /* no negative zero */
    return true;
}
