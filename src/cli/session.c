#include "src/cli/session.h"

#include "src/cli/interrupt.h"

#include <stdlib.h>

cairn_options session_options(void) { return (cairn_options){.struct_size = sizeof(cairn_options), .log = output_log}; }

int session_open(const arguments *args, session_access access, cairn **store) {
    cairn_options options = session_options();
    options.read_only = access == SESSION_READ;
    cairn_error error = {0};
    interrupt_hold();
    int code = cairn_open(store, session_path(args), &options, &error);
    interrupt_release();
    if (code == CAIRN_OK) return EXIT_OK;
    subject about = about_file(session_path(args));
    if (code != CAIRN_UNSUPPORTED) return report_store(code, &error, about);
    /* No option here asks for more than every store has: its format is newer than the library's. */
    const char *text = error.message[0] != '\0' ? error.message : "the store's format is newer than this program";
    return report_failure(code, EXIT_NO_STORE, about, text);
}

int session_close(cairn *store, int exit_code) {
    int code = cairn_close(store);
    if (code == CAIRN_OK) return exit_code;
    int failure = report_failure(code, exit_code_of(code), about_nothing(), "closing the store failed");
    return exit_code == EXIT_OK ? failure : exit_code;
}

static int decode(const arguments *args, const char *text, byte_string *out) {
    switch (key_decode(args->key_enc, text, out)) {
    case KEY_DECODED:
        return EXIT_OK;
    case KEY_NO_MEMORY:
        return report_no_memory();
    case KEY_MALFORMED:
    default:
        return report_rejected(about_file(text), "not in the encoding that --key-enc names");
    }
}

int session_key(const arguments *args, const char *text, byte_string *key) {
    byte_string decoded = {0};
    int exit_code = decode(args, text, &decoded);
    if (exit_code == EXIT_OK && decoded.size == 0) {
        exit_code = report_rejected(about_nothing(), "a key is at least 1 byte");
    } else if (exit_code == EXIT_OK && decoded.size > CAIRN_KEY_SIZE_MAX) {
        char message[96];
        (void)snprintf(message, sizeof message, "a key of %zu bytes; %zu are the most", decoded.size,
                       CAIRN_KEY_SIZE_MAX);
        exit_code = report_failure(CAIRN_TOO_BIG, EXIT_REJECTED, about_nothing(), message);
    }
    if (exit_code == EXIT_OK) {
        *key = decoded;
    } else {
        free(decoded.data);
    }
    return exit_code;
}

int session_bound(const arguments *args, option_id option, byte_string *bound) {
    *bound = (byte_string){0};
    return args_has(args, option) ? decode(args, args->values[option], bound) : EXIT_OK;
}
