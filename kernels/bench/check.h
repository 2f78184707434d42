// What the stand-alone checks share: memory between pages that cannot be touched, and random numbers that are the same
// on every machine.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>

namespace wutdet::check {

// Bytes that end exactly at a forbidden page (`end`) or begin just behind one.
class Guarded {
 public:
  Guarded(std::size_t bytes, bool end) : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    const std::size_t whole = (bytes + page_ - 1) / page_ * page_;
    size_ = whole + 2 * page_;
    base_ = static_cast<std::uint8_t*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    if (mprotect(base_, page_, PROT_NONE) || mprotect(base_ + page_ + whole, page_, PROT_NONE)) std::abort();
    data_ = end ? base_ + page_ + whole - bytes : base_ + page_;
    bytes_ = bytes;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, size_); }
  std::uint8_t* data() { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t page_, size_, bytes_;
  std::uint8_t *base_, *data_;
};

struct Random {
  std::mt19937 engine;
  explicit Random(unsigned seed) : engine(seed) {}
  int operator()(int low, int high) { return low + static_cast<int>(engine() % unsigned(high - low + 1)); }
  float real(float low, float high) { return low + (high - low) * float(engine() >> 8) * (1.0f / 16777216.0f); }
  template <typename... Values>
  int one_of(Values... values) {
    const int all[] = {values...};
    return all[(*this)(0, int(sizeof...(values)) - 1)];
  }
};

}  // namespace wutdet::check
