/* JSON objects, one a line, written straight to a stream.
 *
 * Between json_open and json_close the stream is locked, so that a line from another thread never lands inside.
 * Names are plain ASCII literals. A 64-bit number that identifies something (a version, a file) is written as a string,
 * because a reader with floating-point numbers would change it; a count or size is a number.
 */
#ifndef CAIRN_CLI_JSON_H
#define CAIRN_CLI_JSON_H

#include "src/cli/keyenc.h"

typedef struct json {
    FILE *out;
    bool begun; /* a member is there already */
} json;

void json_open(json *object, FILE *out);
void json_close(json *object);

void json_text(json *object, const char *name, const char *text); /* what is not valid UTF-8 becomes \xNN */
void json_key(json *object, byte_view key);                       /* key_b64 always, key when it is valid UTF-8 */
void json_number(json *object, const char *name, uint64_t number);
void json_integer(json *object, const char *name, int number);
void json_decimal(json *object, const char *name, double number); /* two places */
void json_id(json *object, const char *name, uint64_t id);
void json_bool(json *object, const char *name, bool value);
void json_null(json *object, const char *name);
/* Opens a string for base64_show; json_string_end closes it. */
void json_string_begin(json *object, const char *name);
void json_string_end(json *object);

#endif
