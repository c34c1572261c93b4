#!/usr/bin/env bash
# lldb14.sh: LLDB 14 beside the LLDB that is installed. Debian's packages of the two exclude each other, so the older
# one's are unpacked into a directory of their own ($VITRINE_LLDB14, or ~/.cache/vitrine-lldb14).
#   lldb14.sh fetch      download (apt-get download) and unpack
#   lldb14.sh check      exit status 0 if it is there and starts
#   lldb14.sh run ARGS   run it
set -euo pipefail
root=${VITRINE_LLDB14:-${XDG_CACHE_HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)/.cache}/vitrine-lldb14}
llvm=$root/usr/lib/llvm-14

start() {
  local python
  python=$(echo "$llvm"/lib/python3.*/dist-packages)
  LD_LIBRARY_PATH=$llvm/lib:$root/usr/lib/x86_64-linux-gnu PYTHONPATH=$python:$root/usr/lib/python3/dist-packages \
    LLDB_DEBUGSERVER_PATH=$llvm/bin/lldb-server exec "$llvm/bin/lldb" "$@"
}

case ${1:-} in
  fetch)
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    (cd "$packages" && apt-get -q download lldb-14 python3-lldb-14 liblldb-14 libllvm14 libclang-cpp14 libclang1-14 python3-six)
    mkdir -p "$root"
    for package in "$packages"/*.deb; do dpkg -x "$package" "$root"; done
    ;;
  check) [ -x "$llvm/bin/lldb" ] && [ "$(start -b -o 'script print(lldb.eStateStopped)' 2>&1 | tail -n 1)" = 5 ] ;;
  run)
    shift
    start "$@"
    ;;
  *)
    echo "usage: lldb14.sh fetch|check|run ARGS" >&2
    exit 2
    ;;
esac
