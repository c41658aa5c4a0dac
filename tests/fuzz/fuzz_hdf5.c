/* Checkpoints under a mutation: the input is a list of edits (two bytes of place, one of value) to a sound file, so
 * that every run gets far; an input that starts with HDF5's own signature is taken as a file. No edit may go unnoticed
 * by `verify`. */
#include "base/file.h"
#include "checkpoint/h5_schema.h"
#include "tests/fuzz/fuzz.h"

static rt_status read_memory(void *context, uint64_t at, void *out, size_t size) {
    const fuzz_bytes *m = context;
    fuzz_require(at <= m->size && size <= m->size - at);
    memcpy(out, m->data + at, size);
    return RT_OK;
}

static void make_sound(char **data, size_t *size) {
    float values[64] = {0};
    rt_tensor_view views[2] = {{"a.weight", 2, {8, 8}, values}, {"a.bias", 1, {8, 1}, values}};
    rt_checkpoint_contents contents = {.config_json = {"{}", 2},
                                       .state = {"{}", 2},
                                       .tensors = views,
                                       .n_tensors = 2,
                                       .m = views,
                                       .v = views,
                                       .n_moments = 2};
    char folder[] = "/tmp/rectrain-fuzz-XXXXXX";
    fuzz_require(mkdtemp(folder) != NULL);
    char *path = rt_path_join(folder, "sound.h5");
    rt_verify_summary summary;
    fuzz_require(rt_checkpoint_write(path, &contents) == RT_OK && rt_checkpoint_verify(path, &summary) == RT_OK);
    fuzz_require(rt_file_read(path, 1 << 20, data, size) == RT_OK);
    unlink(path);
    rmdir(folder);
    free(path);
}

/* What the schema's reader takes lies inside the file, also where checksums are not looked at. */
static void read_schema(fuzz_bytes *file) {
    rt_h5_bytes bytes = {read_memory, file, file->size, "fuzz"};
    rt_h5_schema schema;
    rt_status rc = rt_h5_schema_read(&bytes, true, &schema);
    if (rc != RT_OK) {
        fuzz_refused(rc);
        return;
    }
    for (int i = 0; i < schema.n_extents; i++)
        fuzz_require(schema.extents[i].at <= file->size && schema.extents[i].size <= file->size - schema.extents[i].at);
    rt_h5_schema_free(&schema);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char *sound;
    static size_t sound_size;
    if (!sound) make_sound(&sound, &sound_size);
    bool whole = size >= 8 && memcmp(data, sound, 8) == 0;
    fuzz_bytes file = {.size = whole ? size : sound_size};
    uint8_t *copy = malloc(file.size);
    memcpy(copy, whole ? (const char *)data : sound, file.size);
    for (size_t i = 0; !whole && i + 3 <= size; i += 3) copy[(data[i] | data[i + 1] << 8) % file.size] = data[i + 2];
    file.data = copy;
    read_schema(&file);
    bool altered = file.size != sound_size || memcmp(copy, sound, file.size) != 0;
    rt_verify_summary summary;
    rt_status rc = rt_checkpoint_verify(fuzz_file(0, copy, file.size), &summary);
    if (!whole) fuzz_require((rc == RT_OK) == !altered);
    if (rc != RT_OK) fuzz_refused(rc);
    free(copy);
    return 0;
}
