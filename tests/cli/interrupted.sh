#!/bin/bash
# Ctrl-C and SIGTERM: exit 130, and a store in which what was reported is there and nothing is half.
. "$(dirname "$0")/common.sh"
exits 0 init "$store"

tree=$dir/tree
mkdir "$tree"
name=$(head -c 200 /dev/zero | tr '\0' f)
for i in {100..999}; do
    printf 'value %d' "$i" >"$tree/$name$i"
done
head -c 4000000 /dev/urandom >"$tree/${name}500"

# put-tree, stopped by a pipe that its keys do not fit into: it is in the midst of it for certain.
for signal in INT TERM KILL; do
    case $signal in
    KILL) wanted=137 ;;
    *) wanted=130 ;;
    esac
    mkfifo "$dir/keys"
    exits 0 init "$dir/$signal"
    "$cairn" put-tree --json "$dir/$signal" "$tree" >"$dir/keys" 2>"$err" &
    pid=$!
    exec 8<"$dir/keys"
    head -n 3 <&8 >"$dir/reported"
    {
        kill -"$signal" "$pid"
        cat <&8 >>"$dir/reported"
        exec 8<&-
        wait "$pid"
    } 2>/dev/null
    got=$?
    [ "$got" = "$wanted" ] || fail "SIG$signal gives exit $got: $(cat "$err")"
    [ "$signal" = KILL ] || complains interrupted
    rm "$dir/keys"
    exits 0 verify "$dir/$signal"
    exits 0 get-tree "$dir/$signal" "$dir/back$signal"
    for file in "$dir/back$signal"/*; do
        same "$file" "$tree/${file##*/}"
    done
    stored=$(find "$dir/back$signal" -type f | wc -l)
    reported=$(grep -c '"key_b64".*}$' "$dir/reported")
    [ "$reported" -ge 3 ] && [ "$stored" -lt 900 ] || fail "SIG$signal: $reported reported, $stored stored"
    sed -n 's/.*"key":"\([^"]*\)".*}$/\1/p' "$dir/reported" | while read -r key; do
        [ -e "$dir/back$signal/$key" ] || echo "$key"
    done >"$dir/lost"
    [ ! -s "$dir/lost" ] || fail "SIG$signal: reported, but not there: $(cat "$dir/lost")"
    exits 0 put-tree "$dir/$signal" "$tree"
    exits 0 get-tree "$dir/$signal" "$dir/back$signal"
    tree_list "$tree" >"$dir/list1"
    tree_list "$dir/back$signal" >"$dir/list2"
    same "$dir/list1" "$dir/list2"
done

# put that waits for more: nothing of it is there, and what was there stays. More than a pipe holds was taken by the time
# that head is done, so put is in the midst of it.
printf before >"$dir/v"
exits 0 put "$store" k "$dir/v"
mkfifo "$dir/fifo"
for signal in INT TERM; do
    for size in 200000 3000000; do
        to_signal put "$store" k - <"$dir/fifo" 2>"$err" &
        pid=$!
        exec 9>"$dir/fifo"
        head -c "$size" /dev/zero >&9
        kill -"$signal" "$pid"
        wait "$pid"
        got=$?
        exec 9>&-
        [ "$got" = 130 ] || fail "SIG$signal to a put of $size bytes gives exit $got"
        complains interrupted
        exits 0 get "$store" k
        prints before
    done
done

# get into a pipe that nobody empties.
exits 0 put "$store" big "$tree/${name}500"
mkfifo "$dir/pipe"
exec 7<>"$dir/pipe"
to_signal get "$store" big >"$dir/pipe" 2>"$err" &
pid=$!
# It is in the midst of it once the pipe holds something.
read -r -n 1 -u 7
kill -INT "$pid"
wait "$pid"
got=$?
exec 7<&-
[ "$got" = 130 ] || fail "SIGINT to a get gives exit $got"
exits 0 verify "$store"

finish
