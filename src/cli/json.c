#include "src/cli/json.h"

#include <inttypes.h>
#include <string.h>

void json_open(json *object, FILE *out) {
    *object = (json){.out = out};
    flockfile(out);
    fputc('{', out);
}

void json_close(json *object) {
    fputs("}\n", object->out);
    funlockfile(object->out);
}

static void member(json *object, const char *name) {
    fprintf(object->out, "%s\"%s\":", object->begun ? "," : "", name);
    object->begun = true;
}

/* A string's content. What is not valid UTF-8 is written as a backslash, x and two digits, all four of them text. */
static void content(FILE *out, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size;) {
        size_t length = utf8_sequence(data + i, size - i);
        if (length == 0) {
            fprintf(out, "\\\\x%02x", data[i]);
            length = 1;
        } else if (data[i] == '"' || data[i] == '\\') {
            fprintf(out, "\\%c", data[i]);
        } else if (data[i] < 0x20) {
            fprintf(out, "\\u%04x", data[i]);
        } else {
            fwrite(data + i, 1, length, out);
        }
        i += length;
    }
}

void json_string_begin(json *object, const char *name) {
    member(object, name);
    fputc('"', object->out);
}

void json_string_end(json *object) { fputc('"', object->out); }

static void string(json *object, const char *name, const uint8_t *data, size_t size) {
    json_string_begin(object, name);
    content(object->out, data, size);
    json_string_end(object);
}

void json_text(json *object, const char *name, const char *text) {
    string(object, name, (const uint8_t *)text, strlen(text));
}

void json_key(json *object, byte_view key) {
    json_string_begin(object, "key_b64");
    base64_show(object->out, key.data, key.size);
    json_string_end(object);
    if (utf8_valid(key.data, key.size)) string(object, "key", key.data, key.size);
}

void json_number(json *object, const char *name, uint64_t number) {
    member(object, name);
    fprintf(object->out, "%" PRIu64, number);
}

void json_integer(json *object, const char *name, int number) {
    member(object, name);
    fprintf(object->out, "%d", number);
}

void json_decimal(json *object, const char *name, double number) {
    member(object, name);
    fprintf(object->out, "%.2f", number);
}

void json_id(json *object, const char *name, uint64_t id) {
    member(object, name);
    fprintf(object->out, "\"%" PRIu64 "\"", id);
}

void json_bool(json *object, const char *name, bool value) {
    member(object, name);
    fputs(value ? "true" : "false", object->out);
}

void json_null(json *object, const char *name) {
    member(object, name);
    fputs("null", object->out);
}
