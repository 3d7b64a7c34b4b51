/* What the parts of the Linux workloads share. */
#pragma once
#include <stdint.h>

/* FIPS 180-4, of whole blocks of 64 bytes. */
void sha256(const uint8_t *data, uint64_t size, uint32_t digest[8]);
