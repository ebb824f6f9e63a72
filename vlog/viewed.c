#include "vlog/viewed.h"

#include "vlog/segment.h"

#include <errno.h>
#include <stdlib.h>

typedef struct viewed_marks {
    _Atomic uint64_t bits[GRANULE_UNITS / 64];
} viewed_marks;

struct viewed_table {
    os_window *window;
    const uint8_t *data; /* the window's beginning */
    uint64_t granules;
    _Atomic(viewed_marks *) marks[]; /* of each granule; NULL: none */
};

void viewed_free(viewed_table *table) {
    if (table == NULL) return;
    for (uint64_t i = 0; i < table->granules; i++) {
        free(atomic_load(&table->marks[i]));
    }
    if (table->window != NULL) os_window_close(table->window);
    free(table);
}

static int make_table(_Atomic(viewed_table *) *slot, os_file *file, uint64_t granules, viewed_table **out) {
    viewed_table *t = calloc(1, sizeof *t + granules * sizeof t->marks[0]), *there = NULL;
    const void *data = NULL;
    if (t == NULL) return -ENOMEM;
    t->granules = granules;
    int rc = os_window_open(file, granules * GRANULE_BYTES, 0, &t->window);
    if (rc == 0) rc = os_window_show(t->window, file, 0, SEGMENT_DATA_OFFSET, &data);
    t->data = data;
    if (rc == 0 && atomic_compare_exchange_strong(slot, &there, t)) {
        *out = t;
        return 0;
    }
    viewed_free(t);
    *out = there;
    return rc;
}

int viewed_show(_Atomic(viewed_table *) *slot, os_file *file, uint64_t granules, uint64_t offset, size_t size,
                const void **data) {
    viewed_table *t = atomic_load_explicit(slot, memory_order_acquire);
    int rc = t != NULL ? 0 : make_table(slot, file, granules, &t);
    return rc == 0 ? os_window_show(t->window, file, offset, size, data) : rc;
}

static _Atomic uint64_t *word_of(viewed_marks *m, uint64_t offset) {
    return &m->bits[offset % GRANULE_BYTES / UNIT_BYTES / 64];
}
static uint64_t bit_of(uint64_t offset) { return (uint64_t)1 << offset / UNIT_BYTES % 64; }

void viewed_mark(viewed_table *t, uint64_t offset) {
    _Atomic(viewed_marks *) *slot = &t->marks[offset / GRANULE_BYTES];
    viewed_marks *m = atomic_load_explicit(slot, memory_order_acquire);
    if (m == NULL) {
        viewed_marks *made = calloc(1, sizeof *made);
        if (made == NULL) return;
        bool is_first = atomic_compare_exchange_strong(slot, &m, made);
        if (is_first) m = made;
        if (!is_first) free(made);
    }
    atomic_fetch_or_explicit(word_of(m, offset), bit_of(offset), memory_order_release);
}

bool viewed_is_marked(const viewed_table *t, uint64_t offset) {
    if (t == NULL) return false;
    viewed_marks *m = atomic_load_explicit(&t->marks[offset / GRANULE_BYTES], memory_order_acquire);
    return m != NULL && (atomic_load_explicit(word_of(m, offset), memory_order_acquire) & bit_of(offset)) != 0;
}

/* A copy that took long was right all the same. */
bool viewed_copy(const viewed_table *t, void *buf, size_t size, uint64_t offset) {
    return os_window_read(t->window, buf, size, offset, NULL) >= 0;
}

const void *viewed_at(const viewed_table *t, uint64_t offset) { return t->data + offset; }
