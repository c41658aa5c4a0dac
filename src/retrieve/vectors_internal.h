/* What the files behind vectors.h share: where a file's rows and ids stand, and the formats' beginnings. */
#ifndef RT_RETRIEVE_VECTORS_INTERNAL_H
#define RT_RETRIEVE_VECTORS_INTERNAL_H
#include "vectors.h"
#include "vectors_ids.h"

enum {
    RT_VECTORS_MAX_ID = 1024,      /* bytes */
    RT_VECTORS_HEADER_MAX = 8192,  /* before the first row, in files that are written here */
    RT_VECTORS_MAX_LINE = 1 << 23, /* of JSON lines */
};

/* An open file. */
typedef struct {
    const char *path;
    int fd;
    uint64_t size;
} rt_vectors_file;

/* Bounds-checked; RT_EDATA beyond the end. */
rt_status rt_vectors_get(const rt_vectors_file *file, uint64_t at, void *out, size_t size);

typedef enum {
    RT_IDS_NONE,   /* row numbers */
    RT_IDS_BESIDE, /* PATH.ids */
    RT_IDS_TEXT,   /* n fields of `width` bytes at `at`, filled up with NUL */
    RT_IDS_WHOLE,  /* n whole numbers of `width` bytes at `at` */
    RT_IDS_READ    /* as texts already */
} rt_ids_kind;

/* Ids as they are gathered, one after the other. */
typedef struct {
    rt_text bytes;
    uint64_t *ends; /* [n] */
    size_t n, capacity;
} rt_id_list;
rt_status rt_id_list_add(rt_id_list *list, const char *id, size_t size);
void rt_id_list_free(rt_id_list *list);

/* What a file's beginning says, held against its size by the caller: n x width f32 from data_at on. */
typedef struct {
    uint64_t n, width, data_at, tail; /* tail: bytes that stand behind the rows rightly */
    bool unit;
    rt_ids_kind ids;
    uint64_t ids_at;
    unsigned ids_width;
    bool ids_signed;
} rt_vectors_layout;

rt_status rt_vectors_read_npy(const rt_vectors_file *file, rt_vectors_layout *out);
rt_status rt_vectors_read_fbin(const rt_vectors_file *file, rt_vectors_layout *out);
rt_status rt_vectors_read_faiss(const rt_vectors_file *file, rt_vectors_layout *out);
/* ids of their own lengths go to `ids` (then layout.ids is RT_IDS_READ). */
rt_status rt_vectors_read_h5(const rt_vectors_file *file, rt_vectors_layout *out, rt_id_list *ids);
/* The first eight bytes decide, and for .fbin, which has no mark of its own, its size. RT_EDATA: none of them. */
rt_status rt_vectors_detect(const rt_vectors_file *file, rt_vectors_format *out);
/* By the name's end; AUTO: none of them. */
rt_vectors_format rt_vectors_format_of(const char *path);
extern const char rt_vectors_formats[]; /* "h5, npy, fbin, faiss or jsonl" */

/* Bytes before the first row of a file that is written here: fixed, so that rows can be written before their number is
 * known. */
size_t rt_vectors_header_size(rt_vectors_format format);
/* The beginning itself; id_width, of .h5 alone: bytes of an id, whose fields stand behind the rows. */
void rt_vectors_header(rt_vectors_format format, uint64_t n, int width, bool unit, size_t id_width,
                       unsigned char out[RT_VECTORS_HEADER_MAX]);
void rt_vectors_header_h5(uint64_t n, int width, bool unit, size_t id_width, unsigned char out[RT_VECTORS_HEADER_MAX]);

/* JSON lines: {"id": "a", "vector": [0.1, -2e-3]}; other keys are passed over. */
void rt_vectors_put_line(rt_text *out, const char *id, size_t id_size, const float *row, int width);
/* `line` is NUL-terminated at `size`. *width: numbers in the vector; up to `capacity` go to row (may be NULL). The id
 * is appended to `id`. RT_EDATA without the place, which the caller puts in front. */
rt_status rt_vectors_parse_line(const char *line, size_t size, rt_text *id, float *row, int capacity, int *width);

/* Fails where two ids of `ids`, one a line and n of them in the file, are the same: RT_EDATA naming id and rows.
 * *longest: bytes of the longest. Temporary files go to `folder`. */
rt_status rt_vectors_check_ids(const char *ids, const char *folder, const char *path, uint64_t n, size_t *longest);

#endif
