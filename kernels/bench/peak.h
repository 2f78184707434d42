// Multiply-adds per second of this very core: independent instructions in a loop that touches no memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

namespace wutdet::bench {

#if defined(__x86_64__)
// One run: `turns` times twelve independent instructions. The registers are zero, so no number is a slow one.
#define WUTDET_TWELVE(TEXT, R)                                                                                       \
  TEXT "%%" R "0\n" TEXT "%%" R "1\n" TEXT "%%" R "2\n" TEXT "%%" R "3\n" TEXT "%%" R "4\n" TEXT "%%" R "5\n"         \
  TEXT "%%" R "6\n" TEXT "%%" R "7\n" TEXT "%%" R "8\n" TEXT "%%" R "9\n" TEXT "%%" R "10\n" TEXT "%%" R "11\n"
#define WUTDET_LOOP(NAME, TEXT, R)                                                                                   \
  inline void NAME(std::int64_t turns) {                                                                             \
    __asm__ volatile("vzeroall\n1:\n" WUTDET_TWELVE(TEXT, R) "dec %0\njnz 1b\nvzeroupper\n"                           \
                     : "+r"(turns)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",     \
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                 \
  }
WUTDET_LOOP(loop_vnni512, "vpdpbusd %%zmm12, %%zmm13, ", "zmm")
WUTDET_LOOP(loop_fma512, "vfmadd231ps %%zmm12, %%zmm13, ", "zmm")
WUTDET_LOOP(loop_fma256, "vfmadd231ps %%ymm12, %%ymm13, ", "ymm")
#undef WUTDET_LOOP
#undef WUTDET_TWELVE

// The best of many short runs: other jobs may be running.
inline double loops_per_second(void (*loop)(std::int64_t)) {
  constexpr std::int64_t kTurns = 20000;
  double least = 1e9;
  for (int i = 0; i < 300; ++i) {
    const auto start = std::chrono::steady_clock::now();
    loop(kTurns);
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 12.0 * kTurns / least;
}

// By the names of kernels.inc, which the processor must have; `real`: float32, else bytes. 0 where it is not known.
inline double peak_macs(const std::string& kernels, bool real) {
  if (kernels == "avx512vnni") return real ? 16 * loops_per_second(loop_fma512) : 64 * loops_per_second(loop_vnni512);
  const double fma = kernels == "avx2" || kernels == "vnni256" || kernels == "avxvnni"
                         ? 8 * loops_per_second(loop_fma256)
                         : 0;
  // vpdpbusd runs on the ports of vfmadd. Without it: one multiply of pairs, one to widen, so half as many bytes.
  return real ? fma : fma * (kernels == "avx2" ? 2 : 4);
}
#else
inline double peak_macs(const std::string&, bool) { return 0; }
#endif

}  // namespace wutdet::bench
