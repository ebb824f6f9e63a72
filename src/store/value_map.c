/* Look-ups beside the writer:
 *
 *  1. What a reader can reach is not freed. An entry is retired after no chain of the published table leads to it. A
 *     replaced table still leads to entries that are removed later, but who has such a table took it from the map
 * before its replacement, so before the removal and the retirement of the entry: his stay in the epoch is one that the
 *     entry waits for. The same holds for a removed entry, whose link stays as it was: who stands on it came before its
 *     removal, so before the removal of whatever the link leads to.
 *  2. No walk is endless. At every moment links form no circle: an addition puts an entry in front of a chain, a
 * removal makes a link skip one, and growth takes the entries from the front of an old chain one by one, so that those
 * not yet taken lead only to each other, and those taken only to ones taken before. A walker may be led from an old
 * chain into a new one and pass an entry twice. But what is added comes in front of what he has before him, so only a
 *     growth can make his walk longer, and a table grows at most 30 times in its life.
 *  3. A walk in a chain that is being relinked may end early: a miss that is none. The caller reads the record instead,
 *     and an addition, which looks under the lock, finds the entry.
 *
 * An entry's content is published by the release of the link that leads to it. Every link is stored with release: who
 * follows one that a removal or a growth wrote must see the entry as its first writer left it. */
#include "src/store/value_map.h"

#include <stdlib.h>

#define CHAINS_MIN 4u
#define CHAINS_MAX ((uint32_t)1 << 31)

typedef _Atomic(cached_value *) value_link;

struct value_table {
    epoch_entry retired; /* first: the entry is the table */
    uint32_t chains;     /* a power of two */
    value_link heads[];
};

static unsigned table_of(location where) { return (unsigned)(value_map_mix(where) >> 56); }
_Static_assert(VALUE_TABLES == 1u << (64 - 56), "a table is named by the top bits");

static value_link *head_of(value_table *t, location where) { return &t->heads[value_map_mix(where) & (t->chains - 1)]; }
static cached_value *follow(const value_link *link) { return atomic_load_explicit(link, memory_order_acquire); }
static void set_link(value_link *link, cached_value *to) { atomic_store_explicit(link, to, memory_order_release); }
static void put_in_front(value_link *head, cached_value *v) {
    set_link(&v->chain, follow(head));
    set_link(head, v);
}

/* For the writer. */
static value_table *table_at(const value_map *map, unsigned table) {
    return atomic_load_explicit(&map->tables[table], memory_order_relaxed);
}

cached_value *value_map_find(const value_map *map, location where) {
    value_table *t = atomic_load_explicit(&map->tables[table_of(where)], memory_order_acquire);
    if (t == NULL) return NULL;
    cached_value *v = follow(head_of(t, where));
    while (v != NULL && v->where != where) {
        v = follow(&v->chain);
    }
    return v;
}

/* ---- Growth ---- */

static uint64_t table_size(uint64_t chains) { return sizeof(value_table) + chains * sizeof(value_link); }

/* Chains that the table should have with one more entry. */
static uint32_t chains_wanted(const value_map *map, unsigned table) {
    const value_table *t = table_at(map, table);
    if (t == NULL) return CHAINS_MIN;
    return map->table_entries[table] < t->chains / 2 || t->chains == CHAINS_MAX ? t->chains : t->chains * 2;
}

uint64_t value_map_growth(const value_map *map, location where) {
    unsigned table = table_of(where);
    const value_table *t = table_at(map, table);
    uint64_t wanted = heap_bytes(table_size(chains_wanted(map, table)));
    return t != NULL ? wanted - heap_bytes(table_size(t->chains)) : wanted;
}

bool value_map_grow(value_map *map, location where, epoch_entry **replaced) {
    unsigned table = table_of(where);
    uint32_t chains = chains_wanted(map, table);
    value_table *old = table_at(map, table), *new = calloc(1, table_size(chains));
    if (new == NULL) return false;
    new->chains = chains;
    for (uint32_t i = 0; old != NULL && i < old->chains; i++) {
        for (cached_value *v = follow(&old->heads[i]), *next; v != NULL; v = next) {
            next = follow(&v->chain);
            put_in_front(head_of(new, v->where), v);
        }
    }
    atomic_store_explicit(&map->tables[table], new, memory_order_release);
    *replaced = old != NULL ? &old->retired : NULL;
    return true;
}

void value_map_release_table(epoch_entry *replaced) { free(replaced); }

/* ---- Entries ---- */

bool value_map_add(value_map *map, cached_value *v) {
    unsigned table = table_of(v->where);
    if (table_at(map, table) == NULL) return false;
    put_in_front(head_of(table_at(map, table), v->where), v);
    map->table_entries[table]++;
    return true;
}

void value_map_remove(value_map *map, cached_value *v) {
    unsigned table = table_of(v->where);
    value_link *link = head_of(table_at(map, table), v->where);
    while (follow(link) != v) {
        link = &follow(link)->chain;
    }
    set_link(link, follow(&v->chain));
    map->table_entries[table]--;
}

void value_map_clear(value_map *map, void (*release)(cached_value *v)) {
    for (unsigned table = 0; table < VALUE_TABLES; table++) {
        value_table *t = table_at(map, table);
        for (uint32_t i = 0; t != NULL && i < t->chains; i++) {
            for (cached_value *v = follow(&t->heads[i]), *next; v != NULL; v = next) {
                next = follow(&v->chain);
                release(v);
            }
        }
        free(t);
        atomic_store_explicit(&map->tables[table], NULL, memory_order_relaxed);
        map->table_entries[table] = 0;
    }
}
