#include "tests/support/checkpoint_box.h"

#include "src/base/check.h"
#include "tests/support/rung.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOB "hello"
#define BLOB_SIZE (sizeof BLOB - 1)

const uint8_t checkpoint_store_id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

void checkpoint_box_open(checkpoint_box *b, sim_disk *disk, bool read_only) {
    b->disk = disk;
    os *o = sim_os(disk);
    assert_int_equal(o->dir_open(o, CHECKPOINT_STORE, read_only ? 0 : OS_CREATE, &b->dir), 0);
    assert_int_equal(epoch_new(&b->readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&b->index, b->readers), CAIRN_OK);
    assert_int_equal(checkpoint_open(&b->c, b->dir, read_only, NULL), CAIRN_OK);
}

void checkpoint_box_close(checkpoint_box *b) {
    checkpoint_close(b->c);
    hash_index_free(b->index);
    epoch_free(b->readers);
    os_dir_close(b->dir);
}

static int fence(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    (void)ctx;
    (void)error;
    info->end_place = info->start_place + 4;
    *blob = malloc(BLOB_SIZE);
    assert_non_null(*blob);
    *blob_size = BLOB_SIZE;
    memcpy(*blob, BLOB, BLOB_SIZE);
    return CAIRN_OK;
}

int checkpoint_box_write_info(checkpoint_box *b, checkpoint_info *info) {
    memcpy(info->store_id, checkpoint_store_id, sizeof checkpoint_store_id);
    return checkpoint_write(b->c, b->index, info, fence, NULL, NULL);
}

static checkpoint_info info_of(uint64_t number) {
    return (checkpoint_info){.epoch = 3, .start_place = number, .start_segment = 2, .start_offset = 4096};
}

int checkpoint_box_write(checkpoint_box *b, uint64_t number) {
    checkpoint_info info = info_of(number);
    return checkpoint_box_write_info(b, &info);
}

int checkpoint_box_write_dense(checkpoint_box *b, uint64_t number) {
    checkpoint_info info = info_of(number);
    memcpy(info.store_id, checkpoint_store_id, sizeof checkpoint_store_id);
    return checkpoint_write_dense(b->c, b->index, &info, fence, NULL, NULL);
}

int checkpoint_box_load(checkpoint_box *b, checkpoint_info *info, cairn_error *error) {
    uint8_t *blob = NULL;
    size_t blob_size = 0;
    int code = checkpoint_load(b->c, b->index, NULL, NULL, info, &blob, &blob_size, error);
    if (code == CAIRN_OK) {
        assert_int_equal(blob_size, BLOB_SIZE);
        assert_memory_equal(blob, BLOB, BLOB_SIZE);
    } else {
        assert_null(blob);
        assert_int_equal(hash_index_entries(b->index), 0);
    }
    free(blob);
    return code;
}

/* ---- Indexes ---- */

void index_insert(hash_index *index, uint64_t hash, location where) {
    hash_index_lock(index, hash);
    CHECK(hash_index_reserve(index, hash) == CAIRN_OK);
    hash_index_insert(index, hash, where);
    hash_index_unlock(index, hash);
}

static int match_location(void *ctx, location candidate) { return candidate == *(location *)ctx; }

bool index_has(hash_index *index, uint64_t hash, location where) {
    location found;
    return hash_index_find(index, hash, match_location, &where, &found) == 1;
}

static bool in_state(uint64_t key, uint64_t k) { return k > 0 && key >= 10 * k && key < 40 * k + 40; }
static location where_in(uint64_t key, uint64_t k) { return key + 1 + (key % 3 == 0 ? k << 20 : 0); }
uint64_t index_state_entries(uint64_t k) { return k == 0 ? 0 : 30 * k + 40; }

void index_advance(hash_index *index, uint64_t k) {
    for (uint64_t key = 0; key < 40 * k + 40; key++) {
        uint64_t hash = mix(key);
        bool was = in_state(key, k - 1), is = in_state(key, k);
        if (!was && is) index_insert(index, hash, where_in(key, k));
        hash_index_lock(index, hash);
        if (was && !is) hash_index_remove(index, hash, where_in(key, k - 1));
        if (was && is && where_in(key, k - 1) != where_in(key, k)) {
            hash_index_replace(index, hash, where_in(key, k - 1), where_in(key, k));
        }
        hash_index_unlock(index, hash);
    }
}

void assert_index_state(hash_index *index, uint64_t k) {
    assert_int_equal(hash_index_entries(index), index_state_entries(k));
    for (uint64_t key = 0; key < 40 * k + 40; key++) {
        if (in_state(key, k)) assert_true(index_has(index, mix(key), where_in(key, k)));
    }
}

/* ---- Disks ---- */

sim_disk *checkpoint_disk(uint64_t last) {
    checkpoint_box b;
    checkpoint_box_open(&b, sim_new(1), false);
    for (uint64_t k = 1; k <= last; k++) {
        index_advance(b.index, k);
        assert_int_equal(checkpoint_box_write(&b, k), CAIRN_OK);
    }
    checkpoint_box_close(&b);
    return b.disk;
}

int checkpoint_load_from(sim_disk *disk, checkpoint_info *info, cairn_error *error) {
    checkpoint_box b;
    checkpoint_box_open(&b, disk, true);
    int code = checkpoint_box_load(&b, info, error);
    if (code == CAIRN_OK) assert_index_state(b.index, info->start_place);
    checkpoint_box_close(&b);
    return code;
}

uint64_t checkpoint_data_size(sim_disk *disk) {
    size_t size = 0;
    free(sim_file_read(disk, CHECKPOINT_STORE, CHECKPOINT_DATA_NAME, &size));
    return size;
}
