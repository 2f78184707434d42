// Convolutions for x86-64 with AVX512-VNNI but without VBMI (Cascade Lake), in registers of 256 bits; compiled with flags
// of its own. It also stands in for conv_avxvnni.cpp in tests, on processors that know only this encoding.
#define WUTDET_YMM_NAME "vnni256"
#define WUTDET_YMM_TABLE conv_vnni256
#define WUTDET_YMM_DOT(sum, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w))
#include "isa/conv_ymm.h"
