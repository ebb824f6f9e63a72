/* index add, drop and rebuild: the ordered index of a store that is there. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

#include <inttypes.h>

/* ---- What was done ---- */

static bool print_result(const cairn_stats *now, uint64_t bytes_before) {
    if (output_modes()->json) {
        json object;
        json_open(&object, stdout);
        json_bool(&object, "ordered", now->ordered);
        json_number(&object, "keys", now->keys);
        json_number(&object, "bytes_before", bytes_before);
        json_number(&object, "bytes", now->ordered_bytes);
        json_close(&object);
    } else {
        fprintf(stdout, "%-20s %s\n", "ordered", now->ordered ? "yes" : "no");
        fprintf(stdout, "%-20s %" PRIu64 "\n", "keys", now->keys);
        print_bytes("bytes_before", bytes_before);
        print_bytes("bytes", now->ordered_bytes);
    }
    return output_flush();
}

/* These codes are about the index here, not about a key. */
static int report_index(const arguments *args, int code, const cairn_error *error) {
    subject about = about_file(session_path(args));
    switch (code) {
    case CAIRN_CANCELLED:
        return report_interrupted();
    case CAIRN_EXISTS:
        return report_failure(code, EXIT_FAILED, about, "has an ordered index already");
    case CAIRN_NOT_FOUND:
        return report_failure(code, EXIT_FAILED, about, "has no ordered index");
    default:
        return report_store(code, error, about);
    }
}

/* ---- The commands ---- */

static int index_progress(const cairn_progress *at, void *ctx) {
    progress_set(ctx, at->done, at->total);
    return interrupted() ? 1 : 0;
}

typedef int (*index_change)(cairn *store, const cairn_index_options *options, cairn_error *error);

/* Done at once: there is no progress to show. */
static int drop(cairn *store, const cairn_index_options *options, cairn_error *error) {
    (void)options;
    return cairn_index_drop(store, error);
}

static int change_index(const arguments *args, cairn *store, index_change change) {
    progress shown = {0};
    cairn_index_options options = {.struct_size = sizeof options, .progress = index_progress, .ctx = &shown};
    cairn_stats before = {.struct_size = sizeof before}, now = before;
    cairn_error error = {0};
    int code = cairn_stats_get(store, &before, &error);
    if (code == CAIRN_OK) {
        if (change != drop) progress_begin_keys(&shown, args);
        code = change(store, &options, &error);
        progress_end(&shown);
    }
    if (code == CAIRN_OK) code = cairn_stats_get(store, &now, &error);
    if (code != CAIRN_OK) return report_index(args, code, &error);
    return print_result(&now, before.ordered_bytes) ? EXIT_OK : report_output();
}

static int run(const arguments *args, index_change change) {
    cairn *store = NULL;
    int exit_code = session_open(args, SESSION_UPKEEP, &store);
    return exit_code == EXIT_OK ? session_close(store, change_index(args, store, change)) : exit_code;
}

int command_index_add(const arguments *args) { return run(args, cairn_index_add); }

int command_index_drop(const arguments *args) { return run(args, drop); }

int command_index_rebuild(const arguments *args) { return run(args, cairn_index_rebuild); }
