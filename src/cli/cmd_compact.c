/* compact: gives dead space back, and says what that cost. */
#include "src/cli/command.h"
#include "src/cli/interrupt.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

#include <float.h>
#include <inttypes.h>

/* ---- What was done ---- */

/* Bytes written for each byte of new data that finds room in what was gained: the byte itself, and what was moved for
 * its sake. bytes_freed counts removed files whole, so what was moved out of them is no gain. */
static bool write_amplification(const cairn_compact_result *r, double *factor) {
    if (r->bytes_freed <= r->bytes_moved) return false;
    *factor = (double)r->bytes_freed / (double)(r->bytes_freed - r->bytes_moved);
    return true;
}

static void print_json(const cairn_compact_result *r, bool dry_run) {
    double factor = 0;
    json object;
    json_open(&object, stdout);
    json_bool(&object, "dry_run", dry_run);
    json_number(&object, "bytes_scanned", r->bytes_scanned);
    json_number(&object, "bytes_moved", r->bytes_moved);
    json_number(&object, "bytes_freed", r->bytes_freed);
    if (write_amplification(r, &factor)) {
        json_decimal(&object, "write_amplification", factor);
    } else {
        json_null(&object, "write_amplification");
    }
    json_close(&object);
}

static void print_table(const cairn_compact_result *r, bool dry_run) {
    double factor = 0;
    if (dry_run) fprintf(stdout, "%-20s yes: nothing was changed, this is what would be\n", "dry_run");
    print_bytes("bytes_scanned", r->bytes_scanned);
    print_bytes("bytes_moved", r->bytes_moved);
    print_bytes("bytes_freed", r->bytes_freed);
    if (write_amplification(r, &factor)) {
        fprintf(stdout, "%-20s %.2f\n", "write_amplification", factor);
    } else {
        fprintf(stdout, "%-20s none\n", "write_amplification");
    }
}

static bool print_result(const cairn_compact_result *r, bool dry_run) {
    if (output_modes()->json) {
        print_json(r, dry_run);
    } else {
        print_table(r, dry_run);
    }
    return output_flush();
}

/* ---- The command ---- */

static int compact_progress(const cairn_progress *at, void *ctx) {
    progress_set(ctx, at->done, at->total);
    return interrupted() ? 1 : 0;
}

static int compact_store(const arguments *args, cairn *store, cairn_compact_options *options) {
    progress shown = {0};
    options->progress = compact_progress;
    options->ctx = &shown;
    cairn_compact_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    if (!options->dry_run) progress_begin(&shown, args, PROGRESS_TOTAL_UNKNOWN);
    int code = cairn_compact(store, options, &result, &error);
    if (code == CAIRN_OK) progress_set(&shown, result.bytes_scanned, result.bytes_scanned);
    progress_end(&shown);
    /* After a failure too: what was moved and freed by then stays so. */
    bool printed = print_result(&result, options->dry_run);
    if (code == CAIRN_CANCELLED) return report_interrupted();
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    return printed ? EXIT_OK : report_output();
}

static int compact_options(const arguments *args, cairn_compact_options *options) {
    *options = (cairn_compact_options){
        .struct_size = sizeof *options, .full = args_has(args, OPT_FULL), .dry_run = args_has(args, OPT_DRY_RUN)};
    const char *share = args->values[OPT_MIN_GARBAGE], *rate = args->values[OPT_RATE];
    if (share != NULL && options->full) return report_usage("--full and --min-garbage exclude each other");
    if (share != NULL && !parse_share(share, &options->min_garbage_ratio)) {
        return report_usage("--min-garbage takes a share from 0 to 1, as 0.25, not '%s'", share);
    }
    /* To the library 0 is the default; to who asks for it, any garbage. */
    if (share != NULL && options->min_garbage_ratio == 0) options->min_garbage_ratio = DBL_MIN;
    if (rate != NULL && (!parse_bytes(rate, &options->bytes_per_second) || options->bytes_per_second == 0)) {
        return report_usage("--rate takes bytes a second above 0, with k, M or G behind them or not, not '%s'", rate);
    }
    return EXIT_OK;
}

int command_compact(const arguments *args) {
    cairn_compact_options options;
    cairn *store = NULL;
    int exit_code = compact_options(args, &options);
    if (exit_code == EXIT_OK) exit_code = session_open(args, SESSION_UPKEEP, &store);
    return exit_code == EXIT_OK ? session_close(store, compact_store(args, store, &options)) : exit_code;
}
