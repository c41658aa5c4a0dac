/* "{brand} {title}", or a bare column name: how a text is made from a row. "{{" and "}}" are literal braces. */
#ifndef RT_DATA_TEMPLATE_H
#define RT_DATA_TEMPLATE_H
#include "../base/text.h"
#include "table.h"

typedef struct rt_template rt_template;
/* RT_ECONFIG for unbalanced braces; `key` ("data.text_a") is for the message. */
rt_status rt_template_parse(const char *text, const char *key, rt_template **out);
/* Finds the columns (RT_EDATA as rt_table_require). One template may be bound to one table at a time. */
rt_status rt_template_bind(rt_template *t, const rt_table *table);
/* The text of this row: a direct view of the field when the template is one column, else built in `scratch`. */
void rt_template_render(const rt_template *t, const rt_field *fields, rt_text *scratch, const char **bytes,
                        size_t *size);
void rt_template_free(rt_template *t);

#endif
