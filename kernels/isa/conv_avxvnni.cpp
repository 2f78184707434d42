// Convolutions for x86-64 with AVX-VNNI, the dot products of client processors without AVX-512; compiled with flags of
// its own. Inline assembly: GCC 12 spills sums of tiles written with the intrinsic.
#define WUTDET_YMM_NAME "avxvnni"
#define WUTDET_YMM_TABLE conv_avxvnni
#define WUTDET_YMM_DOT(sum, x, w) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w))
#include "isa/conv_ymm.h"
