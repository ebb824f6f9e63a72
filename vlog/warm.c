#include "vlog/warm.h"

#include "src/base/check.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE_BYTES ((uint64_t)4096)
#define NEVER 255u /* heat: no window can be had */
/* In microseconds, measured where a system call takes 1.2 and the first touch of a mapped page 1.1 to 2.4: a read of
 * the file costs 3 and 0.05 a KiB more than a copy; to map a part and touch its 64 pages for the first time, 100 to
 * 180. On a machine that maps for less, parts become warm later than they could, which costs it 3 microseconds a read.
 */
#define HEAT_A_READ 3u
#define HEAT_SHIFT 14 /* one more for every 16 KiB */
#define HOT 190u

_Static_assert(WARM_PART_BYTES / PAGE_BYTES <= UINT8_MAX, "pages of a part fit a byte");

static uint64_t part_of(uint64_t offset) { return offset / WARM_PART_BYTES; }

static uint8_t warm_pages(const warm_part *part) { return atomic_load_explicit(&part->pages, memory_order_acquire); }

static void set(warm_part *part, uint8_t heat, uint8_t pages) {
    atomic_store_explicit(&part->heat, heat, memory_order_relaxed);
    atomic_store_explicit(&part->pages, pages, memory_order_release);
}

void warm_free(warm_table *table) {
    if (table == NULL) return;
    os_window *window = atomic_load(&table->window);
    if (window != NULL) os_window_close(window);
    free(table);
}

bool warm_covers(const warm_table *table, uint64_t offset, uint64_t size) {
    uint64_t end = offset + size;
    if (table == NULL || size == 0 || end > table->capacity) return false;
    for (uint64_t i = part_of(offset); i <= part_of(end - 1); i++) {
        uint64_t wanted = min_u64(end - i * WARM_PART_BYTES, WARM_PART_BYTES);
        if (warm_pages(&table->parts[i]) * PAGE_BYTES < wanted) return false;
    }
    return true;
}

bool warm_read(warm_table *table, void *buf, size_t size, uint64_t offset, uint64_t *sum) {
    int rc = os_window_read(atomic_load_explicit(&table->window, memory_order_acquire), buf, size, offset, sum);
    if (rc == 0 || rc == -EOPNOTSUPP) return rc == 0;
    for (uint64_t i = part_of(offset); i <= part_of(offset + size - 1); i++) {
        set(&table->parts[i], 0, 0);
    }
    return rc > 0;
}

static warm_table *make_table(_Atomic(warm_table *) *slot, uint64_t capacity) {
    uint64_t parts = round_up(capacity, WARM_PART_BYTES) / WARM_PART_BYTES;
    warm_table *table = calloc(1, sizeof *table + parts * sizeof(warm_part)), *there = NULL;
    if (table == NULL) return NULL;
    table->capacity = capacity;
    if (atomic_compare_exchange_strong(slot, &there, table)) return table;
    free(table);
    return there;
}

static os_window *make_window(warm_table *table, os_file *file) {
    os_window *window = NULL, *there = NULL;
    if (os_window_open(file, table->capacity, OS_ONLY_WHAT_IS_NEAR, &window) != 0) return NULL;
    if (atomic_compare_exchange_strong(&table->window, &there, window)) return window;
    os_window_close(window);
    return there;
}

/* A part that is hot becomes warm as far as it is written. */
static void warm_up(warm_table *table, os_file *file, uint64_t i, uint64_t end) {
    warm_part *part = &table->parts[i];
    uint64_t begin = i * WARM_PART_BYTES, size = min_u64(end - begin, WARM_PART_BYTES);
    uint8_t pages = (uint8_t)(round_up(size, PAGE_BYTES) / PAGE_BYTES);
    if (warm_pages(part) == pages) return;
    os_window *window = atomic_load_explicit(&table->window, memory_order_acquire);
    if (window == NULL) window = make_window(table, file);
    int rc = window == NULL ? -EOPNOTSUPP : os_window_load(window, file, begin, size);
    if (rc == 0) {
        set(part, 0, pages);
    } else {
        set(part, rc == -EAGAIN ? 0 : NEVER, 0);
    }
}

void warm_count(_Atomic(warm_table *) *slot, os_file *file, uint64_t capacity, uint64_t end, uint64_t offset,
                uint64_t size) {
    warm_table *table = atomic_load_explicit(slot, memory_order_acquire);
    if (table == NULL) table = make_table(slot, capacity);
    if (table == NULL) return;
    uint64_t stop = min_u64(offset + size, min_u64(end, capacity));
    for (uint64_t at = offset; at < stop;) {
        uint64_t next = min_u64((part_of(at) + 1) * WARM_PART_BYTES, stop);
        warm_part *part = &table->parts[part_of(at)];
        unsigned heat = atomic_load_explicit(&part->heat, memory_order_relaxed);
        if (heat != NEVER) {
            heat = (unsigned)min_u64(heat + HEAT_A_READ + ((next - at) >> HEAT_SHIFT), HOT);
            atomic_store_explicit(&part->heat, (uint8_t)heat, memory_order_relaxed);
            if (heat == HOT) warm_up(table, file, part_of(at), end);
        }
        at = next;
    }
}
