# shellcheck shell=bash
# What scripts that go through the service step by step have in common. To be sourced.

# Prints a step, and ends the script if it did not go as expected.
expect() { # what, expected, seen
    if [ "$2" != "$3" ]; then
        printf 'FAILED %s: expected %s, got %s\n' "$1" "$2" "$3"
        exit 1
    fi
    printf 'ok     %s: %s\n' "$1" "$3"
}

# Waits until a command prints what is expected, for at most so many seconds. Then it is a step like others.
await() { # what, expected, seconds, command…
    local what=$1 expected=$2 end=$((SECONDS + $3)) seen
    shift 3
    while seen=$("$@") && [ "$seen" != "$expected" ] && [ $SECONDS -lt "$end" ]; do
        sleep 0.2
    done
    expect "$what" "$expected" "${seen-}"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# How many lines of a file have this, also if it is none; for `await`.
lines() { grep -c "$1" "$2" || true; }
