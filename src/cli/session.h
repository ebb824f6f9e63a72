/* What every command does with a store: open it with the program's options, close it, and take keys from the command
 * line. Each call reports what goes wrong and returns the exit code, EXIT_OK where nothing did. */
#ifndef CAIRN_CLI_SESSION_H
#define CAIRN_CLI_SESSION_H

#include "include/cairn.h"
#include "src/cli/args.h"
#include "src/cli/output.h"

/* SESSION_UPKEEP writes too, but the store does nothing by itself meanwhile: all of it is the command's to do, at its
 * rate and in its figures. */
typedef enum session_access { SESSION_READ, SESSION_WRITE, SESSION_UPKEEP } session_access;

/* Opens the store that the command's first operand names, for compressed values with --compress; never makes one.
 * Signals wait until it is open. */
int session_open(const arguments *args, session_access access, cairn **store);

/* Closes it. The exit code of the whole: `exit_code` unless that is EXIT_OK and the closing fails. */
int session_close(cairn *store, int exit_code);

/* The store's options as every command sets them. */
cairn_options session_options(void);

static inline const char *session_path(const arguments *args) { return args->operands[1]; }

/* What --sync, --ttl, --if-absent and --if-version ask of a put. */
int session_put_options(const arguments *args, cairn_put_options *options);

/* A key of 1 byte to 64 KiB from --key-enc's text; for free(key->data). */
int session_key(const arguments *args, const char *text, byte_string *key);
/* The same for a bound, prefix or pattern, which may be empty. An option that is not given leaves data NULL. */
int session_bound(const arguments *args, option_id option, byte_string *bound);

static inline byte_view bytes_view(const byte_string *own) { return (byte_view){.data = own->data, .size = own->size}; }

#endif
