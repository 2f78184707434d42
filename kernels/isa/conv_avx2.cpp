// Convolutions for x86-64 with AVX2 and FMA; compiled with flags of its own. Bytes are multiplied by vpmaddubsw, with
// weights in chains that cannot saturate (core/engine/conv_chains.h).
#define WUTDET_YMM_NAME "avx2"
#define WUTDET_YMM_TABLE conv_avx2
#include "isa/conv_ymm.h"
