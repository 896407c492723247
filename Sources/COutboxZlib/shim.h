// What Swift cannot see of zlib's header: the initialisers are macros.
#ifndef COUTBOX_ZLIB_SHIM_H
#define COUTBOX_ZLIB_SHIM_H

#include <zlib.h>

/// `windowBits` as in zlib.h: 15 + 16 writes one gzip member, -15 raw deflate.
static inline int outbox_zlib_deflate_init(z_stream *stream, int level, int windowBits) {
  return deflateInit2(stream, level, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY);
}

/// `windowBits` as in zlib.h: 15 + 32 reads gzip or zlib, -15 raw deflate.
static inline int outbox_zlib_inflate_init(z_stream *stream, int windowBits) {
  return inflateInit2(stream, windowBits);
}

#endif
