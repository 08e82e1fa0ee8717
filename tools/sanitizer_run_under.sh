#!/bin/bash
# Runs a sanitized program without address-space randomisation where the kernel uses more random
# bits than the sanitizers' shadow memory allows ("unexpected memory mapping", or a crash at start).
# Where that is not permitted either (some containers), lower the bits on the host:
#   sysctl vm.mmap_rnd_bits=28
bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)
if [[ "$bits" -gt 28 ]] && setarch -R true 2>/dev/null; then
  exec setarch -R "$@"
fi
exec "$@"
