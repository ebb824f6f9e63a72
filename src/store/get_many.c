/* Many values by one call. What is in memory is read at once. What is not, the kernel is told of (a read that must not
 * wait begins to read ahead what it misses), and it waits in a queue until enough others were told of, or the keys are
 * at an end: then it is read the ordinary way, and mostly is in memory by then. So nothing but hints is in flight:
 * each read has its own epoch and finds its record anew. bench/NOTES.md says what else was tried. */
#include "src/base/check.h"
#include "src/base/status.h"
#include "src/store/get.h"
#include "src/store/read_ahead.h"

#define HASHED_KEYS 16u /* looked up together */
#define ASKED_OF 4u     /* while records are in memory, one of so many is asked about */

typedef struct waiting {
    size_t item;
    key_hash hash;
} waiting;

typedef struct many {
    cairn *store;
    uint8_t *items;
    size_t item_size, count;
    bool at_moment;
    store_moment moment; /* at_moment */
    unsigned near;       /* records in a row that were, or are taken to be, in memory */
    read_ahead ahead;    /* the records that the system was told of */
    waiting queue[READ_AHEAD_RECORDS];
} many;

static cairn_get_item *item_at(const many *m, size_t i) { return (cairn_get_item *)(m->items + i * m->item_size); }

static store_get get_of(const cairn_get_item *item, key_hash hash) {
    return (store_get){.key = item->key,
                       .key_size = item->key_size,
                       .hash = hash,
                       .into = item->buf != NULL,
                       .cap = item->cap,
                       .value = item->buf};
}

static void give(cairn_get_item *item, const store_get *g, int code) {
    item->code = code;
    item->value = code == CAIRN_OK ? g->value : NULL;
    item->value_size = code == CAIRN_OK || code == CAIRN_TOO_SMALL ? g->value_size : 0;
}

/* ---- One item ---- */

/* The ordinary way, which may wait. Inside the epoch. */
static void read_item(many *m, cairn_get_item *item, key_hash hash, unsigned stripe) {
    store_get g = get_of(item, hash);
    int code = m->at_moment ? store_get_value_at(m->store, &g, m->moment, item->error)
                            : store_get_value(m->store, &g, stripe, item->error);
    give(item, &g, code);
}

/* How much of the record is asked for: of one that cannot fit into the buffer the header. */
static uint64_t wanted_of(const cairn_get_item *item, location where) {
    uint64_t length = location_units(where) * UNIT_BYTES, around = item->key_size + 3 * BLOCK_BYTES;
    bool fits = item->buf == NULL || length <= item->cap || length - item->cap <= around;
    return min_u64(length, fits ? READ_AHEAD_RECORD_BYTES : BLOCK_BYTES);
}

/* To ask costs a system call, so that it is not done each time while the answer is yes. */
static bool is_near(many *m, const cairn_get_item *item, location where) {
    if (where == LOCATION_NONE || m->near++ % ASKED_OF != 0) return true;
    if (vlog_is_near(m->store->log, where, wanted_of(item, where))) return true;
    m->near = 0;
    return false;
}

static void wait_in_queue(many *m, size_t i, key_hash hash, location where) {
    size_t place = read_ahead_add(&m->ahead, wanted_of(item_at(m, i), where));
    m->queue[place] = (waiting){.item = i, .hash = hash};
}

static void read_first_waiting(many *m) {
    const waiting *w = &m->queue[read_ahead_take(&m->ahead)];
    epoch_guard guard = store_enter(m->store);
    read_item(m, item_at(m, w->item), w->hash, guard.slot);
    store_exit(m->store, guard);
}

static void take_item(many *m, size_t i, key_hash hash) {
    cairn_get_item *item = item_at(m, i);
    store_get g = get_of(item, hash);
    location where = LOCATION_NONE;
    epoch_guard guard = store_enter(m->store);
    int code = STORE_GET_OTHERWISE;
    if (m->at_moment) {
        where = read_ahead_place(m->store, m->moment, hash.index);
    } else {
        code = store_get_now(m->store, &g, guard.slot, &where, item->error);
    }
    if (code == STORE_GET_OTHERWISE && !is_near(m, item, where)) code = STORE_GET_LATER;
    if (code == STORE_GET_OTHERWISE) {
        read_item(m, item, hash, guard.slot);
    } else if (code == STORE_GET_LATER) {
        wait_in_queue(m, i, hash, where);
    } else {
        give(item, &g, code);
    }
    store_exit(m->store, guard);
    while (read_ahead_is_full(&m->ahead))
        read_first_waiting(m);
}

/* ---- All of them ---- */

static bool check_item(cairn_get_item *item) {
    int code = store_check_key(item->key, item->key_size, item->error);
    if (code == CAIRN_OK && item->buf == NULL && item->cap > 0)
        code = status_set(item->error, CAIRN_INVALID, "no place for the value");
    give(item, &(store_get){.value = NULL}, code);
    return code == CAIRN_OK;
}

/* Hashes first and then looks up, so that what the index holds of them comes meanwhile. */
static void take_items(many *m, size_t from, size_t to) {
    key_hash hashes[HASHED_KEYS];
    epoch_guard guard = epoch_enter(m->store->readers);
    for (size_t i = from; i < to; i++) {
        cairn_get_item *item = item_at(m, i);
        if (!check_item(item)) continue;
        hashes[i - from] = store_hash(m->store, item->key, item->key_size);
        hash_index_prefetch(m->store->index, hashes[i - from].index);
    }
    epoch_exit(m->store->readers, guard);
    for (size_t i = from; i < to; i++) {
        if (item_at(m, i)->code == CAIRN_OK) take_item(m, i, hashes[i - from]);
    }
}

/* An item of a later version may be longer; what is behind ours must be 0, so that nothing is left undone. */
static int check_items(const many *m, cairn_error *error) {
    if (m->item_size < sizeof(cairn_get_item) || m->item_size % _Alignof(cairn_get_item) != 0)
        return status_set(error, CAIRN_INVALID, "the size of an item is not one");
    if (m->items == NULL && m->count > 0) return status_set(error, CAIRN_INVALID, "no items");
    if (m->item_size == sizeof(cairn_get_item)) return CAIRN_OK;
    for (size_t i = 0; i < m->count; i++) {
        const uint8_t *item = m->items + i * m->item_size;
        for (size_t at = sizeof(cairn_get_item); at < m->item_size; at++) {
            if (item[at] == 0) continue;
            return status_set(error, CAIRN_INVALID, "an item sets a field that this version does not know");
        }
    }
    return CAIRN_OK;
}

int cairn_get_many(cairn *store, cairn_get_item *items, size_t item_size, size_t count,
                   const cairn_get_many_options *options, cairn_error *error) {
    cairn_get_many_options o;
    many m = {.store = store, .items = (uint8_t *)items, .item_size = item_size, .count = count};
    int rc = store_check(store, error);
    if (rc == CAIRN_OK) rc = store_copy_options(&o, sizeof o, options, error);
    if (rc == CAIRN_OK) rc = check_items(&m, error);
    if (rc != CAIRN_OK) return rc;
    if (o.snapshot != NULL) {
        if (!store_snapshot_is_of(o.snapshot, store))
            return status_set(error, CAIRN_INVALID, "the snapshot is another handle's");
        m.at_moment = true;
        m.moment = store_snapshot_moment(o.snapshot);
    }
    for (size_t i = 0; i < count; i += HASHED_KEYS) {
        take_items(&m, i, min_u64(count, i + HASHED_KEYS));
    }
    while (read_ahead_count(&m.ahead) > 0)
        read_first_waiting(&m);
    return CAIRN_OK;
}
