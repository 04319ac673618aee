#!/usr/bin/env bash
# make.sh IMAGE MIRROR: one Debian with all that the shop, its builds and the tests need, for machines
# that reach a Debian mirror and no image registry. Where a registry answers, nothing uses this.
set -euo pipefail
cd "$(dirname "$0")"
image=$1 mirror=$2

options=(--variant=minbase '--aptopt=Apt::Install-Recommends "false"')
# What nobody reads in a container; Go's own compiler sources; PostgreSQL's JIT with its LLVM (it falls
# back by itself). Manual pages stay: postgresql-client's alternatives fail without them.
for path in '/usr/share/doc/*' '/usr/share/locale/*' '/usr/share/i18n/*' \
    '/usr/lib/go-*/pkg/linux_*/cmd/*' '/usr/share/go-*/src/cmd/*' '/usr/share/go-*/test/*' \
    '/usr/lib/*/libLLVM*' '/usr/lib/*/libz3*' \
    '/usr/lib/postgresql/*/lib/bitcode/*' '/usr/lib/postgresql/*/lib/llvmjit.so'; do
    options+=("--dpkgopt=path-exclude=$path")
done
# Debian would make a database cluster at installation; the entrypoint makes its own.
options+=("--essential-hook=mkdir -p \"\$1/etc/postgresql-common\"
    echo 'create_main_cluster = false' >\"\$1/etc/postgresql-common/createcluster.conf\"")
# No sources: `apt-get update` and `apt-get install` of what is here succeed without a network.
options+=('--customize-hook=: >"$1/etc/apt/sources.list"; rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*')

mmdebstrap "${options[@]}" --include="$(paste -sd, packages)" bookworm - "$mirror" | docker import - "$image"
