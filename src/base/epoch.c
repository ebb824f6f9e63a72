/* See epoch.h. What makes it right:
 *
 *  1. A reader adds itself to entered[p] of some slot, for a parity p that it has read, and to left[p] of the same slot
 *     when it goes. Nothing depends on p being the newest parity.
 *  2. A scan of parity p sums first all left[p], then all entered[p]. Whoever is counted in the first sum is counted in
 *     the second (he entered before he left), so equal sums mean: whoever entered before the scan read his slot has
 *     left.
 *  3. The scan reads entered[] with an atomic add of 0. So a reader whose own add comes after it reads what the scan
 *     wrote and thereby sees all that the scanning thread saw: that the objects are unreachable.
 *  4. A scan passes by the slots that no thread has got yet. How many there are it learns with an atomic add of 0 too,
 *     and a thread gets its slot with an add: one that is not counted comes after it, and sees what the scanning thread
 *     saw, as in 3.
 *  5. An object is freed only after one whole scan of each parity, both begun after its hand-over. By 2 to 4 each
 *     reader has then left, or came too late to find it.
 *
 * The flip of the parity between the two scans is only for progress: the parity that is scanned gets no new readers
 * but stragglers, so its sums become equal as soon as the old readers are gone.
 *
 * Hand-over is a push on a list that is only ever taken whole. The list of those that wait for the running grace period
 * belongs to whoever holds `polling`; nobody waits for that flag. */
#include "src/base/epoch.h"

#include "include/cairn.h"
#include "src/base/check.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define SLOT_COUNT 64u

typedef struct epoch_slot {
    _Alignas(64) _Atomic uint64_t entered[2];
    _Atomic uint64_t left[2];
} epoch_slot;

typedef enum grace_phase { GRACE_NONE, GRACE_FIRST_SCAN, GRACE_SECOND_SCAN } grace_phase;

struct epoch {
    epoch_slot slots[SLOT_COUNT];
    _Atomic unsigned parity;        /* where new readers count themselves */
    _Atomic(epoch_entry *) retired; /* handed over, no grace period begun for them */
    atomic_flag polling;            /* its holder owns what follows */
    epoch_entry *waiting;           /* until the running grace period is over */
    grace_phase phase;
};

int epoch_new(epoch **out) {
    epoch *e = aligned_alloc(_Alignof(epoch), sizeof *e);
    if (e == NULL) return CAIRN_NO_MEMORY;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        for (unsigned p = 0; p < 2; p++) {
            atomic_init(&e->slots[i].entered[p], 0);
            atomic_init(&e->slots[i].left[p], 0);
        }
    }
    atomic_init(&e->parity, 0);
    atomic_init(&e->retired, NULL);
    atomic_flag_clear(&e->polling);
    e->waiting = NULL;
    e->phase = GRACE_NONE;
    *out = e;
    return CAIRN_OK;
}

static void release_all(epoch_entry *list) {
    while (list != NULL) {
        epoch_entry *next = list->next;
        list->release(list);
        list = next;
    }
}

void epoch_free(epoch *e) {
    if (e == NULL) return;
    release_all(e->waiting);
    release_all(atomic_load_explicit(&e->retired, memory_order_acquire));
    free(e);
}

static _Atomic uint64_t threads; /* of the process that have got a slot, in every epoch the same one */

/* Threads take the slots in turn, so that few of them share one. */
static unsigned slot_of_thread(void) {
    static _Thread_local unsigned slot_plus_one;
    if (slot_plus_one == 0) {
        slot_plus_one = 1 + (unsigned)(atomic_fetch_add_explicit(&threads, 1, memory_order_acq_rel) % SLOT_COUNT);
    }
    return slot_plus_one - 1;
}

static unsigned slots_taken(void) {
    uint64_t count = atomic_fetch_add_explicit(&threads, 0, memory_order_acq_rel);
    return (unsigned)min_u64(count, SLOT_COUNT);
}

epoch_guard epoch_enter(epoch *e) {
    epoch_guard guard = {.slot = slot_of_thread(), .parity = atomic_load_explicit(&e->parity, memory_order_relaxed)};
    atomic_fetch_add_explicit(&e->slots[guard.slot].entered[guard.parity], 1, memory_order_acq_rel);
    return guard;
}

void epoch_exit(epoch *e, epoch_guard guard) {
    CHECK(guard.slot < SLOT_COUNT && guard.parity < 2);
    atomic_fetch_add_explicit(&e->slots[guard.slot].left[guard.parity], 1, memory_order_release);
}

static int all_have_left(epoch *e, unsigned parity) {
    uint64_t left = 0, entered = 0;
    unsigned slots = slots_taken();
    for (unsigned i = 0; i < slots; i++) {
        left += atomic_load_explicit(&e->slots[i].left[parity], memory_order_acquire);
    }
    for (unsigned i = 0; i < slots; i++) {
        entered += atomic_fetch_add_explicit(&e->slots[i].entered[parity], 0, memory_order_acq_rel);
    }
    return left == entered;
}

/* One step of the running grace period; begins one when there is something for it. 0: no step can be made now. */
static int grace_step(epoch *e) {
    unsigned parity = atomic_load_explicit(&e->parity, memory_order_relaxed);
    switch (e->phase) {
    case GRACE_NONE:
        e->waiting = atomic_exchange_explicit(&e->retired, NULL, memory_order_acquire);
        if (e->waiting == NULL) return 0;
        e->phase = GRACE_FIRST_SCAN;
        return 1;
    case GRACE_FIRST_SCAN:
        if (!all_have_left(e, 1 - parity)) return 0;
        atomic_store_explicit(&e->parity, 1 - parity, memory_order_relaxed);
        e->phase = GRACE_SECOND_SCAN;
        return 1;
    case GRACE_SECOND_SCAN:
        if (!all_have_left(e, 1 - parity)) return 0;
        release_all(e->waiting);
        e->waiting = NULL;
        e->phase = GRACE_NONE;
        return 1;
    }
    return 0;
}

void epoch_poll(epoch *e) {
    if (atomic_flag_test_and_set_explicit(&e->polling, memory_order_acquire)) return;
    while (grace_step(e)) {
    }
    atomic_flag_clear_explicit(&e->polling, memory_order_release);
}

void epoch_retire(epoch *e, epoch_entry *entry, void (*release)(epoch_entry *entry)) {
    entry->release = release;
    epoch_entry *head = atomic_load_explicit(&e->retired, memory_order_relaxed);
    do {
        entry->next = head;
    } while (
        !atomic_compare_exchange_weak_explicit(&e->retired, &head, entry, memory_order_release, memory_order_relaxed));
    epoch_poll(e);
}
