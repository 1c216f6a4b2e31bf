#!/usr/bin/env bash
# Builds the brokers' image NAME from Debian's own packages: RabbitMQ 4 and Redis 8. The hash of this file is its tag.
set -euo pipefail
name=$1
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
debootstrap --variant=minbase --include=rabbitmq-server,redis-server trixie "$root"
# A cookie of its own for each container, and no caches.
rm -rf "$root"/var/lib/rabbitmq/.erlang.cookie "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/*
tar --create --one-file-system --directory "$root" . | docker import --change 'ENV LC_ALL=C.UTF-8' - "$name"
