#include "vlog/held.h"

#include "src/base/array.h"

#include <stdlib.h>
#include <string.h>

void held_release(held_parts *held) {
    for (size_t i = 0; i < held->count; i++) {
        free(held->batches[i].parts);
    }
    free(held->batches);
    *held = (held_parts){0};
}

/* Where the batch is, or would be. */
static size_t find_batch(const held_parts *held, uint64_t id) {
    size_t low = 0, high = held->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (held->batches[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_there(const held_parts *held, size_t at, uint64_t id) {
    return at < held->count && held->batches[at].id == id;
}

static int insert_batch(held_parts *held, size_t at, uint64_t id) {
    held_batch *grown = array_with_room(held->batches, &held->capacity, held->count, sizeof *grown, 8);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    held->batches = grown;
    memmove(held->batches + at + 1, held->batches + at, (held->count - at) * sizeof *held->batches);
    held->batches[at] = (held_batch){.id = id};
    held->count++;
    return CAIRN_OK;
}

static int append_part(held_batch *b, const vlog_event *part) {
    vlog_event *grown = array_with_room(b->parts, &b->capacity, b->count, sizeof *grown, 16);
    if (grown == NULL) return CAIRN_NO_MEMORY;
    b->parts = grown;
    b->parts[b->count++] = *part;
    return CAIRN_OK;
}

static bool remove_part(held_batch *b, uint64_t place) {
    size_t i = b->count;
    while (i > 0 && b->parts[i - 1].place > place)
        i--;
    if (i == 0 || b->parts[i - 1].place != place) return false;
    memmove(b->parts + i - 1, b->parts + i, (b->count - i) * sizeof *b->parts);
    b->count--;
    return true;
}

int held_add(held_parts *held, uint64_t batch, uint64_t replaces, const vlog_event *part) {
    size_t at = find_batch(held, batch);
    if (!is_there(held, at, batch)) {
        if (replaces != 0) return CAIRN_CORRUPT;
        int rc = insert_batch(held, at, batch);
        if (rc != CAIRN_OK) return rc;
    }
    held_batch *b = &held->batches[at];
    if (b->count > 0 && b->parts[b->count - 1].place >= part->place) return CAIRN_CORRUPT;
    if (replaces != 0 && !remove_part(b, replaces)) return CAIRN_CORRUPT;
    return append_part(b, part);
}

bool held_take(held_parts *held, uint64_t batch, held_batch *taken) {
    size_t at = find_batch(held, batch);
    if (!is_there(held, at, batch)) return false;
    *taken = held->batches[at];
    memmove(held->batches + at, held->batches + at + 1, (held->count - at - 1) * sizeof *held->batches);
    held->count--;
    return true;
}

uint64_t held_count(const held_parts *held) {
    uint64_t count = 0;
    for (size_t i = 0; i < held->count; i++) {
        count += held->batches[i].count;
    }
    return count;
}
