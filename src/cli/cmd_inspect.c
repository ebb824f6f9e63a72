/* Commands that look at a whole store: verify and stats. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

#include <inttypes.h>

/* ---- verify ---- */

static int verify_progress(const cairn_progress *at, void *ctx) {
    progress_set(ctx, at->done, at->total);
    return interrupted() ? 1 : 0;
}

static void verify_damage(const cairn_error *what, const void *key, size_t key_size, void *ctx) {
    (void)ctx;
    subject about = key == NULL ? about_nothing() : about_key((byte_view){.data = key, .size = key_size});
    (void)report_store(what->code == CAIRN_OK ? CAIRN_CORRUPT : what->code, what, about);
}

static bool print_verified(const cairn_verify_result *result) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_number(&object, "records", result->records);
        json_number(&object, "bytes", result->bytes);
        json_number(&object, "damaged", result->damaged);
        json_close(&object);
    } else {
        char bytes[HUMAN_SIZE];
        fprintf(stdout, "records  %" PRIu64 "\nbytes    %" PRIu64 "  (%s)\ndamaged  %" PRIu64 "\n", result->records,
                result->bytes, human_bytes(bytes, result->bytes), result->damaged);
    }
    return output_flush();
}

static int verify_store(const arguments *args, cairn *store) {
    progress shown;
    cairn_verify_options options = {
        .struct_size = sizeof options, .progress = verify_progress, .damage = verify_damage, .ctx = &shown};
    cairn_verify_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    progress_begin(&shown, args, PROGRESS_TOTAL_UNKNOWN);
    int code = cairn_verify(store, &options, &result, &error);
    if (code == CAIRN_OK) progress_set(&shown, result.bytes, result.bytes);
    progress_end(&shown);
    if (code == CAIRN_CANCELLED) return report_interrupted();
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    if (!print_verified(&result)) return report_output();
    return result.damaged == 0 ? EXIT_OK : EXIT_CORRUPT;
}

int command_verify(const arguments *args) {
    cairn *store = NULL;
    int exit_code = session_open(args, SESSION_READ, &store);
    return exit_code == EXIT_OK ? session_close(store, verify_store(args, store)) : exit_code;
}

/* ---- stats ---- */

static double index_bytes_a_key(const cairn_stats *s) {
    return s->keys == 0 ? 0 : (double)s->index_bytes / (double)s->keys;
}

static void print_json(const cairn_stats *s) {
    json object;
    json_open(&object, stdout);
    json_number(&object, "keys", s->keys);
    json_number(&object, "live_bytes", s->live_bytes);
    json_number(&object, "dead_bytes", s->dead_bytes);
    json_number(&object, "edge_bytes", s->edge_bytes);
    json_number(&object, "pinned_bytes", s->pinned_bytes);
    json_number(&object, "allocated_bytes", s->allocated_bytes);
    json_number(&object, "index_bytes", s->index_bytes);
    if (s->keys == 0) {
        json_null(&object, "index_bytes_per_key");
    } else {
        json_decimal(&object, "index_bytes_per_key", index_bytes_a_key(s));
    }
    json_number(&object, "cache_bytes", s->cache_bytes);
    json_number(&object, "cache_hits", s->cache_hits);
    json_number(&object, "cache_misses", s->cache_misses);
    json_number(&object, "expiring_keys", s->expiring_keys);
    json_number(&object, "snapshots", s->snapshots);
    json_number(&object, "snapshot_age_ms", s->snapshot_age_ms);
    json_number(&object, "scans", s->scans);
    json_number(&object, "segments", s->segments);
    json_number(&object, "streams", s->streams);
    json_number(&object, "replay_bytes", s->replay_bytes);
    json_number(&object, "replay_records", s->replay_records);
    json_bool(&object, "ordered", s->ordered);
    json_bool(&object, "ordered_building", s->ordered_building);
    json_number(&object, "ordered_bytes", s->ordered_bytes);
    json_number(&object, "ordered_pending", s->ordered_pending);
    if (s->checkpoint_age_ms == UINT64_MAX) {
        json_null(&object, "checkpoint_age_ms");
    } else {
        json_number(&object, "checkpoint_age_ms", s->checkpoint_age_ms);
    }
    json_close(&object);
}

static void print_count(const char *name, uint64_t count) { fprintf(stdout, "%-20s %" PRIu64 "\n", name, count); }

static void print_table(const cairn_stats *s) {
    print_count("keys", s->keys);
    print_bytes("live_bytes", s->live_bytes);
    print_bytes("dead_bytes", s->dead_bytes);
    print_bytes("edge_bytes", s->edge_bytes);
    print_bytes("pinned_bytes", s->pinned_bytes);
    print_bytes("allocated_bytes", s->allocated_bytes);
    print_bytes("index_bytes", s->index_bytes);
    if (s->keys != 0) fprintf(stdout, "%-20s %.2f\n", "index_bytes_per_key", index_bytes_a_key(s));
    print_bytes("cache_bytes", s->cache_bytes);
    print_count("cache_hits", s->cache_hits);
    print_count("cache_misses", s->cache_misses);
    print_count("expiring_keys", s->expiring_keys);
    print_count("snapshots", s->snapshots);
    print_count("snapshot_age_ms", s->snapshot_age_ms);
    print_count("scans", s->scans);
    print_count("segments", s->segments);
    print_count("streams", s->streams);
    print_bytes("replay_bytes", s->replay_bytes);
    print_count("replay_records", s->replay_records);
    /* A handle that only reads builds nothing. */
    fprintf(stdout, "%-20s %s\n", "ordered", s->ordered_building ? "to be built" : s->ordered ? "yes" : "no");
    print_bytes("ordered_bytes", s->ordered_bytes);
    print_count("ordered_pending", s->ordered_pending);
    if (s->checkpoint_age_ms == UINT64_MAX) {
        fprintf(stdout, "%-20s none\n", "checkpoint_age_ms");
    } else {
        fprintf(stdout, "%-20s %" PRIu64 "  (%.1f s)\n", "checkpoint_age_ms", s->checkpoint_age_ms,
                (double)s->checkpoint_age_ms / 1000);
    }
}

static int print_stats(cairn *store) {
    cairn_stats stats = {.struct_size = sizeof stats};
    cairn_error error = {0};
    int code = cairn_stats_get(store, &stats, &error);
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    if (output_modes()->json) {
        print_json(&stats);
    } else {
        print_table(&stats);
    }
    return output_flush() ? EXIT_OK : report_output();
}

int command_stats(const arguments *args) {
    cairn *store = NULL;
    int exit_code = session_open(args, SESSION_READ, &store);
    return exit_code == EXIT_OK ? session_close(store, print_stats(store)) : exit_code;
}
