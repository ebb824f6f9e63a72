/* train: makes a dictionary from the store's small values, and says what it is good for. */
#include "src/cli/command.h"
#include "src/cli/output.h"
#include "src/cli/progress.h"
#include "src/cli/session.h"

#include <inttypes.h>
#include <string.h>

/* What `bytes` saves of `of`. */
static double percent_saved(uint64_t bytes, uint64_t of) {
    return of == 0 ? 0 : 100 * (1 - (double)bytes / (double)of);
}

static void print_json(const cairn_train_result *r) {
    json object;
    json_open(&object, stdout);
    json_bool(&object, "installed", r->installed);
    if (r->installed) {
        json_id(&object, "id", r->id);
    } else {
        json_null(&object, "id");
    }
    json_number(&object, "samples", r->samples);
    json_number(&object, "value_bytes", r->value_bytes);
    json_number(&object, "plain_bytes", r->plain_bytes);
    json_number(&object, "dictionary_bytes", r->dictionary_bytes);
    json_number(&object, "before_bytes", r->before_bytes);
    json_decimal(&object, "percent_saved", percent_saved(r->dictionary_bytes, r->plain_bytes));
    json_close(&object);
}

static void print_saving(const char *what, uint64_t bytes, uint64_t value_bytes) {
    char text[HUMAN_SIZE];
    fprintf(stdout, "%-24s %" PRIu64 "  (%s, %.1f %% saved)\n", what, bytes, human_bytes(text, bytes),
            percent_saved(bytes, value_bytes));
}

static void print_text(const cairn_train_result *r) {
    char text[HUMAN_SIZE];
    fprintf(stdout, "%-24s %" PRIu64 "\n", "values tried", r->samples);
    fprintf(stdout, "%-24s %" PRIu64 "  (%s)\n", "their bytes", r->value_bytes, human_bytes(text, r->value_bytes));
    print_saving("without a dictionary", r->plain_bytes, r->value_bytes);
    if (r->before_bytes != r->plain_bytes) print_saving("with the one in use", r->before_bytes, r->value_bytes);
    print_saving("with the dictionary", r->dictionary_bytes, r->value_bytes);
    fprintf(stdout, "%-24s %.1f %%\n", "the dictionary saves", percent_saved(r->dictionary_bytes, r->plain_bytes));
    if (r->installed) {
        fprintf(stdout, "%-24s yes: dictionary %" PRIu64 ", for values that are put from now on\n", "installed", r->id);
    } else {
        fprintf(stdout, "%-24s no: it is not worth having\n", "installed");
    }
}

static int train_store(cairn *store, const cairn_train_options *options) {
    cairn_train_result result = {.struct_size = sizeof result};
    cairn_error error = {0};
    int code = cairn_train(store, options, &result, &error);
    if (code == CAIRN_INVALID) return report_usage("--dictionary: %s", error.message);
    if (code != CAIRN_OK) return report_store(code, &error, about_nothing());
    if (output_modes()->json) {
        print_json(&result);
    } else {
        print_text(&result);
    }
    return output_flush() ? EXIT_OK : report_output();
}

int command_train(const arguments *args) {
    cairn_train_options options = {.struct_size = sizeof options};
    const char *text = args->values[OPT_DICTIONARY];
    uint64_t bytes = 0;
    if (text != NULL && (!parse_u64(text, strlen(text), &bytes) || bytes == 0 || bytes > UINT32_MAX)) {
        return report_usage("--dictionary takes a number of bytes, not '%s'", text);
    }
    options.dictionary_bytes = (uint32_t)bytes;
    cairn *store = NULL;
    int exit_code = session_open(args, SESSION_WRITE, &store);
    return exit_code == EXIT_OK ? session_close(store, train_store(store, &options)) : exit_code;
}
