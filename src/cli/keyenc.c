#include "src/cli/keyenc.h"

#include <stdlib.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool key_encoding_named(const char *name, key_encoding *out) {
    static const struct {
        const char *name;
        key_encoding encoding;
    } names[] = {{"raw", KEY_ENC_RAW}, {"esc", KEY_ENC_ESC}, {"hex", KEY_ENC_HEX}, {"base64", KEY_ENC_BASE64}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, name) == 0) {
            *out = names[i].encoding;
            return true;
        }
    }
    return false;
}

/* ---- Decoding: each takes text of `size` bytes, writes at most `size` bytes, and returns false when malformed ---- */

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

static bool hex_pair(const char *text, uint8_t *out) {
    int high = hex_value(text[0]);
    int low = high < 0 ? -1 : hex_value(text[1]);
    if (low < 0) return false;
    *out = (uint8_t)(high << 4 | low);
    return true;
}

static bool decode_escaped(const char *text, size_t size, byte_string *out) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\\') {
            out->data[out->size++] = (uint8_t)text[i];
            continue;
        }
        if (size - i < 4 || text[i + 1] != 'x' || !hex_pair(text + i + 2, &out->data[out->size])) return false;
        out->size++;
        i += 3;
    }
    return true;
}

static bool decode_hex(const char *text, size_t size, byte_string *out) {
    if (size % 2 != 0) return false;
    for (size_t i = 0; i < size; i += 2) {
        if (!hex_pair(text + i, &out->data[out->size++])) return false;
    }
    return true;
}

static int base64_value(char digit) {
    const char *at = digit == '\0' ? NULL : strchr(base64_digits, digit);
    return at == NULL ? -1 : (int)(at - base64_digits);
}

/* Bits behind the last byte must be zero: one key has one spelling. */
static bool decode_base64(const char *text, size_t size, byte_string *out) {
    if (size % 4 != 0) return false;
    for (size_t i = 0; i < size; i += 4) {
        size_t padding = 0;
        if (i + 4 == size && text[i + 3] == '=') padding = text[i + 2] == '=' ? 2 : 1;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = k >= 4 - padding ? 0 : base64_value(text[i + k]);
            if (value < 0) return false;
            bits = bits << 6 | (uint32_t)value;
        }
        if ((bits & ((1u << (8 * padding)) - 1)) != 0) return false;
        for (size_t k = 0; k < 3 - padding; k++) {
            out->data[out->size++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    return true;
}

key_decoding key_decode(key_encoding encoding, const char *text, byte_string *out) {
    size_t size = strlen(text);
    byte_string decoded = {.data = malloc(size + 1)};
    if (decoded.data == NULL) return KEY_NO_MEMORY;
    bool well_formed = true;
    switch (encoding) {
    case KEY_ENC_RAW:
        memcpy(decoded.data, text, size);
        decoded.size = size;
        break;
    case KEY_ENC_ESC:
        well_formed = decode_escaped(text, size, &decoded);
        break;
    case KEY_ENC_HEX:
        well_formed = decode_hex(text, size, &decoded);
        break;
    case KEY_ENC_BASE64:
        well_formed = decode_base64(text, size, &decoded);
        break;
    }
    if (!well_formed) {
        free(decoded.data);
        return KEY_MALFORMED;
    }
    *out = decoded;
    return KEY_DECODED;
}

/* ---- UTF-8 and showing ---- */

size_t utf8_sequence(const uint8_t *data, size_t size) {
    uint8_t lead = data[0];
    if (lead < 0x80) return 1;
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || size < length) return 0;
    /* What the second byte may be keeps out overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4).
     */
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (data[1] < low || data[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if (data[i] < 0x80 || data[i] > 0xbf) return 0;
    }
    return length;
}

bool utf8_valid(const uint8_t *data, size_t size) {
    size_t length = 0;
    for (size_t i = 0; i < size; i += length) {
        length = utf8_sequence(data + i, size - i);
        if (length == 0) return false;
    }
    return true;
}

static void show(FILE *out, const uint8_t *data, size_t size, bool escape_backslash) {
    for (size_t i = 0; i < size;) {
        size_t length = utf8_sequence(data + i, size - i);
        bool plain = length > 0 && data[i] >= 0x20 && data[i] != 0x7f && !(escape_backslash && data[i] == '\\');
        if (plain) {
            fwrite(data + i, 1, length, out);
            i += length;
        } else {
            const char escaped[4] = {'\\', 'x', hex_digits[data[i] >> 4], hex_digits[data[i] & 15]};
            fwrite(escaped, 1, sizeof escaped, out);
            i++;
        }
    }
}

void key_show(FILE *out, byte_view key) { show(out, key.data, key.size, true); }

void text_show(FILE *out, const char *text) { show(out, (const uint8_t *)text, strlen(text), false); }

void base64_show(FILE *out, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i += 3) {
        size_t count = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16;
        if (count > 1) bits |= (uint32_t)data[i + 1] << 8;
        if (count > 2) bits |= data[i + 2];
        char digits[4];
        for (size_t k = 0; k < 4; k++) {
            digits[k] = k <= count ? base64_digits[bits >> (18 - 6 * k) & 63] : '=';
        }
        fwrite(digits, 1, sizeof digits, out);
    }
}
