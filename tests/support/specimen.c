#include "tests/support/specimen.h"

#include "src/base/check.h"
#include "src/store/store.h"
#include "tests/support/rung.h"
#include "vlog/log_state.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define LARGE_BYTES (FRAME_BYTES + 5000)
#define OWN_FILE_BYTES ((SEGMENT_BYTES / 4) + 1)

typedef struct making {
    specimen *s;
    cairn *store;
    uint64_t rng;
    size_t values;
} making;

int specimen_open(const specimen *s, sim_disk *disk, bool read_only, cairn **store, cairn_error *error) {
    cairn_options o = {.struct_size = sizeof o,
                       .read_only = read_only,
                       .no_background = true,
                       .durability = CAIRN_DURABILITY_NONE,
                       .segment_bytes = SEGMENT_BYTES};
    return store_open_on(store, sim_os(disk), SPECIMEN_STORE, &o, s->plan.hash_mask, error);
}

static void begin_session(making *m, bool create) {
    cairn_options o = {.struct_size = sizeof o,
                       .create = create,
                       .no_background = true,
                       .durability = CAIRN_DURABILITY_NONE,
                       .segment_bytes = SEGMENT_BYTES};
    CHECK(store_open_on(&m->store, sim_os(m->s->disk), SPECIMEN_STORE, &o, m->s->plan.hash_mask, NULL) == CAIRN_OK);
}

/* The process dies: its handle is closed on a disk that nobody sees any more. */
static void kill_session(making *m) {
    sim_disk *old = m->s->disk;
    m->s->disk = sim_kill(old);
    (void)cairn_close(m->store);
    sim_free(old);
    m->store = NULL;
}

static unsigned file_of_segment(making *m, const segment *seg) {
    specimen *s = m->s;
    for (unsigned i = 0; i < s->file_count; i++) {
        if (s->files[i].id == seg->id) return i;
    }
    CHECK(s->file_count < SPECIMEN_FILES);
    s->files[s->file_count] = (specimen_file){.id = seg->id, .segment = true};
    return (unsigned)s->file_count++;
}

/* ---- Steps ---- */

/* Of what the plan wants; 0: the step is an ordinary one. */
static size_t special_size(const making *m, unsigned step) {
    if (m->s->plan.large && step == 15) return LARGE_BYTES;
    if (m->s->plan.files && (step == 4 || step == 21)) return OWN_FILE_BYTES + step;
    return 0;
}

static size_t ordinary_size(making *m) {
    static const size_t sizes[] = {0, 1, 24, 70, 150, 300, 700};
    return sizes[random_below(&m->rng, sizeof sizes / sizeof sizes[0])];
}

/* The value file that the newest record names. */
static void note_value_file(making *m, unsigned key, specimen_value *v) {
    store_found found;
    value_descriptor d;
    const specimen_key *k = &m->s->keys[key];
    epoch_guard guard = epoch_enter(m->store->readers);
    CHECK(store_find_present(m->store, k->bytes, k->size, &found, NULL) == CAIRN_OK);
    if (found.head.header.type == RECORD_STREAM) {
        CHECK(store_descriptor(m->store, &found.head, &d, NULL) == CAIRN_OK);
        file_name(v->file, d.id, "val");
    }
    store_found_release(&found);
    epoch_exit(m->store->readers, guard);
}

static void take_step(making *m) {
    specimen *s = m->s;
    unsigned step = (unsigned)s->steps, key = (unsigned)random_below(&m->rng, SPECIMEN_KEYS);
    vlog *log = m->store->log;
    const segment *before = log->active;
    uint64_t end_before = before == NULL ? SEGMENT_DATA_OFFSET : atomic_load(&before->end);
    uint64_t place_before = vlog_next_place(log);
    specimen_record *r = &s->records[step];
    CHECK(step < SPECIMEN_STEPS);
    memcpy(s->state[step + 1], s->state[step], sizeof s->state[step]);
    *r = (specimen_record){.key = key, .durable_place = vlog_durable_place(log)};
    const specimen_key *k = &s->keys[key];
    size_t special = special_size(m, step);
    if (special == 0 && s->state[step][key] != SPECIMEN_ABSENT && random_one_in(&m->rng, 4)) {
        CHECK(cairn_delete(m->store, k->bytes, k->size, NULL, NULL) == CAIRN_OK);
        s->state[step + 1][key] = SPECIMEN_ABSENT;
    } else {
        specimen_value *v = &s->values[++m->values];
        v->size = special != 0 ? special : ordinary_size(m);
        v->bytes = random_window(&m->rng, v->size);
        CHECK(cairn_put(m->store, k->bytes, k->size, v->bytes, v->size, NULL, NULL) == CAIRN_OK);
        note_value_file(m, key, v);
        s->state[step + 1][key] = (uint8_t)m->values;
        r->value_size = v->file[0] == '\0' ? v->size : VALUE_DESCRIPTOR_BYTES;
    }
    const segment *active = log->active;
    r->file = file_of_segment(m, active);
    r->begin = active == before ? end_before : SEGMENT_DATA_OFFSET;
    r->end = atomic_load(&active->end);
    r->next_place = vlog_next_place(log);
    CHECK(r->next_place - place_before == 1);
    record_header h = {.type = RECORD_PUT, .key_size = (uint32_t)k->size, .stored_size = r->value_size};
    record_layout(&h);
    r->value_begin = r->begin + h.header_size;
    s->steps++;
}

static void take_steps(making *m, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        take_step(m);
}

/* ---- The whole ---- */

static void make_keys(making *m) {
    /* The longest is longer than what a look-up reads at first, or than what it has room for without an allocation. */
    size_t sizes[SPECIMEN_KEYS] = {5, 6, 9, 13, 16, 17, 31, 40, 70, m->s->plan.large ? 4500 : 600};
    for (unsigned k = 0; k < SPECIMEN_KEYS; k++) {
        m->s->keys[k] = (specimen_key){.bytes = random_window(&m->rng, sizes[k]), .size = sizes[k]};
    }
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && strcmp(name + n - k, suffix) == 0;
}

static void note_file(specimen *s, const char *name) {
    specimen_file *f = NULL;
    uint64_t id = 0;
    char suffix[4];
    bool in_log = has_suffix(name, ".seg"), value = has_suffix(name, ".val");
    if (in_log || value) CHECK(file_name_parse(name, &id, suffix));
    for (unsigned i = 0; in_log && i < s->file_count; i++) {
        if (s->files[i].id == id) f = &s->files[i];
    }
    if (f == NULL) {
        CHECK(s->file_count < SPECIMEN_FILES);
        f = &s->files[s->file_count++];
        *f = (specimen_file){.id = id, .segment = in_log, .value = value};
    }
    memcpy(f->name, name, strlen(name));
    f->bytes = sim_file_read(s->disk, SPECIMEN_STORE, name, &f->size);
    for (unsigned k = 0; value && k < SPECIMEN_KEYS; k++) {
        f->live = f->live || strcmp(s->values[s->state[s->steps][k]].file, name) == 0;
    }
    for (size_t i = 0; in_log && i < s->steps; i++) {
        if (&s->files[s->records[i].file] == f) f->record_end = s->records[i].end;
    }
}

static void note_files(specimen *s) {
    char names[SPECIMEN_FILES][SIM_NAME_SIZE];
    size_t count = sim_names(s->disk, SPECIMEN_STORE, names, SPECIMEN_FILES);
    CHECK(count <= SPECIMEN_FILES);
    for (size_t i = 0; i < count; i++)
        note_file(s, names[i]);
    s->files[s->records[s->steps - 1].file].open = true;
}

void specimen_make(specimen *s, const specimen_plan *plan, uint64_t seed) {
    making m = {.s = s, .rng = seed};
    *s = (specimen){.plan = *plan, .disk = sim_new(seed)};
    make_keys(&m);
    begin_session(&m, true);
    take_steps(&m, 8);
    kill_session(&m);
    begin_session(&m, false);
    take_steps(&m, 8);
    if (plan->checkpoint) {
        CHECK(cairn_checkpoint(m.store, NULL) == CAIRN_OK);
        s->checkpoint_end = vlog_next_place(m.store->log);
        s->old_root = sim_file_read(s->disk, SPECIMEN_STORE, CHECKPOINT_ROOT_NAME, &s->old_root_size);
    }
    take_steps(&m, 4);
    kill_session(&m);
    begin_session(&m, false);
    take_steps(&m, 5);
    CHECK(cairn_sync(m.store, NULL) == CAIRN_OK);
    take_steps(&m, 5);
    s->manifest_durable = m.store->log->manifest.durable_place;
    if (plan->closed) {
        s->checkpoint_end = vlog_next_place(m.store->log);
        CHECK(cairn_close(m.store) == CAIRN_OK);
    } else {
        kill_session(&m);
    }
    note_files(s);
}

void specimen_release(specimen *s) {
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].bytes);
    free(s->old_root);
    sim_free(s->disk);
}

const specimen_record *specimen_record_at(const specimen *s, unsigned file, uint64_t offset) {
    for (size_t i = 0; i < s->steps; i++) {
        const specimen_record *r = &s->records[i];
        if (r->file == file && offset >= r->begin && offset < r->end) return r;
    }
    return NULL;
}

bool specimen_same_hash(const specimen *s, unsigned key, unsigned other) {
    return key == other || s->plan.hash_mask != UINT64_MAX; /* masked: any two may collide */
}
