/* The rung of corruptions: every byte (full: every bit) of small stores flipped, every file cut at every length,
 * removed, emptied, zeroed in part, filled with noise and put in another's place; quick, one in two of the former.
 *
 * Whatever the damage: no wrong value, no crash, no hang, no huge allocation. A key gives its value or CAIRN_CORRUPT,
 * and only a key whose own bytes were hit may give the latter. Only steps that nothing whole on the disk calls durable
 * may be gone, from the end. A refused open has changed nothing.
 *
 * CAIRN_RUNG=full is the exhaustive one. A failure names the number of its case; CAIRN_SEED=number (and the same rung)
 * runs that case alone.
 */
#include "src/base/check.h"
#include "tests/support/damage_look.h"
#include "tests/support/rung.h"
#include "tests/support/watch.h"
#include "vlog/record.h"
#include "vlog/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SECTOR 512u

/* ---- One case ---- */

/* The error of a refused open says which file it is about. */
static bool names_file(const specimen *s, const damage *d, const cairn_error *error) {
    if (strstr(error->message, s->files[d->file].name) != NULL) return true;
    if (d->kind == REMOVED && error->code == CAIRN_NO_STORE) return true; /* names the directory */
    if (d->donor == NULL) return false;
    /* One in another's place: what contradicts it is as good a name. */
    return strstr(error->message, "MANIFEST") != NULL || strstr(error->message, ".seg") != NULL ||
           strstr(error->message, "CAIRN") != NULL;
}

static bool check_refusal(const specimen *s, const damage *d, int rc, const cairn_error *error, finding *f) {
    bool known = rc == CAIRN_CORRUPT || rc == CAIRN_NO_STORE || rc == CAIRN_UNSUPPORTED || rc == CAIRN_IO;
    if (!known) return finding_note(f, "open gives %d: %s", rc, error->message);
    if (is_checkpoint(&s->files[d->file])) return finding_note(f, "a checkpoint is missed: %s", error->message);
    if (s->files[d->file].value) return finding_note(f, "open minds a value file: %s", error->message);
    if (error->code != rc || !names_file(s, d, error)) {
        return finding_note(f, "the message names no file: %s", error->message);
    }
    return true;
}

#define NEW_BYTES 200u

/* The key as it should be by now: damaged ones have the new value. */
static bool is_right(look *l, unsigned k, const uint8_t *new_value, const char *when) {
    void *bytes = NULL;
    size_t size = 0;
    cairn_error error = {0};
    const specimen_key *key = &l->s->keys[k];
    const seen *was = &l->keys[k];
    int rc = cairn_get(l->store, key->bytes, key->size, &bytes, &size, &error);
    bool good = rc == was->rc && (rc != CAIRN_OK || (size == was->size && memcmp(bytes, was->bytes, size) == 0));
    if (was->rc == CAIRN_CORRUPT) good = rc == CAIRN_OK && size == NEW_BYTES && memcmp(bytes, new_value, size) == 0;
    cairn_free(bytes);
    return good || finding_note(l->f, "key %u %s: %d %s", k, when, rc, error.message);
}

/* A key that is damaged takes a new value. */
static bool overwrite_damaged(look *l, const uint8_t *new_value) {
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        const specimen_key *key = &l->s->keys[k];
        cairn_error error = {0};
        if (l->keys[k].rc != CAIRN_CORRUPT) continue;
        int rc = cairn_put(l->store, key->bytes, key->size, new_value, NEW_BYTES, NULL, &error);
        if (rc != CAIRN_OK) return finding_note(l->f, "put of damaged key %u: %d %s", k, rc, error.message);
        if (!is_right(l, k, new_value, "after a new put")) return false;
    }
    return true;
}

/* What was written and repaired is there after a close. Where nothing is damaged any more, the log alone tells it too.
 */
static bool reopen(look *l, sim_disk *disk, bool healthy, const uint8_t *new_value) {
    cairn_error error = {0};
    int rc = cairn_close(l->store);
    l->store = NULL;
    if (rc != CAIRN_OK) return finding_note(l->f, "close: %d", rc);
    if (healthy) (void)sim_file_remove(disk, SPECIMEN_STORE, "CHECKPOINT");
    rc = specimen_open(l->s, disk, true, &l->store, &error);
    if (rc != CAIRN_OK) return finding_note(l->f, "open, again: %d %s", rc, error.message);
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        if (!is_right(l, k, new_value, "after a reopen")) return false;
    }
    if (!healthy) return true;
    cairn_verify_result result = {.struct_size = sizeof result};
    rc = cairn_verify(l->store, NULL, &result, &error);
    if (rc == CAIRN_OK && result.damaged == 0) return true;
    return finding_note(l->f, "verify after a reopen: %d, %llu damaged", rc, (unsigned long long)result.damaged);
}

typedef struct outcome {
    int rc;           /* of the open */
    size_t row;       /* that is there */
    unsigned corrupt; /* keys that fail */
    bool healthy;     /* nothing in the files is damaged, as far as they are read */
} outcome;

static bool look_at_open_store(look *l, bool read_only, sim_disk *disk, uint64_t *rng, const outcome *before) {
    if (!look_by_get(l)) return false;
    if (read_only) return look_by_verify(l) && look_by_scan(l);
    const uint8_t *new_value = random_window(rng, NEW_BYTES);
    return look_otherwise(l, rng) && overwrite_damaged(l, new_value) && reopen(l, disk, before->healthy, new_value);
}

/* In *out what a read-only open gave before, then what this one gives. */
static bool try_open(const specimen *s, const damage *d, sim_disk *disk, bool read_only, uint64_t *rng, outcome *out,
                     finding *f) {
    cairn_error error = {0};
    look l = {.s = s, .d = d, .f = f};
    uint64_t before = sim_fingerprint(disk);
    int rc = specimen_open(s, disk, read_only, &l.store, &error);
    bool good = rc == CAIRN_OK || check_refusal(s, d, rc, &error, f);
    if (good && rc == CAIRN_OK) good = look_at_open_store(&l, read_only, disk, rng, out);
    *out = (outcome){.rc = rc, .row = l.row, .corrupt = l.corrupt, .healthy = l.damaged == 0};
    if (l.store != NULL) {
        int close_rc = cairn_close(l.store);
        if (good && close_rc != CAIRN_OK) good = finding_note(f, "close: %d", close_rc);
    }
    look_release(&l);
    if (good && (read_only || rc != CAIRN_OK) && sim_fingerprint(disk) != before) {
        good = finding_note(f, "%s open has changed the disk", read_only ? "a read-only" : "a refused");
    }
    if (good && sim_open_handles(disk) != 0) good = finding_note(f, "files are left open");
    return good;
}

/* Both ways to open give the same, which is *out. */
static bool try_damage(const specimen *s, const damage *d, uint64_t *rng, outcome *out, finding *f) {
    sim_disk *disk = sim_clone(s->disk);
    damage_inflict(d, s, disk, rng);
    bool good = try_open(s, d, disk, true, rng, out, f);
    if (!good) finding_add(f, "\n(read-only)");
    outcome writable = *out;
    good = good && try_open(s, d, disk, false, rng, &writable, f);
    bool same = out->rc == writable.rc && out->row == writable.row && out->corrupt == writable.corrupt;
    if (good && !same) {
        good = finding_note(f, "read-only: %d, row %zu, %u keys damaged; else: %d, row %zu, %u keys damaged", out->rc,
                            out->row, out->corrupt, writable.rc, writable.row, writable.corrupt);
    }
    sim_free(disk);
    return good;
}

/* ---- The sweep ---- */

/* Of each kind one in so many is run; sanitized, where a case takes twenty times as long, of fewer. */
static const unsigned quick_one_in[DAMAGE_KINDS] = {
    [FLIPPED] = 2, [CUT] = 2,     [GROWN] = 1,    [ZEROED] = 2,    [NOISE] = 2,
    [REMOVED] = 1, [EMPTIED] = 1, [REPLACED] = 1, [EXCHANGED] = 1, [OUTDATED] = 1};
static const unsigned sanitized_one_in[DAMAGE_KINDS] = {
    [FLIPPED] = 125, [CUT] = 100,   [GROWN] = 20,    [ZEROED] = 100,  [NOISE] = 100,
    [REMOVED] = 2,   [EMPTIED] = 2, [REPLACED] = 25, [EXCHANGED] = 4, [OUTDATED] = 1};

typedef struct corruptions {
    specimen *specimens;
    size_t count;
    uint64_t number, only; /* of the next case; of the one wanted, or UINT64_MAX */
    uint64_t cases;
    uint64_t met[DAMAGE_KINDS], kinds[DAMAGE_KINDS]; /* cases met, and run */
    uint64_t refused, shortened, corrupt;            /* cases: open failed, steps were gone, a key failed */
    finding f;
} corruptions;

static void describe(uint64_t number, const specimen *s, const damage *d) {
    const char *donor = d->donor != NULL ? d->donor->files[d->donor_file].name : "";
    watch_case("case %llu: store '%s', %s of %zu bytes: %s %s at %llu, %llu, %02x\n", (unsigned long long)number,
               s->plan.name, s->files[d->file].name, s->files[d->file].size, damage_names[d->kind], donor,
               (unsigned long long)d->at, (unsigned long long)d->size, d->mask);
}

static void run(corruptions *w, const specimen *s, const damage *d) {
    uint64_t number = w->number++;
    uint64_t met = w->met[d->kind]++;
    bool left_out = met % rung_choose(quick_one_in[d->kind], sanitized_one_in[d->kind], 1) != 0;
    if (w->f.found || left_out || (w->only != UINT64_MAX && number != w->only)) return;
    uint64_t rng = number * 77 + 5;
    describe(number, s, d);
    w->cases++;
    w->kinds[d->kind]++;
    outcome out = {0};
    if (!try_damage(s, d, &rng, &out, &w->f)) finding_add(&w->f, "\n%s", watch_text());
    w->refused += out.rc != CAIRN_OK;
    w->shortened += out.rc == CAIRN_OK && out.row < s->steps;
    w->corrupt += out.corrupt > 0;
}

/* How many bytes lie between two that are damaged. Of value files, checkpoints and the zeros in a header block, most of
 * whose bytes are alike, quick takes a sample. */
static uint64_t stride_at(const specimen_file *f, uint64_t at) {
    if (rung_is_full()) return f->value ? 16 : 1;
    if ((f->segment || f->value) && at >= 64 && at < SEGMENT_DATA_OFFSET - 64) return 40;
    uint64_t wanted = f->value ? 300 : is_checkpoint(f) ? 800 : f->size > 32768 ? 5000 : f->size;
    return max_u64(f->size / wanted, 1);
}

static void sweep_flips(corruptions *w, const specimen *s, unsigned file) {
    const specimen_file *f = &s->files[file];
    uint64_t rng = file;
    for (uint64_t at = 0; at < f->size; at += stride_at(f, at)) {
        for (unsigned bit = 0; bit < 8; bit++) {
            if (!rung_is_full() && bit > 0) break;
            unsigned which = rung_is_full() ? bit : (unsigned)random_below(&rng, 8);
            run(w, s, &(damage){.kind = FLIPPED, .file = file, .at = at, .mask = (uint8_t)(1u << which)});
        }
    }
}

static void sweep_cuts(corruptions *w, const specimen *s, unsigned file) {
    const specimen_file *f = &s->files[file];
    uint64_t stride = rung_is_full() ? (f->value ? 64 : 1) : max_u64(f->size / 200, 1);
    for (uint64_t at = 0; at < f->size; at += stride)
        run(w, s, &(damage){.kind = CUT, .file = file, .at = at});
    /* Around the records' ends. */
    for (size_t i = 0; i < s->steps; i++) {
        const specimen_record *r = &s->records[i];
        for (uint64_t at = r->end - 2; r->file == file && at <= r->end + 2 && at < f->size; at++)
            run(w, s, &(damage){.kind = CUT, .file = file, .at = at});
    }
    static const uint64_t growths[] = {1, 63, 64, 100, SECTOR, BLOCK_BYTES, 20000};
    for (size_t i = 0; i < sizeof growths / sizeof growths[0]; i++)
        run(w, s, &(damage){.kind = GROWN, .file = file, .at = f->size, .size = growths[i]});
}

static void sweep_areas(corruptions *w, const specimen *s, unsigned file) {
    const specimen_file *f = &s->files[file];
    static const uint64_t sizes[] = {64, SECTOR, BLOCK_BYTES};
    uint64_t budget = rung_choose(40, 40, 4000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t step = sizes[i] * max_u64(f->size / sizes[i] / budget, 1);
        for (uint64_t at = 0; at < f->size; at += step) {
            uint64_t size = min_u64(sizes[i], f->size - at);
            run(w, s, &(damage){.kind = ZEROED, .file = file, .at = at, .size = size});
            run(w, s, &(damage){.kind = NOISE, .file = file, .at = at, .size = size});
        }
    }
}

static bool same_type(const specimen_file *a, const specimen_file *b) {
    if (a->segment || a->value) return a->segment == b->segment && a->value == b->value;
    return strcmp(a->name, b->name) == 0;
}

static void sweep_whole_files(corruptions *w, const specimen *s, unsigned file) {
    const specimen_file *f = &s->files[file];
    run(w, s, &(damage){.kind = REMOVED, .file = file});
    run(w, s, &(damage){.kind = EMPTIED, .file = file});
    if (strcmp(f->name, "CHECKPOINT") == 0 && s->old_root != NULL) run(w, s, &(damage){.kind = OUTDATED, .file = file});
    for (size_t i = 0; i < w->count; i++) {
        const specimen *donor = &w->specimens[i];
        for (unsigned k = 0; k < donor->file_count; k++) {
            if ((donor == s && k == file) || !same_type(f, &donor->files[k])) continue;
            damage d = {.kind = REPLACED, .file = file, .donor = donor, .donor_file = k};
            run(w, s, &d);
            d.kind = EXCHANGED;
            if (donor == s) run(w, s, &d);
        }
    }
}

static const specimen_plan plans[] = {
    {.name = "killed", .hash_mask = UINT64_MAX, .checkpoint = true},
    {.name = "closed", .hash_mask = UINT64_MAX, .closed = true},
    {.name = "killed, hashes collide", .hash_mask = (uint64_t)1 << 63 | 1, .checkpoint = true},
    {.name = "closed, hashes collide", .hash_mask = (uint64_t)1 << 63 | 1, .closed = true, .checkpoint = true},
    {.name = "killed, no checkpoint, hashes collide", .hash_mask = 1},
    {.name = "killed, value of two frames", .hash_mask = UINT64_MAX, .large = true},
    {.name = "killed, value files", .hash_mask = UINT64_MAX, .files = true, .checkpoint = true},
    {.name = "closed, value files, hashes collide", .hash_mask = 0, .closed = true, .files = true},
};
#define PLANS (sizeof plans / sizeof plans[0])

static void damage_anywhere_never_gives_a_wrong_value(void **state) {
    (void)state;
    static specimen specimens[PLANS];
    static corruptions w;
    w = (corruptions){.specimens = specimens, .count = PLANS, .only = UINT64_MAX};
    (void)rung_seed(&w.only);
    watch_begin();
    clock_t begin = clock();
    for (size_t i = 0; i < PLANS; i++)
        specimen_make(&specimens[i], &plans[i], 100 + i);
    for (size_t i = 0; i < PLANS; i++) {
        for (unsigned file = 0; file < specimens[i].file_count; file++) {
            sweep_whole_files(&w, &specimens[i], file);
            sweep_areas(&w, &specimens[i], file);
            sweep_cuts(&w, &specimens[i], file);
            sweep_flips(&w, &specimens[i], file);
        }
    }
    watch_end();
    for (size_t i = 0; i < DAMAGE_KINDS; i++)
        print_message("%s %llu, ", damage_names[i], (unsigned long long)w.kinds[i]);
    print_message("%llu in all: %llu refused, %llu without steps at the end, %llu with damaged keys; %.1f s\n",
                  (unsigned long long)w.cases, (unsigned long long)w.refused, (unsigned long long)w.shortened,
                  (unsigned long long)w.corrupt, (double)(clock() - begin) / CLOCKS_PER_SEC);
    for (size_t i = 0; i < PLANS; i++)
        specimen_release(&specimens[i]);
    if (!w.f.found) return;
    fputs(w.f.text, stderr); /* longer than a message of cmocka may be */
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_anywhere_never_gives_a_wrong_value),
    };
    return cmocka_run_group_tests_name("corruption", tests, NULL, NULL);
}
