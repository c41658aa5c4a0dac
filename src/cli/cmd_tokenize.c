/* rectrain tokenize: lines in, token ids out. */
#include "../base/file.h"
#include "../checkpoint/source.h"
#include "../text/tokenizer.h"
#include "cli.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_LIMIT (8u << 20) /* as of a row */
#define VOCAB_LIMIT (256u << 20)

typedef struct {
    rt_tokenizer *tok;
    rt_tok_scratch *scratch;
    rt_encode_options encode; /* max_length 0: no cut */
    bool json;
    int32_t *ids; /* [capacity] */
    size_t capacity;
    rt_text out;
} tokenizing;

/* --- where the vocabulary comes from ------------------------------------------------------------------------------ */

static rt_status read_vocab_file(const rt_cli *cli, rt_text *vocab, rt_tokenizer_options *options) {
    char *bytes = NULL;
    size_t size = 0;
    RT_TRY(rt_file_read(cli->vocab, VOCAB_LIMIT, &bytes, &size));
    size_t n = strlen(cli->vocab);
    rt_status rc = RT_OK;
    if (n > 5 && !strcmp(cli->vocab + n - 5, ".json")) {
        if (cli->cased)
            rc =
                rt_fail(RT_EUSAGE, "rectrain tokenize: --cased goes with a vocab.txt; %s knows its casing", cli->vocab);
        else
            rc = rt_tokenizer_json_parse(bytes, size, cli->vocab, vocab, options);
    } else {
        rt_text_append(vocab, bytes, size);
        options->lowercase = !cli->cased;
        rc = rt_text_status(vocab);
    }
    free(bytes);
    return rc;
}

static rt_status open_tokenizer(rt_cli *cli, tokenizing *t) {
    rt_source *source = NULL;
    rt_config *cfg = NULL;
    rt_text vocab = {0};
    rt_tokenizer_options options = rt_tokenizer_defaults();
    rt_status rc;
    if (cli->checkpoint) {
        RT_GO(rt_source_open_as("--checkpoint", cli->checkpoint, cli->log, &source));
        options = *rt_source_tokenizer_options(source);
        rt_blob blob = rt_source_vocab(source), ini = rt_source_config_ini(source);
        rt_text_append(&vocab, blob.bytes ? blob.bytes : "", blob.bytes ? blob.size : 0);
        RT_GO(rt_cli_config(cli, ini.bytes, ini.size, cli->checkpoint, &cfg));
    } else {
        RT_GO(read_vocab_file(cli, &vocab, &options));
        RT_GO(rt_cli_config(cli, NULL, 0, NULL, &cfg));
    }
    RT_GO(rt_text_status(&vocab));
    if (!cli->vocab || rt_config_is_set(cfg, "data.special_tokens"))
        options.match_special = cfg->data.special_tokens == RT_CFG_SPECIAL_MATCH;
    t->encode.truncation = (rt_truncation)cfg->data.truncation;
    t->encode.left = cfg->data.truncation_side == RT_CFG_SIDE_LEFT;
    if (cli->max_length > 0)
        t->encode.max_length = (int)cli->max_length;
    else if (cli->checkpoint || rt_config_is_set(cfg, "data.max_length"))
        t->encode.max_length = cfg->data.max_length;
    RT_GO(rt_tokenizer_from_vocab(vocab.data, vocab.size, cli->checkpoint ? cli->checkpoint : cli->vocab, &options,
                                  &t->tok));
    t->scratch = rt_tok_scratch_new();
    if (!t->scratch) rc = rt_fail(RT_ENOMEM, "tokenize: out of memory");
done:
    rt_text_free(&vocab);
    rt_config_free(cfg);
    rt_source_close(source);
    return rc;
}
_Static_assert((int)RT_TRUNCATE_LONGEST_FIRST == (int)RT_CFG_TRUNCATE_LONGEST_FIRST &&
                   (int)RT_TRUNCATE_A == (int)RT_CFG_TRUNCATE_A && (int)RT_TRUNCATE_B == (int)RT_CFG_TRUNCATE_B,
               "the configuration's truncation is the tokenizer's");

/* --- one line ----------------------------------------------------------------------------------------------------- */

static rt_status make_room(tokenizing *t, size_t size) {
    /* A token takes at least one byte of its text; without a cut that bounds their number. */
    size_t need = t->encode.max_length ? (size_t)t->encode.max_length : size + 16;
    if (need <= t->capacity) return RT_OK;
    int32_t *grown = realloc(t->ids, need * sizeof *grown);
    if (!grown) return rt_fail(RT_ENOMEM, "tokenize: out of memory for a line of %zu bytes", size);
    t->ids = grown;
    t->capacity = need;
    return RT_OK;
}

/* What is ready goes out before a long line's next token comes in. */
static rt_status drain(tokenizing *t) {
    if (t->out.size < (1u << 16)) return rt_text_status(&t->out);
    RT_TRY(rt_text_status(&t->out));
    rt_status rc = rt_cli_write(t->out.data, t->out.size);
    rt_text_clear(&t->out);
    return rc;
}

static rt_status put_json(tokenizing *t, int n, int split) {
    rt_text_puts(&t->out, "{\"ids\": [");
    for (int i = 0; i < n; i++) {
        rt_text_printf(&t->out, i ? ", %d" : "%d", t->ids[i]);
        RT_TRY(drain(t));
    }
    rt_text_puts(&t->out, "], \"types\": [");
    for (int i = 0; i < n; i++) {
        rt_text_puts(&t->out, i ? (i >= split ? ", 1" : ", 0") : (split <= 0 ? "1" : "0"));
        RT_TRY(drain(t));
    }
    rt_text_puts(&t->out, "], \"tokens\": [");
    for (int i = 0; i < n; i++) {
        size_t size = 0;
        const char *token = rt_tokenizer_token(t->tok, t->ids[i], &size);
        if (i) rt_text_puts(&t->out, ", ");
        rt_text_json_string(&t->out, token ? token : "", token ? size : 0);
        RT_TRY(drain(t));
    }
    rt_text_puts(&t->out, "]}\n");
    return drain(t);
}

static rt_status put_ids(tokenizing *t, int n) {
    for (int i = 0; i < n; i++) {
        rt_text_printf(&t->out, i ? " %d" : "%d", t->ids[i]);
        RT_TRY(drain(t));
    }
    rt_text_puts(&t->out, "\n");
    return drain(t);
}

static rt_status one_line(tokenizing *t, const char *line, size_t size) {
    const char *tab = memchr(line, '\t', size), *b = tab ? tab + 1 : NULL;
    size_t a_size = tab ? (size_t)(tab - line) : size, b_size = tab ? size - a_size - 1 : 0;
    rt_encode_options encode = t->encode;
    rt_tok_stats stats = {0};
    int n = 0, split = 0;
    RT_TRY(make_room(t, size));
    if (!encode.max_length) encode.max_length = (int)(size + 16);
    RT_TRY(rt_encode(t->tok, t->scratch, &encode, line, a_size, b, b_size, t->ids, &n, &split, &stats));
    return t->json ? put_json(t, n, split) : put_ids(t, n);
}

/* --- all lines: a buffer that grows only for a line longer than it ------------------------------------------------ */

static rt_status all_lines(tokenizing *t, FILE *in) {
    rt_text rest = {0}; /* the start of a line whose end was not read yet */
    size_t chunk_size = 1u << 16;
    unsigned long long line = 1;
    char *chunk = malloc(chunk_size);
    rt_status rc = chunk ? RT_OK : rt_fail(RT_ENOMEM, "tokenize: out of memory");
    while (rc == RT_OK && !feof(in)) { /* asked again, a terminal would want a second Ctrl-D */
        size_t n = fread(chunk, 1, chunk_size, in);
        if (n == 0) break;
        for (size_t at = 0; at < n && rc == RT_OK;) {
            char *end = memchr(chunk + at, '\n', n - at);
            size_t part = end ? (size_t)(end - chunk) - at : n - at;
            if (rest.size + part > LINE_LIMIT) {
                rc = rt_fail(RT_EDATA, "stdin:%llu: a line of more than %u bytes; at most so many are accepted", line,
                             LINE_LIMIT);
            } else if (!end) {
                rt_text_append(&rest, chunk + at, part);
                rc = rt_text_status(&rest);
            } else if (rest.size) {
                rt_text_append(&rest, chunk + at, part);
                rc = rt_text_status(&rest);
                if (rc == RT_OK) rc = one_line(t, rest.data, rest.size);
                rt_text_clear(&rest);
            } else {
                rc = one_line(t, chunk + at, part);
            }
            at += part + (end != NULL);
            line += end != NULL;
        }
    }
    if (rc == RT_OK && ferror(in)) rc = rt_fail(RT_EIO, "stdin:%llu: cannot read: %s", line, strerror(errno));
    if (rc == RT_OK && rest.size) rc = one_line(t, rest.data, rest.size);
    if (rc == RT_OK && t->out.size) rc = rt_cli_write(t->out.data, t->out.size);
    rt_text_free(&rest);
    free(chunk);
    return rc;
}

rt_status rt_cmd_tokenize(rt_cli *cli) {
    tokenizing t = {.json = cli->json};
    rt_status rc;
    RT_GO(open_tokenizer(cli, &t));
    rt_cli_awaits_lines(cli, "lines");
    RT_GO(all_lines(&t, stdin));
    rc = rt_cli_flush();
done:
    rt_text_free(&t.out);
    free(t.ids);
    rt_tok_scratch_free(t.scratch);
    rt_tokenizer_free(t.tok);
    return rc;
}
