/* Copy-on-write content of simulated files; see os_sim_content.h. */
#include "tests/support/os_sim_content.h"

#include "src/base/check.h"
#include "src/base/checksum.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_OF_ZEROS ((uint64_t)1) /* so that a page of zeros counts as a hole */

void *sim_alloc(size_t size) {
    void *p = calloc(1, size > 0 ? size : 1);
    CHECK(p != NULL);
    return p;
}

/* ---- Pages ---- */

sim_page *page_ref(sim_page *p) {
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void page_unref(sim_page *p) {
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) free(p);
}

/* from NULL: zeros. */
static sim_page *page_copy(const sim_page *from) {
    sim_page *p = malloc(sizeof *p);
    CHECK(p != NULL);
    atomic_init(&p->refs, 1);
    atomic_init(&p->hash, 0);
    if (from != NULL)
        memcpy(p->bytes, from->bytes, SIM_PAGE);
    else
        memset(p->bytes, 0, SIM_PAGE);
    return p;
}

static uint64_t page_hash(sim_page *p) {
    uint64_t hash = atomic_load_explicit(&p->hash, memory_order_relaxed);
    if (hash != 0) return hash;
    bool zeros = p->bytes[0] == 0 && memcmp(p->bytes, p->bytes + 1, SIM_PAGE - 1) == 0;
    hash = zeros ? HASH_OF_ZEROS : checksum(p->bytes, SIM_PAGE, 0) | 2;
    atomic_store_explicit(&p->hash, hash, memory_order_relaxed);
    return hash;
}

/* ---- The table ---- */

sim_content *content_new(void) {
    sim_content *c = sim_alloc(sizeof *c);
    atomic_init(&c->refs, 1);
    return c;
}

sim_content *content_ref(sim_content *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void content_unref(sim_content *c) {
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < c->count; i++)
        page_unref(c->page[i]);
    free(c->page);
    free(c);
}

void content_assign(sim_content **slot, sim_content *c) {
    content_ref(c);
    content_unref(*slot);
    *slot = c;
}

/* The slot's content with no other owner. */
static sim_content *writable(sim_content **slot) {
    sim_content *old = *slot;
    if (atomic_load_explicit(&old->refs, memory_order_acquire) == 1) return old;
    sim_content *c = content_new();
    c->size = old->size;
    c->count = c->capacity = old->count;
    c->allocated = old->allocated;
    if (c->count > 0) c->page = sim_alloc(c->count * sizeof(sim_page *));
    for (size_t i = 0; i < c->count; i++)
        c->page[i] = old->page[i] != NULL ? page_ref(old->page[i]) : NULL;
    content_unref(old);
    *slot = c;
    return c;
}

static const sim_page *page_at(const sim_content *c, size_t index) { return index < c->count ? c->page[index] : NULL; }

static void grow_table(sim_content *c, size_t count) {
    if (count <= c->count) return;
    if (count > c->capacity) {
        c->capacity = (size_t)max_u64(count, 2 * c->count);
        c->page = realloc(c->page, c->capacity * sizeof(sim_page *));
        CHECK(c->page != NULL);
    }
    memset(c->page + c->count, 0, (count - c->count) * sizeof(sim_page *));
    c->count = count;
}

/* c has one owner; the page is there and has one owner afterwards. */
static sim_page *page_writable(sim_content *c, size_t index) {
    grow_table(c, index + 1);
    sim_page *p = c->page[index];
    if (p == NULL) {
        c->allocated++;
        return c->page[index] = page_copy(NULL);
    }
    if (atomic_load_explicit(&p->refs, memory_order_acquire) == 1) {
        atomic_store_explicit(&p->hash, 0, memory_order_relaxed);
        return p;
    }
    c->page[index] = page_copy(p);
    page_unref(p);
    return c->page[index];
}

static void drop_page(sim_content *c, size_t index) {
    if (index >= c->count || c->page[index] == NULL) return;
    page_unref(c->page[index]);
    c->page[index] = NULL;
    c->allocated--;
}

/* Bytes of [offset, offset + size) that lie in the page of `offset`. */
static size_t within_page(uint64_t offset, uint64_t size) {
    return (size_t)min_u64(size, SIM_PAGE - offset % SIM_PAGE);
}

/* ---- Bytes ---- */

size_t content_read(const sim_content *c, void *buf, size_t size, uint64_t offset) {
    if (offset >= c->size) return 0;
    size_t got = (size_t)min_u64(size, c->size - offset);
    uint8_t *to = buf;
    for (size_t done = 0, n; done < got; done += n) {
        n = within_page(offset + done, got - done);
        const sim_page *p = page_at(c, (size_t)((offset + done) / SIM_PAGE));
        if (p != NULL)
            memcpy(to + done, p->bytes + (offset + done) % SIM_PAGE, n);
        else
            memset(to + done, 0, n);
    }
    return got;
}

void content_poke(sim_content **slot, const void *bytes, size_t size, uint64_t offset) {
    sim_content *c = writable(slot);
    const uint8_t *from = bytes;
    for (size_t done = 0, n; done < size; done += n) {
        n = within_page(offset + done, size - done);
        sim_page *p = page_writable(c, (size_t)((offset + done) / SIM_PAGE));
        memcpy(p->bytes + (offset + done) % SIM_PAGE, from + done, n);
    }
}

void content_write(sim_content **slot, const void *bytes, size_t size, uint64_t offset) {
    if (size == 0) return;
    content_poke(slot, bytes, size, offset);
    (*slot)->size = max_u64((*slot)->size, offset + size);
}

void content_allocate(sim_content **slot, uint64_t size) {
    static sim_page zeros = {.refs = 1}; /* never freed */
    sim_content *c = writable(slot);
    grow_table(c, (size_t)(round_up(size, SIM_PAGE) / SIM_PAGE));
    for (size_t i = (size_t)(c->size / SIM_PAGE); i * SIM_PAGE < size; i++) {
        if (c->page[i] != NULL) continue;
        c->page[i] = page_ref(&zeros);
        c->allocated++;
    }
    c->size = max_u64(c->size, size);
}

void content_zero(sim_content **slot, uint64_t offset, uint64_t size) {
    sim_content *c = writable(slot);
    uint64_t end = min_u64(offset + size, c->count * SIM_PAGE);
    while (offset < end) {
        size_t n = within_page(offset, end - offset);
        size_t index = (size_t)(offset / SIM_PAGE);
        if (n == SIM_PAGE)
            drop_page(c, index);
        else if (c->page[index] != NULL)
            memset(page_writable(c, index)->bytes + offset % SIM_PAGE, 0, n);
        offset += n;
    }
}

void content_truncate(sim_content **slot, uint64_t size) {
    sim_content *c = writable(slot);
    c->size = size;
    uint64_t end = c->count * SIM_PAGE;
    if (size < end) content_zero(slot, size, end - size);
}

void content_set_size(sim_content **slot, uint64_t size) {
    if ((*slot)->size != size) writable(slot)->size = size;
}

size_t content_missing_pages(const sim_content *c, uint64_t offset, uint64_t size) {
    size_t missing = 0;
    if (size == 0) return 0;
    for (uint64_t i = offset / SIM_PAGE; i <= (offset + size - 1) / SIM_PAGE; i++)
        if (page_at(c, (size_t)i) == NULL) missing++;
    return missing;
}

void content_copy_sector(sim_content **slot, const sim_content *from, uint64_t sector) {
    uint64_t offset = sector * SIM_SECTOR;
    size_t index = (size_t)(offset / SIM_PAGE);
    const sim_page *source = page_at(from, index);
    if (source != NULL)
        content_poke(slot, source->bytes + offset % SIM_PAGE, SIM_SECTOR, offset);
    else if (page_at(*slot, index) != NULL)
        content_zero(slot, offset, SIM_SECTOR);
}

uint64_t content_hash(const sim_content *c) {
    uint64_t hash = checksum(&c->size, sizeof c->size, 0);
    for (size_t i = 0; i < c->count; i++) {
        if (c->page[i] == NULL) continue;
        uint64_t page = page_hash(c->page[i]);
        if (page != HASH_OF_ZEROS) hash += checksum(&page, sizeof page, i);
    }
    return hash;
}
