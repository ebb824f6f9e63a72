/* Checkpoints on the simulated disk: what was published is found again, whole, whatever happens; damage is refused. */
#include "index/checkpoint.h"
#include "index/checkpoint_root.h"
#include "src/base/checksum.h"
#include "src/base/codec.h"
#include "tests/support/os_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORE "store"

/* ---- A store with nothing but an index and its checkpoint ---- */

typedef struct fixture {
    sim_disk *disk;
    os_dir *dir;
    epoch *readers;
    hash_index *index;
    checkpoint *c;
} fixture;

static void open_fixture(fixture *f, sim_disk *disk, bool read_only) {
    f->disk = disk;
    os *o = sim_os(disk);
    assert_int_equal(o->dir_open(o, STORE, read_only ? 0 : OS_CREATE, &f->dir), 0);
    assert_int_equal(epoch_new(&f->readers), CAIRN_OK);
    assert_int_equal(hash_index_new(&f->index, f->readers), CAIRN_OK);
    assert_int_equal(checkpoint_open(&f->c, f->dir, read_only, NULL), CAIRN_OK);
}

static void close_fixture(fixture *f) { /* the disk stays */
    checkpoint_close(f->c);
    hash_index_free(f->index);
    epoch_free(f->readers);
    os_dir_close(f->dir);
}

static const uint8_t store_id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static int fence_ok(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    (void)error;
    info->end_place = info->start_place + 4;
    const char *text = ctx;
    if (text == NULL) return CAIRN_OK;
    *blob = malloc(strlen(text));
    assert_non_null(*blob);
    *blob_size = strlen(text);
    memcpy(*blob, text, *blob_size);
    return CAIRN_OK;
}
static int fence_fails(void *ctx, checkpoint_info *info, uint8_t **blob, size_t *blob_size, cairn_error *error) {
    (void)ctx;
    (void)info;
    (void)blob;
    (void)blob_size;
    (void)error;
    return CAIRN_FAILED;
}

static int write_numbered(fixture *f, uint64_t number) {
    checkpoint_info info = {.epoch = 3, .start_place = number, .start_segment = 2, .start_offset = 4096};
    memcpy(info.store_id, store_id, 16);
    return checkpoint_write(f->c, f->index, &info, fence_ok, (void *)(uintptr_t) "hello", NULL);
}

static int load(fixture *f, checkpoint_info *info, cairn_error *error) {
    uint8_t *blob = NULL;
    size_t blob_size = 0;
    int code = checkpoint_load(f->c, f->index, NULL, NULL, info, &blob, &blob_size, error);
    if (code == CAIRN_OK) {
        assert_int_equal(blob_size, 5);
        assert_memory_equal(blob, "hello", 5);
    } else {
        assert_null(blob);
        assert_int_equal(hash_index_entries(f->index), 0);
    }
    free(blob);
    return code;
}

/* ---- States of the index: number k has these keys, at these locations ---- */

static uint64_t hash_of(uint64_t key) {
    uint64_t z = (key + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    return z ^ (z >> 27);
}
static bool in_state(uint64_t key, uint64_t k) { return k > 0 && key >= 10 * k && key < 40 * k + 40; }
static location where_in(uint64_t key, uint64_t k) { return key + 1 + (key % 3 == 0 ? k << 20 : 0); }
static uint64_t state_keys(uint64_t k) { return k == 0 ? 0 : 30 * k + 40; }

static void insert(hash_index *index, uint64_t hash, location where) {
    hash_index_lock(index, hash);
    assert_int_equal(hash_index_reserve(index, hash), CAIRN_OK);
    hash_index_insert(index, hash, where);
    hash_index_unlock(index, hash);
}

/* From state k - 1 to k. */
static void advance(hash_index *index, uint64_t k) {
    for (uint64_t key = 0; key < 40 * k + 40; key++) {
        uint64_t hash = hash_of(key);
        bool was = in_state(key, k - 1), is = in_state(key, k);
        if (!was && is) insert(index, hash, where_in(key, k));
        hash_index_lock(index, hash);
        if (was && !is) hash_index_remove(index, hash, where_in(key, k - 1));
        if (was && is && where_in(key, k - 1) != where_in(key, k)) {
            hash_index_replace(index, hash, where_in(key, k - 1), where_in(key, k));
        }
        hash_index_unlock(index, hash);
    }
}

static int match_location(void *ctx, location candidate) { return candidate == *(location *)ctx; }
static bool has(hash_index *index, uint64_t hash, location where) {
    location found;
    return hash_index_find(index, hash, match_location, &where, &found) == 1;
}

static void assert_state(hash_index *index, uint64_t k) {
    assert_int_equal(hash_index_entries(index), state_keys(k));
    for (uint64_t key = 0; key < 40 * k + 40; key++) {
        if (in_state(key, k)) assert_true(has(index, hash_of(key), where_in(key, k)));
    }
}

/* A new disk with checkpoints 1..last. */
static sim_disk *disk_with(uint64_t last) {
    fixture f;
    open_fixture(&f, sim_new(1), false);
    for (uint64_t k = 1; k <= last; k++) {
        advance(f.index, k);
        assert_int_equal(write_numbered(&f, k), CAIRN_OK);
    }
    close_fixture(&f);
    return f.disk;
}

static int load_from(sim_disk *disk, checkpoint_info *info, cairn_error *error) {
    fixture f;
    open_fixture(&f, disk, true);
    int code = load(&f, info, error);
    if (code == CAIRN_OK) assert_state(f.index, info->start_place);
    close_fixture(&f);
    return code;
}

/* ---- Round trips ---- */

static void without_a_checkpoint_there_is_none(void **state) {
    (void)state;
    sim_disk *disk = disk_with(0);
    checkpoint_info info;
    assert_int_equal(load_from(disk, &info, NULL), CAIRN_NOT_FOUND);
    sim_free(disk);
}

static void what_was_written_is_loaded_again(void **state) {
    (void)state;
    sim_disk *disk = disk_with(4);
    checkpoint_info info;
    assert_int_equal(load_from(disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 4);
    assert_int_equal(info.end_place, 8);
    assert_int_equal(info.epoch, 3);
    assert_int_equal(info.start_segment, 2);
    assert_int_equal(info.start_offset, 4096);
    assert_int_equal(info.entries, state_keys(4));
    assert_memory_equal(info.store_id, store_id, 16);
    sim_free(disk);
}

static void an_empty_index_is_a_checkpoint_too(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    checkpoint_info info;
    assert_int_equal(write_numbered(&f, 0), CAIRN_OK);
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(info.entries, 0);
    close_fixture(&f);
    sim_free(f.disk);
}

static void a_shard_that_was_emptied_stays_empty(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    insert(f.index, 5, 9);
    assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
    hash_index_lock(f.index, 5);
    hash_index_remove(f.index, 5, 9);
    hash_index_unlock(f.index, 5);
    assert_int_equal(write_numbered(&f, 2), CAIRN_OK);
    close_fixture(&f);
    open_fixture(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), 0);
    close_fixture(&f);
    sim_free(f.disk);
}

static void a_stash_is_part_of_the_image(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    for (location l = 1; l <= 300; l++)
        insert(f.index, 77, l);
    hash_index_lock(f.index, 77);
    for (location l = 3; l <= 300; l += 3)
        hash_index_remove(f.index, 77, l);
    hash_index_unlock(f.index, 77);
    assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
    close_fixture(&f);
    open_fixture(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_count(f.index, 77), 200);
    for (location l = 301; l <= 900; l++)
        insert(f.index, 77, l);
    for (location l = 1; l <= 900; l++)
        assert_int_equal(has(f.index, 77, l), l > 300 || l % 3 != 0);
    close_fixture(&f);
    sim_free(f.disk);
}

static void a_large_index_goes_out_and_in(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    const uint64_t n = 200000;
    for (uint64_t i = 0; i < n; i++)
        insert(f.index, hash_of(i), i + 1);
    uint64_t cost = checkpoint_cost(f.index);
    assert_true(cost >= 16 * n && cost < 24 * n);
    assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
    assert_int_equal(checkpoint_cost(f.index), 0);
    close_fixture(&f);
    open_fixture(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), n);
    assert_int_equal(checkpoint_cost(f.index), 0);
    for (uint64_t i = 0; i < n; i++)
        assert_true(has(f.index, hash_of(i), i + 1));
    close_fixture(&f);
    sim_free(f.disk);
}

static bool refuse(void *ctx, const checkpoint_info *info) {
    *(uint64_t *)ctx = info->epoch;
    return false;
}

static void the_caller_may_refuse_a_checkpoint_by_its_info(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, disk_with(2), true);
    uint64_t epoch_seen = 0;
    checkpoint_info info;
    uint8_t *blob = NULL;
    size_t blob_size = 0;
    int code = checkpoint_load(f.c, f.index, refuse, &epoch_seen, &info, &blob, &blob_size, NULL);
    assert_int_equal(code, CAIRN_NOT_FOUND);
    assert_int_equal(epoch_seen, 3);
    assert_int_equal(hash_index_entries(f.index), 0);
    close_fixture(&f);
    sim_free(f.disk);
}

static void read_only_changes_nothing_on_disk(void **state) {
    (void)state;
    for (uint64_t last = 0; last < 2; last++) {
        sim_disk *disk = disk_with(last);
        uint64_t operations = sim_operations(disk);
        fixture f;
        open_fixture(&f, disk, true);
        checkpoint_info info;
        assert_int_equal(load(&f, &info, NULL), last == 0 ? CAIRN_NOT_FOUND : CAIRN_OK);
        assert_int_equal(write_numbered(&f, 9), CAIRN_READ_ONLY);
        close_fixture(&f);
        assert_int_equal(sim_operations(disk), operations);
        sim_free(disk);
    }
}

/* ---- What is written where ---- */

static void read_root(sim_disk *disk, checkpoint_root *root) {
    size_t size = 0, blob_size;
    const uint8_t *blob;
    uint8_t *bytes = sim_file_read(disk, STORE, CHECKPOINT_ROOT_NAME, &size);
    assert_non_null(bytes);
    assert_int_equal(root_decode(root, bytes, size, &blob, &blob_size, NULL), CAIRN_OK);
    free(bytes);
}

static uint64_t data_file_size(sim_disk *disk) {
    size_t size = 0;
    free(sim_file_read(disk, STORE, CHECKPOINT_DATA_NAME, &size));
    return size;
}

static void only_changed_shards_are_written(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, disk_with(3), false);
    checkpoint_root *before = malloc(sizeof *before), *after = malloc(sizeof *after);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    read_root(f.disk, before);
    uint64_t hash = 0x1234567890abcdef;
    insert(f.index, hash, 5);
    assert_true(checkpoint_cost(f.index) > 0 && checkpoint_cost(f.index) < 1024);
    assert_int_equal(write_numbered(&f, 4), CAIRN_OK);
    read_root(f.disk, after);
    for (unsigned i = 0; i < HASH_INDEX_SHARDS; i++) {
        bool same = memcmp(&before->rows[i], &after->rows[i], sizeof before->rows[i]) == 0;
        assert_int_equal(same, i != hash_index_shard_of(hash));
    }
    free(before);
    free(after);
    close_fixture(&f);
    sim_free(f.disk);
}

/* Every checkpoint changes `changed` keys of 40,000 at random and adds `added`. */
static void run_many(unsigned changed, unsigned added) {
    fixture f;
    open_fixture(&f, sim_new(1), false);
    checkpoint_root *root = malloc(sizeof *root);
    uint64_t keys = 0, dice = 1;
    unsigned char *version = calloc(1, 40000 + 50 * (size_t)added);
    assert_non_null(version);
    for (; keys < 40000; keys++)
        insert(f.index, hash_of(keys), keys + 1);
    for (unsigned k = 1; k <= 50; k++) {
        for (unsigned i = 0; i < changed; i++) {
            uint64_t key = (dice = dice * 6364136223846793005ull + 1442695040888963407ull) >> 33;
            key %= keys;
            location now = key + 1 + ((uint64_t)version[key] << 24);
            version[key] = (unsigned char)(version[key] + 1);
            hash_index_lock(f.index, hash_of(key));
            hash_index_replace(f.index, hash_of(key), now, key + 1 + ((uint64_t)version[key] << 24));
            hash_index_unlock(f.index, hash_of(key));
        }
        for (unsigned i = 0; i < added; i++, keys++)
            insert(f.index, hash_of(keys), keys + 1);
        assert_int_equal(write_numbered(&f, k), CAIRN_OK);
        read_root(f.disk, root);
        assert_true(2 * data_file_size(f.disk) < 5 * root_image_bytes(root) + 32 * BLOCK_BYTES);
    }
    close_fixture(&f);
    open_fixture(&f, f.disk, false);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), keys);
    for (uint64_t key = 0; key < keys; key++) {
        assert_true(has(f.index, hash_of(key), key + 1 + ((uint64_t)version[key] << 24)));
    }
    free(version);
    free(root);
    close_fixture(&f);
    sim_free(f.disk);
}

static void fifty_checkpoints_of_everything_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(20000, 0);
}
static void fifty_checkpoints_of_some_shards_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(100, 0);
}
static void fifty_checkpoints_of_a_growing_index_stay_under_two_and_a_half_images(void **state) {
    (void)state;
    run_many(50, 1500);
    run_many(400, 300);
}

static void the_tail_is_cut_off_when_most_entries_are_gone(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    for (uint64_t key = 0; key < 20000; key++)
        insert(f.index, hash_of(key), key + 1);
    assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
    uint64_t large = data_file_size(f.disk);
    for (uint64_t key = 10; key < 20000; key++) {
        hash_index_lock(f.index, hash_of(key));
        hash_index_remove(f.index, hash_of(key), key + 1);
        hash_index_unlock(f.index, hash_of(key));
    }
    assert_int_equal(write_numbered(&f, 2), CAIRN_OK);
    assert_int_equal(write_numbered(&f, 3), CAIRN_OK);
    for (uint64_t key = 0; key < 10; key++)
        hash_shard_mark_dirty(f.index, hash_index_shard_of(hash_of(key)));
    assert_int_equal(write_numbered(&f, 4), CAIRN_OK);
    assert_true(data_file_size(f.disk) < large / 10);
    checkpoint_info info;
    hash_index_clear(f.index);
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    assert_int_equal(hash_index_entries(f.index), 10);
    close_fixture(&f);
    sim_free(f.disk);
}

/* ---- Failures and power cuts ---- */

static void a_failed_fence_leaves_the_old_checkpoint_and_the_shards_dirty(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, disk_with(2), false);
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    advance(f.index, 3);
    uint64_t cost = checkpoint_cost(f.index);
    info.start_place = 3;
    assert_int_equal(checkpoint_write(f.c, f.index, &info, fence_fails, NULL, NULL), CAIRN_FAILED);
    assert_int_equal(checkpoint_cost(f.index), cost);
    assert_int_equal(load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 2);
    assert_int_equal(write_numbered(&f, 3), CAIRN_OK);
    assert_int_equal(load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 3);
    close_fixture(&f);
    sim_free(f.disk);
}

/* Each call of the disk fails once: the checkpoint before stays, or the new one is there; a new attempt succeeds, but
 * after a failed sync only through a new handle. */
static void any_failed_call_leaves_a_whole_checkpoint(void **state) {
    (void)state;
    const int errors[] = {-EIO, -ENOSPC};
    for (unsigned e = 0; e < 2; e++) {
        bool hit = true;
        for (uint64_t nth = 0; hit; nth++) {
            fixture f;
            open_fixture(&f, disk_with(2), false);
            checkpoint_info info;
            assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
            advance(f.index, 3);
            sim_fault fault = {.kinds = SIM_ALL, .nth = nth, .error = errors[e], .partial = true};
            sim_fault_set(f.disk, &fault);
            int code = write_numbered(&f, 3);
            hit = sim_fault_hits(f.disk) > 0;
            sim_fault_set(f.disk, NULL);
            assert_int_equal(load_from(f.disk, &info, NULL), CAIRN_OK);
            assert_true(info.start_place == 3 || (code != CAIRN_OK && info.start_place == 2));
            if (code != CAIRN_OK && write_numbered(&f, 3) != CAIRN_OK) {
                close_fixture(&f);
                open_fixture(&f, f.disk, false);
                assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
                if (info.start_place == 2) advance(f.index, 3);
                assert_int_equal(write_numbered(&f, 3), CAIRN_OK);
            }
            assert_int_equal(load_from(f.disk, &info, NULL), CAIRN_OK);
            assert_int_equal(info.start_place, 3);
            close_fixture(&f);
            sim_free(f.disk);
        }
    }
}

/* Checkpoints after `from`, as far as the disk lives; the number of the last one that was published. */
static uint64_t write_until_cut(fixture *f, uint64_t from, uint64_t last) {
    uint64_t done = from;
    while (done < last) {
        advance(f->index, done + 1);
        if (write_numbered(f, done + 1) != CAIRN_OK) break;
        done++;
    }
    return done;
}

/* Loads what a power cut left: the last published checkpoint or the one that was being written. Its number. */
static uint64_t load_after_cut(fixture *f, uint64_t published) {
    checkpoint_info info = {0};
    cairn_error error = {0};
    int code = load(f, &info, &error);
    if (code == CAIRN_NOT_FOUND) {
        assert_int_equal(published, 0);
        return 0;
    }
    if (code != CAIRN_OK) fail_msg("after checkpoint %u: %s", (unsigned)published, error.message);
    assert_true(info.start_place == published || info.start_place == published + 1);
    assert_state(f->index, info.start_place);
    return info.start_place;
}

static void a_power_cut_at_any_operation_leaves_the_old_or_the_new_one(void **state) {
    (void)state;
    const uint64_t last = 5;
    sim_disk *whole = disk_with(last);
    uint64_t operations = sim_operations(whole);
    sim_free(whole);
    for (uint64_t cut = 2; cut <= operations; cut++) { /* 0 and 1 make the directory */
        fixture f;
        open_fixture(&f, sim_new(cut), false);
        sim_cut_at(f.disk, cut);
        uint64_t published = write_until_cut(&f, 0, last);
        close_fixture(&f);
        for (uint64_t seed = 0; seed < 8; seed++) {
            /* The machine comes up, writes on, and is cut again. */
            fixture g;
            open_fixture(&g, sim_crash(f.disk, seed), false);
            uint64_t again = load_after_cut(&g, published);
            sim_cut_at(g.disk, sim_operations(g.disk) + (cut * 7 + seed * 5) % 20);
            again = write_until_cut(&g, again, again + 2);
            close_fixture(&g);
            fixture h;
            open_fixture(&h, sim_crash(g.disk, seed * 3 + 2), false);
            uint64_t third = load_after_cut(&h, again);
            assert_int_equal(write_until_cut(&h, third, third + 1), third + 1);
            close_fixture(&h);
            checkpoint_info info;
            assert_int_equal(load_from(h.disk, &info, NULL), CAIRN_OK);
            assert_int_equal(info.start_place, third + 1);
            sim_free(h.disk);
            sim_free(g.disk);
        }
        sim_free(f.disk);
    }
}

/* ---- Damage ---- */

static void a_root_of_which_any_bit_is_flipped_is_refused(void **state) {
    (void)state;
    sim_disk *disk = disk_with(2);
    size_t size = 0, blob_size;
    const uint8_t *blob;
    uint8_t *bytes = sim_file_read(disk, STORE, CHECKPOINT_ROOT_NAME, &size);
    checkpoint_root *root = malloc(sizeof *root);
    for (size_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(root_decode(root, bytes, size, &blob, &blob_size, NULL), CAIRN_CORRUPT);
            bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(root_decode(root, bytes, size, &blob, &blob_size, NULL), CAIRN_OK);
    checkpoint_info info;
    for (size_t i = 0; i < size; i += 97) {
        assert_true(sim_file_poke(disk, STORE, CHECKPOINT_ROOT_NAME, i, 0x10));
        assert_int_equal(load_from(disk, &info, NULL), CAIRN_CORRUPT);
        assert_true(sim_file_poke(disk, STORE, CHECKPOINT_ROOT_NAME, i, 0x10));
    }
    free(root);
    free(bytes);
    sim_free(disk);
}

static void a_root_of_any_other_length_is_refused(void **state) {
    (void)state;
    sim_disk *disk = disk_with(2);
    size_t size = 0, blob_size;
    const uint8_t *blob;
    uint8_t *bytes = sim_file_read(disk, STORE, CHECKPOINT_ROOT_NAME, &size);
    checkpoint_root *root = malloc(sizeof *root);
    for (size_t length = 0; length < size; length++) {
        uint8_t *cut = malloc(length + 1); /* of its own, so that a read behind the end is seen */
        memcpy(cut, bytes, length);
        assert_int_equal(root_decode(root, cut, length, &blob, &blob_size, NULL), CAIRN_CORRUPT);
        free(cut);
        length += length > 200 && length + 300 < size ? 36 : 0;
    }
    checkpoint_info info;
    const size_t lengths[] = {0, 1, 127, 128, size - 1, size + 1, size + 4096};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_true(sim_file_resize(disk, STORE, CHECKPOINT_ROOT_NAME, lengths[i]));
        assert_int_equal(load_from(disk, &info, NULL), CAIRN_CORRUPT);
        sim_file_write(disk, STORE, CHECKPOINT_ROOT_NAME, bytes, size);
    }
    assert_int_equal(load_from(disk, &info, NULL), CAIRN_OK);
    free(root);
    free(bytes);
    sim_free(disk);
}

static void a_newer_format_is_refused_by_name(void **state) {
    (void)state;
    sim_disk *disk = disk_with(1);
    assert_true(sim_file_poke(disk, STORE, CHECKPOINT_ROOT_NAME, 8, 3)); /* 1 becomes 2 */
    checkpoint_info info;
    cairn_error error = {0};
    assert_int_equal(load_from(disk, &info, &error), CAIRN_CORRUPT);
    assert_non_null(strstr(error.message, "newer format"));
    sim_free(disk);
}

/* Makes a whole root of changed bytes, as a liar would. */
static void seal(uint8_t *bytes, size_t size) {
    uint64_t seed = le64_get(bytes + 16) ^ le64_get(bytes + 24);
    le64_put(bytes + size - 8, checksum(bytes, size - 8, seed));
}

static void a_longer_head_and_longer_rows_of_a_later_minor_version_are_skipped(void **state) {
    (void)state;
    sim_disk *disk = disk_with(2);
    size_t size = 0;
    uint8_t *bytes = sim_file_read(disk, STORE, CHECKPOINT_ROOT_NAME, &size);
    const size_t head = ROOT_HEAD_BYTES + 24, row = ROOT_ROW_BYTES + 8, larger = size + 24 + 1024 * 8;
    uint8_t *later = malloc(larger);
    memset(later, 0xee, larger);
    memcpy(later, bytes, ROOT_HEAD_BYTES);
    le16_put(later + 10, 7);
    le32_put(later + 12, (uint32_t)head);
    le32_put(later + 92, (uint32_t)row);
    for (unsigned i = 0; i < 1024; i++)
        memcpy(later + head + i * row, bytes + 128 + i * 32, 32);
    memcpy(later + head + 1024 * row, bytes + 128 + 1024 * 32, 5);
    seal(later, larger);
    sim_file_write(disk, STORE, CHECKPOINT_ROOT_NAME, later, larger);
    checkpoint_info info;
    assert_int_equal(load_from(disk, &info, NULL), CAIRN_OK);
    free(later);
    free(bytes);
    sim_free(disk);
}

/* Fields that lie under a right checksum are refused without a crash, or harmless. */
static void rows_that_lie_are_refused(void **state) {
    (void)state;
    sim_disk *disk = disk_with(2);
    size_t size = 0;
    uint8_t *bytes = sim_file_read(disk, STORE, CHECKPOINT_ROOT_NAME, &size), *lie = malloc(size);
    unsigned shard = hash_index_shard_of(hash_of(25));
    const uint64_t values[] = {0, 1, 63, 64, 1u << 20, UINT32_MAX, UINT64_MAX - 63, UINT64_MAX};
    for (size_t field = 0; field < 24; field += field == 8 ? 4 : field == 12 ? 4 : 8) {
        for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
            memcpy(lie, bytes, size);
            uint8_t *at = lie + 128 + shard * 32 + field;
            if (field == 8 || field == 12) {
                le32_put(at, (uint32_t)values[i]);
            } else {
                le64_put(at, values[i]);
            }
            if (memcmp(lie, bytes, size) == 0) continue;
            seal(lie, size);
            sim_file_write(disk, STORE, CHECKPOINT_ROOT_NAME, lie, size);
            checkpoint_info info;
            assert_int_equal(load_from(disk, &info, NULL), CAIRN_CORRUPT);
        }
    }
    const size_t head_fields[] = {12, 80, 88, 92, 96, 104};
    for (unsigned f = 0; f < 6; f++) {
        memcpy(lie, bytes, size);
        lie[head_fields[f] + 3] ^= 0x80;
        seal(lie, size);
        sim_file_write(disk, STORE, CHECKPOINT_ROOT_NAME, lie, size);
        checkpoint_info info;
        assert_int_equal(load_from(disk, &info, NULL), CAIRN_CORRUPT);
    }
    free(lie);
    free(bytes);
    sim_free(disk);
}

/* An image with a right checksum, in which an entry lies where it cannot. */
static void an_entry_in_a_wrong_place_is_refused(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        fixture f;
        open_fixture(&f, sim_new(1), false);
        for (uint64_t i = 0; i < 30; i++)
            insert(f.index, hash_of(i) >> 10, i + 1);
        assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
        close_fixture(&f);
        size_t size = 0, root_size = 0;
        uint8_t *data = sim_file_read(f.disk, STORE, CHECKPOINT_DATA_NAME, &size);
        uint8_t *root = sim_file_read(f.disk, STORE, CHECKPOINT_ROOT_NAME, &root_size);
        uint8_t *slot = data;
        while (le64_get(slot + 8) == 0)
            slot += 16;
        if (kind == 0) le64_put(slot, le64_get(slot) | (uint64_t)1 << 63); /* another shard's */
        if (kind == 1) le64_put(slot + 8, 0);                              /* one too few */
        if (kind == 2) memset(slot, 0x21, 7);                              /* another bucket's, very likely */
        le64_put(root + 128 + 24, checksum(data, size, root_image_seed(store_id, 0)));
        seal(root, root_size);
        sim_file_write(f.disk, STORE, CHECKPOINT_DATA_NAME, data, size);
        sim_file_write(f.disk, STORE, CHECKPOINT_ROOT_NAME, root, root_size);
        checkpoint_info info;
        cairn_error error = {0};
        assert_int_equal(load_from(f.disk, &info, &error), CAIRN_CORRUPT);
        assert_non_null(strstr(error.message, "cannot be there"));
        free(data);
        free(root);
        sim_free(f.disk);
    }
}

static void data_of_which_any_bit_is_flipped_is_refused(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    for (uint64_t i = 0; i < 4; i++)
        insert(f.index, hash_of(i), i + 1);
    assert_int_equal(write_numbered(&f, 1), CAIRN_OK);
    hash_index_clear(f.index);
    uint64_t size = data_file_size(f.disk);
    checkpoint_info info;
    for (uint64_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            assert_true(sim_file_poke(f.disk, STORE, CHECKPOINT_DATA_NAME, i, (uint8_t)(1u << bit)));
            assert_int_equal(load(&f, &info, NULL), CAIRN_CORRUPT);
            assert_true(sim_file_poke(f.disk, STORE, CHECKPOINT_DATA_NAME, i, (uint8_t)(1u << bit)));
        }
        if (i % 64 != 0) continue;
        sim_disk *cut = sim_clone(f.disk);
        assert_true(sim_file_resize(cut, STORE, CHECKPOINT_DATA_NAME, i));
        assert_int_equal(load_from(cut, &info, NULL), CAIRN_CORRUPT);
        sim_free(cut);
    }
    assert_int_equal(load(&f, &info, NULL), CAIRN_OK);
    close_fixture(&f);
    sim_free(f.disk);
}

static void missing_data_is_corruption(void **state) {
    (void)state;
    sim_disk *disk = disk_with(2);
    assert_true(sim_file_remove(disk, STORE, CHECKPOINT_DATA_NAME));
    checkpoint_info info;
    assert_int_equal(load_from(disk, &info, NULL), CAIRN_CORRUPT);
    sim_free(disk);
}

static void after_a_refused_checkpoint_a_new_one_is_written_whole(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, disk_with(2), false);
    assert_true(sim_file_poke(f.disk, STORE, CHECKPOINT_ROOT_NAME, 300, 1));
    checkpoint_info info;
    assert_int_equal(load(&f, &info, NULL), CAIRN_CORRUPT);
    for (uint64_t k = 1; k <= 3; k++)
        advance(f.index, k);
    assert_int_equal(write_numbered(&f, 3), CAIRN_OK);
    assert_int_equal(load_from(f.disk, &info, NULL), CAIRN_OK);
    assert_int_equal(info.start_place, 3);
    close_fixture(&f);
    sim_free(f.disk);
}

static void an_old_root_put_back_is_whole_or_refused(void **state) {
    (void)state;
    const uint64_t last = 6;
    uint8_t *roots[7] = {NULL};
    size_t sizes[7] = {0};
    fixture f;
    open_fixture(&f, sim_new(1), false);
    for (uint64_t k = 1; k <= last; k++) {
        advance(f.index, k);
        assert_int_equal(write_numbered(&f, k), CAIRN_OK);
        roots[k] = sim_file_read(f.disk, STORE, CHECKPOINT_ROOT_NAME, &sizes[k]);
        for (uint64_t old = 1; old <= k; old++) {
            sim_disk *disk = sim_clone(f.disk);
            sim_file_write(disk, STORE, CHECKPOINT_ROOT_NAME, roots[old], sizes[old]);
            checkpoint_info info;
            int code = load_from(disk, &info, NULL);
            assert_true(code == CAIRN_CORRUPT || (code == CAIRN_OK && info.start_place == old));
            sim_free(disk);
        }
    }
    for (uint64_t k = 1; k <= last; k++)
        free(roots[k]);
    close_fixture(&f);
    sim_free(f.disk);
}

static void assert_hex(const uint8_t *bytes, size_t at, const char *hex) {
    for (; *hex != '\0'; hex += *hex == ' ' ? 1 : 2) {
        if (*hex == ' ') continue;
        char digits[3] = {hex[0], hex[1], '\0'};
        assert_int_equal(bytes[at++], strtoul(digits, NULL, 16));
    }
}

static void assert_zeros(const uint8_t *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        assert_int_equal(bytes[i], 0);
}

static void bytes_of_the_example_in_the_format_page(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, sim_new(1), false);
    insert(f.index, 5, location_make(64, 1, LOCATION_VALUE));
    insert(f.index, UINT64_MAX, location_make(256, 8, LOCATION_STREAM));
    checkpoint_info info = {
        .epoch = 3, .start_place = 17, .start_segment = 2, .start_offset = 4096, .time_ms = 1700000000000};
    memcpy(info.store_id, store_id, 16);
    assert_int_equal(checkpoint_write(f.c, f.index, &info, fence_ok, (void *)(uintptr_t) "hello", NULL), CAIRN_OK);
    size_t root_size = 0, data_size = 0;
    uint8_t *root = sim_file_read(f.disk, STORE, CHECKPOINT_ROOT_NAME, &root_size);
    uint8_t *data = sim_file_read(f.disk, STORE, CHECKPOINT_DATA_NAME, &data_size);
    static const char head[] = "63616972 6e2d6978 01000000 80000000 00010203 04050607 08090a0b 0c0d0e0f"
                               "03000000 00000000 11000000 00000000 02000000 00000000 00100000 00000000"
                               "15000000 00000000 0068e5cf 8b010000 02000000 00000000 00040000 20000000"
                               "05000000 00000000 00020000 00000000 00000000 00000000 00000000 00000000";
    static const char row_0[] = "00000000 00000000 02000000 00000000 01000000 00000000 affc0685 d4073603";
    static const char row_1023[] = "00010000 00000000 02000000 00000000 01000000 00000000 cf291b32 90575fc2";
    static const char end[] = "68656c6c 6fd3f8f5 93315193 c9";
    assert_int_equal(root_size, 0x808d);
    assert_hex(root, 0, head);
    assert_hex(root, 0x80, row_0);
    assert_zeros(root, 0xa0, 0x8060);
    assert_hex(root, 0x8060, row_1023);
    assert_hex(root, 0x8080, end);
    assert_int_equal(data_size, 0x200);
    assert_zeros(data, 0, 0x80);
    assert_hex(data, 0x80, "05000000 00000000 40000000 00010000");
    assert_zeros(data, 0x90, 0x100);
    assert_hex(data, 0x100, "ffffffff ffffffff 00010000 00080010");
    assert_zeros(data, 0x110, 0x200);
    free(root);
    free(data);
    close_fixture(&f);
    sim_free(f.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_checkpoint_there_is_none),
        cmocka_unit_test(what_was_written_is_loaded_again),
        cmocka_unit_test(an_empty_index_is_a_checkpoint_too),
        cmocka_unit_test(a_shard_that_was_emptied_stays_empty),
        cmocka_unit_test(a_stash_is_part_of_the_image),
        cmocka_unit_test(a_large_index_goes_out_and_in),
        cmocka_unit_test(the_caller_may_refuse_a_checkpoint_by_its_info),
        cmocka_unit_test(read_only_changes_nothing_on_disk),
        cmocka_unit_test(only_changed_shards_are_written),
        cmocka_unit_test(fifty_checkpoints_of_everything_stay_under_two_and_a_half_images),
        cmocka_unit_test(fifty_checkpoints_of_some_shards_stay_under_two_and_a_half_images),
        cmocka_unit_test(fifty_checkpoints_of_a_growing_index_stay_under_two_and_a_half_images),
        cmocka_unit_test(the_tail_is_cut_off_when_most_entries_are_gone),
        cmocka_unit_test(a_failed_fence_leaves_the_old_checkpoint_and_the_shards_dirty),
        cmocka_unit_test(any_failed_call_leaves_a_whole_checkpoint),
        cmocka_unit_test(a_power_cut_at_any_operation_leaves_the_old_or_the_new_one),
        cmocka_unit_test(a_root_of_which_any_bit_is_flipped_is_refused),
        cmocka_unit_test(a_root_of_any_other_length_is_refused),
        cmocka_unit_test(a_newer_format_is_refused_by_name),
        cmocka_unit_test(a_longer_head_and_longer_rows_of_a_later_minor_version_are_skipped),
        cmocka_unit_test(rows_that_lie_are_refused),
        cmocka_unit_test(an_entry_in_a_wrong_place_is_refused),
        cmocka_unit_test(data_of_which_any_bit_is_flipped_is_refused),
        cmocka_unit_test(missing_data_is_corruption),
        cmocka_unit_test(after_a_refused_checkpoint_a_new_one_is_written_whole),
        cmocka_unit_test(an_old_root_put_back_is_whole_or_refused),
        cmocka_unit_test(bytes_of_the_example_in_the_format_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
