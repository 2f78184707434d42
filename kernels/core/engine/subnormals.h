// Numbers too small for a normal float32 count as zero while an object of this lives, in this thread: processors need
// hundreds of cycles for each, and nothing in a detector depends on them.
#pragma once

#include <cstdint>

namespace wutdet::engine {

class NoSubnormals {
 public:
  NoSubnormals(const NoSubnormals&) = delete;
  NoSubnormals& operator=(const NoSubnormals&) = delete;
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  NoSubnormals() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(saved_ | 0x8040); }
  ~NoSubnormals() { __builtin_ia32_ldmxcsr(saved_); }

 private:
  const unsigned saved_;
#elif defined(__aarch64__)
  NoSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(saved_ | (std::uint64_t{1} << 24)));
  }
  ~NoSubnormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  std::uint64_t saved_;
#else
  NoSubnormals() {}
#endif
};

}  // namespace wutdet::engine
