/* What a run leaves for people and tools to look at: live progress, metrics.jsonl, TensorBoard, an HTML page. */
#ifndef RT_TRACK_TRACK_H
#define RT_TRACK_TRACK_H
#include "../base/log.h"
#include "../base/status.h"
#include "../base/text.h"
#include <stdint.h>

/* --- progress: one live line on a terminal; elsewhere one whole line every `every` seconds, never "\r", never silence.
 * NULL is allowed everywhere and does nothing. On a terminal the line hooks into `log` so that log lines appear above
 * it; free it before the log. */
typedef struct rt_progress_line rt_progress_line;
rt_progress_line *rt_progress_line_new(FILE *stream, bool terminal, double every, rt_log *log);
/* `text` is the line without newline; drawn at most 10 times a second on a terminal, and never while the program is in
 * the terminal's background. */
void rt_progress_line_update(rt_progress_line *line, const char *text);
/* What begins now and will not report how far it is: said by the beat alone, so that a short phase leaves no trace. */
void rt_progress_line_phase(rt_progress_line *line, const char *text);
/* Begins the beat: a thread that says the last text again, with the seconds since, where nothing new came for `every`
 * seconds (a terminal: one second), until rt_progress_line_end or _free. */
void rt_progress_line_beat(rt_progress_line *line);
void rt_progress_line_end(rt_progress_line *line); /* clears it on a terminal */
void rt_progress_line_free(rt_progress_line *line);
/* "[#####.....]" of the given width. */
void rt_progress_bar(double share, int width, rt_text *out);

/* --- metrics.jsonl: appended line by line, flushed; a failed write is RT_EIO */
typedef struct rt_jsonl rt_jsonl;
/* Appends; a torn last line (a writer was killed) is cut off first. */
rt_status rt_jsonl_open(const char *path, rt_jsonl **out);
rt_status rt_jsonl_write(rt_jsonl *file, const char *object); /* one JSON object without newline */
void rt_jsonl_close(rt_jsonl *file);
/* Cuts a metrics.jsonl back for a resume: keeps lines whose "step" is not beyond `step`; with drop_eval_at also eval
 * lines of exactly that step go, and what is not a whole JSON object (a torn line). Atomic, and the file is not touched
 * when nothing is to go. A missing file is fine. */
rt_status rt_jsonl_cut(const char *path, uint64_t step, bool drop_eval_at);

/* --- TensorBoard event file: scalars */
typedef struct rt_tensorboard rt_tensorboard;
/* A new file in `folder` (made if missing); TensorBoard joins the files of a folder. */
rt_status rt_tensorboard_open(const char *folder, rt_tensorboard **out);
/* Says that the run goes on from `step`: what earlier files of the folder hold beyond it is void. */
rt_status rt_tensorboard_restart(rt_tensorboard *tb, uint64_t step, double wall_time);
rt_status rt_tensorboard_scalar(rt_tensorboard *tb, const char *tag, uint64_t step, double wall_time, float value);
void rt_tensorboard_close(rt_tensorboard *tb);

/* --- report.html: self-contained page with inline SVG plots of metrics.jsonl (loss, lr, grad_norm, eval metrics) and
 * the text reports. No script, no network; light or dark as the reader's system. A metrics file that is not there, and
 * lines that cannot be read, leave plots out; report_text may be NULL. Atomic. */
rt_status rt_html_write(const char *path, const char *title, const char *metrics_jsonl_path, const char *report_text);

#endif
