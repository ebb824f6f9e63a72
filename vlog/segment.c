#include "vlog/segment.h"

#include "src/base/check.h"
#include "src/base/status.h"
#include "vlog/file_header.h"

#include <stdlib.h>
#include <string.h>

segment *segment_new(const manifest_segment *m, uint64_t salt, bool no_window) {
    segment *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->id = m->id;
    s->generation = m->generation;
    s->base_granule = m->base_granule;
    s->granules = m->granules;
    s->seed = file_seed(salt, m->id, m->generation);
    s->no_window = no_window;
    s->compacted = (m->flags & SEGMENT_COMPACTED) != 0;
    s->punched = (m->flags & SEGMENT_PUNCHED) != 0;
    s->alternate = (m->flags & SEGMENT_ALTERNATE) != 0;
    s->kept = m->kept;
    s->gaps = m->gaps;
    s->state = m->state;
    s->sealed_size = m->sealed_size;
    s->trailer_checksum = m->trailer_checksum;
    s->first_place = m->first_place;
    s->end_place = m->end_place;
    s->lowest_version = m->lowest_version;
    atomic_init(&s->end, m->state == SEGMENT_SEALED ? m->record_end : SEGMENT_DATA_OFFSET);
    return s;
}

void segment_free(segment *s) {
    if (s == NULL) return;
    segment_handle *handle = atomic_load(&s->handle);
    if (handle != NULL) {
        os_file_close(handle->file);
        free(handle);
    }
    warm_free(atomic_load(&s->warm));
    viewed_free(atomic_load(&s->viewed));
    free(s);
}

segment_name segment_name_of(const segment *s) {
    segment_name name;
    file_name(name.text, s->id, segment_suffix(s->alternate));
    return name;
}

bool segment_warm(const segment *s, uint64_t offset, uint64_t size) {
    return warm_covers(atomic_load_explicit(&s->warm, memory_order_acquire), offset, size);
}

void segment_count_read(segment *s, os_file *file, uint64_t offset, uint64_t size) {
    if (!s->no_window) warm_count(&s->warm, file, segment_capacity(s), atomic_load(&s->end), offset, size);
}

bool segment_copy_warm(segment *s, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    warm_table *warm = atomic_load_explicit(&s->warm, memory_order_acquire);
    return warm_covers(warm, offset, size) && warm_read(warm, buf, size, offset, sum);
}

int segment_read(segment *s, os_file *file, void *buf, size_t size, uint64_t offset, size_t *got) {
    if (segment_copy_warm(s, buf, size, offset, NULL)) {
        *got = size;
        return 0;
    }
    int rc = os_file_read(file, buf, size, offset, got);
    if (rc == 0) segment_count_read(s, file, offset, *got);
    return rc;
}

int segment_read_now(segment *s, os_file *file, void *buf, size_t size, uint64_t offset) {
    if (segment_copy_warm(s, buf, size, offset, NULL)) return 0;
    int rc = os_file_read_now(file, buf, size, offset);
    if (rc == 0) segment_count_read(s, file, offset, size);
    return rc;
}

static file_header header_of(const segment *s, const uint8_t store_id[16]) {
    return (file_header){.magic = "CAIRNSEG",
                         .store_id = store_id,
                         .id = s->id,
                         .generation = s->generation,
                         .base_granule = s->base_granule,
                         .granules = s->granules,
                         .seed = s->seed};
}

void segment_encode_header(uint8_t block[4096], const segment *s, const uint8_t store_id[16]) {
    file_header h = header_of(s, store_id);
    file_header_encode(block, &h);
}

int segment_check_header(const segment *s, os_file *file, const uint8_t store_id[16], cairn_error *error) {
    uint8_t block[BLOCK_BYTES];
    file_header h = header_of(s, store_id);
    size_t got = 0;
    int rc = os_file_read(file, block, sizeof block, 0, &got);
    if (rc != 0) return status_os(error, rc, "cannot read segment %s", segment_name_of(s).text);
    if (got == sizeof block && file_header_valid(block, &h)) return CAIRN_OK;
    return status_set_at(error, CAIRN_CORRUPT, s->id, 0, "header block of segment %s is damaged",
                         segment_name_of(s).text);
}

/* ---- From address to segment ---- */

#define LEAF_BITS 13
#define LEAF_COUNT ((size_t)1 << LEAF_BITS)
_Static_assert(GRANULE_COUNT == LEAF_COUNT * LEAF_COUNT, "two levels cover the address space");

struct segment_leaf {
    _Atomic(segment *) slots[LEAF_COUNT];
};

int segment_map_init(segment_map *map) {
    map->leaves = calloc(LEAF_COUNT, sizeof *map->leaves);
    return map->leaves == NULL ? CAIRN_NO_MEMORY : CAIRN_OK;
}

void segment_map_release(segment_map *map) {
    for (size_t i = 0; map->leaves != NULL && i < LEAF_COUNT; i++) {
        free(atomic_load(&map->leaves[i]));
    }
    free(map->leaves);
    map->leaves = NULL;
}

int segment_map_reserve(segment_map *map, const segment *s) {
    uint64_t end = s->base_granule + s->granules;
    CHECK(s->granules > 0 && end <= GRANULE_COUNT);
    for (uint64_t top = s->base_granule >> LEAF_BITS; top <= (end - 1) >> LEAF_BITS; top++) {
        segment_leaf *leaf = NULL, *there = NULL;
        if (atomic_load(&map->leaves[top]) == NULL && (leaf = calloc(1, sizeof *leaf)) == NULL) return CAIRN_NO_MEMORY;
        if (leaf != NULL && !atomic_compare_exchange_strong(&map->leaves[top], &there, leaf)) free(leaf);
    }
    return CAIRN_OK;
}

int segment_map_add(segment_map *map, segment *s) {
    uint64_t end = s->base_granule + s->granules;
    if (segment_map_reserve(map, s) != CAIRN_OK) return CAIRN_NO_MEMORY;
    for (uint64_t g = s->base_granule; g < end; g++) {
        atomic_store_explicit(&atomic_load(&map->leaves[g >> LEAF_BITS])->slots[g & (LEAF_COUNT - 1)], s,
                              memory_order_release);
    }
    return CAIRN_OK;
}

void segment_map_remove(segment_map *map, const segment *s) {
    for (uint64_t g = s->base_granule; g < s->base_granule + s->granules; g++) {
        atomic_store(&atomic_load(&map->leaves[g >> LEAF_BITS])->slots[g & (LEAF_COUNT - 1)], NULL);
    }
}

segment *segment_map_find(const segment_map *map, uint64_t address) {
    uint64_t g = address / GRANULE_UNITS;
    if (g >= GRANULE_COUNT) return NULL;
    segment_leaf *leaf = atomic_load_explicit(&map->leaves[g >> LEAF_BITS], memory_order_acquire);
    if (leaf == NULL) return NULL;
    return atomic_load_explicit(&leaf->slots[g & (LEAF_COUNT - 1)], memory_order_acquire);
}
