/* Keys as text: how they are given on the command line and how they are shown.
 *
 * Given (--key-enc): raw = the argument's bytes; esc = bytes with \xNN for any byte, which is what is shown; hex = two
 * digits a byte; base64 = RFC 4648 with padding, canonical.
 * Shown: valid UTF-8, in which bytes below 0x20, 0x7f, the backslash and whatever is not valid UTF-8 stand as \xNN, so
 * that a shown key given back with --key-enc=esc is the same key.
 */
#ifndef CAIRN_CLI_KEYENC_H
#define CAIRN_CLI_KEYENC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum key_encoding { KEY_ENC_RAW, KEY_ENC_ESC, KEY_ENC_HEX, KEY_ENC_BASE64 } key_encoding;

/* Bytes that somebody else owns. */
typedef struct byte_view {
    const uint8_t *data;
    size_t size;
} byte_view;

/* Bytes that are the holder's own; data is never NULL after a success. */
typedef struct byte_string {
    uint8_t *data;
    size_t size;
} byte_string;

/* False for a name that is no encoding. */
bool key_encoding_named(const char *name, key_encoding *out);

typedef enum key_decoding { KEY_DECODED, KEY_MALFORMED, KEY_NO_MEMORY } key_decoding;

/* *out is for free(out->data) after KEY_DECODED, untouched otherwise. */
key_decoding key_decode(key_encoding encoding, const char *text, byte_string *out);

/* The length of the valid UTF-8 sequence (1 to 4; no overlong form, no surrogate, nothing above U+10FFFF) at the
 * beginning of `size` > 0 bytes, or 0. */
size_t utf8_sequence(const uint8_t *data, size_t size);
bool utf8_valid(const uint8_t *data, size_t size);

/* As shown. */
void key_show(FILE *out, byte_view key);

/* The same for a line of text, in which a backslash stays as it is. */
void text_show(FILE *out, const char *text);

/* `size` bytes as base64 with padding; pieces of one value must each but the last be a multiple of 3. */
void base64_show(FILE *out, const uint8_t *data, size_t size);

#endif
