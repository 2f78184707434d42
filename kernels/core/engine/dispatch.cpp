// Asks the processor and the system what they can do, and picks kernels by it.
#include "core/engine/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace wutdet::engine {

#define CONV_ISA(name, table, usable) const ConvKernels& table();
#include "kernels.inc"
#undef CONV_ISA

namespace {

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Leaf leaf(unsigned number, unsigned sub) {
  Leaf x;
  if (!__get_cpuid_count(number, sub, &x.a, &x.b, &x.c, &x.d)) return Leaf{};
  return x;
}

bool bit(unsigned word, int index) { return (word >> index) & 1; }

// Which registers the system saves: XCR0.
unsigned saved_registers() {
  if (!bit(leaf(1, 0).c, 27)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

[[maybe_unused]] bool has_avx2() {
  const Leaf one = leaf(1, 0);
  return (saved_registers() & 0x6) == 0x6 && bit(one.c, 12) && bit(one.c, 28) && bit(leaf(7, 0).b, 5);
}

[[maybe_unused]] bool has_avxvnni() { return has_avx2() && bit(leaf(7, 1).a, 4); }

// AVX-512 F, VL and VNNI.
[[maybe_unused]] bool has_vnni256() {
  const Leaf seven = leaf(7, 0);
  return has_avx2() && (saved_registers() & 0xE6) == 0xE6 && bit(seven.b, 16) && bit(seven.b, 31) && bit(seven.c, 11);
}

// The same, DQ, BW and VBMI.
[[maybe_unused]] bool has_avx512vnni() {
  const Leaf seven = leaf(7, 0);
  return has_vnni256() && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.c, 1);
}
#elif defined(__aarch64__) && defined(__linux__)
[[maybe_unused]] bool has_neondot() { return (getauxval(AT_HWCAP) >> 20) & 1; }
#endif

struct Entry {
  const char* name;
  const ConvKernels& (*kernels)();
  bool (*usable)();
};

const Entry kEntries[] = {
#define CONV_ISA(name, table, usable) {#name, table, [] { return usable; }},
#include "kernels.inc"
#undef CONV_ISA
};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries)
    if (entry.usable()) names.emplace_back(entry.name);
  return names;
}

const ConvKernels& kernels_named(const std::string& name) {
  std::string available;
  for (const Entry& entry : kEntries) {
    if (!entry.usable()) continue;
    if (name == entry.name) return entry.kernels();
    available += (available.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw std::invalid_argument("no kernels named '" + name + "' for this processor; available: " + available);
}

const ConvKernels& chosen_kernels() {
  static const ConvKernels& chosen = []() -> const ConvKernels& {
    const char* forced = std::getenv("WUTDET_ISA");
    if (forced != nullptr && *forced != '\0') return kernels_named(forced);
    for (const Entry& entry : kEntries)
      if (entry.usable()) return entry.kernels();
    return conv_scalar();
  }();
  return chosen;
}

}  // namespace wutdet::engine
