#!/bin/sh
# Checks every #include under core/ against tests/layers.txt. Silent when all is well.
set -eu
cd "$(dirname "$0")/.."

grep -rnE '^[[:space:]]*#[[:space:]]*include' core --include='*.c' --include='*.h' --include='*.def' |
    awk '
    NR == FNR && $1 == "room" {
        known[$2] = 1
        may[$2, $2] = 1
        for (i = 3; i <= NF; i++) may[$2, $i] = 1
    }
    NR == FNR && $1 == "library" {
        library[$2] = 1
        for (i = 3; i <= NF; i++) owns[$i, $2] = 1
    }
    NR == FNR { next }

    function complain(text) {
        split($0, at, ":")
        print at[1] ":" at[2] ": " text
        bad = 1
    }

    # core/net/sock.c:3:#include "base/log.h"  ->  room net, include base/log.h
    {
        match($0, /^core\/[^\/:]+/)
        room = substr($0, 6, RLENGTH - 5)
        match($0, /["<][^">]+[">]/)
        include = substr($0, RSTART + 1, RLENGTH - 2)
        quoted = substr($0, RSTART, 1) == "\""
        if (!(room in known)) complain("tests/layers.txt knows no room " room)
        if ((room, "*") in may) next
        if (quoted) {
            target = include
            sub(/\/.*/, "", target)
            if (!((room, target) in may)) complain(room " may not include " include)
        } else {
            for (name in library)
                if (index(include, name) == 1 && !((room, name) in owns))
                    complain(room " may not include <" include ">")
        }
    }
    END { exit bad }' tests/layers.txt -
