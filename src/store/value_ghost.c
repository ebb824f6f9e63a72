/* Buckets are picked by multiply and shift of the fingerprint itself, so that a table can be rebuilt without the
 * locations. With half to three quarters of the slots in use, fewer than one fingerprint in twenty is lost to a full
 * bucket before its time. */
#include "src/store/value_ghost.h"

#include <stdlib.h>

#define SLOTS 8u
#define BUCKETS_MIN 8u

/* Two slots for each entry at the growth; grown again when there are fewer than four for three. */
static uint64_t buckets_wanted(const value_ghost *ghost, uint64_t entries) {
    if (ghost->buckets != 0 && entries / 3 <= ghost->buckets * SLOTS / 4) return ghost->buckets;
    uint64_t buckets = entries / (SLOTS / 2) + BUCKETS_MIN;
    return buckets <= UINT32_MAX ? buckets : UINT32_MAX;
}

uint64_t value_ghost_growth(const value_ghost *ghost, uint64_t entries) {
    return (buckets_wanted(ghost, entries) - ghost->buckets) * SLOTS * sizeof(ghost_slot);
}

static ghost_slot *bucket_of(const value_ghost *ghost, uint32_t fingerprint) {
    return ghost->slots + (fingerprint * ghost->buckets >> 32) * SLOTS;
}

/* 0 is an empty slot's. */
static uint32_t not_zero(uint32_t fingerprint) { return fingerprint != 0 ? fingerprint : 1; }

/* Into the slot that has it already, else an empty one, else the oldest. */
static void place(value_ghost *ghost, ghost_slot new) {
    ghost_slot *bucket = bucket_of(ghost, new.fingerprint), *best = bucket;
    for (unsigned i = 0; i < SLOTS; i++) {
        ghost_slot *slot = bucket + i;
        if (slot->fingerprint == new.fingerprint) {
            best = slot;
            break;
        }
        if (best->fingerprint == 0) continue;
        if (slot->fingerprint == 0 || ghost->now - slot->time > ghost->now - best->time) best = slot;
    }
    *best = new;
}

bool value_ghost_grow(value_ghost *ghost, uint64_t entries) {
    value_ghost grown = {.buckets = buckets_wanted(ghost, entries), .now = ghost->now};
    grown.slots = calloc(grown.buckets, SLOTS * sizeof *grown.slots);
    if (grown.slots == NULL) return false;
    for (uint64_t i = 0; i < ghost->buckets * SLOTS; i++) {
        if (ghost->slots[i].fingerprint != 0) place(&grown, ghost->slots[i]);
    }
    value_ghost_release(ghost);
    *ghost = grown;
    return true;
}

void value_ghost_release(value_ghost *ghost) {
    free(ghost->slots);
    *ghost = (value_ghost){0};
}

void value_ghost_add(value_ghost *ghost, uint32_t fingerprint) {
    if (ghost->slots == NULL) return;
    ghost->now++;
    place(ghost, (ghost_slot){.fingerprint = not_zero(fingerprint), .time = ghost->now});
}

bool value_ghost_take(value_ghost *ghost, uint32_t fingerprint, uint64_t window) {
    if (ghost->slots == NULL) return false;
    fingerprint = not_zero(fingerprint);
    ghost_slot *bucket = bucket_of(ghost, fingerprint);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (bucket[i].fingerprint != fingerprint) continue;
        bool young = ghost->now - bucket[i].time < window;
        bucket[i] = (ghost_slot){0};
        return young;
    }
    return false;
}
