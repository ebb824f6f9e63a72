#include "tests/support/sim_box.h"

#include "src/base/check.h"
#include "src/base/codec.h"
#include "src/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- The box ---- */

void sim_box_open(sim_box *b) {
    cairn_error error = {0};
    int rc = store_open_on(&b->store, sim_os(b->disk), SIM_BOX_STORE, &b->options, b->hash_mask, &error);
    if (rc != CAIRN_OK) fail_msg("cairn_open: %d, %s", rc, error.message);
}

void sim_box_close(sim_box *b) {
    if (b->store != NULL) assert_int_equal(cairn_close(b->store), CAIRN_OK);
    b->store = NULL;
}

void sim_box_reopen(sim_box *b) {
    sim_box_close(b);
    sim_box_open(b);
}

void sim_box_reopen_read_only(sim_box *b) {
    sim_box_close(b);
    b->options.create = false;
    b->options.read_only = true;
    sim_box_open(b);
}

int sim_box_setup(void **state) {
    sim_box *b = calloc(1, sizeof *b);
    CHECK(b != NULL);
    b->disk = sim_new(1);
    b->hash_mask = UINT64_MAX;
    b->options = (cairn_options){.struct_size = sizeof b->options,
                                 .create = true,
                                 .no_background = true,
                                 .segment_bytes = SIM_BOX_SEGMENT_BYTES};
    sim_box_open(b);
    *state = b;
    return 0;
}

int sim_box_teardown(void **state) {
    sim_box *b = *state;
    int rc = b->store == NULL ? CAIRN_OK : cairn_close(b->store);
    size_t open = sim_open_handles(b->disk);
    sim_free(b->disk);
    free(b);
    return rc != CAIRN_OK || open > 0;
}

/* The dead machine's handle is closed on it, where that changes nothing. */
static void go_on_with(sim_box *b, sim_disk *next) {
    sim_cut_at(b->disk, 0);
    if (b->store != NULL) (void)cairn_close(b->store);
    sim_free(b->disk);
    b->disk = next;
    sim_box_open(b);
}

void sim_box_kill(sim_box *b) { go_on_with(b, sim_kill(b->disk)); }
void sim_box_crash(sim_box *b, uint64_t seed) { go_on_with(b, sim_crash(b->disk, seed)); }

void sim_box_rebuild(sim_box *b) {
    sim_box_close(b);
    (void)sim_file_remove(b->disk, SIM_BOX_STORE, "CHECKPOINT");
    (void)sim_file_remove(b->disk, SIM_BOX_STORE, "CHECKPOINT.DATA");
    sim_box_open(b);
}

/* ---- Its files ---- */

#define NAMES_MAX 256

static bool ends_so(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

static size_t names_of(const sim_box *b, const char *suffix, char (*names)[SIM_NAME_SIZE]) {
    size_t count = sim_names(b->disk, SIM_BOX_STORE, names, NAMES_MAX), kept = 0;
    CHECK(count <= NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!ends_so(names[i], suffix)) continue;
        if (kept != i) memcpy(names[kept], names[i], SIM_NAME_SIZE);
        kept++;
    }
    return kept;
}

size_t sim_box_files(const sim_box *b, const char *suffix) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    return names_of(b, suffix, names);
}

void sim_box_file(const sim_box *b, const char *suffix, char name[SIM_NAME_SIZE]) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    assert_int_equal(names_of(b, suffix, names), 1);
    memcpy(name, names[0], SIM_NAME_SIZE);
}

void sim_box_locate(const sim_box *b, const char *suffix, const void *bytes, size_t size, char name[SIM_NAME_SIZE],
                    uint64_t *offset) {
    char names[NAMES_MAX][SIM_NAME_SIZE];
    size_t count = names_of(b, suffix, names), found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length;
        uint8_t *content = sim_file_read(b->disk, SIM_BOX_STORE, names[i], &length);
        const uint8_t *at = memmem(content, length, bytes, size);
        if (at != NULL) {
            found++;
            *offset = (uint64_t)(at - content);
            memcpy(name, names[i], SIM_NAME_SIZE);
        }
        free(content);
    }
    assert_int_equal(found, 1);
}

uint64_t sim_box_features(const sim_box *b) {
    size_t size;
    uint8_t *bytes = sim_file_read(b->disk, SIM_BOX_STORE, "MANIFEST", &size);
    assert_true(bytes != NULL && size >= 128);
    uint64_t features = le64_get(bytes + 40);
    free(bytes);
    return features;
}

void sim_box_count(sim_box *b, unsigned kinds) {
    sim_fault never = {.kinds = kinds, .nth = UINT64_MAX, .error = -1};
    sim_fault_set(b->disk, &never);
}

uint64_t sim_box_counted(const sim_box *b) { return sim_fault_calls(b->disk); }
