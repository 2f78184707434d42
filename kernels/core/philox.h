// Philox 4x32-10 (Salmon et al., SC 2011) as wutdet/lowbit/philox.py has it: key = seed, counter = index / 4.
#pragma once

#include <cstdint>

namespace wutdet {

// 24-bit thresholds by element index; remembers the last four.
class Thresholds {
 public:
  explicit Thresholds(std::uint64_t seed) : seed_(seed) {}

  std::uint32_t operator()(std::uint64_t index) {
    if (index / 4 != block_) fill(index / 4);
    return words_[index % 4] >> 8;
  }

 private:
  void fill(std::uint64_t block) {
    block_ = block;
    std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32), c2 = 0, c3 = 0;
    std::uint32_t k0 = static_cast<std::uint32_t>(seed_), k1 = static_cast<std::uint32_t>(seed_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t first = std::uint64_t{c0} * 0xD2511F53u, second = std::uint64_t{c2} * 0xCD9E8D57u;
      c0 = static_cast<std::uint32_t>(second >> 32) ^ c1 ^ k0;
      c2 = static_cast<std::uint32_t>(first >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(second);
      c3 = static_cast<std::uint32_t>(first);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    words_[0] = c0;
    words_[1] = c1;
    words_[2] = c2;
    words_[3] = c3;
  }

  std::uint64_t seed_, block_ = ~std::uint64_t{0};
  std::uint32_t words_[4] = {0, 0, 0, 0};
};

}  // namespace wutdet
