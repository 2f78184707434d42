// Memory for results that callers give back after a while: kept for the next run, because the system hands out large
// blocks page by page, which takes longer than writing them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace wutdet::engine {

class ReusedMemory : public std::enable_shared_from_this<ReusedMemory> {
 public:
  ~ReusedMemory() {
    for (const auto& [bytes, memory] : idle_) ::operator delete(memory, kAlign);
  }

  // 64-byte aligned, not initialised. May outlive the pool's owner, and be given back by another thread.
  std::shared_ptr<std::byte> take(std::size_t bytes) {
    void* memory = nullptr;
    {
      const std::lock_guard lock(mutex_);
      for (std::size_t i = 0; i < idle_.size() && !memory; ++i) {
        if (idle_[i].first != bytes) continue;
        memory = idle_[i].second;
        idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    if (!memory) memory = ::operator new(bytes + 1, kAlign);
    auto self = shared_from_this();
    return {static_cast<std::byte*>(memory), [self, bytes](std::byte* p) { self->put(bytes, p); }};
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  static constexpr std::size_t kMostIdle = 4;

  void put(std::size_t bytes, std::byte* memory) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMostIdle) idle_.emplace_back(bytes, memory);
    else ::operator delete(memory, kAlign);
  }

  std::mutex mutex_;
  std::vector<std::pair<std::size_t, void*>> idle_;
};

}  // namespace wutdet::engine
