#!/bin/bash
# Keys as they are given and as they are shown.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"
printf v >"$dir/v"

# One key in each encoding: the bytes 'a', newline, backslash, 0xff, NUL, 0xc3 0xa9 (an e with acute), 0x7f.
hex=610a5cff00c3a97f
shown='a\x0a\x5c\xff\x00'$'\xc3\xa9''\x7f'
base64=YQpc/wDDqX8=
exits 0 put "$store" --key-enc=hex "$hex" "$dir/v"
for given in "hex $hex" "hex 610A5CFF00C3A97F" "esc $shown" 'esc a\x0a\x5C\xFF\x00\xc3\xa9\x7f' "base64 $base64"; do
    exits 0 get "$store" --key-enc="${given%% *}" "${given#* }"
    prints v
done
exits 0 scan "$store"
printf '%s\n' "$shown" | cmp -s - "$out" || fail "shown as: $(cat "$out")"
exits 0 scan "$store" -z
printf 'a\n\\\377\0\303\251\177\0' | cmp -s - "$out" || fail '-z does not print the raw key and a NUL byte'
exits 0 scan "$store" --json
json '. == [{"key_b64":"YQpc/wDDqX8=","size":1}]'
exits 3 get "$store" "$shown"
complains 'a\x5cx0a'

# A key given raw is its bytes, backslashes too.
exits 0 put "$store" 'x\x41' "$dir/v"
exits 3 get "$store" --key-enc=esc 'x\x41'
exits 0 get "$store" --key-enc=esc 'x\x5cx41'
exits 0 delete "$store" 'x\x41'

# Not in the encoding: rejected, and nothing is stored.
for given in 'hex 6' 'hex 6g' 'hex 61 62' 'esc a\' 'esc a\x' 'esc a\x4' 'esc a\xg0' 'esc a\n' 'base64 YQ' 'base64 YQ=' \
    'base64 YR==' 'base64 Y===' 'base64 ====' 'base64 YQ==YQ==' 'base64 Y Q=' 'base64 _-8=' 'base64 YWJ=' 'hex ' 'esc ' 'base64 '; do
    exits 8 put "$store" --key-enc="${given%% *}" "${given#* }" "$dir/v"
    exits 8 get "$store" --key-enc="${given%% *}" "${given#* }"
done
exits 8 get "$store" --json --key-enc=hex 6g
json_of "$err" 'length == 1 and .[0].exit == 8'
for given in 'YQ== a' 'YWI= ab' 'YWJj abc' 'YWJjZA== abcd' '/+8= \xff\xef'; do
    exits 0 put "$store" --key-enc=base64 "${given%% *}" "$dir/v"
    exits 0 get "$store" --key-enc=esc "${given#* }"
    exits 0 delete "$store" --key-enc=esc "${given#* }"
done
exits 0 delete "$store" --key-enc hex "$hex"

# UTF-8, as hex and as shown: whatever is overlong, a surrogate, too large or cut short is shown byte by byte.
while read -r hex shown valid; do
    exits 0 put "$store" --key-enc=hex "$hex" "$dir/v"
    exits 0 scan "$store"
    printf "$shown\n" | cmp -s - "$out" || fail "$hex is shown as: $(cat "$out")"
    exits 0 get "$store" --key-enc=esc "$(cat "$out")"
    exits 0 scan "$store" --json
    json "length == 1 and (.[0] | has(\"key\")) == $valid"
    exits 0 delete "$store" --key-enc=hex "$hex"
done <<'END'
c3a9 \303\251 true
c2 \\xc2 false
c0af \\xc0\\xaf false
c1bf \\xc1\\xbf false
c280 \302\200 true
e08080 \\xe0\\x80\\x80 false
e0a080 \340\240\200 true
e282ac \342\202\254 true
e282 \\xe2\\x82 false
e28261 \\xe2\\x82a false
ed9fbf \355\237\277 true
eda080 \\xed\\xa0\\x80 false
edbfbf \\xed\\xbf\\xbf false
ee8080 \356\200\200 true
f0808080 \\xf0\\x80\\x80\\x80 false
f0908080 \360\220\200\200 true
f09f9880 \360\237\230\200 true
f48fbfbf \364\217\277\277 true
f4908080 \\xf4\\x90\\x80\\x80 false
f5808080 \\xf5\\x80\\x80\\x80 false
80 \\x80 false
ff61 \\xffa false
1b5b324a \\x1b[2J true
2061 \040a true
END

# JSON: what must be escaped there comes back as it was.
exits 0 put "$store" --key-enc=hex 225c2f0a091f7fc3a9 "$dir/v"
exits 0 scan "$store" --json
json '.[0].key == "\"\\/\n\t\u001f\u007fé" and .[0].key_b64 == "IlwvCgkff8Op"'
exits 0 stat "$store" --json --key-enc=hex 225c2f0a091f7fc3a9
json '.[0].key == "\"\\/\n\t\u001f\u007fé"'

# An error names the key: escaped, or as JSON.
exits 3 get "$store" --key-enc=hex 61ff0a
complains 'a\xff\x0a'
exits 3 get "$store" --key-enc=hex 61ff0a --json
prints ''
json_of "$err" 'length == 1 and .[0].error == "CAIRN_NOT_FOUND" and .[0].code == -1 and .[0].exit == 3
    and .[0].key_b64 == "Yf8K" and (.[0] | has("key") | not)'
exits 3 delete "$store" one two --json
json_of "$err" 'map(.key) == ["one", "two"]'
exits 4 get "$dir/missing"$'\n\xff' k --json
json_of "$err" 'length == 1 and .[0].error == "CAIRN_NO_STORE"'

finish
