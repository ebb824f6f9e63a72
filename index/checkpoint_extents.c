#include "index/checkpoint_extents.h"

#include "src/base/check.h"

void free_space_of(const checkpoint_root *published, free_space *space) {
    image_order order;
    root_order(published, &order);
    space->count = 0;
    uint64_t free_from = 0;
    for (unsigned i = 0; i < order.count; i++) {
        const checkpoint_row *row = &published->rows[order.shards[i]];
        uint64_t first_block = row->offset & ~(uint64_t)(BLOCK_BYTES - 1);
        if (first_block > free_from) space->runs[space->count++] = (free_run){free_from, first_block};
        free_from = round_up(row->offset + hash_shape_bytes(&row->shape), BLOCK_BYTES);
    }
    space->runs[space->count++] = (free_run){free_from, UINT64_MAX};
}

void free_space_begin_at(free_space *space, uint64_t offset) {
    for (unsigned i = 0; i < space->count; i++) {
        free_run *run = &space->runs[i];
        run->begin = min_u64(run->end, max_u64(run->begin, offset));
    }
}

uint64_t free_space_take(free_space *space, uint64_t size) {
    for (unsigned i = 0; i < space->count; i++) {
        free_run *run = &space->runs[i];
        if (run->end - run->begin < size) continue;
        uint64_t offset = run->begin;
        run->begin = min_u64(run->end, round_up(offset + size, IMAGE_ALIGN));
        return offset;
    }
    CHECK(false); /* the last run has no end */
    return 0;
}
