#include "tests/support/damage_look.h"

#include "src/base/check.h"
#include "tests/support/rung.h"

#include <stdlib.h>
#include <string.h>

static bool same_value(const specimen_value *v, const void *bytes, size_t size) {
    return v->size == size && memcmp(v->bytes, bytes, size) == 0;
}

/* Whether the results fit row r. */
static bool fits_row(const look *l, size_t r) {
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        const seen *n = &l->keys[k];
        unsigned v = l->s->state[r][k];
        if (n->rc == CAIRN_CORRUPT && damage_may_fail(l->d, l->s, k, r)) continue;
        if (n->rc == CAIRN_NOT_FOUND && v == SPECIMEN_ABSENT) continue;
        if (n->rc == CAIRN_OK && v != SPECIMEN_ABSENT && same_value(&l->s->values[v], n->bytes, n->size)) continue;
        return false;
    }
    return true;
}

void look_release(look *l) {
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++)
        cairn_free(l->keys[k].bytes);
}

bool look_by_get(look *l) {
    const specimen *s = l->s;
    size_t low = damage_lowest_row(l->d, s);
    l->corrupt = 0;
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        seen *n = &l->keys[k];
        cairn_error error = {0};
        n->rc = cairn_get(l->store, s->keys[k].bytes, s->keys[k].size, &n->bytes, &n->size, &error);
        l->corrupt += n->rc == CAIRN_CORRUPT;
        if (n->rc != CAIRN_OK && (error.code != n->rc || error.message[0] == '\0')) {
            return finding_note(l->f, "get of key %u: %d without a message", k, n->rc);
        }
    }
    for (l->row = s->steps + 1; l->row-- > low;) {
        if (fits_row(l, l->row)) return true;
    }
    finding_note(l->f, "what get gives is no row from %zu to %zu:", low, s->steps);
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        unsigned v = s->state[s->steps][k];
        finding_add(l->f, "\n  key %u: %d, %zu bytes; last row: value %u of %zu bytes", k, l->keys[k].rc,
                    l->keys[k].size, v, s->values[v].size);
    }
    return false;
}

/* The result of another way to read: right, or CAIRN_CORRUPT where get said so too. */
static bool agrees(look *l, unsigned k, const char *way, int rc, const void *bytes, size_t size, uint64_t offset) {
    const specimen_value *v = &l->s->values[l->s->state[l->row][k]];
    bool absent = l->s->state[l->row][k] == SPECIMEN_ABSENT;
    if (rc != CAIRN_OK) {
        if (rc == l->keys[k].rc) return true;
        return finding_note(l->f, "key %u: %s gives %d, get %d", k, way, rc, l->keys[k].rc);
    }
    if (!absent && offset + size <= v->size && memcmp(v->bytes + offset, bytes, size) == 0) return true;
    return finding_note(l->f, "key %u: %s gives another value", k, way);
}

static bool look_by_reader(look *l, unsigned k, uint8_t *buf, size_t size, uint64_t offset) {
    cairn_reader *reader = NULL;
    size_t got = 0;
    const specimen_key *key = &l->s->keys[k];
    int rc = cairn_reader_open(l->store, key->bytes, key->size, &reader, NULL);
    if (rc == CAIRN_OK) rc = cairn_reader_pread(reader, buf, size, offset, &got, NULL);
    cairn_reader_close(reader);
    return agrees(l, k, "reader", rc, buf, got, offset);
}

static bool look_by_view(look *l, unsigned k) {
    cairn_view *view = NULL;
    const specimen_key *key = &l->s->keys[k];
    int rc = cairn_view_open(l->store, key->bytes, key->size, &view, NULL);
    bool good = rc != CAIRN_OK ? agrees(l, k, "view", rc, NULL, 0, 0)
                               : agrees(l, k, "view", rc, cairn_view_data(view), cairn_view_size(view), 0);
    cairn_view_close(view);
    return good;
}

/* The other ways to read each key. */
bool look_otherwise(look *l, uint64_t *rng) {
    const specimen *s = l->s;
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        const specimen_key *key = &s->keys[k];
        size_t size = s->values[s->state[l->row][k]].size, got = 0;
        uint8_t *buf = malloc(size + 1);
        uint64_t offset = random_below(rng, size + 1);
        size_t part = (size_t)random_below(rng, size + 1 - offset);
        CHECK(buf != NULL);
        int rc = cairn_get_into(l->store, key->bytes, key->size, buf, size, &got, NULL);
        bool good = agrees(l, k, "get_into", rc, buf, got, 0);
        rc = cairn_read(l->store, key->bytes, key->size, offset, buf, part, &got, NULL);
        good = good && agrees(l, k, "read", rc, buf, got, offset);
        good = good && look_by_reader(l, k, buf, part, offset) && look_by_view(l, k);
        free(buf);
        if (!good) return false;
    }
    return true;
}

static unsigned key_number(const specimen *s, const void *bytes, size_t size) {
    unsigned k = 0;
    while (k < SPECIMEN_KEYS && (s->keys[k].size != size || memcmp(s->keys[k].bytes, bytes, size) != 0))
        k++;
    return k;
}

bool look_by_scan(look *l) {
    const specimen *s = l->s;
    bool there[SPECIMEN_KEYS] = {false};
    cairn_scan *scan = NULL;
    int rc;
    if (cairn_scan_open(l->store, NULL, &scan, NULL) != CAIRN_OK) return finding_note(l->f, "no scan");
    for (unsigned turns = 0; (rc = cairn_scan_next(scan, NULL)) != CAIRN_DONE && !l->f->found; turns++) {
        if (turns > SPECIMEN_STEPS) finding_note(l->f, "the scan does not end");
        if (rc == CAIRN_CORRUPT) continue;
        if (rc != CAIRN_OK) {
            finding_note(l->f, "the scan gives %d", rc);
            break;
        }
        size_t size, value_size;
        const void *bytes = cairn_scan_key(scan, &size), *value;
        unsigned k = key_number(s, bytes, size);
        if (k == SPECIMEN_KEYS || there[k] || s->state[l->row][k] == SPECIMEN_ABSENT) {
            finding_note(l->f, "the scan gives key %u, which is absent, unknown or given twice", k);
            break;
        }
        there[k] = true;
        rc = cairn_scan_value(scan, &value, &value_size, NULL);
        (void)agrees(l, k, "scan", rc, value, value_size, 0);
        if (rc == CAIRN_OK && value_size != s->values[s->state[l->row][k]].size)
            finding_note(l->f, "scan: short value");
    }
    cairn_scan_close(scan);
    for (unsigned k = 0; k < SPECIMEN_KEYS && !l->f->found; k++) {
        if (l->keys[k].rc == CAIRN_OK && !there[k]) finding_note(l->f, "the scan leaves out key %u", k);
    }
    return !l->f->found;
}

/* ---- Verification ---- */

typedef struct reported {
    const look *l;
    uint64_t wanted_segment, from, to; /* where the damage is */
    unsigned wanted_key;               /* SPECIMEN_KEYS: any */
    bool named;
} reported;

static void on_damage(const cairn_error *what, const void *key, size_t key_size, void *ctx) {
    reported *r = ctx;
    bool place = what->segment == r->wanted_segment && what->offset >= r->from && what->offset < r->to;
    bool whose = r->wanted_key == SPECIMEN_KEYS ||
                 (key != NULL && key_number(r->l->s, key, key_size) == r->wanted_key && what->message[0] != '\0');
    r->named = r->named || (place && whose);
}

/* Where verification is to find a flipped bit. */
static void expect_report(const look *l, reported *r) {
    const specimen *s = l->s;
    const damage *d = l->d;
    const specimen_file *f = &s->files[d->file];
    *r = (reported){.l = l, .wanted_key = SPECIMEN_KEYS, .wanted_segment = f->id, .to = f->size};
    if (d->kind != FLIPPED) r->named = true;
    for (unsigned k = 0; f->value && k < SPECIMEN_KEYS; k++) {
        if (strcmp(s->values[s->state[s->steps][k]].file, f->name) == 0) r->wanted_key = k;
    }
    const specimen_record *record = f->segment ? specimen_record_at(s, d->file, d->at) : NULL;
    if (record == NULL) return;
    r->from = record->begin;
    r->to = record->end;
    if (d->at >= record->value_begin) r->wanted_key = record->key;
}

/* Records that are there to be walked: all but those that were hit. */
static uint64_t whole_records(const look *l) {
    uint64_t count = 0;
    for (size_t i = 0; i < l->s->steps; i++) {
        const specimen_record *r = &l->s->records[i];
        if (!damage_touches_record(l->d, r)) count++;
    }
    return count;
}

bool look_by_verify(look *l) {
    reported r;
    expect_report(l, &r);
    cairn_verify_options o = {.struct_size = sizeof o, .damage = on_damage, .ctx = &r};
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    int rc = cairn_verify(l->store, &o, &result, &error);
    if (rc != CAIRN_OK) return finding_note(l->f, "verify: %d %s", rc, error.message);
    l->damaged = result.damaged;
    if (l->row < l->s->steps) return true; /* what was hit is no longer there */
    if (result.records < whole_records(l) && result.damaged < 2)
        return finding_note(l->f, "verify walks too few records");
    if (damage_is_verified(l->d, l->s) && (result.damaged == 0 || !r.named)) {
        return finding_note(l->f, "verify counts %llu damages and does not name this one",
                            (unsigned long long)result.damaged);
    }
    if (l->corrupt > 0 && result.damaged == 0) return finding_note(l->f, "verify does not see what get sees");
    if (is_checkpoint(&l->s->files[l->d->file]) && result.damaged != 0) {
        return finding_note(l->f, "verify sees damage in a store that has none");
    }
    return true;
}
